package hubs

import (
	"context"
	"time"
)

// Kind says what an Entry asks every node of a hub to do.
type Kind uint8

// The kinds of entries. The numbers are written to the backplane: never reuse one.
const (
	SendToAll         Kind = 1 // Excluded connections are left out
	SendToGroups      Kind = 2 // Groups; Excluded connections and ExcludedUsers are left out
	SendToUsers       Kind = 3 // Users
	SendToConnections Kind = 4 // Connections

	AddToGroup           Kind = 5 // Connections join Groups
	RemoveFromGroup      Kind = 6 // Connections leave Groups
	RemoveFromAllGroups  Kind = 7 // Connections leave every group
	AddUserToGroup       Kind = 8 // every connection of Users joins Groups; TTLSeconds
	RemoveUserFromGroup  Kind = 9
	RemoveUserFromGroups Kind = 10 // Users leave every group

	CloseConnections Kind = 11 // Connections, else Users, else Groups, else all; minus Excluded

	// InvokeConnection asks the first of Connections for an answer to Message;
	// Reason is the invocation's id. It matches 2 when the client has too many
	// such invocations open and isn't asked.
	InvokeConnection Kind = 12
	// ClientResult is that answer, from the first of Connections to the node that
	// knows the id in Reason. Message.Target is its kind, see results_remote.go.
	ClientResult Kind = 13

	// PresenceSet tells that the connection, of the user if there is one, is present
	// in the group with a state, which is Message's arguments: one JSON value. Reason
	// is the announcement's token. Only the connection's node publishes it.
	PresenceSet Kind = 14
	// PresenceGone ends the presence of Connections in the group whose tokens are
	// Reason, or begin with it when it ends in an asterisk.
	PresenceGone Kind = 15
	// PresenceWish has the nodes of Connections make them present in the group, if
	// they are in it; without a Message, not present any more.
	PresenceWish Kind = 16
)

// Entry is one numbered step of a hub: a message to send or a membership to
// change. All that clients of a hub can observe the order of is an Entry, so
// one total order holds for all of it.
type Entry struct {
	// Epoch and Number are set by the backplane. Number is contiguous within
	// an epoch and starts at 1.
	Epoch  string
	Number uint64
	// At is when the backplane accepted the entry, by the clock that all nodes of
	// the hub see; it never goes back. The backplane sets it.
	At time.Time

	Kind          Kind
	Groups        []string
	Users         []string
	Connections   []string // connection ids
	Excluded      []string // connection ids
	ExcludedUsers []string

	// Message is what the Send kinds deliver.
	Message *Broadcast

	// Reason is the text of the Close message of CloseConnections; empty means
	// a close without error. With AddToGroup it finds a rewind, see
	// Connection.PlanRewind.
	Reason         string
	AllowReconnect bool

	// TTLSeconds bounds AddUserToGroup: above 0, connections that exist and those
	// that come leave the groups so many seconds after At, -1 = when removed; 0 =
	// only connections that exist now join, and stay. What a connection has joined
	// by itself it doesn't leave at that time.
	TTLSeconds int64

	// Conflate has AddToGroup's connections in Groups with conflation, also those that
	// are in them already; nil leaves it as it is.
	Conflate *Conflation
}

// Gap tells why entries were lost to a node for good.
type Gap struct {
	Reason   string // "trimmed" or "epoch"
	From, To uint64 // the numbers that are missing, inclusive; 0 when unknown
	// What is missing came behind Last and not behind Next.
	Last, Next Position
}

// QueryKind is what a node is asked about its own connections.
type QueryKind uint8

// The queries. Each asks for a number of local connections.
const (
	CountConnection  QueryKind = 1 // Name is a connection id
	CountGroup       QueryKind = 2 // Name is a group
	CountUser        QueryKind = 3 // Name is a user id
	CountUserInGroup QueryKind = 4 // Name is a group, User a user id
	CountConnections QueryKind = 5 // all of the hub
	CountPresent     QueryKind = 6 // Name is a group, or "" for all
)

