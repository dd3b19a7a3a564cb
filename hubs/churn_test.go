package hubs_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/signalbox/signalbox/hubs"
)

// Clients come and go on two nodes while messages are sent: from its first
// message to its last, each sees every message to all once and in order, and
// none of a group that it isn't in.
func TestChurn(t *testing.T) {
	t.Parallel()
	bus := hubs.NewMemoryBackplane()
	// Nothing slows the publisher down: queues must hold what a busy machine
	// leaves in them.
	cfg := hubs.Config{Backplane: bus, Linger: 1, Options: hubs.Options{OutboundMessages: 1 << 20, OutboundBytes: 1 << 30}}
	nodes := []*hubs.Server{newServer(t, cfg), newServer(t, cfg)}
	const clients, visits, each = 8, 10, 20
	stop := make(chan struct{})
	published := make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				published <- nil
				return
			default:
			}
			all, _ := message(fmt.Sprint(i))
			group, _ := message("group")
			for _, e := range []*hubs.Entry{
				{Kind: hubs.SendToGroups, Groups: []string{"empty"}, Message: group},
				{Kind: hubs.SendToAll, Message: all},
				{Kind: hubs.AddToGroup, Connections: []string{fmt.Sprint(i % clients)}, Groups: []string{fmt.Sprint(i % 3)}},
				{Kind: hubs.RemoveFromAllGroups, Connections: []string{fmt.Sprint(i % clients)}},
			} {
				if _, err := bus.Publish(context.Background(), e, hubs.PublishOptions{}); err != nil {
					published <- err
					return
				}
			}
		}
	}()
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for v := range visits {
				w := connect(t, nodes[(c+v)%2], fmt.Sprint("user", c%3), fmt.Sprint(c))
				next := -1
				for range each {
					frame, ok := w.read()
					var n int
					if _, err := fmt.Sscanf(frame, `{"type":1,"target":"show","arguments":["%d"]}`, &n); err != nil || !ok {
						t.Errorf("client %d got %q", c, frame)
						return
					}
					if next >= 0 && n != next {
						t.Errorf("client %d got message %d when %d was due", c, n, next)
					}
					next = n + 1
				}
				w.hangUp()
				if err := w.serveReturned(); err != nil {
					t.Errorf("client %d: %v", c, err)
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	if err := <-published; err != nil {
		t.Errorf("publish: %v", err)
	}
	for i, s := range nodes {
		if s.Connections() != 0 {
			t.Errorf("node %d still has %d connections", i, s.Connections())
		}
	}
}
