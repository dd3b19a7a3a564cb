package serverconn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/serviceprotocol"
	"github.com/signalbox/signalbox/tenants"
)

// Admission is for whom a server connection is and what it may do.
type Admission struct {
	Hub pairing.Hub
	// ServerID names the app server's process: the token's nameid.
	ServerID string
	// ConnectionID is what the app server calls the server connection: cid of the
	// request's query. Empty: it gets a name. The SDK goes by its own name in what
	// it is told of the connection.
	ConnectionID string
	// Credential is what the token can be revoked by.
	Credential tenants.Credential
	// Handler is the hub's setting: app servers get clients only when it says so.
	Handler tenants.Handler
	// Limits returns those in force now.
	Limits func() tenants.Limits
	// Backplane returns the hub's, with the settings in force now.
	Backplane func() hubs.Backplane
	// Admit takes messages, which are for groups or for others, out of the tenant's
	// rates, or a request when there are none. It returns how long to wait before
	// asking again, 0 when they are taken. An error, whose text is shown, says that
	// they never will be.
	Admit func(ctx context.Context, groups []string, messages int) (wait time.Duration, err error)
	// Refused counts what isn't done for the tenant, by code.
	Refused func(code string)
}

// What is known of an app server's pauses.
const (
	pausesUnknown int32 = iota
	pausesKnown
	pausesNever
)

var (
	errSilent   = errors.New("the app server has been silent for too long")
	errShutdown = errors.New("the app server is shutting down")
	errEnded    = errors.New("the server connection was ended by the service")
)

// flushPatience is how long the last words to an app server may take.
const flushPatience = 300 * time.Millisecond

// connection is one server connection: a reader, which is the goroutine of run, a
// writer, and those that wait for outcomes.
type connection struct {
	pool      *Pool
	admission Admission
	id        string
	kind      serviceprotocol.ConnectionType
	level     serviceprotocol.MigrationLevel
	refusal   *refusal // set when it is only told so
	log       *slog.Logger
	ws        *websocket.Conn
	stream    *stream
	out       *outbox
	flow      flow
	scratch   protocol.Message // the reader's

	ctx    context.Context // the connection's lifetime
	cancel context.CancelCauseFunc
	work   sync.WaitGroup

	clients  atomic.Int64
	shaken   atomic.Bool // the handshake is answered
	draining atomic.Bool
	moving   atomic.Bool // clients are asked to move
	pauses   atomic.Int32
	results  atomic.Int64 // of clients that are waited for
	echoed   atomic.Int64 // when the latency probe was sent, in Unix nanoseconds
	probes   int          // pings until the next latency probe; the writer's
	events   eventLimit

	waiting chan struct{} // room for goroutines that wait for outcomes

	mu       sync.Mutex
	sessions map[string]*session // nil once it has ended
}

// maxWaiting is how many outcomes of one server connection are waited for at once;
// the next command waits.
const maxWaiting = 256

func newConnection(p *Pool, ws *websocket.Conn, a Admission) *connection {
	k := &connection{
		pool: p, admission: a, id: connectionID(a.ConnectionID), ws: ws, out: newOutbox(),
		sessions: make(map[string]*session), waiting: make(chan struct{}, maxWaiting),
	}
	k.log = p.cfg.Logger.With("tenant_id", a.Hub.Tenant, "hub", a.Hub.Name, "server_connection", k.id)
	k.ctx, k.cancel = context.WithCancelCause(context.Background())
	k.stream = &stream{Conn: websocket.NetConn(context.Background(), ws, websocket.MessageBinary), silent: p.cfg.Timing.Handshake}
	k.flow.backplane, k.flow.outage, k.flow.work, k.flow.given = a.Backplane, p.cfg.Timing.Outage, &k.work, k.gaveUp
	return k
}

// takesClients reports whether clients may be given to the connection.
func (k *connection) takesClients() bool {
	return k.kind != serviceprotocol.ConnectionWeak && !k.draining.Load() && k.ctx.Err() == nil
}

// less reports whether k is the better one for a client: it takes in what it is
// sent where other doesn't, or else has fewer clients.
func (k *connection) less(other *connection) bool {
	if a, b := k.out.full(), other.out.full(); a != b {
		return b
	}
	return k.clients.Load() < other.clients.Load()
}

