package clientmethods

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/values"
	"github.com/signalbox/signalbox/tenants/permissions"
)

// The codes of refusals; each begins the text that the client gets.
const (
	CodeDenied    = "permission_denied"
	CodeUnknown   = "unknown_method"
	CodeArgument  = "invalid_argument"
	CodeToken     = "invalid_token"
	CodeOtherUser = "wrong_user"
	CodeBus       = "bus_unavailable"
	CodeOutcome   = "outcome_unknown"
)

// Config is what a Filter needs. All fields are required.
type Config struct {
	// Allowed tells whether the client may do it to the group, now.
	Allowed func(c *hubs.Connection, a permissions.Action, group string) bool
	// Refresh puts a newer token in the place of the one that the connection was
	// made with, and returns when the connection ends by it; zero = never. A
	// *Refusal is counted and shown, any other error is not.
	Refresh func(ctx context.Context, c *hubs.Connection, token string) (time.Time, error)
	// SealPosition makes the token of a position of this hub.
	SealPosition func(hubs.Position) string
	// OpenPosition reads such a token.
	OpenPosition func(string) (hubs.Position, error)
	// PresenceLimits are how many members of a group can be present, and how many
	// bytes a member's state may have as JSON.
	PresenceLimits func() (members, stateBytes int)
	// Publish is asked before a message is published to a group, and may wait; its error
	// is the refusal. Nil = nobody is asked.
	Publish func(ctx context.Context, group string) error
	// Refused is told the code of every refusal.
	Refused func(code string)
}

// Filter serves the methods. It stands before whatever handles the hub's methods
// and behind what limits invocations.
type Filter struct {
	hubs.PassFilter
	Config
}

var _ hubs.Filter = (*Filter)(nil)

// Refusal is why a client may not do what it asked for.
type Refusal struct{ Code, Text string }

// Error begins with the code.
func (r *Refusal) Error() string { return r.Code + ": " + r.Text }

// Unwrap makes the text one that hubs shows to clients.
func (r *Refusal) Unwrap() error { return hubs.NewError(r.Error()) }

// Is reports whether a hub method is one that no handler may see.
func Is(method string) bool { return strings.HasPrefix(method, "$") }

// patience bounds what one invocation waits for.
const patience = 5 * time.Second

// request is one invocation.
type request struct {
	*Filter
	c         *hubs.Connection
	m         *protocol.Message
	arguments []protocol.Raw
}

// methods are found by their names in lower case. They return the value to answer
// with and the position that the answer must follow.
var methods = map[string]func(*request, context.Context) (result any, after hubs.Position, err error){
	"$joingroup":    (*request).joinGroup,
	"$leavegroup":   (*request).leaveGroup,
	"$sendtogroup":  (*request).sendToGroup,
	"$refreshtoken": (*request).refreshToken,

	"$setpresence":     (*request).setPresence,
	"$clearpresence":   (*request).clearPresence,
	"$readpresence":    (*request).readPresence,
	"$watchpresence":   (*request).watchPresence,
	"$unwatchpresence": (*request).unwatchPresence,
}

// OnInvocation serves a method whose name begins with $ and passes on the others.
func (f *Filter) OnInvocation(ctx context.Context, c *hubs.Connection, m *protocol.Message, next func(context.Context) error) error {
	if !Is(m.Target) {
		return next(ctx)
	}
	err := f.serve(ctx, c, m)
	var overload *hubs.OverloadError
	if errors.As(err, &overload) {
		err = &Refusal{overload.Code, overload.Text}
	}
	switch refusal := err.(type) { //nolint:errorlint // made here or by Refresh, never wrapped
	case *Refusal:
		f.Refused(refusal.Code)
	case *hubs.LimitError:
		if refusal.Code == CodePresenceFull || refusal.Code == CodeStateTooLarge { // others are counted by hubs
			f.Refused(refusal.Code)
		}
	}
	return busError(err)
}

// busError puts what the message bus says into words for the client, who has to know
// whether a repeat could do a thing twice. It isn't the tenant's fault, so it isn't
// counted as a refusal.
func busError(err error) error {
	switch {
	case errors.Is(err, hubs.ErrOutcomeUnknown), errors.Is(err, hubs.ErrUnanswered):
		return &Refusal{CodeOutcome, "the message bus is away, and it is unknown whether this was carried out"}
	case errors.Is(err, hubs.ErrUnavailable):
		return &Refusal{CodeBus, "the message bus is away; nothing was carried out, try again in 2 s"}
	}
	return err
}

func (f *Filter) serve(ctx context.Context, c *hubs.Connection, m *protocol.Message) error {
	r := &request{Filter: f, c: c, m: m, arguments: protocol.AppendElements(nil, m.Arguments)}
	name := strings.ToLower(m.Target)
	method := methods[name]
	switch {
	case name == "$history" && m.Type == protocol.StreamInvocation && len(m.StreamIDs) == 0:
		return r.history()
	case name == "$history":
		return argument("the method is a stream without uploads: connection.stream(\"$history\", …)")
	case method == nil:
		return &Refusal{CodeUnknown, "the service has no such method; it has $joinGroup, $leaveGroup, $sendToGroup, $setPresence, $clearPresence, $readPresence, $watchPresence, $unwatchPresence, $history and $refreshToken"}
	case m.Type == protocol.StreamInvocation, len(m.StreamIDs) > 0:
		return argument("the method has no streams")
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	result, after, err := method(r, ctx)
	if errors.Is(err, errLater) {
		return nil
	}
	if err != nil || m.InvocationID == "" {
		return err
	}
	completion := &protocol.Message{Type: protocol.Completion, InvocationID: m.InvocationID}
	if result != nil {
		if completion.Result, err = values.Encode(c.Protocol().Encoding(), result); err != nil {
			return err
		}
	}
	frame, err := c.Protocol().Append(nil, completion)
	if err != nil {
		return err
	}
	c.SendAfter(after, frame, true)
	return nil
}

// errLater: the invocation is answered by other means.
var errLater = errors.New("answered later")

// allowed returns the refusal of what the client may not do to the group.
func (r *request) allowed(a permissions.Action, group string) error {
	if r.Allowed(r.c, a, group) {
		return nil
	}
	if group == "" {
		return &Refusal{CodeDenied, "neither the token nor the hub has the permission " + string(a) + " for all groups, without a pattern, which the hub's history needs"}
	}
	return &Refusal{CodeDenied, "neither the token nor the hub has the permission " + string(a) + " for this group"}
}
