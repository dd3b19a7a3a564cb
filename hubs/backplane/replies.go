package backplane

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/tinylib/msgp/msgp"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
)

// replies carries answers between processes: those of this process's nodes to
// whoever asked, and those of all nodes to what this process asked.
type replies struct {
	r   *Redis
	out chan reply

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]*tally
	live    chan struct{} // closed while answers can arrive
}

// reply is one process's answer.
type reply struct {
	to      address
	matched int
}

// tally sums the answers to one question.
type tally struct {
	mu      sync.Mutex
	got     int
	matched int
	came    chan struct{} // holds one
}

const (
	repliesWaiting = 4096
	replyBatch     = 128
)

func newReplies(r *Redis) *replies {
	return &replies{r: r, out: make(chan reply, repliesWaiting), waiting: make(map[uint64]*tally), live: make(chan struct{})}
}

// answer sends matched to whoever asked. It doesn't block: an answer that finds
// no room is left out, and the asker is told that one is missing.
func (p *replies) answer(to address, matched int) {
	if to.run == p.r.run {
		p.count(to.id, matched)
		return
	}
	select {
	case p.out <- reply{to, matched}:
	default:
		p.r.stats.overflows.Add(1)
	}
}

// send publishes answers until the backplane closes.
func (p *replies) send() {
	for {
		select {
		case <-p.r.ctx.Done():
			return
		case first := <-p.out:
			p.publish(first)
		}
	}
}

// publish sends first and what else waits in one round trip.
func (p *replies) publish(first reply) {
	ctx, cancel := context.WithTimeout(p.r.ctx, attemptPatience)
	defer cancel()
	pipe := p.r.client.Pipeline()
	for a, more := first, true; more; {
		b := msgp.AppendUint64(nil, a.to.id)
		b = msgp.AppendInt(b, a.matched)
		pipe.Publish(ctx, redisclient.EdgeReplies(a.to.run), b)
		if pipe.Len() == replyBatch {
			break
		}
		select {
		case a = <-p.out:
		default:
			more = false
		}
	}
	_, err := pipe.Exec(ctx)
	p.r.health.report(err)
}

// receive counts the answers to this process until the backplane closes.
func (p *replies) receive() {
	pause := reconnectBase
	for p.r.ctx.Err() == nil {
		began := time.Now()
		err := p.listen()
		if p.r.ctx.Err() != nil {
			return
		}
		p.r.log.Warn("reply connection lost", "error", err)
		p.r.health.report(err)
		if time.Since(began) > reconnectMost {
			pause = reconnectBase
		}
		select {
		case <-time.After(pause):
		case <-p.r.ctx.Done():
		}
		pause = min(2*pause, reconnectMost)
	}
}

func (p *replies) listen() error {
	conn := p.r.client.Subscribe(p.r.ctx)
	defer conn.Close()
	ctx, cancel := context.WithTimeout(p.r.ctx, attemptPatience)
	err := conn.Subscribe(ctx, redisclient.EdgeReplies(p.r.run))
	cancel()
	if err != nil {
		return fmt.Errorf("subscribe to replies: %w", err)
	}
	defer p.down()
	return p.r.receive(conn, func(_, m string) {
		id, rest, err := msgp.ReadUint64Bytes([]byte(m))
		if err != nil {
			return
		}
		if matched, _, err := msgp.ReadIntBytes(rest); err == nil {
			p.count(id, matched)
		}
	}, func(*redis.Subscription) { p.up() })
}

func (p *replies) up() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.live:
	default:
		close(p.live)
	}
}

func (p *replies) down() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.live:
		p.live = make(chan struct{})
	default:
	}
}

// listening returns once answers can arrive: a question before that would be
// answered to nobody.
func (p *replies) listening(ctx context.Context) error {
	p.mu.Lock()
	live := p.live
	p.mu.Unlock()
	patience := time.NewTimer(attemptPatience)
	defer patience.Stop()
	select {
	case <-live:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", hubs.ErrUnavailable, ctx.Err())
	case <-p.r.ctx.Done():
	case <-patience.C:
	}
	return fmt.Errorf("%w: no way for answers", hubs.ErrUnavailable)
}

func (p *replies) count(id uint64, matched int) {
	p.mu.Lock()
	t := p.waiting[id]
	p.mu.Unlock()
	if t == nil {
		return // too late
	}
	t.mu.Lock()
	t.got++
	t.matched += matched
	t.mu.Unlock()
	select {
	case t.came <- struct{}{}:
	default:
	}
}

// ask opens a tally. Answers may come before it is known how many there will be.
func (p *replies) ask() (address, *tally) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	t := &tally{came: make(chan struct{}, 1)}
	p.waiting[p.last] = t
	return address{run: p.r.run, id: p.last}, t
}

func (p *replies) forget(a address) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, a.id)
}

// wait returns the sum once the given number of processes has answered. In an
// error the sum is that of those who did.
func (p *replies) wait(ctx context.Context, t *tally, processes int) (int, error) {
	patience := time.NewTimer(p.r.cfg.AnswerPatience)
	defer patience.Stop()
	for {
		t.mu.Lock()
		got, matched := t.got, t.matched
		t.mu.Unlock()
		if got >= processes {
			return matched, nil
		}
		var cause error
		select {
		case <-t.came:
			continue
		case <-patience.C:
			cause = fmt.Errorf("%d of %d within %v", got, processes, p.r.cfg.AnswerPatience)
		case <-ctx.Done():
			cause = ctx.Err()
		case <-p.r.ctx.Done():
			cause = hubs.ErrUnavailable
		}
		p.r.stats.unanswered.Add(1)
		return matched, fmt.Errorf("%w: %w", hubs.ErrUnanswered, cause)
	}
}

// encodeQuery returns the doorbell message of a query.
func encodeQuery(q hubs.Query, to address) []byte {
	b := append(make([]byte, 0, 64+len(q.Name)+len(q.User)), 'Q')
	b = msgp.AppendArrayHeader(b, 6)
	b = msgp.AppendUint8(b, entryVersion)
	b = msgp.AppendUint8(b, uint8(q.Kind))
	b = msgp.AppendString(b, q.Name)
	b = msgp.AppendString(b, q.User)
	b = msgp.AppendString(b, to.run)
	return msgp.AppendUint64(b, to.id)
}

func decodeQuery(payload string) (hubs.Query, address, error) {
	r := reader{rest: []byte(payload)}
	if n := r.array(); r.err == nil && n < 6 {
		return hubs.Query{}, address{}, fmt.Errorf("query of %d elements", n)
	}
	if v := r.uint8(); r.err == nil && v != entryVersion {
		return hubs.Query{}, address{}, fmt.Errorf("query of version %d", v)
	}
	q := hubs.Query{Kind: hubs.QueryKind(r.uint8()), Name: r.string(), User: r.string()}
	to := address{run: r.string(), id: r.uint64()}
	if r.err != nil {
		return hubs.Query{}, address{}, fmt.Errorf("decode query: %w", r.err)
	}
	return q, to, nil
}

// replyTo returns where the answer to a doorbell message goes, if to anywhere.
func replyTo(payload string) (address, bool) {
	var to address
	var err error
	switch {
	case strings.HasPrefix(payload, "E"):
		rec, ok := parseDoorbell(payload)
		if !ok {
			return address{}, false
		}
		_, to, err = decodeEntry([]byte(rec.entry))
	case strings.HasPrefix(payload, "Q"):
		_, to, err = decodeQuery(payload[1:])
	}
	return to, err == nil && to != address{}
}
