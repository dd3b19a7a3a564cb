package hubs

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/signalbox/signalbox/hubs/internal/pace"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// NewConnectionID returns a public connection id: 128 random bits in base64url.
func NewConnectionID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Connection is one client of a hub. It is safe for concurrent use.
type Connection struct {
	server    *Server
	info      ConnectionInfo
	transport Transport // with stateful reconnect guarded by out.mu, else never changed
	// intermittent is transport when it is one.
	intermittent Intermittent
	// resume is set when the client has negotiated stateful reconnect.
	resume *resumption
	// proto is set by the handshake, before the connection is in the store.
	proto protocol.Protocol
	// dispatcher is who handles what the client sends, and proxied is it when that
	// is a Proxy. Both are set by the handshake.
	dispatcher Dispatcher
	proxied    *proxied
	tally      Tally // of what is delivered to it; nil = the meter tells nothing apart
	openedAt   time.Time
	renewed    atomic.Pointer[time.Time] // the end of the authentication, once it was moved
	ctx        context.Context           // the connection's lifetime
	cancel     context.CancelCauseFunc
	out        outbound
	entry      wheelEntry
	lastRead   atomic.Int64 // clock() of the last bytes from the client
	lastWrite  atomic.Int64 // clock() of the last bytes to the client
	pinged     atomic.Bool  // the client has sent a ping at least once
	open       atomic.Bool  // the handshake is done
	unread     atomic.Bool  // the reader waits for invocations, see reading
	born       int64        // clock() when the client arrived
	retiring   atomic.Int64 // clock() since when it waits to be closed by a drain; 0 = it doesn't
	invoking   atomic.Int32 // invocations that run beside the reader, streams among them
	// turn is the reader's while it has an invocation in its hands, so that a
	// connection that retires is closed before it is begun or once it is answered. The
	// reader holds it for as long as a handler takes: others may only try.
	turn sync.Mutex

	// slots has room for each invocation that may run beside the reader; it is
	// made by the reader when it is first needed.
	slots       chan struct{}
	invocations sync.WaitGroup

	idled, strayed pace.Meter // see violation.go; only the reader uses them
	received       pace.Meter // see slowDown; only the reader uses it
	overdue        atomic.Int64

	stamp uint64 // last entry delivered; only Server.Apply uses it

	// calls is what is open between the server and the client, once there is
	// something.
	calls atomic.Pointer[calls]
	after Position // see follow; guarded by server.progress.mu

	mu      sync.Mutex
	groups  map[string]*ending // nil = until it leaves
	gone    bool               // no more joins
	present int32              // in how many groups; see presence.go
	early   *earlyLeaves       // set while the user's stored groups are being read
	items   []item             // few: a map would be most of a connection
	// served are the streams of ServeStream.
	served map[string]context.CancelCauseFunc
	// rewinds are those planned, by the reasons of their entries.
	rewinds map[string]*rewind
}

// item is what SetValue keeps.
type item struct{ key, value any }

// earlyLeaves notes the groups that entries removed a connection from while its
// user's stored groups were on their way: those are not joined.
type earlyLeaves struct {
	groups []string
	all    bool
}

// ID is the connection's public id.
func (c *Connection) ID() string { return c.info.ID }

// User is the id of the connection's user; empty when it has none.
func (c *Connection) User() string { return c.info.Principal.UserID }

// Principal is who the connection belongs to.
func (c *Connection) Principal() Principal { return c.info.Principal }

// Renew moves the end of the connection's authentication to expires, zero = never,
// when that is later. The Principal stays as it was.
func (c *Connection) Renew(expires time.Time) {
	for {
		old := c.renewed.Load()
		if end := c.expires(); end.IsZero() || !expires.IsZero() && !expires.After(end) {
			return
		}
		if c.renewed.CompareAndSwap(old, &expires) {
			return
		}
	}
}

// expires is when the authentication ends; zero = never.
func (c *Connection) expires() time.Time {
	if t := c.renewed.Load(); t != nil {
		return *t
	}
	return c.info.Principal.Expires
}

// Info is what was known before the handshake.
func (c *Connection) Info() ConnectionInfo { return c.info }

// Hub is the name of the hub that the connection belongs to.
func (c *Connection) Hub() string { return c.server.name }

// Server is the Server that the connection belongs to.
func (c *Connection) Server() *Server { return c.server }

// Protocol is the hub protocol agreed on by the handshake.
func (c *Connection) Protocol() protocol.Protocol { return c.proto }

// Transport says how the client is connected.
func (c *Connection) Transport() TransportKind {
	if c.resume != nil {
		return WebSockets
	}
	return c.transport.Kind()
}

// OpenedAt is when the client arrived.
func (c *Connection) OpenedAt() time.Time { return c.openedAt }

// Context is the connection's lifetime: it is done when the connection ends.
func (c *Connection) Context() context.Context { return c.ctx }

// Groups returns the connection's groups in no particular order.
func (c *Connection) Groups() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := clock()
	groups := make([]string, 0, len(c.groups))
	for g, end := range c.groups {
		if end == nil || end == forEver || end.local > now {
			groups = append(groups, g)
		}
	}
	return groups
}

// Value returns what SetValue keeps under key, or nil.
func (c *Connection) Value(key any) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, it := range c.items {
		if it.key == key {
			return it.value
		}
	}
	return nil
}

