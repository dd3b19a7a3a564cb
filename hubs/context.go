package hubs

import (
	"context"
	"errors"
	"slices"

	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/values"
)

// Context reaches a hub's clients on all nodes, from anywhere in a program: what
// IHubContext is in ASP.NET Core. Inside a hub method use FromContext, which has
// the same and knows the caller.
//
// Sends are accepted in the order of the calls of one goroutine and seen in that
// order by every client. A send returns when it is accepted, which is not yet
// received. Who doesn't exist gets nothing, and that is no error.
type Context struct {
	own    Backplane // without a server
	asker  *asker
	server *Server     // nil: a process that serves no connections
	origin *Connection // the caller, whose direct messages follow what is sent
}

// NewContext returns a Context for a process that serves no connections of the
// hub itself but shares its Backplane.
func NewContext(b Backplane) Context {
	return Context{own: b, asker: newAsker(func() Backplane { return b })}
}

// Context returns the Server's Context.
func (s *Server) Context() Context { return Context{asker: s.asker, server: s} }

// backplane is where the hub's entries are published.
func (h Context) backplane() Backplane {
	if h.server != nil {
		return h.server.Backplane()
	}
	return h.own
}

// All is every client.
func (h Context) All() Target { return h.target(Entry{Kind: SendToAll}) }

// AllExcept is every client but those with these connection ids.
func (h Context) AllExcept(connectionIDs ...string) Target {
	return h.target(Entry{Kind: SendToAll, Excluded: slices.Clone(connectionIDs)})
}

// Client is one client, by connection id.
func (h Context) Client(connectionID string) Target {
	t := h.Clients(connectionID)
	t.single = true
	return t
}

// Clients are some clients, by connection id.
func (h Context) Clients(connectionIDs ...string) Target {
	return h.target(Entry{Kind: SendToConnections, Connections: slices.Clone(connectionIDs)})
}

// Group is every client in a group; names differ by case.
func (h Context) Group(name string) Target { return h.Groups(name) }

// Groups is every client in at least one of the groups, once.
func (h Context) Groups(names ...string) Target {
	return h.target(Entry{Kind: SendToGroups, Groups: slices.Clone(names)})
}

// GroupExcept is every client in a group but those with these connection ids.
func (h Context) GroupExcept(name string, connectionIDs ...string) Target {
	return h.target(Entry{Kind: SendToGroups, Groups: []string{name}, Excluded: slices.Clone(connectionIDs)})
}

// User is every client of a user.
func (h Context) User(id string) Target { return h.Users(id) }

// Users is every client of the users.
func (h Context) Users(ids ...string) Target {
	return h.target(Entry{Kind: SendToUsers, Users: slices.Clone(ids)})
}

// AddToGroup puts a connection into a group and returns when it gets what is
// sent to the group from now on. A connection that doesn't exist is no error; an
// *Error says that it is in as many groups as Options.MaximumGroups allows, or what
// Config.Memberships says.
func (h Context) AddToGroup(ctx context.Context, connectionID, group string) error {
	return h.addToGroup(ctx, connectionID, group, nil)
}

// AddToGroupConflated is AddToGroup with conflation. In a group that the connection
// is in already it gets what comes from now on so; AddToGroup doesn't end that, but
// RemoveFromGroup does. A process behind the service can't do it: there the error
// is one that says so.
func (h Context) AddToGroupConflated(ctx context.Context, connectionID, group string, how Conflation) error {
	return h.addToGroup(ctx, connectionID, group, &how)
}

func (h Context) addToGroup(ctx context.Context, connectionID, group string, how *Conflation) error {
	matched, err := h.command(ctx, &Entry{Kind: AddToGroup, Connections: []string{connectionID}, Groups: []string{group}, Conflate: how})
	if err != nil || matched > 0 || h.server == nil {
		return err
	}
	if c, here := h.server.Connection(connectionID); here && !c.isEnding() {
		return c.CanJoin()
	}
	return nil
}

// RemoveFromGroup takes a connection out of a group; not being in it is no error.
func (h Context) RemoveFromGroup(ctx context.Context, connectionID, group string) error {
	_, err := h.command(ctx, &Entry{Kind: RemoveFromGroup, Connections: []string{connectionID}, Groups: []string{group}})
	return err
}

// CloseConnection ends a connection with a Close message; see Connection.Close.
func (h Context) CloseConnection(ctx context.Context, connectionID, reason string, allowReconnect bool) error {
	_, err := h.command(ctx, &Entry{Kind: CloseConnections, Connections: []string{connectionID}, Reason: reason, AllowReconnect: allowReconnect})
	return err
}

func (h Context) command(ctx context.Context, e *Entry) (int, error) {
	if err := e.checkNames(); err != nil {
		return 0, err
	}
	p, matched, err := h.backplane().Command(ctx, e, PublishOptions{Origin: h.origin})
	h.note(p, err)
	return matched, err
}

// note makes the caller's direct messages follow what was published.
func (h Context) note(p Position, err error) {
	if err == nil && h.origin != nil {
		h.origin.follow(p)
	}
}

func (h Context) target(e Entry) Target { return Target{hub: h, entry: e} }

// Target is who a message is for.
type Target struct {
	hub    Context
	entry  Entry
	direct *Connection // the caller
	single bool        // one client, by its connection id
}

// Send calls a method of the target's clients. args are what values.Append can
// write.
func (t Target) Send(ctx context.Context, method string, args ...any) error {
	if t.direct != nil {
		return t.direct.sendInvocation(ctx, &protocol.Message{Type: protocol.Invocation, Target: method}, args)
	}
	e := t.entry
	if err := e.checkNames(); err != nil {
		return err
	}
	if e.Kind != SendToAll && len(e.Connections)+len(e.Groups)+len(e.Users) == 0 {
		return nil
	}
	raw, err := values.Portable(args...)
	if err != nil {
		return err
	}
	e.Message = &Broadcast{Target: method, Arguments: raw}
	p, err := t.hub.backplane().Publish(ctx, &e, PublishOptions{Charge: Units(len(raw.Bytes)), Origin: t.hub.origin})
	t.hub.note(p, err)
	return err
}

// awaitHalf waits while half of the connection's queue is full.
func (c *Connection) awaitHalf(ctx context.Context) error {
	opt := c.server.options.Load()
	return c.awaitRoom(ctx, max(opt.OutboundMessages/2, 1), max(opt.OutboundBytes/2, 1))
}

// sendInvocation sends m with args to this client alone. It waits while half of
// the connection's queue is full.
func (c *Connection) sendInvocation(ctx context.Context, m *protocol.Message, args []any) error {
	if err := c.awaitHalf(ctx); errors.Is(err, errEnded) {
		return nil
	} else if err != nil {
		return err
	}
	raw, err := values.Arguments(c.proto.Encoding(), args...)
	if err != nil {
		return err
	}
	m.Arguments = raw
	return c.sendFollowing(m)
}
