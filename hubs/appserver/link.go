package appserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/serviceprotocol"
)

// The times of a server connection (ServiceConnectionBase of the Azure SignalR
// SDK) and its bounds.
const (
	handshakeTimeout = 15 * time.Second
	silenceTimeout   = 30 * time.Second // of the service
	keepAlive        = 5 * time.Second  // of silence towards the service
	maxIncoming      = 32 << 20         // bytes of one message
	maxOutgoing      = 8 << 20          // bytes that may wait to be written
	keptOutgoing     = 64 << 10         // bytes of a buffer that is used again
)

// errLinkClosed: the server connection has ended.
var errLinkClosed = errors.New("the server connection has ended")

// refusedError is the service's refusal of a server connection.
type refusedError struct{ text string }

func (e *refusedError) Error() string { return "the service refuses the server connection: " + e.text }

// link is one server connection. Messages leave in the order of send and post,
// joined to as few frames as they make while one is being written.
type link struct {
	app    *App
	target string // of an on-demand connection
	ws     *websocket.Conn
	reader *serviceprotocol.Reader
	cancel context.CancelCauseFunc
	watch  *time.Timer // ends the link when the service is silent

	mu       sync.Mutex
	out      []byte
	writing  bool          // something has been taken and isn't written
	ready    chan struct{} // has a value when out isn't empty
	room     chan struct{} // closed when out has been taken; nil while nobody waits
	done     chan struct{} // closed at the end
	cause    error         // set at the end
	sent     time.Time
	offline  bool          // the service asks to send over others
	finished chan struct{} // closed when the service has answered a shutdown
	clients  int
}

