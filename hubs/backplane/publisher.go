package backplane

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
)

// The bounds of a publisher.
const (
	// batchEntries is the most that one round trip carries; it is also how many
	// answers the script remembers, so that all of a broken round trip can be
	// asked for again. While Redis carries it out, everybody else's waits.
	batchEntries = 64
	batchBytes   = 512 << 10
	queueEntries = 2048
	// sharedEntries and sharedBytes are the most that shares a round trip with what
	// goes to other hubs: who has more, or more to do than to append it, would hold up
	// those.
	sharedEntries = 8
	sharedBytes   = 16 << 10
	queueBytes    = 16 << 20
	// publishPatience is how long a publish may take, waiting and repeats
	// included; attemptPatience bounds one round trip.
	publishPatience = 2400 * time.Millisecond
	attemptPatience = 1500 * time.Millisecond
	retryPause      = 50 * time.Millisecond
	// publisherIdle is after how long without a publish a publisher is forgotten.
	// Nothing of it is on the way by then.
	publisherIdle = 2 * time.Minute
	// publisherLife is how long Redis remembers a publisher's last answers.
	publisherLife = 10 * time.Minute
)

// The states of a request.
const (
	queued int32 = iota
	sent
	abandoned
)

// request is one publish on its way.
type request struct {
	seq      uint64
	slot     string // in the script's memory; "" = it is alone in its round trip
	entry    []byte
	keys     []string // after those of the hub; none = the script needs no more
	charge   int64
	about    About
	args     []any // behind the slot
	asks     bool  // whoever applies it is to answer
	deadline time.Time
	// unknown is set once a round trip broke: Redis may have carried it out.
	unknown bool
	ack     hubs.Ack
	state   atomic.Int32
	done    chan outcome // takes one
}

type outcome struct {
	answer answer
	err    error
}

// publisher is the in-order pipeline of this process to one hub. One round trip
// is on the way at a time; what waits meanwhile goes with the next one.
type publisher struct {
	r *Redis
	hubID
	party *party
	keys  redisclient.HubKeys
	fixed []string // the keys of every publish, as far as it needs them
	field any      // of this process's publishes in the head
	noted int64    // the minute in which the hub was last noted as published to; of run alone

	mu        sync.Mutex
	retention time.Duration
	limits    string // retention, most entries, most bytes, life of the head
	queue     []*request
	bytes     int
	seq       uint64
	running   bool
	forgotten bool // another one may have taken its place, and goes on behind seq
	used      time.Time
}

// newPublisher returns the pipeline to a hub; r.mu is held.
func (r *Redis) newPublisher(of hubID) *publisher {
	keys := of.keys()
	return &publisher{
		r: r, hubID: of, keys: keys, party: r.party(of.tenant), seq: r.sequence, field: "." + r.run,
		fixed: []string{keys.Head(), keys.Stream(), keys.Accepted(), keys.Publisher(r.run), keys.Edges()},
	}
}

// touch keeps the publisher from being forgotten and gives it the hub's settings.
func (p *publisher) touch(s Settings) {
	p.party.SetWeight(s.Weight)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used = time.Now()
	entries, bytes := p.r.cfg.StreamEntries, p.r.cfg.StreamBytes
	if s.Messages > 0 {
		entries = min(entries, s.Messages)
	}
	if s.Bytes > 0 {
		bytes = min(bytes, s.Bytes)
	}
	if s.TenantBytes > 0 {
		bytes = min(bytes, p.r.share(p.hubID, s.TenantBytes))
	}
	p.retention = s.retention()
	p.limits = fmt.Sprintf("%d %d %d %d", s.retention().Milliseconds(), entries, bytes, headLife.Milliseconds())
}

// begin queues q. A caller that waits for the outcome may offer to lead: then it must
// call lead when it is told to, and nothing is sent before.
func (p *publisher) begin(ctx context.Context, q *request, offers bool) (leads bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, fmt.Errorf("publish: %w", err)
	}
	if p.r.health.open() {
		return false, fmt.Errorf("publish: %w", hubs.ErrUnavailable)
	}
	p.mu.Lock()
	retention := p.retention
	p.mu.Unlock()
	if err := p.r.admit(p.hubID, len(q.entry), retention); err != nil {
		return false, err
	}
	return p.push(q, offers)
}

