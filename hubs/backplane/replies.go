package backplane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/tinylib/msgp/msgp"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
)

// replies carries answers between processes: those of this process's nodes to
// whoever asked, and those of all nodes to what this process asked.
type replies struct {
	r     *Redis
	out   chan reply
	pages atomic.Int64 // bytes of lists in out

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]*tally
	live    chan struct{} // closed while answers can arrive
}

// reply is one process's answer.
type reply struct {
	to      address
	matched int
	part    []byte // encoded; nil when no list was asked for
}

// tally sums the answers to one question.
type tally struct {
	list bool // answers without a part don't count

	mu      sync.Mutex
	got     int
	from    map[string]bool // the edge runs whose answers came, as far as they are named
	matched int
	parts   []part
	came    chan struct{} // holds one
}

const (
	repliesWaiting = 4096
	replyBatch     = 128
	// pagesWaiting bounds the bytes of the lists among waiting replies.
	pagesWaiting = 16 << 20
	pagesBatch   = 1 << 20
)

func newReplies(r *Redis) *replies {
	return &replies{r: r, out: make(chan reply, repliesWaiting), waiting: make(map[uint64]*tally), live: make(chan struct{})}
}

// answer sends matched to whoever asked. It doesn't block: an answer that finds
// no room is left out, and the asker is told that one is missing.
func (p *replies) answer(to address, matched int) {
	if to.run == p.r.run {
		p.count(to.id, p.r.run, matched, nil)
		return
	}
	p.queue(reply{to: to, matched: matched})
}

// answerList is answer for a part of a list.
func (p *replies) answerList(to address, page hubs.Page) {
	if to.run == p.r.run {
		p.count(to.id, p.r.run, 0, &part{page, p.r.run})
		return
	}
	p.queue(reply{to: to, part: appendPart(nil, part{page, p.r.run})})
}

func (p *replies) queue(a reply) {
	if p.pages.Add(int64(len(a.part))) <= pagesWaiting || a.part == nil {
		select {
		case p.out <- a:
			return
		default:
		}
	}
	p.pages.Add(-int64(len(a.part)))
	p.r.stats.overflows.Add(1)
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
	bytes := 0
	for a, more := first, true; more; {
		b := msgp.AppendUint64(nil, a.to.id)
		b = append(msgp.AppendInt(b, a.matched), a.part...)
		if inbox := p.r.inbox; inbox != nil {
			inbox.putAnswer(ctx, pipe, a.to.run, b)
		} else {
			pipe.Publish(ctx, redisclient.EdgeReplies(a.to.run), b)
		}
		p.pages.Add(-int64(len(a.part)))
		if bytes += len(a.part); pipe.Len() == replyBatch || bytes >= pagesBatch {
			break
		}
		select {
		case a = <-p.out:
		default:
			more = false
		}
	}
	_, err := pipe.Exec(ctx)
	if errors.Is(err, redis.Nil) {
		err = nil // whoever asked is gone
	}
	p.r.health.report(err)
}

// receive counts the answers to this process until the backplane closes.
func (p *replies) receive() {
	if p.r.inbox != nil {
		p.r.inbox.run()
		return
	}
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
	return p.r.receive(conn, func(_, m string) { p.heard("", m) }, func(*redis.Subscription) { p.up() })
}

// heard takes an answer, of an edge run if it is known.
func (p *replies) heard(run, answer string) {
	id, rest, err := msgp.ReadUint64Bytes([]byte(answer))
	if err != nil {
		return
	}
	matched, rest, err := msgp.ReadIntBytes(rest)
	if err != nil {
		return
	}
	if len(rest) == 0 {
		p.count(id, run, matched, nil)
	} else if list, err := decodePart(rest); err == nil {
		p.count(id, run, matched, &list)
	}
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

func (p *replies) count(id uint64, run string, matched int, list *part) {
	p.mu.Lock()
	t := p.waiting[id]
	p.mu.Unlock()
	if t == nil || t.list && list == nil {
		return // too late, or no answer
	}
	t.mu.Lock()
	t.got++
	if run != "" {
		t.from[run] = true
	}
	t.matched += matched
	if list != nil {
		t.parts = append(t.parts, *list)
	}
	t.mu.Unlock()
	select {
	case t.came <- struct{}{}:
	default:
	}
}

// ask opens a tally. Answers may come before it is known how many there will be.
func (p *replies) ask(list bool) (address, *tally) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	t := &tally{list: list, from: make(map[string]bool), came: make(chan struct{}, 1)}
	p.waiting[p.last] = t
	return address{run: p.r.run, id: p.last}, t
}

func (p *replies) forget(a address) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, a.id)
}

// missing returns the sum so far, and which of the edge runs haven't answered.
func (t *tally) missing(runs []string) (matched int, missing []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, run := range runs {
		if !t.from[run] {
			missing = append(missing, run)
		}
	}
	return t.matched, missing
}

// now returns what has come so far.
func (t *tally) now() *tally {
	t.mu.Lock()
	defer t.mu.Unlock()
	return &tally{list: t.list, got: t.got, matched: t.matched, parts: slices.Clone(t.parts)}
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

// replyTo returns where the answer to a doorbell message goes, if to anywhere,
// and whether that is a list.
func replyTo(payload string) (to address, list, ok bool) {
	var err error
	switch {
	case strings.HasPrefix(payload, "E"):
		rec, ok := parseDoorbell(payload)
		if !ok {
			return address{}, false, false
		}
		_, to, err = decodeEntry([]byte(rec.entry))
	case strings.HasPrefix(payload, "Q"):
		_, to, err = decodeQuery(payload[1:])
	case strings.HasPrefix(payload, "L"):
		_, to, err = decodeList(payload[1:])
		list = true
	}
	return to, list, err == nil && to != address{}
}
