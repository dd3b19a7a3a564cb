package serverlink

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/internal/redisclient"
)

const (
	// unheard is how long a view is good whose doorbell isn't heard.
	unheard = 500 * time.Millisecond
	// viewIdle is how long a hub that nobody follows is kept.
	viewIdle = time.Minute
	// readsAtOnce bounds the readings that nobody waits for.
	readsAtOnce = 64
	// lifeGood is how long an edge is taken to be alive, or not, without asking.
	lifeGood = time.Second
)

// view is what this edge knows of a hub's server connections on other edges.
type view struct {
	hub       pairing.Hub
	edges     map[string]*record // by run; this edge isn't in it
	readAt    time.Time          // zero = never
	heard     bool               // its doorbell was heard when it was read, and has been since
	live      bool               // the subscription is confirmed
	silences  int                // how often it was lost
	seenUntil time.Time          // until when the hub has had an app server recently
	used      time.Time
	reading   chan struct{} // closed when the reading under way is over; nil = none
	failure   error         // of the last reading
	follow    map[*follower]bool
	taken     map[takenKey]taken // clients that went there since it told its load
}

// follower wants to know when its hub gets an app server.
type follower struct {
	first   func()
	present bool // it knows that there is one
}

// takenKey names an app server on an edge.
type takenKey struct{ run, server string }

// taken is how many clients have gone to an app server since a time.
type taken struct {
	clients int
	since   time.Time
}

// edgeLife is whether an edge's lease lives.
type edgeLife struct {
	alive bool
	at    time.Time
}

// Presence says whether a hub has app servers.
type Presence struct {
	// Now: one takes clients, somewhere in the fleet.
	Now bool
	// Recently: one did within the last ten minutes.
	Recently bool
}

// Presence tells of the app servers of hub. It costs nothing when the hub is
// known. While Redis is away, what was last known counts; an error means that
// nothing is known.
func (r *Registry) Presence(ctx context.Context, hub pairing.Hub) (Presence, error) {
	if r.here(hub) {
		return Presence{Now: true, Recently: true}, nil
	}
	err := r.read(ctx, hub, false)
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.views[hub]
	if v == nil || v.readAt.IsZero() {
		return Presence{}, err
	}
	now := r.anywhere(v)
	return Presence{Now: now, Recently: now || time.Now().Before(v.seenUntil)}, nil
}

// Follow has first called, on a goroutine of the registry, whenever hub gets its
// first app server in the fleet, until leave is called; also when there is one
// at the beginning. first must not block for long.
func (r *Registry) Follow(hub pairing.Hub, first func()) (leave func()) {
	key := &follower{first: first}
	r.mu.Lock()
	v := r.view(hub)
	v.follow[key] = true
	r.mu.Unlock()
	r.rouseFor(hub)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(v.follow, key)
		v.used = time.Now()
	}
}