// run serves the connection to its end.
func (k *connection) run() {
	written := make(chan struct{})
	k.work.Go(func() {
		defer close(written)
		if err := k.out.write(k.stream.Conn, k.pool.cfg.Timing, k.ping); !errors.Is(err, errClosed) {
			if errors.Is(err, errStalled) {
				k.admission.Refused(codeStalled)
			}
			k.cancel(err)
		}
	})
	// Whoever ends the connection cancels it: the socket goes when the last words
	// are said, and with it the reader.
	closed := make(chan struct{})
	context.AfterFunc(k.ctx, func() {
		defer close(closed)
		k.hangUp(written)
	})
	err := k.serve()
	k.out.finish()
	k.cancel(err)
	k.pool.remove(k)
	k.mu.Lock()
	sessions := k.sessions
	k.sessions = nil
	k.mu.Unlock()
	lost := fmt.Errorf("server connection: %w", err)
	for _, s := range sessions {
		s.lose(lost)
	}
	<-closed
	k.work.Wait()
	k.log.Info("app server disconnected", "server", k.admission.ServerID, "clients", len(sessions), "cause", err)
}

// hangUp closes the socket when all is written, or after a moment.
func (k *connection) hangUp(written <-chan struct{}) {
	polite := make(chan struct{})
	go func() {
		defer close(polite)
		<-written
		_ = k.ws.Close(websocket.StatusNormalClosure, "")
	}()
	select {
	case <-polite:
	case <-time.After(flushPatience):
	}
	k.out.abandon()
	_ = k.ws.CloseNow()
	<-polite
}

// serve shakes hands and reads until the connection ends. It returns why.
func (k *connection) serve() error {
	reader := serviceprotocol.NewReader(k.stream, maxMessage(k.admission.Limits()))
	if err := k.shakeHands(reader); err != nil {
		return err
	}
	if err := k.pool.add(k); err != nil {
		k.out.force(&serviceprotocol.ServiceError{Message: err.Error()})
		return err
	}
	k.log.Info("app server connected", "server", k.admission.ServerID, "kind", int(k.kind))
	for {
		m, err := reader.Next()
		if err == nil {
			err = k.handle(m)
		}
		if err != nil {
			return k.why(err)
		}
	}
}

// why turns what ended the reader into a cause, and tells the app server of it
// when it is at fault.
func (k *connection) why(err error) error {
	var broken *serviceprotocol.Error
	switch {
	case k.stream.silence():
		k.admission.Refused(codeSilent)
		return errSilent
	case k.ctx.Err() != nil:
		return context.Cause(k.ctx)
	case errors.As(err, &broken):
		k.admission.Refused(codeProtocol)
		k.out.force(&serviceprotocol.ServiceError{Message: codeProtocol + ": " + broken.Message})
	case errors.Is(err, errUnsettled):
		k.admission.Refused(codeUnavailable)
		k.out.force(&serviceprotocol.ServiceError{Message: "internal: " + err.Error()})
	}
	return err
}

// fail ends the connection and tells the app server why.
func (k *connection) fail(text string) {
	k.out.force(&serviceprotocol.ServiceError{Message: text})
	k.leave()
}

// leave ends the connection when what is queued is written.
func (k *connection) leave() {
	k.out.finish()
	k.cancel(errEnded)
}

// await runs f, which waits for an outcome, beside the reader.
func (k *connection) await(f func(ctx context.Context)) error {
	select {
	case k.waiting <- struct{}{}:
	case <-k.ctx.Done():
		return context.Cause(k.ctx)
	}
	k.work.Go(func() {
		defer func() { <-k.waiting }()
		f(k.ctx)
	})
	return nil
}

// beside runs f on a goroutine of the connection, unless that has ended.
func (k *connection) beside(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.sessions != nil {
		k.work.Go(f)
	}
}

// maxMessage is the longest message in bytes that an app server may send: the
// largest payload in both hub protocols, and names.
func maxMessage(l tenants.Limits) int { return 2*max(l.MaxMessageBytes, 32<<10) + 256<<10 }

// stream is the socket as a stream of bytes that must not dry up.
type stream struct {
	net.Conn
	silent time.Duration
	since  atomic.Int64 // when the read under way began, in Unix nanoseconds; 0 = none is
}

func (s *stream) Read(p []byte) (int, error) {
	now := time.Now()
	if err := s.SetReadDeadline(now.Add(s.silent)); err != nil {
		return 0, err
	}
	s.since.Store(now.UnixNano())
	n, err := s.Conn.Read(p)
	if err == nil {
		s.since.Store(0)
	}
	return n, err
}

// silence reports whether the last read failed since nothing came.
func (s *stream) silence() bool {
	since := s.since.Load()
	return since != 0 && time.Since(time.Unix(0, since)) >= s.silent
}
