package hubs

import (
	"cmp"
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// Busy is what a Dispatcher implements that answers invocations after Message
// has returned.
type Busy interface {
	// Busy reports whether something is under way for the connection's client.
	Busy(c *Connection) bool
}

const (
	// retireWithin bounds how long a connection waits, when its turn has come in a
	// drain, for what is under way for its client.
	retireWithin = 10 * time.Second
	// retireQuietly is how much of that passes before new invocations that wait for an
	// answer are refused: a client that never rests would not come to its end.
	retireQuietly = 5 * time.Second
	// retireCheck is how often is looked whether it is done.
	retireCheck = 50 * time.Millisecond
	// drainStep is the finest step in which a drain spreads its ends.
	drainStep = 10 * time.Millisecond
)

// Drain retires all connections evenly over a time, see Connection.Retire, and
// waits for their end or ctx. New ones are refused from now on.
func (s *Server) Drain(ctx context.Context, over time.Duration) error {
	return Drain(ctx, over, s)
}

// Drain is Server.Drain for several Servers, whose connections it mixes: their
// clients reconnect at one rate, whatever hub they belong to.
func Drain(ctx context.Context, over time.Duration, servers ...*Server) error {
	var all []*Connection
	for _, s := range servers {
		s.stop()
		all = append(all, s.store.snapshot()...)
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if err := spread(ctx, over, len(all), func(i int) { all[i].Retire() }); err != nil {
		return err
	}
	// Each may have to wait for the Backplane.
	errs := make([]error, len(servers))
	var rest sync.WaitGroup
	for i, s := range servers {
		rest.Go(func() { errs[i] = s.drainRest(ctx) })
	}
	rest.Wait()
	return cmp.Or(errs...)
}

// spread calls do for 0 to n-1, evenly over a time, the first in the first of n
// equal parts of it.
func spread(ctx context.Context, over time.Duration, n int, do func(i int)) error {
	if n == 0 {
		return nil
	}
	began := time.Now()
	tick := time.NewTicker(max(over/time.Duration(n), drainStep))
	defer tick.Stop()
	for done := 0; ; {
		due := n
		if past := time.Since(began); past < over {
			due = min(n, 1+int(float64(n)*float64(past)/float64(over)))
		}
		for ; done < due; done++ {
			do(done)
		}
		if done == n {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// drainRest waits for the last connections to end and leaves the Backplane.
func (s *Server) drainRest(ctx context.Context) error {
	s.abortEarly()
	for {
		select {
		case <-s.drained:
			s.stopPresence(ctx)
			return s.unsubscribe(ctx)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(endAgain):
			// One more may have finished its handshake meanwhile.
			for _, c := range s.store.snapshot() {
				c.Retire()
			}
		}
	}
}

// Retire ends the connection as Close does with leave to reconnect, once what is
// under way for its client has been answered: invocations and streams, of either
// side. After 5 s new invocations that wait for an answer are refused; after 10 s it
// ends whatever is under way. An invocation that crosses the Close message isn't begun.
// It doesn't block.
func (c *Connection) Retire() {
	if c.retiring.CompareAndSwap(0, max(clock(), 1)) && !c.closeAtRest() {
		timers.hurry(c, 0)
	}
}

// closeAtRest closes the connection if nothing is under way for its client, and
// reports whether it did. No invocation begins meanwhile.
func (c *Connection) closeAtRest() bool {
	if !c.turn.TryLock() {
		return false
	}
	defer c.turn.Unlock()
	if c.busy() {
		return false
	}
	c.Close("", true)
	return true
}

// checkRetiring ends a retiring connection when its time has come, and reports
// whether it is one.
func (c *Connection) checkRetiring(now int64) bool {
	since := c.retiring.Load()
	if since == 0 {
		return false
	}
	if !c.closeAtRest() && now-since >= int64(retireWithin) {
		c.Close("", true)
	}
	return true
}

// refuseRetiring answers an invocation that has come too late to be begun.
func (c *Connection) refuseRetiring(m *protocol.Message) error {
	c.server.meter.Refused(RefusedRetiring)
	return c.refuse(m, InvocationError(m.Target, errRetiring, false))
}

var errRetiring = Errorf("%s: The connection is about to be closed, so that the client connects to another server. Nothing was carried out; connect again and repeat the call.", RefusedRetiring)

// takesCalls reports whether an invocation that waits for an answer may begin.
func (c *Connection) takesCalls() bool {
	since := c.retiring.Load()
	return since == 0 || clock()-since < int64(retireQuietly)
}

// busy reports whether something is under way for the client, but for what its reader
// has in its hands.
func (c *Connection) busy() bool {
	if c.invoking.Load() > 0 {
		return true
	}
	if s := c.calls.Load(); s != nil && s.busy() {
		return true
	}
	if b, ok := c.dispatcher.(Busy); ok && b.Busy(c) {
		return true
	}
	at := &c.server.progress // answers may wait for the entries that they follow
	at.mu.Lock()
	defer at.mu.Unlock()
	return at.waiting[c] != nil
}

// busy reports whether a call waits for its turn or for the client.
func (s *calls) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue) > 0 || len(s.results) > 0
}

// Busy implements Busy: the hub server hasn't answered all that the client asked.
func (p *proxied) Busy(*Connection) bool { return p.unanswered.some() }
