package edge

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/signalbox/signalbox/hubs/quota"
	"github.com/signalbox/signalbox/tenants"
)

// A connection that asks for far more than its tenant's messages per second takes nothing
// from those that ask for little, on its own edge or another.
func TestGreedyConnectionStarvesNobody(t *testing.T) {
	t.Parallel()
	d := limited("greedy", func(l *tenants.Limits) {
		l.MessagesPerSecond, l.MessageBurst = 100, 200
		l.CallsPerSecond, l.CallBurst = 10_000, 10_000
	})
	c := startCluster(t, d)
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	t.Cleanup(func() { stop(); all.Wait() })

	greedy := c.connect(0, d, "chat", "greedy")
	all.Go(func() { // what it is told doesn't matter
		for {
			select {
			case <-greedy.frames:
			case <-ctx.Done():
				return
			}
		}
	})
	const each, every = 20, 10 * time.Millisecond // 2,000 a second
	burst := []byte(strings.Repeat(`{"type":1,"target":"say","arguments":[]}`+separator, each))
	all.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			if err := greedy.ws.Write(ctx, websocket.MessageText, burst); err != nil {
				if ctx.Err() == nil {
					t.Errorf("the greedy client: %v", err)
				}
				return
			}
		}
	})
	refused := func() int64 {
		figures, err := quota.ReadFigures(t.Context(), c.redis, d.ID, time.Now())
		if err != nil {
			return 0
		}
		return figures["messages_per_second"].Refused
	}
	c.eventually("the limit is in the way", func() bool { return refused() > 0 })

	const polite, calls, settled = 20, 8, 2
	var answered, starved atomic.Int64
	var polites sync.WaitGroup
	for i := range polite {
		k := c.connect(i%2, d, "chat", "polite")
		polites.Go(func() {
			for n := range settled + calls {
				f := k.call("say")
				if n >= settled {
					answered.Add(1)
					if strings.Contains(f.Error, "rate_limited ") {
						starved.Add(1)
					}
				}
				select {
				case <-time.After(time.Second):
				case <-ctx.Done():
					return
				}
			}
		})
	}
	before := refused()
	polites.Wait()
	if refused() <= before {
		t.Fatal("nobody was greedy")
	}
	if all, no := answered.Load(), starved.Load(); all != polite*calls || no*20 > all {
		t.Errorf("%d of %d calls of those who ask for little were refused", no, all)
	}
}
