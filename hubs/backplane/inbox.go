package backplane

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// The bounds of an inbox.
const (
	// inboxMessages is about how many messages it holds; the oldest give way, and
	// whoever asked is told that answers are missing.
	inboxMessages = 16_384
	// readMessages and readBytes are how much that was read may lie in it until it is
	// thrown away; else that happens with each renewal of its life.
	readMessages = 1024
	readBytes    = 1 << 20
)

// inbox is the stream into which other processes put their questions and answers to
// this one, with Config.StreamsOnly. It is also this process's lease: it exists for
// leaseLife after the process was last well.
type inbox struct {
	r        *Redis
	key      string
	follower *redisclient.Follower
	there    chan struct{} // closed when it is there for the first time
	full     chan struct{} // holds one: much has been read

	mu       sync.Mutex
	read     string // the last id that was read
	messages int    // read since they were last thrown away
	bytes    int
}

func newInbox(r *Redis) (*inbox, error) {
	b := &inbox{r: r, key: redisclient.EdgeInbox(r.run), there: make(chan struct{}), full: make(chan struct{}, 1)}
	var err error
	b.follower, err = redisclient.NewFollower(redisclient.FollowerConfig{Redis: r.client, Name: r.run + ":inbox", Broken: func(err error) {
		r.log.Warn("inbox is not read", "error", err)
		r.health.report(err)
	}})
	return b, err
}

// opened returns once the inbox has been there. Without Config.StreamsOnly there is
// none to wait for.
func (b *inbox) opened(ctx context.Context) error {
	if b == nil {
		return nil
	}
	select {
	case <-b.there:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: no inbox: %w", hubs.ErrUnavailable, ctx.Err())
	}
}

// run keeps the inbox there and reads it, until the backplane closes.
func (b *inbox) run() {
	ctx := b.r.ctx
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { b.follower.Run(ctx) })
	first := true
	for {
		pause := leaseRenew
		created, err := b.renew(ctx)
		b.r.health.report(err)
		switch {
		case err != nil:
			pause = leaseRetry
		case created && first:
			first = false
			// What comes while it isn't read is read later: answers can always arrive.
			b.follower.Follow(redisclient.Followed{Key: b.key, From: b.from, Began: b.r.replies.up, Added: b.added})
			close(b.there)
		case created:
			// Redis lost it, or this process wasn't well: others have taken it for dead,
			// and off their lists.
			b.follower.Renew(b.key)
			for _, d := range b.r.doorbells {
				for _, f := range d.followed() {
					f.subscribed()
				}
			}
		}
		select {
		case <-ctx.Done():
			b.remove()
			return
		case <-time.After(pause):
		case <-b.full:
		}
	}
}

// renew prolongs the inbox's life, throws away what was read, and reports whether it
// had to be made.
func (b *inbox) renew(ctx context.Context) (created bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptPatience)
	defer cancel()
	b.mu.Lock()
	read := b.read
	b.messages, b.bytes = 0, 0
	b.mu.Unlock()
	var lives *redis.BoolCmd
	_, err = b.r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		lives = p.PExpire(ctx, b.key, leaseLife)
		if read != "" {
			p.XTrimMinID(ctx, b.key, read)
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("renew inbox: %w", err)
	}
	if lives.Val() {
		return false, nil
	}
	_, err = b.r.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.XAdd(ctx, &redis.XAddArgs{Stream: b.key, Values: []any{"made", ""}})
		p.PExpire(ctx, b.key, leaseLife)
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("make inbox: %w", err)
	}
	b.mu.Lock()
	b.read = "" // ids may begin lower
	b.mu.Unlock()
	return true, nil
}

// remove has nobody wait for this process any more.
func (b *inbox) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), attemptPatience)
	defer cancel()
	if err := b.r.client.Del(ctx, b.key).Err(); err != nil {
		b.r.log.Debug("inbox runs out by itself", "error", err)
	}
}