// dial makes a server connection and shakes hands.
func (a *App) dial(ctx context.Context, target string) (*link, error) {
	token, err := a.endpoint.serverToken(a.hubKey, a.serverID, time.Now())
	if err != nil {
		return nil, fmt.Errorf("make a token: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	at := strings.Replace(a.endpoint.Server, "http", "ws", 1) + "server/?hub=" + url.QueryEscape(a.hubKey) + "&cid=" + hubs.NewConnectionID()
	if target != "" {
		at += "&target=" + url.QueryEscape(target)
	}
	ws, response, err := websocket.Dial(ctx, at, &websocket.DialOptions{ //nolint:bodyclose // Dial's answer has none to close
		HTTPClient: a.opt.HTTPClient,
		HTTPHeader: http.Header{
			"Authorization":    {"Bearer " + token},
			"X-ASRS-Server-Id": {a.serverID},
			"Asrs-User-Agent":  {"Signalbox.AppServer (Go)"},
			"X-Requested-With": {"XMLHttpRequest"},
		},
	})
	if err != nil {
		if response != nil && response.StatusCode >= http.StatusBadRequest {
			return nil, &refusedError{response.Status}
		}
		return nil, fmt.Errorf("connect: %w", err)
	}
	ws.SetReadLimit(-1) // frames mean nothing; messages are bounded
	l := &link{
		app: a, target: target, ws: ws, ready: make(chan struct{}, 1), done: make(chan struct{}), finished: make(chan struct{}), sent: time.Now(),
	}
	lifetime, end := context.WithCancelCause(context.WithoutCancel(ctx))
	l.cancel = end
	l.reader = serviceprotocol.NewReader(&frames{ctx: lifetime, link: l}, maxIncoming)
	l.watch = time.AfterFunc(handshakeTimeout, func() { l.fail(errors.New("the service has been silent for too long")) })
	if err := l.shakeHands(ctx); err != nil {
		l.fail(err)
		return nil, err
	}
	return l, nil
}

// shakeHands sends the first message and reads the service's.
func (l *link) shakeHands(ctx context.Context) error {
	request := &serviceprotocol.HandshakeRequest{Version: serviceprotocol.Version, Target: l.target}
	if l.target != "" {
		request.ConnectionType = serviceprotocol.ConnectionOnDemand
	}
	if l.app.opt.Migration == MigrateClients {
		request.MigrationLevel = serviceprotocol.MigrationShutdownOnly
	}
	if err := l.ws.Write(ctx, websocket.MessageBinary, serviceprotocol.Append(nil, request)); err != nil {
		return fmt.Errorf("send the handshake: %w", err)
	}
	m, err := l.reader.Next()
	if err != nil {
		return fmt.Errorf("read the answer to the handshake: %w", err)
	}
	response, ok := m.(*serviceprotocol.HandshakeResponse)
	switch {
	case !ok:
		return fmt.Errorf("the service begins with a message of type %d", m.Type())
	case response.Error != "":
		return &refusedError{response.Error}
	}
	return nil
}

// frames reads the frames of a WebSocket as one stream.
type frames struct {
	ctx   context.Context
	link  *link
	frame io.Reader
}

// Read implements io.Reader.
func (f *frames) Read(p []byte) (int, error) {
	for {
		if f.frame == nil {
			_, frame, err := f.link.ws.Reader(f.ctx)
			if err != nil {
				return 0, err
			}
			f.frame = frame
		}
		n, err := f.frame.Read(p)
		if n > 0 {
			f.link.watch.Reset(silenceTimeout)
		}
		if errors.Is(err, io.EOF) {
			f.frame, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// serve runs the connection to its end and returns why it ended.
func (l *link) serve() error {
	var group sync.WaitGroup
	group.Go(l.write)
	group.Go(l.ping)
	for {
		m, err := l.reader.Next()
		if err != nil {
			l.fail(err)
			break
		}
		l.receive(m)
	}
	group.Wait()
	return l.cause
}

// send queues messages and waits for room first.
func (l *link) send(ctx context.Context, m serviceprotocol.Message) error {
	for {
		l.mu.Lock()
		if l.cause != nil {
			defer l.mu.Unlock()
			return fmt.Errorf("%w: %w", hubs.ErrUnavailable, errLinkClosed)
		}
		if len(l.out) < maxOutgoing {
			l.append(m)
			l.mu.Unlock()
			return nil
		}
		if l.room == nil {
			l.room = make(chan struct{})
		}
		room := l.room
		l.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// post queues a short message whatever waits.
func (l *link) post(m serviceprotocol.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause == nil {
		l.append(m)
	}
}

// append queues a message. l.mu is held.
func (l *link) append(m serviceprotocol.Message) {
	l.out = serviceprotocol.Append(l.out, m)
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

// take returns what waits, and gives back the buffer that was written last.
func (l *link) take(written []byte) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.out
	l.out = nil
	if cap(written) <= keptOutgoing {
		l.out = written[:0]
	}
	if l.room != nil {
		close(l.room)
		l.room = nil
	}
	if l.writing = len(out) > 0; l.writing {
		l.sent = time.Now()
	}
	return out
}

// write writes what waits, until the end.
func (l *link) write() {
	var out []byte
	for {
		select {
		case <-l.ready:
		case <-l.done:
			return
		}
		for out = l.take(out); len(out) > 0; out = l.take(out) {
			ctx, cancel := context.WithTimeout(context.Background(), silenceTimeout)
			err := l.ws.Write(ctx, websocket.MessageBinary, out)
			cancel()
			if err != nil {
				l.fail(err)
				return
			}
		}
	}
}

// ping keeps the connection alive.
func (l *link) ping() {
	ticker := time.NewTicker(keepAlive)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-l.done:
			return
		}
		l.mu.Lock()
		quiet, clients := time.Since(l.sent) >= keepAlive-time.Second, l.clients
		l.mu.Unlock()
		if quiet {
			l.post(serviceprotocol.ClientCounts(l.app.Clients(), clients))
		}
	}
}

// fail ends the connection; the first cause counts.
func (l *link) fail(cause error) {
	l.mu.Lock()
	first := l.cause == nil
	if first {
		l.cause = cause
		close(l.done)
		if l.room != nil {
			close(l.room)
			l.room = nil
		}
	}
	l.mu.Unlock()
	if first {
		l.watch.Stop()
		l.cancel(cause)
		_ = l.ws.CloseNow()
	}
}

// usable reports whether the service wants to be sent to over this connection.
func (l *link) usable() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause == nil && !l.offline
}

// setOffline: the service asks to send over others.
func (l *link) setOffline() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.offline = true
}

func (l *link) count(delta int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clients += delta
}

// goodbye waits until what is queued has been written, and closes the connection
// in the orderly way.
func (l *link) goodbye(ctx context.Context) {
	for {
		l.mu.Lock()
		waiting, ended := len(l.out) > 0 || l.writing, l.cause != nil
		if waiting && l.room == nil {
			l.room = make(chan struct{})
		}
		room := l.room
		l.mu.Unlock()
		if ended {
			return
		}
		if !waiting {
			break
		}
		select {
		case <-room:
		case <-ctx.Done():
			l.fail(errLinkClosed)
			return
		}
	}
	// Close waits for a write in progress, and for the service.
	_ = l.ws.Close(websocket.StatusNormalClosure, "")
	l.fail(errLinkClosed)
}