// wait waits for the outcome of a request that was begun.
func (p *publisher) wait(ctx context.Context, q *request) (answer, error) {
	select {
	case o := <-q.done:
		return o.answer, o.err
	default:
	}
	patience := time.NewTimer(time.Until(q.deadline))
	defer patience.Stop()
	var cause error
	select {
	case o := <-q.done:
		return o.answer, o.err
	case <-ctx.Done():
		cause = ctx.Err()
	case <-patience.C:
		cause = hubs.ErrUnavailable
	}
	if q.state.CompareAndSwap(queued, abandoned) {
		return answer{}, fmt.Errorf("publish: %w", cause)
	}
	p.r.stats.unknown.Add(1)
	return answer{}, fmt.Errorf("publish: %w: %w", hubs.ErrOutcomeUnknown, cause)
}

func (p *publisher) push(q *request, offers bool) (leads bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.forgotten {
		return false, fmt.Errorf("publish: %w: it came two minutes late", hubs.ErrUnavailable)
	}
	if len(p.queue) >= queueEntries || p.bytes+len(q.entry) > queueBytes {
		return false, fmt.Errorf("publish: %w: %d publishes to this hub are waiting", hubs.ErrUnavailable, len(p.queue))
	}
	if err := p.party.admit(len(q.entry)); err != nil {
		return false, fmt.Errorf("publish: %w", err)
	}
	if !p.running {
		if leads = offers; leads {
			p.running = p.r.begin()
		} else {
			p.running = p.r.start(p.run)
		}
		if !p.running {
			p.party.bytes.Add(-int64(len(q.entry)))
			return false, fmt.Errorf("publish: %w: closed", hubs.ErrUnavailable)
		}
	}
	p.queue = append(p.queue, q)
	p.bytes += len(q.entry)
	return leads, nil
}

// lead carries out the first round trip of a pipeline that was at rest, on the
// goroutine of the publisher that wakes it: nobody is woken for it, and nobody has to
// wake the publisher. What doesn't go at once, what has to be repeated and what comes
// meanwhile is left to a goroutine.
func (p *publisher) lead() {
	defer p.r.work.Done()
	var left []*request
	var failure error
	if cost, ok := p.r.turns.TryEnter(&p.party.Party, p.price); ok {
		left, failure = p.attemptOnce(p.take(false), func() { p.r.turns.Leave(&p.party.Party, cost, 0) })
	}
	if _, more := p.waits(len(left) > 0); !more {
		return
	}
	rest := func() {
		if len(left) > 0 {
			p.repeat(left, failure)
		}
		p.run()
	}
	if !p.r.start(rest) {
		rest() // which tells them that the backplane has closed
	}
}

// run sends batches until nothing waits, each when the tenant's turn has come.
func (p *publisher) run() {
	for {
		replicas, ok := p.waits(false)
		if !ok {
			return
		}
		leave := p.r.enter(p, p.price, replicas)
		p.send(p.take(replicas), leave)
	}
}

// waits tells whether the next round trip waits for replicas; it reports false when
// nothing waits, and the pipeline comes to rest unless it is busy.
func (p *publisher) waits(busy bool) (replicas, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 {
		if busy {
			return false, true
		}
		p.queue = nil
		p.running = false
		p.used = time.Now()
		return false, false
	}
	return wantReplicas(p.queue[:min(len(p.queue), batchEntries)]), true
}

// price is what the next round trip costs, with all that waits by now.
func (p *publisher) price() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return costOf(p.queue[:min(len(p.queue), batchEntries)])
}