// Query asks every node of a hub how many of its connections match.
type Query struct {
	Kind QueryKind
	Name string
	User string
}

// Node is a process's part of a hub, as the backplane sees it. The backplane
// calls Apply from one goroutine at a time, in the order of the numbers: live
// delivery, catch-up and replay are the same call.
type Node interface {
	// Apply carries the entry out for the connections of this node and returns
	// how many it matched.
	Apply(e *Entry) (matched int)
	// Answer counts the connections of this node that match.
	Answer(q Query) (matched int)
	// List returns this node's part of a page; q is valid. It must not keep the
	// caller waiting.
	List(q ListQuery) Page
	// Lost is called instead of Apply when entries can never be delivered. The
	// node must not let its connections go on as if nothing had happened.
	Lost(g Gap)
	// Begins is called once before Subscribe returns, between two calls of Apply:
	// what came before at, and at itself, isn't applied to this node from now on, and
	// all that comes behind is. The Number is 0 in a hub that has had no entry.
	Begins(at Position)
}

// Position is where in a hub's order an entry was put.
type Position struct {
	Epoch  string
	Number uint64
	// Duplicate is set when an earlier publish with the same idempotency key
	// was answered again.
	Duplicate bool
}

// Backplane carries the entries of ONE hub between the nodes that serve it.
// A multi-node service hands each hub its own Backplane, scoped to the tenant.
type Backplane interface {
	// Publish appends e and returns when it is accepted. An error means that
	// the outcome is unknown unless it says otherwise.
	Publish(ctx context.Context, e *Entry, o PublishOptions) (Position, error)
	// Command publishes e and waits until every node that serves the hub has
	// applied it; it returns the sum of the matches.
	Command(ctx context.Context, e *Entry, o PublishOptions) (Position, int, error)
	// Ask sums the answers of all nodes that serve the hub.
	Ask(ctx context.Context, q Query) (int, error)
	// List merges the parts of all nodes that serve the hub into one page. It fails
	// with ErrUnanswered when one is missing: a page is never silently short.
	List(ctx context.Context, q ListQuery) (Page, error)
	// Subscribe makes n part of the hub and returns once everything accepted
	// from then on reaches n.Apply. The returned function leaves the hub and
	// returns when no further call to n will be made.
	Subscribe(ctx context.Context, n Node) (leave func(), err error)
	// UserGroups returns the groups that u was added to and that new
	// connections of u join (AddUserToGroup with a TTL), sorted by name.
	UserGroups(ctx context.Context, u string) ([]UserGroup, error)
}

// UserGroup is a group that a user was added to.
type UserGroup struct {
	Name string
	// Until is when the membership ends, by the clock of Entry.At; zero = when it
	// is removed.
	Until time.Time
	// Left is how long that is from now.
	Left time.Duration
}

// Ack is a level of acknowledgement.
type Ack uint8

// The levels.
const (
	// AckStream: the entry is in the hub's stream.
	AckStream Ack = iota
	// AckNone: the entry waits in this process's memory; it has no position yet.
	AckNone
	// AckReplicated: the stream's copy has it, too. Else the error is
	// ErrNotReplicated, together with ErrOutcomeUnknown when it may be in the stream.
	AckReplicated
)

// PublishOptions are what a publisher adds to an entry.
type PublishOptions struct {
	// IdempotencyKey makes a repeat answer with the first position instead of
	// sending again. Empty = none.
	IdempotencyKey string
	// Charge is how many accepted messages the publish is metered as; 0 for
	// membership changes.
	Charge int
	// Ack is what must have happened when the publish is answered.
	Ack Ack
	// Origin is the connection whose hub method publishes; nil when none does.
	Origin *Connection
	// Client is the connection that sends by itself, to count it for its user and
	// key; nil when none does.
	Client *Connection
}
