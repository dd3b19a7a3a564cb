package backplane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// teller is a process that tells of presence when a test says so.
type teller struct {
	t *testing.T
	*Redis
	hub hubs.Backplane

	mu   sync.Mutex
	seen []string
	told []func()
}

func newTeller(t *testing.T, url string, events bool) *teller {
	t.Helper()
	p := &teller{t: t, Redis: process(t, url)}
	p.hub = p.Hub(tenant, hub, Settings{PresenceEvents: events})
	p.cfg.Presence = func(context.Context, tenants.ID, string) (func(PresenceEvent, func()), error) { return p.note, nil }
	return p
}

func (p *teller) note(e PresenceEvent, told func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	what := "left"
	if e.Joined {
		what = "joined"
	}
	p.seen = append(p.seen, fmt.Sprintf("%s %s %s%s", what, e.Group, e.UserID, e.ConnectionID))
	p.told = append(p.told, told)
}

func (p *teller) publish(kind hubs.Kind, user, connection, token string) {
	p.t.Helper()
	e := &hubs.Entry{Kind: kind, Groups: []string{"g"}, Connections: []string{connection}, Reason: token}
	if kind == hubs.PresenceSet {
		e.Message = &hubs.Broadcast{Target: "p", Arguments: say("p", 1).Message.Arguments}
		if user != "" {
			e.Users = []string{user}
		}
	}
	if _, err := p.hub.Publish(p.t.Context(), e, hubs.PublishOptions{}); err != nil {
		p.t.Fatal(err)
	}
}

// news is what there is to tell now, when all of it has been due for long.
func (p *teller) news(told bool) []string {
	p.t.Helper()
	keys := redisclient.Hub(tenant, hub)
	members, err := p.client.ZRange(p.t.Context(), keys.PresenceDue(), 0, -1).Result()
	if err != nil {
		p.t.Fatal(err)
	}
	for _, m := range members {
		p.client.ZAdd(p.t.Context(), keys.PresenceDue(), redis.Z{Member: m})
	}
	if err := p.tellHub(p.t.Context(), hubID{tenant: tenant, hub: hub}); err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if told {
		for _, f := range p.told {
			f()
		}
	}
	list := p.seen
	p.seen, p.told = nil, nil
	slices.Sort(list)
	return list
}

func (p *teller) wants(want ...string) {
	p.t.Helper()
	if got := p.news(true); !slices.Equal(got, want) {
		p.t.Errorf("told %q, want %q", got, want)
	}
	keys := redisclient.Hub(tenant, hub)
	eventually(p.t, "what was told is noted", func() bool {
		all, err := p.client.HKeys(p.t.Context(), keys.PresenceTold()).Result()
		return err == nil && !slices.ContainsFunc(all, func(k string) bool { return k[0] == '!' })
	})
}

// Of each member coming and leaving is told once: not of a user's further
// connections, nor of what was over before it was due.
func TestPresence_events(t *testing.T) {
	t.Parallel()
	url := newRedis(t)
	p := newTeller(t, url, true)
	p.publish(hubs.PresenceSet, "ann", "a1", "run.1")
	p.publish(hubs.PresenceSet, "ann", "a2", "run.2")
	p.publish(hubs.PresenceSet, "", "b", "run.3")
	p.publish(hubs.PresenceSet, "", "b", "run.3") // another state
	p.publish(hubs.PresenceSet, "eve", "e", "run.4")
	p.publish(hubs.PresenceGone, "", "e", "run.4") // in a moment
	p.wants("joined g ann", "joined g b")
	p.wantsNothing()
	p.publish(hubs.PresenceGone, "", "a1", "run.1")
	p.publish(hubs.PresenceGone, "", "a1", "run.1") // once
	p.publish(hubs.PresenceGone, "", "b", "run.2")  // of another presence
	p.wantsNothing()
	p.publish(hubs.PresenceGone, "", "a2", "run.2")
	p.publish(hubs.PresenceSet, "ann", "a3", "run.5") // a page was loaded anew
	p.wantsNothing()
	p.publish(hubs.PresenceGone, "", "a3", "run.5")
	p.publish(hubs.PresenceGone, "", "b", "run.3")
	p.wants("left g ann", "left g b")
	p.wantsNothing()
	for _, key := range []string{redisclient.Hub(tenant, hub).PresenceCounts(), redisclient.Hub(tenant, hub).PresenceTold(), redisclient.Hub(tenant, hub).PresenceDue()} {
		if n := p.client.Exists(t.Context(), key).Val(); n != 0 {
			t.Errorf("%s is left", key)
		}
	}
	if err := p.tellPresence(t.Context()); err != nil {
		t.Error(err)
	}
	p.StopTelling()
	if n := p.client.ZCard(t.Context(), redisclient.PresenceNews).Val(); n != 0 {
		t.Errorf("%d hubs have news", n)
	}

	silent := newTeller(t, url, false)
	silent.publish(hubs.PresenceSet, "ann", "a1", "run.6")
	silent.wantsNothing()
}