// from is the id of the last message that was read.
func (b *inbox) from() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return cmp.Or(b.read, "0-0")
}

// added takes a message.
func (b *inbox) added(m redis.XMessage) {
	text := func(name string) string {
		v, _ := m.Values[name].(string)
		return v
	}
	question, answer := text("question"), text("answer")
	b.mu.Lock()
	b.read = m.ID
	b.messages++
	b.bytes += len(question) + len(answer)
	full := b.messages >= readMessages || b.bytes >= readBytes
	b.mu.Unlock()
	if full {
		select {
		case b.full <- struct{}{}:
		default:
		}
	}
	switch {
	case answer != "":
		b.r.replies.heard(text("run"), answer)
	case question != "":
		number, err := strconv.ParseUint(text("number"), 10, 64)
		if err != nil {
			return
		}
		id := hubID{tenants.ID(text("tenant")), text("hub"), text("partition")}
		b.r.doorbell(id).knock(id.keys().Doorbell(), question, position{epoch: text("epoch"), number: number})
	}
}

// putAnswer adds an answer to what pipe sends.
func (b *inbox) putAnswer(ctx context.Context, pipe redis.Pipeliner, run string, answer []byte) {
	pipe.XAdd(ctx, &redis.XAddArgs{
		Stream: redisclient.EdgeInbox(run), NoMkStream: true, MaxLen: inboxMessages, Approx: true,
		Values: []any{"run", b.r.run, "answer", answer},
	})
}

// knock puts a question to all processes that follow the hub and returns them. It is
// answered behind all that was accepted before.
func (h *hubBackplane) knock(ctx context.Context, question []byte) ([]string, error) {
	attempt, cancel := context.WithTimeout(ctx, attemptPatience)
	defer cancel()
	var members *redis.StringSliceCmd
	var values *redis.SliceCmd
	_, err := h.r.client.Pipelined(attempt, func(p redis.Pipeliner) error {
		members = p.SMembers(attempt, h.keys().Edges())
		values = p.HMGet(attempt, h.keys().Head(), headFields...)
		return nil
	})
	if ctx.Err() == nil {
		h.r.health.report(err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", hubs.ErrUnavailable, err)
	}
	at, err := parseHead(values.Val())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", hubs.ErrUnavailable, err)
	}
	edges := members.Val()
	if f := h.r.feed(h.id); f != nil && !slices.Contains(edges, h.r.run) {
		if _, started := f.where(); started {
			f.subscribed() // signs on
			return nil, fmt.Errorf("%w: Redis has lost who follows the hub", hubs.ErrUnanswered)
		}
	}
	if len(edges) == 0 {
		return nil, nil
	}
	pipe := h.r.client.Pipeline()
	for _, run := range edges {
		pipe.XAdd(attempt, &redis.XAddArgs{
			Stream: redisclient.EdgeInbox(run), NoMkStream: true, MaxLen: inboxMessages, Approx: true,
			Values: []any{"tenant", string(h.id.tenant), "hub", h.id.hub, "partition", h.id.part, "epoch", at.epoch, "number", at.number, "question", question},
		})
	}
	commands, _ := pipe.Exec(attempt) // each has its own error; Nil = there is no such inbox
	for _, c := range commands {
		if err := c.Err(); err != nil && !refusal(err) {
			return nil, fmt.Errorf("%w: %w", hubs.ErrUnavailable, err)
		}
	}
	return edges, nil
}

