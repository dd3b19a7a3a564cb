package serverconn_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/hubs/serverconn"
	sp "github.com/signalbox/signalbox/hubs/serviceprotocol"
)

// remote is a client on another edge: a node of the hub with one client, which gets
// the hub's entries when they are applied, and bytes from its app server a while
// after they were sent, behind the entry that they follow.
type remote struct {
	t    testing.TB
	link chan func() // in order, late

	mu      sync.Mutex
	changed *sync.Cond
	applied hubs.Position
	seen    []string
}

func newRemote(t testing.TB) *remote {
	r := &remote{t: t, link: make(chan func(), 1<<16)}
	r.changed = sync.NewCond(&r.mu)
	go func() {
		for f := range r.link {
			for range rand.IntN(50) {
				runtime.Gosched()
			}
			f()
		}
	}()
	t.Cleanup(func() { close(r.link) })
	return r
}

func (r *remote) Apply(e *hubs.Entry) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.applied = hubs.Position{Epoch: e.Epoch, Number: e.Number}
	if e.Message != nil {
		r.seen = append(r.seen, string(e.Message.Frames["json"]))
	}
	r.changed.Broadcast()
	return 1
}
func (r *remote) Answer(hubs.Query) int         { return 1 }
func (r *remote) List(hubs.ListQuery) hubs.Page { return hubs.Page{} }
func (r *remote) Begins(hubs.Position)          {}
func (r *remote) Lost(hubs.Gap)                 { r.t.Error("entries were lost") }

func (r *remote) Deliver(after hubs.Position, payload []byte, settled *sync.WaitGroup) {
	settled.Add(1)
	text := string(payload)
	r.link <- func() {
		defer settled.Done()
		r.mu.Lock()
		defer r.mu.Unlock()
		for after.Number > 0 && r.applied.Number < after.Number {
			r.changed.Wait()
		}
		r.seen = append(r.seen, text)
		r.changed.Broadcast()
	}
}
func (r *remote) Close(hubs.Position, string) {}
func (r *remote) Migrate()                    {}

// remoteDown is the remote as a Downstream: both have a method Lost.
type remoteDown struct{ *remote }

func (r remoteDown) Lost(error) {}

// Frames to one client and sends through the hub, 10,000 of them in any order, are
// seen in the order in which the app server sent them.
func TestOrder(t *testing.T) {
	t.Parallel()
	const count = 10_000
	s := newStand(t, nil)
	r := newRemote(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	leave, err := s.bus.Subscribe(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	a := s.connect("app-1", sp.ConnectionDefault, 0)
	if _, err := s.pool.Open(ctx, client("c1"), remoteDown{r}); err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for sent := 0; sent < count; {
		var list []sp.Message
		for range 1 + random.IntN(20) {
			text := fmt.Sprintf(`{"type":1,"target":"t","arguments":[%d]}`+"\x1e", sent)
			p := []sp.Payload{{Protocol: "json", Data: []byte(text)}}
			switch random.IntN(8) {
			case 0, 1, 2:
				list = append(list, &sp.ConnectionData{ConnectionID: "c1", Payload: []byte(text)})
			case 3:
				list = append(list, &sp.JoinGroupWithAck{ConnectionID: "c1", Group: "g", AckID: 1}, &sp.GroupBroadcastData{Group: "g", Payloads: p})
			case 4:
				list = append(list, &sp.MultiConnectionData{ConnectionIDs: []string{"c1"}, Payloads: p})
			default:
				list = append(list, &sp.GroupBroadcastData{Group: "g", Payloads: p})
			}
			if sent++; sent == count {
				break
			}
		}
		a.send(list...)
	}
	stop := context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.changed.Broadcast()
	})
	defer stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.seen) < count && ctx.Err() == nil {
		r.changed.Wait()
	}
	if len(r.seen) != count {
		t.Fatalf("%d of %d came", len(r.seen), count)
	}
	for i, text := range r.seen {
		if want := fmt.Sprintf(`{"type":1,"target":"t","arguments":[%d]}`+"\x1e", i); text != want {
			t.Fatalf("place %d has %s", i, text)
		}
	}
}

// flaky is a backplane that is away for a number of attempts, as Redis is in a
// failover: nothing is published then.
type flaky struct {
	hubs.Backplane
	mu    sync.Mutex
	fails int
	err   error
	begun int
}

func (f *flaky) Begin(ctx context.Context, e *hubs.Entry, o hubs.PublishOptions, command bool) (hubs.Begun, error) {
	f.mu.Lock()
	f.begun++
	fail := f.fails > 0
	if fail {
		f.fails--
	}
	f.mu.Unlock()
	if fail {
		return nil, f.err
	}
	return hubs.Begin(ctx, f.Backplane, e, o, command)
}

func (f *flaky) fail(times int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fails, f.err = times, err
}

