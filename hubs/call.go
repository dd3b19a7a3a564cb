package hubs

import "context"

// Call is what a method of a registered hub is told about its invocation: the
// hub's clients as seen by the caller, and the caller itself.
//
// It comes with the method's context and not as a part of the hub's type, so
// that one hub value with its dependencies serves all clients at once, and any
// function that is given the context can use it. It may be kept after the
// invocation and is safe for concurrent use.
type Call struct {
	Context
	conn       *Connection
	hub        any
	method     string
	invocation string // id
	arguments  []any
	connecting bool
	k          *call // nil in OnConnected and OnDisconnected
}

// callKey finds the Call in a context.
type callKey struct{}

// FromContext returns the Call that ctx belongs to. It panics when ctx doesn't
// come from a method, a lifecycle method or a filter of a registered hub; filters
// of Config.Filters have it in OnInvocation only.
func FromContext(ctx context.Context) *Call {
	c, ok := ctx.Value(callKey{}).(*Call)
	if !ok {
		panic("hubs: FromContext with a context that comes from no hub method")
	}
	return c
}

// Connection is the caller's.
func (c *Call) Connection() *Connection { return c.conn }

// ConnectionID is the caller's public connection id.
func (c *Call) ConnectionID() string { return c.conn.ID() }

// UserID is the caller's user id; empty when it has none.
func (c *Call) UserID() string { return c.conn.User() }

// Principal is who the caller is.
func (c *Call) Principal() Principal { return c.conn.Principal() }

// Hub is the value that was registered.
func (c *Call) Hub() any { return c.hub }

// Method is the name that clients know the method by; what they called when
// there is no such method, and "" in OnConnected and OnDisconnected.
func (c *Call) Method() string { return c.method }

// InvocationID is the caller's id for the invocation; empty when it wants no answer.
func (c *Call) InvocationID() string { return c.invocation }

// Arguments are the decoded arguments, without context and upload streams, as
// the filters of Use and UseOn see them. It is nil for those of Config.Filters,
// which run before anything is decoded.
func (c *Call) Arguments() []any { return c.arguments }

// Value returns what SetValue keeps for the connection under key, or nil.
func (c *Call) Value(key any) any { return c.conn.Value(key) }

// SetValue keeps a value for as long as the connection lives.
func (c *Call) SetValue(key, value any) { c.conn.SetValue(key, value) }

// Abort ends the caller's connection without an error, behind what was sent
// before.
func (c *Call) Abort() { c.conn.closeFollowing() }

// Caller is the client that called. What is sent to it comes after everything
// that was sent to others before.
func (c *Call) Caller() Target {
	t := c.Client(c.conn.ID())
	t.direct = c.conn
	return t
}

// Others is every client but the caller.
func (c *Call) Others() Target { return c.AllExcept(c.conn.ID()) }

// OthersInGroup is every client in a group but the caller.
func (c *Call) OthersInGroup(name string) Target { return c.GroupExcept(name, c.conn.ID()) }

// Join puts the caller into a group; see Context.AddToGroup.
func (c *Call) Join(ctx context.Context, group string) error {
	return c.AddToGroup(ctx, c.conn.ID(), group)
}

// JoinConflated puts the caller into a group with conflation; see
// Context.AddToGroupConflated.
func (c *Call) JoinConflated(ctx context.Context, group string, how Conflation) error {
	return c.AddToGroupConflated(ctx, c.conn.ID(), group, how)
}

// Leave takes the caller out of a group.
func (c *Call) Leave(ctx context.Context, group string) error {
	return c.RemoveFromGroup(ctx, c.conn.ID(), group)
}

// newCall returns a Call of c.
func (d *methods) newCall(c *Connection) Call {
	return Call{Context: Context{asker: c.server.asker, server: c.server, origin: c}, conn: c, hub: d.hub}
}

// lifecycleContext carries the Call of a lifecycle method.
type lifecycleContext struct {
	context.Context
	Call *Call
}

func (l *lifecycleContext) Value(key any) any {
	if key == (callKey{}) {
		return l.Call
	}
	return l.Context.Value(key)
}
