package serverlink_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/backplane"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/internal/testenv"
)

// wire is a hubs.Transport in memory, with a client at its other end that only
// reads.
type wire struct {
	mu    sync.Mutex
	cond  *sync.Cond
	in    []byte
	out   []byte
	ended bool
}

func newWire() *wire {
	w := &wire{in: []byte("{\"protocol\":\"json\",\"version\":1}\x1e")}
	w.cond = sync.NewCond(&w.mu)
	return w
}

func (w *wire) Kind() hubs.TransportKind          { return hubs.WebSockets }
func (w *wire) SetFormat(protocol.TransferFormat) {}
func (w *wire) Close(hubs.Ending)                 { w.Abort() }

func (w *wire) Wait() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.in) == 0 && !w.ended {
		w.cond.Wait()
	}
	if len(w.in) > 0 {
		return nil
	}
	return io.EOF
}

func (w *wire) Read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := copy(p, w.in)
	w.in = w.in[n:]
	return n, nil
}

func (w *wire) Write(p []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return io.ErrClosedPipe
	}
	w.out = append(w.out, p...)
	w.cond.Broadcast()
	return nil
}

func (w *wire) Abort() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	w.cond.Broadcast()
}

// record returns the client's next record that is no ping.
func (w *wire) record(t *testing.T) string {
	t.Helper()
	timer := time.AfterFunc(patience, w.Abort)
	defer timer.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		if i := bytes.IndexByte(w.out, 0x1e); i >= 0 {
			r := string(w.out[:i])
			w.out = w.out[i+1:]
			if r == `{"type":6}` {
				continue
			}
			return r
		}
		if w.ended {
			t.Fatalf("nothing more came; left is %q", w.out)
		}
		w.cond.Wait()
	}
}

// hubOn serves the hub chat on a node, over Redis.
func hubOn(t *testing.T, n *node) *hubs.Server {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	bus, err := backplane.New(backplane.Config{Redis: n.redis, EdgeRun: n.run, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bus.Close)
	s, err := hubs.NewServer(hubs.Config{
		Name: chat.Name, Backplane: bus.Hub(chat.Tenant, chat.Name, backplane.Settings{}), Logger: log,
		Options: hubs.Options{OutboundMessages: 50_000, OutboundBytes: 64 << 20},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestOrder_of_a_flow_whose_client_is_on_another_edge: an app server sends
// frames to one client and publishes to its hub by turns, 10,000 times, at random.
// The client, on another edge, sees all of it in the order of the program:
// frames come over the link, publishes through Redis.
func TestOrder_of_a_flow_whose_client_is_on_another_edge(t *testing.T) {
	t.Parallel()
	a, b, app := two(t)
	here, there := hubOn(t, a), hubOn(t, b)
	w := newWire()
	var serving sync.WaitGroup
	serving.Go(func() { _ = here.Serve(context.Background(), hubs.ConnectionInfo{ID: "c1"}, w) })
	t.Cleanup(func() {
		w.Abort()
		serving.Wait()
	})
	if r := w.record(t); r != "{}" {
		t.Fatalf("handshake: %q", r)
	}
	connection, ok := here.Connection("c1")
	if !ok {
		t.Fatal("the client isn't connected")
	}
	_, d := a.mustOpen(newClient("c1"))
	// The client's edge may take its time to find a place.
	late := make(chan func(), 1000)
	serving.Go(func() {
		for do := range late {
			do()
		}
	})
	t.Cleanup(func() { close(late) })
	d.mu.Lock()
	d.take = func(after hubs.Position, payload []byte, settled *sync.WaitGroup) {
		settled.Add(1)
		frame := bytes.Clone(payload)
		late <- func() {
			connection.SendAfter(after, frame, false)
			settled.Done()
		}
	}
	d.mu.Unlock()
	p := get(t, "pairing", app.opened)

	const steps = 10_000
	flowed := make(chan error, 1)
	go func() {
		var last hubs.Position
		var settled sync.WaitGroup
		for i := 0; i < steps; {
			direct := rand.IntN(2) == 0
			for range min(1+rand.IntN(3), steps-i) {
				if direct {
					p.down.Deliver(last, fmt.Appendf(nil, "{\"type\":1,\"target\":\"n\",\"arguments\":[%d]}\x1e", i), &settled)
				} else {
					settled.Wait()
					at, err := there.Backplane().Publish(context.Background(), &hubs.Entry{
						Kind:    hubs.SendToAll,
						Message: &hubs.Broadcast{Target: "n", Arguments: protocol.Raw{Bytes: fmt.Appendf(nil, "[%d]", i)}},
					}, hubs.PublishOptions{})
					if err != nil {
						flowed <- err
						return
					}
					last = at
				}
				i++
			}
		}
		flowed <- nil
	}()
	for i := range steps {
		want := fmt.Sprintf(`{"type":1,"target":"n","arguments":[%d]}`, i)
		if got := w.record(t); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	if err := get(t, "end of the flow", flowed); err != nil {
		t.Fatal(err)
	}
}

// A link is for members of the fleet that mean this very edge.
func TestServeHTTP_refuses(t *testing.T) {
	t.Parallel()
	n := newNode(t, testenv.Redis(t))
	for _, row := range []struct {
		name   string
		header map[string]string
		status int
	}{
		{"no_upgrade", nil, http.StatusUpgradeRequired},
		{"other_protocol", map[string]string{"Upgrade": "websocket", "Signalbox-Link-From": "x", "Signalbox-Link-To": n.run}, http.StatusUpgradeRequired},
		{"nameless", map[string]string{"Upgrade": "signalbox-link/1", "Signalbox-Link-To": n.run}, http.StatusUpgradeRequired},
		{"meant_for_another_edge", map[string]string{"Upgrade": "signalbox-link/1", "Signalbox-Link-From": "x", "Signalbox-Link-To": "other"}, http.StatusMisdirectedRequest},
	} {
		t.Run(row.name, func(t *testing.T) {
			res := n.request(t, row.header)
			if res != row.status {
				t.Errorf("status %d, want %d", res, row.status)
			}
		})
	}
}