// take returns what goes with the next round trip; nil = who waited has given up.
// Without replicas nothing is taken that wants one.
func (p *publisher) take(replicas bool) []*request {
	p.mu.Lock()
	defer p.mu.Unlock()
	var batch []*request
	size, taken := 0, 0
	for _, q := range p.queue {
		if len(batch) == batchEntries || len(batch) > 0 && size+len(q.entry) > batchBytes || !replicas && q.ack == hubs.AckReplicated {
			break
		}
		taken++
		p.bytes -= len(q.entry)
		p.party.bytes.Add(-int64(len(q.entry)))
		if q.state.CompareAndSwap(queued, sent) {
			// Numbered only now: those of one batch must be next to each other, or two
			// would share a slot of the script's memory.
			p.seq++
			q.seq = p.seq
			batch = append(batch, q)
			size += len(q.entry)
		}
	}
	if len(batch) > 1 {
		for _, q := range batch {
			q.slot = strconv.FormatUint(q.seq%batchEntries, 10)
		}
	}
	clear(p.queue[:taken])
	p.queue = p.queue[taken:]
	return batch
}

// retire reports whether the publisher has rested for long, and the sequence that the
// next one has to begin behind. It takes no publish any more then.
func (p *publisher) retire(now time.Time) (seq uint64, idle bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forgotten = !p.running && now.Sub(p.used) > publisherIdle
	return p.seq, p.forgotten
}

// send carries a batch out and holds everything behind it until each outcome is
// known or given up. A request that is given up is fenced by the next sequence.
// leave ends the tenant's turn; each repeat has a turn of its own.
func (p *publisher) send(batch []*request, leave func()) {
	if left, failure := p.attemptOnce(batch, leave); len(left) > 0 {
		p.repeat(left, failure)
	}
}

// attemptOnce makes a round trip for those of a batch whose time isn't up and ends the
// turn. It returns what has to be repeated, and why.
func (p *publisher) attemptOnce(batch []*request, leave func()) (left []*request, failure error) {
	if left = p.expire(batch); len(left) > 0 {
		left, failure = p.attempt(left)
	}
	leave()
	return left, failure
}

// repeat sends what has failed until each outcome is known or given up.
func (p *publisher) repeat(batch []*request, failure error) {
	for replicas := wantReplicas(batch); len(batch) > 0; {
		p.r.log.Debug("publish is repeated", "tenant", p.tenant, "hub", p.hub, "requests", len(batch), "error", failure)
		if redis.HasErrorPrefix(failure, "NOSCRIPT") {
			ctx, cancel := context.WithTimeout(p.r.ctx, attemptPatience)
			failure = publishScript.Load(ctx, p.r.client).Err()
			cancel()
		}
		if failure != nil {
			select {
			case <-time.After(retryPause):
			case <-p.r.ctx.Done():
			}
		}
		leave := p.r.enter(p, func() int { return costOf(batch) }, replicas)
		batch, failure = p.attemptOnce(batch, leave)
	}
}

// expire drops the requests whose time is up, which their publishers know, and
// returns the others. When the backplane closes, none is left.
func (p *publisher) expire(batch []*request) []*request {
	now, closed := time.Now(), p.r.ctx.Err() != nil
	left := batch[:0]
	for _, q := range batch {
		switch {
		case closed && q.ack == hubs.AckNone:
			p.unheard(q)
		case closed && q.unknown:
			q.done <- outcome{err: fmt.Errorf("publish: %w: %w", hubs.ErrUnavailable, hubs.ErrOutcomeUnknown)}
		case closed:
			q.done <- outcome{err: fmt.Errorf("publish: %w", hubs.ErrUnavailable)}
		case now.Before(q.deadline):
			left = append(left, q)
		default:
			p.unheard(q)
		}
	}
	return left
}

// unheard counts a publish that failed and that nobody waits for.
func (p *publisher) unheard(q *request) {
	if q.ack != hubs.AckNone {
		return
	}
	p.r.stats.unheard.Add(1)
	if p.r.cfg.OnUnheard != nil {
		p.r.cfg.OnUnheard(p.tenant, p.hub)
	}
}