// Servers returns the ids of the app servers that other edges are known to have
// for hub. It doesn't block: of a hub that nobody has asked about yet it knows
// nothing, and finds out.
func (r *Registry) Servers(hub pairing.Hub) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.view(hub)
	if v.readAt.IsZero() {
		r.start(v)
	}
	var ids []string
	for run, e := range v.edges {
		if !r.alive(run) {
			continue
		}
		for _, s := range e.Servers {
			ids = append(ids, s.ID)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// rouseFor has the registry look at a hub.
func (r *Registry) rouseFor(hub pairing.Hub) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v := r.views[hub]; v != nil {
		r.start(v)
	}
	r.changed[hub] = true
	r.rouse()
}

// here reports whether hub has a server connection on this edge.
func (r *Registry) here(hub pairing.Hub) (found bool) {
	r.cfg.Local.Servers(hub, func(string, int) { found = true })
	return found
}

// view returns the view of a hub, made if there is none. r.mu is held.
func (r *Registry) view(hub pairing.Hub) *view {
	v := r.views[hub]
	if v == nil {
		v = &view{hub: hub, edges: make(map[string]*record), follow: make(map[*follower]bool), taken: make(map[takenKey]taken)}
		r.views[hub] = v
		r.bell.add(hub)
	}
	v.used = time.Now()
	return v
}

// anywhere reports whether a living edge has an app server. r.mu is held.
func (r *Registry) anywhere(v *view) bool {
	for run, e := range v.edges {
		if len(e.Servers) > 0 && r.alive(run) {
			return true
		}
	}
	return false
}

// alive reports whether an edge was alive when last asked. r.mu is held.
func (r *Registry) alive(run string) bool {
	life := r.edges[run]
	return life == nil || life.alive
}

// remote returns what other living edges have for a hub; fresh = as Redis says
// now, when it can be asked.
func (r *Registry) remote(ctx context.Context, hub pairing.Hub, fresh bool) ([]record, error) {
	err := r.read(ctx, hub, fresh)
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.views[hub]
	if v == nil || v.readAt.IsZero() {
		return nil, err
	}
	list := make([]record, 0, len(v.edges))
	for run, e := range v.edges {
		if len(e.Servers) > 0 && r.alive(run) {
			list = append(list, record{Run: run, Address: e.Address, Servers: r.loads(v, e)})
		}
	}
	return list, nil
}

// took notes that a client went to a server: its edge tells of it later.
func (r *Registry) took(hub pairing.Hub, run, server string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.views[hub]
	if v == nil {
		return
	}
	k := takenKey{run, server}
	t := v.taken[k]
	if time.Since(t.since) > 2*r.cfg.LoadEvery {
		t = taken{since: time.Now()}
	}
	t.clients++
	v.taken[k] = t
}

// loads returns the servers of an edge with the clients that went there lately.
// r.mu is held.
func (r *Registry) loads(v *view, e *record) []Server {
	list := slices.Clone(e.Servers)
	if len(v.taken) == 0 {
		return list
	}
	for i := range list {
		k := takenKey{e.Run, list[i].ID}
		t, ok := v.taken[k]
		switch {
		case !ok:
		case time.Since(t.since) > 2*r.cfg.LoadEvery:
			delete(v.taken, k)
		default: // the connections of a server share its clients evenly
			list[i].Load += t.clients / max(1, list[i].Connections)
		}
	}
	return list
}

// read makes sure that the view of hub is good.
func (r *Registry) read(ctx context.Context, hub pairing.Hub, fresh bool) error {
	r.mu.Lock()
	v := r.view(hub)
	good := !v.readAt.IsZero() && (v.heard || time.Since(v.readAt) < unheard)
	if good && !fresh {
		r.mu.Unlock()
		return nil
	}
	if fresh && v.reading != nil {
		// That reading may have begun before the caller had reason to ask.
		under := v.reading
		r.mu.Unlock()
		select {
		case <-under:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		r.mu.Lock()
	}
	done := r.start(v)
	r.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return v.failure
}

// start begins a reading unless one is under way. r.mu is held.
func (r *Registry) start(v *view) <-chan struct{} {
	if v.reading != nil {
		return v.reading
	}
	done := make(chan struct{})
	if r.ended || time.Now().Before(r.away) {
		v.failure = errRedisAway
		if r.ended {
			v.failure = errClosed
		}
		close(done)
		return done
	}
	v.reading = done
	heard, silences := v.live, v.silences
	r.readings.Go(func() { // bounded by redisPatience
		err := r.load(v)
		r.mu.Lock()
		v.reading, v.failure = nil, err
		if err != nil {
			r.away = time.Now().Add(awayFor)
		} else if v.heard = heard && v.silences == silences; !v.heard && v.live {
			r.glance() // it was confirmed meanwhile
		}
		r.mu.Unlock()
		close(done)
		r.arrived(v.hub)
	})
	return done
}

var errRedisAway = fmt.Errorf("read server connections: Redis failed within the last %v", awayFor)

// load reads what all edges have told of a hub.
func (r *Registry) load(v *view) error {
	ctx, cancel := context.WithTimeout(context.Background(), redisPatience)
	defer cancel()
	began := time.Now()
	keys := redisclient.Hub(v.hub.Tenant, v.hub.Name)
	var entries *redis.MapStringStringCmd
	var seen *redis.DurationCmd
	if _, err := r.cfg.Redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		entries, seen = p.HGetAll(ctx, keys.Servers()), p.PTTL(ctx, keys.ServersSeen())
		return nil
	}); err != nil {
		return fmt.Errorf("read server connections: %w", err)
	}
	list := make(map[string]*record, len(entries.Val()))
	runs := make([]string, 0, len(entries.Val()))
	for run, data := range entries.Val() {
		rec := new(record)
		if err := json.Unmarshal([]byte(data), rec); err != nil {
			r.cfg.Logger.Warn("server connections of an edge are not readable", "edge", run, "error", err)
			continue
		}
		if rec.Run = run; run != r.cfg.EdgeRun {
			list[run], runs = rec, append(runs, run)
		}
	}
	if err := r.askLives(ctx, runs); err != nil {
		return err
	}
	var dead []string
	r.mu.Lock()
	for run := range list {
		if !r.alive(run) {
			dead = append(dead, run)
			delete(list, run)
		}
	}
	for run, known := range v.edges { // the doorbell may have been faster
		if rec := list[run]; rec == nil && known.heard.After(began) || rec != nil && rec.Number < known.Number {
			list[run] = known
		}
	}
	v.edges, v.readAt = list, time.Now()
	maps.DeleteFunc(v.taken, func(_ takenKey, t taken) bool { return time.Since(t.since) > 2*r.cfg.LoadEvery })
	if ttl := seen.Val(); ttl > 0 {
		v.seenUntil = v.readAt.Add(min(ttl, recently))
	} else if len(list) == 0 {
		v.seenUntil = time.Time{}
	}
	r.mu.Unlock()
	if len(dead) > 0 { // an edge whose lease comes back writes its entry again
		if err := r.cfg.Redis.HDel(ctx, keys.Servers(), dead...).Err(); err != nil {
			return fmt.Errorf("sweep server connections: %w", err)
		}
	}
	return nil
}