// SetValue keeps a value with the connection, for filters and dispatchers. Keys
// follow the rules of context.WithValue.
func (c *Connection) SetValue(key, value any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.items {
		if c.items[i].key == key {
			c.items[i].value = value
			return
		}
	}
	c.items = append(c.items, item{key, value})
}

// Send queues one hub message for this client alone. It doesn't block. Sending
// to a connection that has ended does nothing; the error is one of encoding.
func (c *Connection) Send(m *protocol.Message) error {
	frame, err := c.proto.Append(nil, m)
	if err != nil {
		return err
	}
	item := queued{frame: frame}
	switch {
	case m.Type == protocol.Completion && m.HasError:
		// A refusal is not a delivery.
	case m.Type == protocol.Invocation, m.Type == protocol.StreamItem, m.Type == protocol.Completion:
		item.units = Units(len(frame))
	case m.Type == protocol.StreamInvocation, m.Type == protocol.CancelInvocation:
		// Numbered, but nothing that is delivered.
	default:
		item.units = unnumbered
	}
	if c.enqueue(item) {
		writers.schedule(c)
	}
	return nil
}

// Close ends the connection with a Close message: reason is its error text,
// empty for a close without error. Clients with automatic reconnect come back
// only when allowReconnect is set. It doesn't block.
func (c *Connection) Close(reason string, allowReconnect bool) {
	c.end(ErrClosedByServer, reason, allowReconnect)
}

// Abort ends the connection without a word. It doesn't block.
func (c *Connection) Abort() { c.abort(ErrClosedByServer) }

// closeFrame encodes a Close message.
func (c *Connection) closeFrame(reason string, allowReconnect bool) []byte {
	frame, err := c.proto.Append(nil, &protocol.Message{Type: protocol.Close, Error: reason, HasError: reason != "", AllowReconnect: allowReconnect})
	if err != nil {
		return nil // a Close message has nothing that can't be encoded
	}
	return frame
}

// end queues a Close message behind what is waiting and closes the transport
// once it is written. The first cause wins.
func (c *Connection) end(cause error, reason string, allowReconnect bool) {
	c.endAs(EndNormal, cause, reason, allowReconnect)
}

// endAs is end with a status for transports that have one.
func (c *Connection) endAs(ending Ending, cause error, reason string, allowReconnect bool) {
	o := &c.out
	o.mu.Lock()
	schedule := false
	if !o.ending && !o.dead {
		schedule = o.last(c.goodbye(reason, allowReconnect), cause, ending)
	}
	o.mu.Unlock()
	if schedule {
		writers.schedule(c)
	}
	c.cancel(cause)
}

// join puts the connection into a group until end and reports whether it is in
// it now; a refusal is counted. The newest end counts, but a membership of the connection itself lasts.
func (c *Connection) join(group string, limit int, end *ending) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.joinLocked(group, limit, end)
}

func (c *Connection) joinLocked(group string, limit int, end *ending) bool {
	if c.gone {
		return false
	}
	before, in := c.groups[group]
	if in && before == nil {
		return true
	}
	if !in {
		if len(c.groups) >= limit {
			c.server.meter.Refused(RefusedGroups)
			return false
		}
		if c.server.memberships.Join() != nil {
			c.server.meter.Refused(RefusedMemberships)
			return false
		}
		if c.groups == nil {
			c.groups = make(map[string]*ending, 1)
		}
		c.server.store.groups.add(group, c)
	}
	c.server.endings.remove(before)
	c.groups[group] = end
	c.server.endings.add(end, c.server.cleanUp)
	return true
}

// leave takes the connection out of a group.
func (c *Connection) leave(group string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.early != nil {
		c.early.groups = append(c.early.groups, group)
	}
	if end, in := c.groups[group]; in {
		c.server.endings.remove(end)
		delete(c.groups, group)
		c.server.store.groups.remove(group, c)
		c.server.memberships.Leave(1)
		c.leftGroup(group)
	}
}

// leaveAll takes the connection out of every group; last also bars new ones.
func (c *Connection) leaveAll(last bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.early != nil {
		c.early.all = true
	}
	for group, end := range c.groups {
		c.server.endings.remove(end)
		c.server.store.groups.remove(group, c)
		c.leftGroup(group)
	}
	c.server.memberships.Leave(len(c.groups))
	c.groups = nil
	c.gone = c.gone || last
}

// in reports whether the connection is in the group.
func (c *Connection) in(group string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, in := c.groups[group]
	return in
}

// awaitGroups begins the time in which leaving is noted for joinStored.
func (c *Connection) awaitGroups() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.early = &earlyLeaves{}
}

// joinFirst joins the groups of the connection's principal, but for those that an
// entry removed since awaitGroups.
func (c *Connection) joinFirst(limit int) {
	if c.info.Rewind != nil {
		r := &rewind{spec: *c.info.Rewind, groups: slices.Clone(c.info.Principal.Groups), tell: true}
		r.begin(c)
		defer r.ready(c, true)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, group := range c.info.Principal.Groups {
		if c.early.all || slices.Contains(c.early.groups, group) {
			continue
		}
		c.joinLocked(group, limit, nil)
	}
}

// joinStored joins the groups that were stored for the user, but for those that
// an entry removed since awaitGroups. What an entry has joined counts already.
func (c *Connection) joinStored(groups []UserGroup, limit int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	early := c.early
	c.early = nil
	if early.all {
		return
	}
	for _, g := range groups {
		if _, in := c.groups[g.Name]; in || slices.Contains(early.groups, g.Name) {
			continue
		}
		c.joinLocked(g.Name, limit, g.endOf(c))
	}
}
