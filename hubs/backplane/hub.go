package backplane

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/internal/unhurried"
	"github.com/signalbox/signalbox/internal/redisclient"
)

const (
	// userGroups is how many groups one user is remembered in; the ones that end
	// first give way.
	userGroups = 200
	// userGroupBytes is what the groups remembered of all users of a hub may take:
	// names, 256 bytes for each user and 64 for each group of one.
	userGroupBytes = 16 << 20
	// userGroupLife is how long "until removed" is remembered.
	userGroupLife = 365 * 24 * time.Hour
	// subscribePatience bounds how long Subscribe waits for Redis.
	subscribePatience = 2500 * time.Millisecond
	// idempotencyKeyBytes is the longest idempotency key.
	idempotencyKeyBytes = 128
)

// hubBackplane is one hub's backplane. It is a value without state of its own.
type hubBackplane struct {
	r        *Redis
	id       hubID
	settings func() Settings
	by       Sender
}

var (
	_ hubs.Backplane = (*hubBackplane)(nil)
	_ hubs.Pipeline  = (*hubBackplane)(nil)
	_ hubs.Historian = (*hubBackplane)(nil)
	_ hubs.Selector  = (*hubBackplane)(nil)
)

// Publish implements hubs.Backplane. It fails within 2.5 s: with
// hubs.ErrUnavailable when Redis is away, and then also with
// hubs.ErrOutcomeUnknown unless nothing was published.
func (h *hubBackplane) Publish(ctx context.Context, e *hubs.Entry, o hubs.PublishOptions) (hubs.Position, error) {
	if e.Kind == hubs.PresenceSet {
		if err := h.remember(ctx, e); err != nil {
			return hubs.Position{}, err
		}
	}
	at, err := h.publish(ctx, e, o)
	if err == nil && e.Kind == hubs.PresenceGone {
		var fields []any
		for _, id := range e.Connections {
			fields = append(fields, presenceField(id, e.Groups[0]), e.Reason)
		}
		h.forget(ctx, h.r.run, fields...)
	}
	return at, err
}

func (h *hubBackplane) publish(ctx context.Context, e *hubs.Entry, o hubs.PublishOptions) (at hubs.Position, err error) {
	if p := h.settings().Partitions; p.several() && p.Count > 1 && changesMembers(e) {
		at, _, err = h.Command(ctx, e, o)
		return at, err
	}
	err = h.again(ctx, func() error {
		b, err := h.handOver(ctx, e, o, false, true)
		if err == nil && o.Ack != hubs.AckNone {
			at, err = b.Accepted(ctx)
		}
		return err
	})
	return at, err
}

// again repeats what the change of a hub's partitions has refused: this process is
// about to hear of it.
func (h *hubBackplane) again(ctx context.Context, do func() error) error {
	deadline := time.Now().Add(publishPatience)
	for {
		err := do()
		if !errors.Is(err, errSealed) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-time.After(retryPause / 2):
		case <-ctx.Done():
			return err
		case <-h.r.ctx.Done():
			return err
		}
	}
}

// Command implements hubs.Backplane. Processes whose doorbell is broken at the
// moment catch up later and are not waited for. A repeat of an earlier command
// (same idempotency key) matches nothing.
func (h *hubBackplane) Command(ctx context.Context, e *hubs.Entry, o hubs.PublishOptions) (at hubs.Position, matched int, err error) {
	err = h.again(ctx, func() error {
		b, err := h.handOver(ctx, e, o, true, true)
		if err != nil {
			return err
		}
		matched, err = b.Matched(ctx)
		var failed error
		if at, failed = b.Accepted(ctx); failed != nil {
			err = failed
		}
		return err
	})
	return at, matched, err
}

// Ask implements hubs.Backplane. The question isn't stored anywhere.
func (h *hubBackplane) Ask(ctx context.Context, q hubs.Query) (int, error) {
	h, err := h.asked(ctx, q)
	if err != nil {
		return 0, fmt.Errorf("ask: %w", err)
	}
	t, _, err := h.ring(ctx, false, func(to address) []byte { return encodeQuery(q, to) })
	if t == nil {
		return 0, fmt.Errorf("ask: %w", err)
	}
	return t.matched, err
}

// List implements hubs.Backplane. It knows of processes whose doorbell is broken,
// too: they are in the hub's set of edges, and their lease lives.
func (h *hubBackplane) List(ctx context.Context, q hubs.ListQuery) (hubs.Page, error) {
	if err := q.Validate(); err != nil {
		return hubs.Page{}, err
	}
	h, err := h.listed(ctx, q)
	if err != nil {
		return hubs.Page{}, fmt.Errorf("list: %w", err)
	}
	t, edges, err := h.ring(ctx, true, func(to address) []byte { return encodeList(q, to) })
	if err != nil {
		return hubs.Page{}, fmt.Errorf("list: %w", err)
	}
	pages := make([]hubs.Page, 0, len(t.parts))
	for _, p := range t.parts {
		pages = append(pages, p.Page)
		edges = slices.DeleteFunc(edges, func(run string) bool { return run == p.run })
	}
	if err := h.noneOf(ctx, edges); err != nil {
		h.r.stats.unanswered.Add(1)
		return hubs.Page{}, fmt.Errorf("list: %w", err)
	}
	return hubs.MergePages(q, pages...), nil
}