// askLives asks for the leases of edges that haven't been asked for lately.
func (r *Registry) askLives(ctx context.Context, runs []string) error {
	now := time.Now()
	var ask []string
	r.mu.Lock()
	for _, run := range runs {
		if life := r.edges[run]; life == nil || now.Sub(life.at) >= lifeGood {
			ask = append(ask, run)
		}
	}
	r.mu.Unlock()
	if len(ask) == 0 {
		return nil
	}
	answers := make([]*redis.IntCmd, len(ask))
	if _, err := r.cfg.Redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, run := range ask {
			answers[i] = p.Exists(ctx, redisclient.EdgeLease(run))
		}
		return nil
	}); err != nil {
		return fmt.Errorf("read edge leases: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, run := range ask {
		r.edges[run] = &edgeLife{alive: answers[i].Val() > 0, at: now}
	}
	return nil
}

// rang notes what an edge has told over a doorbell.
func (r *Registry) rang(hub pairing.Hub, payload string) {
	rec := new(record)
	if err := json.Unmarshal([]byte(payload), rec); err != nil || rec.Run == "" || rec.Run == r.cfg.EdgeRun {
		return
	}
	r.mu.Lock()
	v := r.views[hub]
	if v == nil || v.edges[rec.Run] != nil && v.edges[rec.Run].Number >= rec.Number {
		r.mu.Unlock()
		return
	}
	rec.heard = time.Now()
	v.edges[rec.Run] = rec
	v.seenUntil = time.Now().Add(recently)
	r.edges[rec.Run] = &edgeLife{alive: true, at: time.Now()} // it has just spoken
	r.mu.Unlock()
	r.arrived(hub)
}

// arrived tells the followers of a hub that it has an app server, once.
func (r *Registry) arrived(hub pairing.Hub) {
	here := r.here(hub)
	r.mu.Lock()
	v := r.views[hub]
	if v == nil {
		r.mu.Unlock()
		return
	}
	now := here || r.anywhere(v)
	if now {
		v.seenUntil = time.Now().Add(recently)
	}
	var tell []*follower
	for f := range v.follow {
		if now && !f.present {
			tell = append(tell, f)
		}
		f.present = now
	}
	r.mu.Unlock()
	for _, f := range tell {
		f.first()
	}
}
