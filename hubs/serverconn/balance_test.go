package serverconn_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/signalbox/signalbox/hubs/serverconn"
	sp "github.com/signalbox/signalbox/hubs/serviceprotocol"
)

// A hub whose server connections are far fuller than those of others asks for one
// more, once in a while.
func TestBalance(t *testing.T) {
	t.Parallel()
	s := newStand(t, nil, timing(func(t *serverconn.Timing) { t.Balance = time.Millisecond }))
	a := s.connect("one", sp.ConnectionDefault, 0)
	s.admit(func(a *serverconn.Admission) { a.Hub.Name = "quiet" })
	for range 4 {
		s.connectWithout("two")
	}
	for i := range 501 {
		if _, err := s.pool.Open(t.Context(), client(fmt.Sprint("c", i)), newQuietDown()); err != nil {
			t.Fatal(err)
		}
	}
	for {
		p := await[*sp.Ping](a)
		if instance, ok := p.Target(); ok {
			if instance != "edge-1" {
				t.Errorf("asked for a connection to %q", instance)
			}
			break
		}
	}
	// What comes of it takes the next clients.
	s.admit(func(a *serverconn.Admission) { a.Hub = chat })
	s.connect("one", sp.ConnectionOnDemand, 0)
	if _, err := s.pool.Open(t.Context(), client("next"), newQuietDown()); err != nil {
		t.Fatal(err)
	}
	var loads []int
	s.pool.Servers(chat, func(_ string, clients int) { loads = append(loads, clients) })
	if len(loads) != 2 || loads[0] != 501 || loads[1] != 1 {
		t.Errorf("loads are %v", loads)
	}
}

// connectWithout opens a server connection of another hub than chat.
func (s *stand) connectWithout(server string) {
	s.t.Helper()
	a := s.dial(server)
	a.send(&sp.HandshakeRequest{Version: 1})
	await[*sp.HandshakeResponse](a)
}

func TestDrainingEdgeTakesNoConnections(t *testing.T) {
	t.Parallel()
	s := newStand(t, nil)
	s.pool.Drain()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, res, err := websocket.Dial(ctx, s.url, nil)
	if err == nil || res == nil || res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("answered with %+v, %v", res, err)
	}
}
