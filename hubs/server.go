package hubs

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/signalbox/signalbox/hubs/internal/turns"
)

// Server serves one hub on this node. It implements Node.
//
// It is subscribed to its Backplane from before its first connection counts as
// connected until Config.Linger after its last one.
type Server struct {
	name      string
	options   atomic.Pointer[Options]
	chain     chain
	handle    func(context.Context, *Connection, Opening) (Handler, error)
	backplane atomic.Pointer[Backplane]
	meter     Meter
	tallies   Tallies // nil = the meter tells nothing apart
	untold    Tally   // of what is no entry's
	share     *Share
	// memberships bounds the groups of all connections together.
	memberships Memberships
	log         *slog.Logger
	linger      time.Duration
	store       store
	token       func(Position) string
	limitText   func(connection, code string, limit int) string

	// Only Apply uses these; the Backplane calls it from one goroutine at a time.
	applied    uint64 // counts entries; more than one for some
	due        []*Connection
	conflating []*Connection // see deliverToGroups
	turns      *turns.Queue  // fanOuts
	reached    int           // connections since the last slice, see fanout.go
	rested     bool          // the entry came after a rest, see direct.go
	appliedAt  int64         // clock() when the last one was done
	members    []*Connection // kept for the next large group

	progress progress
	endings  endings
	backlogs atomic.Int64 // of all clients of hub servers, see backlog
	presence presence
	// asker puts questions to clients of other nodes.
	asker *asker

	// joining is held while the subscription is being made or given up; it is a
	// channel so that waiting obeys a context.
	joining chan struct{}
	unsub   func() // guarded by joining

	mu      sync.Mutex
	closed  bool
	serving int                      // calls of Serve
	early   map[*Connection]struct{} // those not yet in the store
	idle    time.Time                // since when serving is 0
	timer   *time.Timer              // gives up the subscription
	drained chan struct{}            // closed when closed and serving is 0
}

// subscribeTimeout bounds the wait for the Backplane when the first connection comes.
const subscribeTimeout = 5 * time.Second

// NewServer returns a Server for cfg. The error names every bad field.
func NewServer(cfg Config) (*Server, error) {
	err := cfg.Options.Validate()
	if cfg.Linger < 0 {
		err = errors.Join(err, errors.New("Linger must not be negative"))
	}
	if err != nil {
		return nil, err
	}
	s := &Server{
		name:   cfg.Name,
		chain:  chain{filters: cfg.Filters, dispatcher: cfg.Dispatcher},
		handle: cfg.Handle,
		meter:  cfg.Meter,
		share:  cfg.Share,

		memberships: cfg.Memberships,

		limitText: cfg.LimitText,

		token:   cfg.PositionToken,
		log:     cfg.Logger,
		linger:  cfg.Linger,
		joining: make(chan struct{}, 1),
		idle:    time.Now(),
		drained: make(chan struct{}),

		presence: newPresence(),
		turns:    fanOuts,
	}
	opt := cfg.Options.withDefaults()
	s.options.Store(&opt)
	if s.chain.dispatcher == nil {
		s.chain.dispatcher = BroadcastOnly(cfg.Name)
	}
	if cfg.Backplane == nil {
		cfg.Backplane = NewMemoryBackplane()
	}
	s.backplane.Store(&cfg.Backplane)
	s.asker = newAsker(s.Backplane)
	if s.memberships == nil {
		s.memberships = unbounded{}
	}
	if s.meter == nil {
		s.meter = noMeter{}
	}
	if t, ok := s.meter.(Tallies); ok {
		s.tallies, s.untold = t, t.TallyOf(nil)
	}
	if s.share == nil {
		s.share = NewShare(1)
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.token == nil {
		s.token = func(Position) string { return "" }
	}
	if s.linger == 0 {
		s.linger = 30 * time.Second
	}
	return s, nil
}

// Name is the hub's name.
func (s *Server) Name() string { return s.name }

// Options are the settings in force, defaults filled in.
func (s *Server) Options() Options { return *s.options.Load() }

// SetOptions changes the settings of new and existing connections; a keep-alive
// or time-out that has begun may still follow the old ones.
func (s *Server) SetOptions(o Options) error {
	if err := o.Validate(); err != nil {
		return err
	}
	o = o.withDefaults()
	s.options.Store(&o)
	return nil
}

// Backplane is where entries for the hub's clients are published.
func (s *Server) Backplane() Backplane { return *s.backplane.Load() }

// UseBackplane makes b the Server's Backplane, for packages that serve a hub
// elsewhere than its program was written for. It fails once the Server has had
// connections or has invoked clients.
func (s *Server) UseBackplane(b Backplane) error {
	s.joining <- struct{}{}
	defer func() { <-s.joining }()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.serving > 0 || s.unsub != nil || s.asker.called.Load() > 0 {
		return errors.New("use another backplane: the hub has begun to serve with the one it has")
	}
	s.backplane.Store(&b)
	return nil
}

// Connection returns the connection with this id if it is on this node.
func (s *Server) Connection(id string) (*Connection, bool) {
	c := s.store.find(id)
	return c, c != nil
}

// Connections is the number of connections on this node.
func (s *Server) Connections() int {
	n := 0
	for i := range s.store.byID {
		sh := &s.store.byID[i]
		sh.mu.RLock()
		n += len(sh.byID)
		sh.mu.RUnlock()
	}
	return n
}

// Each calls f for every connection on this node, without a lock: f may block,
// and connections may come and go meanwhile.
func (s *Server) Each(f func(*Connection)) {
	for _, c := range s.store.snapshot() {
		f(c)
	}
}

// IdleFor is how long the Server has had no connection at all, not even one in
// its handshake; 0 while it has, or while the end of a presence is still to be
// published.
func (s *Server) IdleFor() time.Duration {
	if s.presence.publishing() {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.serving > 0 {
		return 0
	}
	return time.Since(s.idle)
}

// CloseWhere closes every connection that matches and returns how many; see
// Connection.Close. It doesn't wait for their end.
func (s *Server) CloseWhere(match func(*Connection) bool, reason string, allowReconnect bool) int {
	n := 0
	for _, c := range s.store.snapshot() {
		if !c.isEnding() && match(c) {
			c.Close(reason, allowReconnect)
			n++
		}
	}
	return n
}

// Begins notes from where on this node applies entries: it may have followed the hub
// before. It implements Node.
func (s *Server) Begins(at Position) {
	s.progress.mu.Lock()
	before := s.progress.place(at.Epoch).at
	s.progress.mu.Unlock()
	s.progress.skip(before, at)
}

// lostSpread is the time over which connections that missed entries are closed,
// so that their clients don't all come back at once.
const lostSpread = 3 * time.Second

// Lost ends all connections, whose clients are asked to reconnect: nothing more
// is delivered to them from now on, their Close messages are spread over 3 s. With
// Options.TellGaps they are told and go on. It implements Node.
func (s *Server) Lost(g Gap) {
	defer func() {
		s.progress.skip(g.Last, g.Next)
		s.lostEntries()
	}()
	all := s.store.snapshot()
	if s.options.Load().TellGaps {
		s.log.Warn("entries lost, connections are told", "hub", s.name, "reason", g.Reason, "from", g.From, "to", g.To, "connections", len(all))
		notice := s.gapNotice(g.Reason, g.Last, g.Next)
		for _, c := range all {
			s.meter.Refused(RefusedGapTold)
			_ = c.Send(notice) // has nothing that can't be encoded
		}
		return
	}
	s.log.Warn("entries lost, connections are closed", "hub", s.name, "reason", g.Reason, "from", g.From, "to", g.To, "connections", len(all))
	for i, c := range all {
		s.meter.Refused(RefusedGap)
		c.seal()
		time.AfterFunc(lostSpread*time.Duration(i)/time.Duration(len(all)), func() { c.end(ErrClosedByServer, "", true) })
	}
}

// endAgain is how often Drain and Close look for connections that they have
// missed.
const endAgain = 20 * time.Millisecond

// abortEarly aborts the connections whose handshake isn't done.
func (s *Server) abortEarly() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.early {
		c.transport.Abort()
	}
}

// Close aborts all connections, waits for their end and leaves the Backplane.
func (s *Server) Close() error { return s.CloseBy(context.Background()) }

// CloseBy is Close; what is still to be published when ctx ends isn't any more: the
// Backplane's other nodes learn of the ends of presences when this process has gone.
func (s *Server) CloseBy(ctx context.Context) error {
	s.stop()
	for {
		s.abortEarly()
		for _, c := range s.store.snapshot() {
			c.abort(ErrServerClosed)
		}
		select {
		case <-s.drained:
			s.stopPresence(ctx)
			return s.unsubscribe(context.Background())
		case <-time.After(endAgain):
		}
	}
}

// stop refuses new connections from now on.
func (s *Server) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	if s.serving == 0 {
		close(s.drained)
	}
}