// gather is replies.wait for the answers of certain processes. It doesn't wait for
// those that have left the hub or are dead.
func (r *Redis) gather(ctx context.Context, keys redisclient.HubKeys, t *tally, runs []string) (int, error) {
	patience := time.NewTimer(r.cfg.AnswerPatience)
	defer patience.Stop()
	look := time.NewTicker(edgePause)
	defer look.Stop()
	for {
		matched, missing := t.missing(runs)
		if len(missing) == 0 {
			return matched, nil
		}
		var cause error
		select {
		case <-t.came:
			continue
		case <-look.C:
			if left, err := r.following(ctx, keys, missing); err == nil {
				runs = left
			}
			continue
		case <-patience.C:
			cause = fmt.Errorf("%d of %d have not answered within %v", len(missing), len(runs), r.cfg.AnswerPatience)
		case <-ctx.Done():
			cause = ctx.Err()
		case <-r.ctx.Done():
			cause = hubs.ErrUnavailable
		}
		r.stats.unanswered.Add(1)
		return matched, fmt.Errorf("%w: %w", hubs.ErrUnanswered, cause)
	}
}

// ErrMixed says that edges disagree about Config.StreamsOnly: they wouldn't hear each
// other's questions.
var ErrMixed = errors.New("another edge has the other setting of streams-only")

// CheckFleet returns ErrMixed when an edge that lives isn't of this one's mode.
func (r *Redis) CheckFleet(ctx context.Context) error {
	members, err := r.client.ZRange(ctx, redisclient.Edges, 0, -1).Result()
	if err != nil {
		return fmt.Errorf("read set of edges: %w", err)
	}
	for _, m := range members {
		run, _, _ := strings.Cut(m, " ")
		if run == r.run {
			continue
		}
		inbox, err := r.client.Exists(ctx, redisclient.EdgeInbox(run)).Result()
		if err != nil {
			return fmt.Errorf("look for inbox: %w", err)
		}
		if (inbox > 0) != r.cfg.StreamsOnly {
			return fmt.Errorf("%w: %s", ErrMixed, m)
		}
	}
	return nil
}

// following returns those of the edge runs that live and follow the hub. It forgets
// those that are dead, which are asked for with keys of another slot: one that has come to
// life meanwhile, with a lease or an inbox before it signed on again, is remembered.
func (r *Redis) following(ctx context.Context, keys redisclient.HubKeys, runs []string) ([]string, error) {
	if len(runs) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, attemptPatience)
	defer cancel()
	follows := make([]*redis.BoolCmd, len(runs))
	lives, err := r.living(ctx, runs, func(pipe redis.Pipeliner) {
		for i, run := range runs {
			follows[i] = pipe.SIsMember(ctx, keys.Edges(), run)
		}
	})
	if err != nil {
		return nil, err
	}
	var left, dead []string
	for i, run := range runs {
		switch {
		case !follows[i].Val():
		case lives[i]:
			left = append(left, run)
		default:
			dead = append(dead, run)
		}
	}
	if len(dead) == 0 {
		return left, nil
	}
	if err := r.client.SRem(ctx, keys.Edges(), dead).Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", hubs.ErrUnavailable, err)
	}
	lives, err = r.living(ctx, dead, nil)
	if err != nil {
		return nil, err
	}
	for i, run := range dead {
		if !lives[i] {
			continue
		}
		if err := r.client.SAdd(ctx, keys.Edges(), run).Err(); err != nil {
			return nil, fmt.Errorf("%w: %w", hubs.ErrUnavailable, err)
		}
		left = append(left, run)
	}
	return left, nil
}

// living tells of each edge run whether it has a lease or an inbox; first is asked in the
// same round trip, before.
func (r *Redis) living(ctx context.Context, runs []string, first func(redis.Pipeliner)) ([]bool, error) {
	signs := make([]*redis.IntCmd, 0, 2*len(runs))
	_, err := r.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		if first != nil {
			first(pipe)
		}
		for _, run := range runs {
			signs = append(signs, pipe.Exists(ctx, redisclient.EdgeLease(run)), pipe.Exists(ctx, redisclient.EdgeInbox(run)))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", hubs.ErrUnavailable, err)
	}
	lives := make([]bool, len(runs))
	for i := range runs {
		lives[i] = signs[2*i].Val()+signs[2*i+1].Val() > 0
	}
	return lives, nil
}