// edgePause is how long an edge that has just left the hub may take to say so.
const edgePause = 100 * time.Millisecond

// noneOf returns hubs.ErrUnanswered when one of the edges, which gave no part of a
// list, follows the hub and lives. Those that are gone are forgotten.
func (h *hubBackplane) noneOf(ctx context.Context, edges []string) error {
	deadline := time.Now().Add(h.r.cfg.AnswerPatience)
	for {
		var err error
		if edges, err = h.r.following(ctx, h.keys(), edges); err != nil || len(edges) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w: %d edges can't be asked", hubs.ErrUnanswered, len(edges))
		}
		select {
		case <-time.After(edgePause):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", hubs.ErrUnanswered, ctx.Err())
		}
	}
}

// ring puts a question to all processes of the hub and waits for their answers.
// With hubs.ErrUnanswered the tally has those that came; with other errors it is
// nil. For a list it also returns the edges that followed the hub before.
func (h *hubBackplane) ring(ctx context.Context, list bool, encode func(to address) []byte) (*tally, []string, error) {
	if h.r.health.open() {
		return nil, nil, hubs.ErrUnavailable
	}
	if err := h.r.replies.listening(ctx); err != nil {
		return nil, nil, err
	}
	to, t := h.r.replies.ask(list)
	defer h.r.replies.forget(to)
	if h.r.inbox != nil {
		edges, err := h.knock(ctx, encode(to))
		if err != nil {
			return nil, nil, err
		}
		_, err = h.r.gather(ctx, h.keys(), t, edges)
		return t.now(), edges, err
	}
	attempt, cancel := context.WithTimeout(ctx, attemptPatience)
	defer cancel()
	var edges *redis.StringSliceCmd
	var processes *redis.IntCmd
	_, err := h.r.client.Pipelined(attempt, func(pipe redis.Pipeliner) error {
		if list {
			edges = pipe.SMembers(attempt, h.keys().Edges())
		}
		processes = pipe.Publish(attempt, h.keys().Doorbell(), encode(to))
		return nil
	})
	if ctx.Err() == nil {
		h.r.health.report(err)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", hubs.ErrUnavailable, err)
	}
	_, err = h.r.replies.wait(ctx, t, int(processes.Val()))
	if edges == nil {
		return t.now(), nil, err
	}
	return t.now(), edges.Val(), err
}

// Subscribe implements hubs.Backplane.
func (h *hubBackplane) Subscribe(ctx context.Context, n hubs.Node) (func(), error) {
	if h.r.ctx.Err() != nil {
		return nil, fmt.Errorf("subscribe: %w: closed", hubs.ErrUnavailable)
	}
	ctx, cancel := context.WithTimeout(ctx, subscribePatience)
	defer cancel()
	f := newFollower(h, n)
	f.turn <- struct{}{}
	defer func() { <-f.turn }()
	e, err := f.enterEra(ctx, h.settings().Partitions, n)
	if err != nil {
		f.stop()
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	f.begin(e)
	h.r.watchPartitions(f)
	return f.end, nil
}

// follow has the hub's entries, or those of the partition that h is, applied to n. The
// feed is the one that does so.
func (h *hubBackplane) follow(ctx context.Context, n hubs.Node) (leave func(), of *feed, err error) {
	d, channel := h.r.doorbell(h.id), h.keys().Doorbell()
	f := d.follow(h.id, channel, n)
	leave = sync.OnceFunc(func() {
		d.unfollow(channel, f, n)
		f.settle()
	})
	select {
	case <-f.live:
		f.begin(n)
		return leave, f, nil
	case <-ctx.Done():
		leave()
		return nil, nil, fmt.Errorf("%w: %w", hubs.ErrUnavailable, ctx.Err())
	case <-h.r.ctx.Done():
		leave()
		return nil, nil, fmt.Errorf("%w: closed", hubs.ErrUnavailable)
	}
}

// UserGroups implements hubs.Backplane.
func (h *hubBackplane) UserGroups(ctx context.Context, u string) ([]hubs.UserGroup, error) {
	timed := unhurried.With(ctx, attemptPatience)
	defer timed.Stop()
	groups := redis.NewMapStringStringCmd(timed, "hgetall", h.keys().UserGroups(u))
	err := h.r.lookups.Do(timed, groups)
	if err == nil && groups.Err() == nil && len(groups.Val()) == 0 {
		return nil, nil // as most users
	}
	now := redis.NewTimeCmd(timed, "time") // the clock that the ends were reckoned with
	if err == nil {
		err = h.r.lookups.Do(timed, now)
	}
	if err == nil {
		err = errors.Join(now.Err(), groups.Err())
	}
	if err != nil {
		return nil, fmt.Errorf("read groups of user: %w: %w", hubs.ErrUnavailable, err)
	}
	var list []hubs.UserGroup
	for name, end := range groups.Val() {
		ms, err := strconv.ParseInt(end, 10, 64)
		if until := time.UnixMilli(ms); err == nil && until.After(now.Val()) {
			list = append(list, hubs.UserGroup{Name: name, Until: until, Left: until.Sub(now.Val())})
		}
	}
	slices.SortFunc(list, func(a, b hubs.UserGroup) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

func (h *hubBackplane) keys() redisclient.HubKeys { return h.id.keys() }