// enter counts a call of Serve in.
func (s *Server) enter(c *Connection) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrServerClosed
	}
	s.serving++
	if s.early == nil {
		s.early = make(map[*Connection]struct{})
	}
	s.early[c] = struct{}{}
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	return nil
}

// admit puts c into the store once its handshake is done.
func (s *Server) admit(c *Connection) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.early, c)
	if s.closed {
		return ErrServerClosed
	}
	if !s.store.add(c) {
		return errTakenID
	}
	return nil
}

// leave counts it out; the last one starts the linger.
func (s *Server) leave(c *Connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.early, c)
	s.serving--
	if s.serving > 0 {
		return
	}
	s.idle = time.Now()
	if s.closed {
		close(s.drained)
		return
	}
	s.timer = time.AfterFunc(s.linger, s.rest)
}

// rest leaves the Backplane when there is still no connection.
func (s *Server) rest() {
	s.joining <- struct{}{}
	defer func() { <-s.joining }()
	s.mu.Lock()
	busy := s.serving > 0
	s.mu.Unlock()
	if !busy && s.unsub != nil {
		s.unsub()
		s.unsub = nil
	}
}

// subscribe makes the Server part of the hub unless it is already.
func (s *Server) subscribe(ctx context.Context) error {
	select {
	case s.joining <- struct{}{}: // as a rule it is part of the hub, and nobody is at it
		known := s.unsub != nil
		<-s.joining
		if known {
			return nil
		}
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, subscribeTimeout)
	defer cancel()
	select {
	case s.joining <- struct{}{}:
		defer func() { <-s.joining }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if s.unsub != nil {
		return nil
	}
	unsub, err := s.Backplane().Subscribe(ctx, s)
	if err != nil {
		return err
	}
	s.unsub = unsub
	return nil
}

// unsubscribe leaves the hub.
func (s *Server) unsubscribe(ctx context.Context) error {
	select {
	case s.joining <- struct{}{}:
		defer func() { <-s.joining }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if s.unsub != nil {
		s.unsub()
		s.unsub = nil
	}
	return nil
}