// What a process was telling when it ended another tells, with the same id and before
// anything newer of that member; while it lives nobody else does.
func TestPresence_events_of_a_process_that_ends(t *testing.T) {
	t.Parallel()
	url := newRedis(t)
	one, two := newTeller(t, url, true), newTeller(t, url, true)
	lease := redisclient.EdgeLease(one.run)
	if err := one.client.HSet(t.Context(), lease, "address", "x").Err(); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, p := range []*teller{one, two} {
		p.cfg.Presence = func(context.Context, tenants.ID, string) (func(PresenceEvent, func()), error) {
			return func(e PresenceEvent, told func()) {
				ids = append(ids, e.ID)
				p.note(e, told)
			}, nil
		}
	}
	one.publish(hubs.PresenceSet, "ann", "a", "run.1")
	if got := one.news(false); len(got) != 1 {
		t.Fatalf("told %q", got)
	}
	one.publish(hubs.PresenceGone, "", "a", "run.1")
	two.wantsNothing()
	if err := one.client.Del(t.Context(), lease).Err(); err != nil {
		t.Fatal(err)
	}
	two.wants("joined g ann")
	two.wants("left g ann")
	if len(ids) != 3 || ids[0] != ids[1] || ids[1] == ids[2] {
		t.Errorf("ids %q, want the first twice and another", ids)
	}
}

// A hub of which nothing is known now has its news wait, untaken, and holds up no other;
// a process that ends takes up no more.
func TestPresence_events_of_a_hub_that_is_not_known_wait(t *testing.T) {
	t.Parallel()
	url := newRedis(t)
	const other = "other"
	one, two := newTeller(t, url, true), newTeller(t, url, true)
	one.publish(hubs.PresenceSet, "ann", "a", "run.1")
	e := announcement("b", "g", "run.2")
	if _, err := one.Hub(tenant, other, Settings{PresenceEvents: true}).Publish(t.Context(), e, hubs.PublishOptions{}); err != nil {
		t.Fatal(err)
	}
	due := func() {
		t.Helper()
		for _, h := range []string{hub, other} {
			for _, m := range one.client.ZRange(t.Context(), redisclient.Hub(tenant, h).PresenceDue(), 0, -1).Val() {
				one.client.ZAdd(t.Context(), redisclient.Hub(tenant, h).PresenceDue(), redis.Z{Member: m})
			}
			one.client.ZAdd(t.Context(), redisclient.PresenceNews, redis.Z{Member: string(tenant) + "/" + h})
		}
	}
	told, asked := make(chan string, 10), make(chan struct{}, 10)
	one.cfg.Presence = func(ctx context.Context, _ tenants.ID, h string) (func(PresenceEvent, func()), error) {
		if h == hub {
			asked <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return func(e PresenceEvent, done func()) {
			told <- e.UserID
			done()
		}, nil
	}
	due()
	if err := one.tellPresence(one.taking.ctx); err != nil {
		t.Fatal(err)
	}
	<-asked
	if user := <-told; user != "u" {
		t.Errorf("told of %s", user)
	}
	if err := one.tellPresence(one.taking.ctx); err != nil { // the one that is being asked for isn't asked for again
		t.Fatal(err)
	}
	one.StopTelling()
	if len(asked) != 0 {
		t.Error("asked twice at once")
	}
	due()
	if err := one.tellPresence(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(asked)+len(told) != 0 {
		t.Error("news were taken up by a process that ends")
	}

	errUnknown := errors.New("not known now")
	two.cfg.Presence = func(context.Context, tenants.ID, string) (func(PresenceEvent, func()), error) { return nil, errUnknown }
	if err := two.tellHub(t.Context(), hubID{tenant: tenant, hub: hub}); !errors.Is(err, errUnknown) {
		t.Errorf("got %v", err)
	}
	now := one.client.Time(t.Context()).Val().UnixMilli()
	if at := one.client.ZScore(t.Context(), redisclient.PresenceNews, string(tenant)+"/"+hub).Val(); at < float64(now-patience.Milliseconds()) {
		t.Errorf("the hub is to be looked at again at %v, it is %v", at, now)
	}
	two.cfg.Presence = func(context.Context, tenants.ID, string) (func(PresenceEvent, func()), error) { return two.note, nil }
	two.wants("joined g ann")
}

// Who has been present for longer than anything is kept in silence is told to have left.
func TestPresence_of_long_ago_is_told_to_have_left(t *testing.T) {
	t.Parallel()
	p := newTeller(t, newRedis(t), true)
	p.publish(hubs.PresenceSet, "ann", "a", "run.1")
	p.wants("joined g ann")
	k := redisclient.Hub(tenant, hub)
	keys := []string{redisclient.PresenceHubs(p.run), k.Presence(p.run), k.PresenceCounts(), k.PresenceTold()}
	for _, key := range keys {
		if !p.client.PExpire(t.Context(), key, 2*presenceRenewal).Val() {
			t.Fatalf("%s isn't there", key)
		}
	}
	if err := p.renewPresence(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if left := p.client.PTTL(t.Context(), key).Val(); left < headLife-presenceRenewal {
			t.Errorf("%s ends in %v", key, left)
		}
	}
	p.publish(hubs.PresenceGone, "", "a", "run.1")
	p.wants("left g ann")
}

func (p *teller) wantsNothing() {
	p.t.Helper()
	if got := p.news(true); len(got) != 0 {
		p.t.Errorf("told %q", got)
	}
}