// What can't be published for a while is published then, in order.
func TestShortOutage(t *testing.T) {
	t.Parallel()
	bus := &flaky{Backplane: newBus(t)}
	s := newStand(t, bus)
	n := s.node()
	a := s.connect("app-1", sp.ConnectionDefault, 0)
	bus.fail(8, hubs.ErrUnavailable)
	for i := range 200 {
		a.send(&sp.BroadcastData{Payloads: payloads(t, "t", strconv.Itoa(i))})
	}
	for i := range 200 {
		if got, want := string(n.next(t).Message.Frames["json"]), string(payloads(t, "t", strconv.Itoa(i))[0].Data); got != want {
			t.Fatalf("entry %d is %s", i, got)
		}
	}
	if s.refusals("unavailable") > 0 {
		t.Errorf("%d were given up", s.refusals("unavailable"))
	}
}

// In a long outage the app server is told, clients are served on, and commands are
// answered; afterwards all is well.
func TestLongOutage(t *testing.T) {
	t.Parallel()
	bus := &flaky{Backplane: newBus(t)}
	s := newStand(t, bus, timing(func(t *serverconn.Timing) { t.Outage = 30 * time.Millisecond }))
	n := s.node()
	n.matches.Store(1)
	a := s.connect("app-1", sp.ConnectionDefault, 0)
	_, d := s.open(a, client("c1"))
	bus.fail(1_000_000, hubs.ErrUnavailable)
	a.send(&sp.BroadcastData{Payloads: payloads(t, "t", "lost")})
	if e := await[*sp.ServiceEvent](a); e.Kind != sp.EventBufferFull {
		t.Errorf("told %+v", e)
	}
	a.send(&sp.ConnectionData{ConnectionID: "c1", Payload: []byte("direct")})
	d.expect("data direct")
	a.send(&sp.JoinGroupWithAck{ConnectionID: "c1", Group: "g", AckID: 5})
	if m := await[*sp.Ack](a); m.AckID != 5 || m.Status != sp.AckInternalServerError {
		t.Errorf("acked with %+v", m)
	}
	bus.fail(0, nil)
	a.send(&sp.BroadcastData{Payloads: payloads(t, "t", "found")}, &sp.JoinGroupWithAck{ConnectionID: "c1", Group: "g", AckID: 6})
	if got := string(n.next(t).Message.Frames["json"]); got != string(payloads(t, "t", "found")[0].Data) {
		t.Errorf("first entry is %s", got)
	}
	if m := await[*sp.Ack](a); m.AckID != 6 || m.Status != sp.AckOK {
		t.Errorf("acked with %+v", m)
	}
	if s.refusals("unavailable") < 2 {
		t.Errorf("counted %d", s.refusals("unavailable"))
	}
}

// What may have been published is not repeated.
func TestUnknownOutcome(t *testing.T) {
	t.Parallel()
	bus := &flaky{Backplane: newBus(t)}
	s := newStand(t, bus)
	n := s.node()
	a := s.connect("app-1", sp.ConnectionDefault, 0)
	bus.fail(1, fmt.Errorf("%w: %w", hubs.ErrUnavailable, hubs.ErrOutcomeUnknown))
	a.send(&sp.BroadcastData{Payloads: payloads(t, "t", "1")}, &sp.BroadcastData{Payloads: payloads(t, "t", "2")})
	if got := string(n.next(t).Message.Frames["json"]); got != string(payloads(t, "t", "2")[0].Data) {
		t.Errorf("first entry is %s", got)
	}
	await[*sp.ServiceEvent](a)
	if s.refusals("outcome_unknown") != 1 {
		t.Errorf("counted %v", s.refused)
	}
}

// Bytes for a client that came after the last send follow nothing: its edge may
// have joined the hub later.
func TestNewClientFollowsNothing(t *testing.T) {
	t.Parallel()
	s := newStand(t, nil)
	n := s.node()
	a := s.connect("app-1", sp.ConnectionDefault, 0)
	a.send(&sp.BroadcastData{Payloads: payloads(t, "t", "1")})
	n.next(t)
	_, d := s.open(a, client("c1"))
	a.send(&sp.ConnectionData{ConnectionID: "c1", Payload: []byte("first")})
	d.expect("data first")
	if at := <-d.after; at != (hubs.Position{}) {
		t.Errorf("the first bytes follow %+v", at)
	}
	a.send(&sp.BroadcastData{Payloads: payloads(t, "t", "2")}, &sp.ConnectionData{ConnectionID: "c1", Payload: []byte("second")})
	second := n.next(t)
	d.expect("data second")
	if at := <-d.after; at.Number != second.Number || at.Epoch != second.Epoch {
		t.Errorf("the second bytes follow %+v, want %d", at, second.Number)
	}
}

var _ pairing.Downstream = remoteDown{}
