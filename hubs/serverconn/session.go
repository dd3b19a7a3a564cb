package serverconn

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/hubs/serviceprotocol"
)

// The headers of a client's request that only the service may set begin so.
const serviceHeader = "asrs-"

var (
	errPaired = errors.New("the client is paired with this server connection already")
)

// session is one client of a server connection. It implements pairing.Session.
type session struct {
	k  *connection
	id string
	// since is how many entries the flow had begun when the client came: what was
	// published before that it need not follow.
	since uint64

	over atomic.Bool
	done chan struct{} // closed when over
	flow clientFlow

	// calls serializes what the Downstream is told.
	calls sync.Mutex
	down  pairing.Downstream
}

var _ pairing.Session = (*session)(nil)

// open tells the app server of a client. The error is errClosed when the server
// connection has ended.
func (k *connection) open(c *pairing.Client, d pairing.Downstream) (*session, error) {
	s := &session{k: k, id: c.ConnectionID, down: d, done: make(chan struct{})}
	s.flow.paused = make(chan struct{})
	opening := &serviceprotocol.OpenConnection{
		ConnectionID: c.ConnectionID, Claims: claims(c.Claims), Headers: k.headers(c), Query: c.Query, Protocol: c.Protocol,
	}
	handshake := &serviceprotocol.ConnectionData{ConnectionID: c.ConnectionID, Payload: c.Handshake, DataType: serviceprotocol.DataHandshake}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.sessions == nil {
		return nil, errClosed
	}
	if k.sessions[c.ConnectionID] != nil {
		return nil, errPaired
	}
	s.since = k.flow.begun.Load()
	if !k.out.force(opening, handshake) {
		return nil, errClosed
	}
	k.sessions[c.ConnectionID] = s
	return s, nil
}

func claims(list []hubs.Claim) []serviceprotocol.Claim {
	out := make([]serviceprotocol.Claim, len(list))
	for i, c := range list {
		out[i] = serviceprotocol.Claim{Type: c.Type, Value: c.Value}
	}
	return out
}

// headers returns what an app server is told as the client's headers. Those that
// tell the service's own mind are not the client's to set.
func (k *connection) headers(c *pairing.Client) []serviceprotocol.Header {
	list := make([]serviceprotocol.Header, 0, len(c.Headers)+2)
	for name, values := range c.Headers {
		if !strings.HasPrefix(strings.ToLower(name), serviceHeader) {
			list = append(list, serviceprotocol.Header{Name: name, Values: values})
		}
	}
	slices.SortFunc(list, func(a, b serviceprotocol.Header) int { return strings.Compare(a.Name, b.Name) })
	list = append(list, serviceprotocol.Header{Name: serviceprotocol.HeaderInstanceID, Values: []string{k.pool.cfg.Instance}})
	if c.MovedFrom != "" {
		list = append(list, serviceprotocol.Header{Name: serviceprotocol.HeaderMigrateFrom, Values: []string{c.MovedFrom}})
	}
	return list
}

// session returns the client with this id, or nil.
func (k *connection) session(id string) *session {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.sessions[id]
}

// end makes the session over; it reports false when it was already.
func (s *session) end() bool {
	if !s.over.CompareAndSwap(false, true) {
		return false
	}
	close(s.done)
	s.k.mu.Lock()
	delete(s.k.sessions, s.id)
	s.k.mu.Unlock()
	s.k.clients.Add(-1)
	return true
}

// ServerID implements pairing.Session.
func (s *session) ServerID() string { return s.k.admission.ServerID }

// Send implements pairing.Session.
func (s *session) Send(ctx context.Context, payload []byte, t pairing.DataType) error {
	if s.over.Load() {
		return pairing.ErrEnded
	}
	err := s.k.out.put(ctx, s.done, &serviceprotocol.ConnectionData{
		ConnectionID: s.id, Payload: payload, DataType: serviceprotocol.DataType(t),
	})
	if errors.Is(err, errClosed) {
		return pairing.ErrEnded
	}
	return err
}

// End implements pairing.Session.
func (s *session) End(reason, movedTo string) {
	if s.end() {
		s.tellClosed(reason, movedTo)
	}
}

// tellClosed tells the app server that the client is gone.
func (s *session) tellClosed(reason, movedTo string) {
	m := &serviceprotocol.CloseConnection{ConnectionID: s.id, Error: reason}
	if movedTo != "" {
		m.Headers = []serviceprotocol.Header{{Name: serviceprotocol.HeaderMigrateTo, Values: []string{movedTo}}}
	}
	s.k.out.force(m)
}

// tell calls the Downstream, unless the session is over.
func (s *session) tell(f func(pairing.Downstream)) {
	s.calls.Lock()
	defer s.calls.Unlock()
	if !s.over.Load() {
		f(s.down)
	}
}

// lose ends the session and says so to the client's edge.
func (s *session) lose(cause error) bool {
	s.calls.Lock()
	defer s.calls.Unlock()
	if !s.end() {
		return false
	}
	s.down.Lost(cause)
	return true
}

// after is what bytes for the client come behind, of what the flow has published.
func (s *session) after(at hubs.Position) hubs.Position {
	if s.k.flow.begun.Load() == s.since {
		return hubs.Position{}
	}
	return at
}