// attempt makes one round trip. It answers what is settled and returns the rest
// with the error that the first of them met.
func (p *publisher) attempt(batch []*request) ([]*request, error) {
	waits := wantReplicas(batch)
	ctx, cancel := context.WithTimeout(p.r.ctx, attemptPatience)
	defer cancel()
	p.mu.Lock()
	limits := p.limits
	p.mu.Unlock()
	all := make([]redis.Cmder, 0, len(batch)+1)
	// Before what is counted: who adds up totals must find all that have some.
	var note *redis.IntCmd
	minute := time.Now().Unix() / 60
	if minute != p.noted {
		note = redis.NewIntCmd(ctx, "zadd", redisclient.UsageHubs, minute, redisclient.UsageHub(p.tenant, p.hub, p.part))
		all = append(all, note)
	}
	commands := make([]*redis.Cmd, len(batch))
	settings, size, plain := p.newEpoch()+" "+limits, 0, true
	for i, q := range batch {
		commands[i] = p.command(ctx, q, settings)
		all = append(all, commands[i])
		size += len(q.entry)
		plain = plain && len(q.keys) == 0
	}
	var replicas *redis.Cmd
	var broken error
	if !waits && plain && len(batch) <= sharedEntries && size <= sharedBytes {
		broken = p.r.trips.Carry(ctx, all...)
	} else {
		pipe := p.r.client.Pipeline()
		for _, c := range all {
			_ = pipe.Process(ctx, c) // it is only queued
		}
		if waits {
			replicas = awaitReplicas(ctx, pipe, batch[len(batch)-1].seq, p.fixed[3])
		}
		_, _ = pipe.Exec(ctx) // each command has its own error
	}
	if broken == nil && note != nil && note.Err() == nil {
		p.noted = minute
	}

	var left []*request
	var failure error
	for i, q := range batch {
		text, err := "", broken
		if err == nil {
			text, err = commands[i].Text()
		}
		if err == nil {
			p.settle(q, text, replicas)
			continue
		}
		again, err2 := retryable(err)
		if !again {
			p.unheard(q)
			q.done <- outcome{err: fmt.Errorf("publish: %w", err2)}
			continue
		}
		q.unknown = q.unknown || !refusal(err)
		left = append(left, q)
		if failure == nil {
			failure = err
		}
	}
	p.r.health.report(failure)
	return left, failure
}

// command is q for the script.
func (p *publisher) command(ctx context.Context, q *request, settings string) *redis.Cmd {
	keys := p.fixed
	switch {
	case len(q.keys) > 0 || q.asks:
	case q.slot == "":
		keys = keys[:3]
	default:
		keys = keys[:4]
	}
	args := make([]any, 0, 3+len(keys)+len(q.keys)+7+len(q.args))
	args = append(args, "evalsha", publishScript.Hash(), len(keys)+len(q.keys))
	for _, list := range [][]string{keys, q.keys} {
		for _, k := range list {
			args = append(args, k)
		}
	}
	args = append(args, p.field, q.seq, q.entry, p.bell(q), q.charge, settings)
	if q.slot != "" || len(q.args) > 0 {
		args = append(args, q.slot)
	}
	return redis.NewCmd(ctx, append(args, q.args...)...)
}

// bell is what the script does when it has appended q.
func (p *publisher) bell(q *request) string {
	switch {
	case !p.r.cfg.StreamsOnly:
		return p.keys.Doorbell()
	case q.asks:
		return "edges"
	}
	return ""
}

func (p *publisher) settle(q *request, text string, replicas *redis.Cmd) {
	a, err := parseAnswer(text)
	if err != nil {
		if errors.Is(err, hubs.ErrIdempotencyConflict) {
			p.r.stats.conflicts.Add(1)
		}
		p.unheard(q)
		q.done <- outcome{err: fmt.Errorf("publish: %w", err)}
		return
	}
	if a.duplicate {
		p.r.stats.duplicates.Add(1)
	} else {
		p.r.stats.publishes.Add(1)
		if a.bytes >= 0 {
			p.mu.Lock()
			retention := p.retention
			p.mu.Unlock()
			p.r.measured(p.hubID, a.bytes, retention)
		}
		if a.total > 0 && p.r.cfg.OnAccepted != nil {
			p.r.cfg.OnAccepted(Accepted{Tenant: p.tenant, Hub: p.hub, Epoch: a.epoch, Minute: a.minute, Total: a.total, Charge: q.charge, About: q.about})
		}
	}
	q.done <- outcome{answer: a, err: replicated(q, replicas)}
}
