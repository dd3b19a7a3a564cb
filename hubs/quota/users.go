package quota

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs/internal/unhurried"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// userLife is how long a user's connections are remembered after the last one came.
const userLife = 7 * 24 * time.Hour

var usersRow = row("max_connections_per_user")

// Users bounds the connections of one user of a tenant over all edges. While Redis is
// away an edge goes by its own.
type Users struct {
	redis   redis.UniversalClient
	calls   *redisclient.Batch // over redis: of those who connect at the same time
	run     string
	log     *slog.Logger
	figures *Figures

	mu   sync.Mutex
	open map[userKey][]*openConnection // on this edge, those that are being asked for included
	// owed are members that couldn't be taken out of their sorted set, by its user.
	owed   map[userKey][]any
	debts  int  // of owed
	paying bool // somebody tries again
	work   sync.WaitGroup

	stop    context.Context // ends with Wait
	stopped context.CancelFunc
}

const (
	// maxOwed is the most members that are remembered as owed; the others are found
	// by who asks for more than there may be on this edge.
	maxOwed = 100_000
	// payEvery is how often is tried to take out those that are owed.
	payEvery = time.Second
)

// openConnection is a connection that this edge counts.
type openConnection struct {
	hub, id  string
	admitted bool // else Redis is being asked
}

type userKey struct {
	tenant tenants.ID
	user   string
}

// UserConnection is one of a user's connections.
type UserConnection struct{ Run, Hub, ID string }

// member is how the sorted set has it: no part but the last can have a space.
func (u UserConnection) member() string { return u.Run + " " + u.Hub + " " + u.ID }

func userConnection(member string) UserConnection {
	run, rest, _ := strings.Cut(member, " ")
	hub, id, _ := strings.Cut(rest, " ")
	return UserConnection{run, hub, id}
}

// NewUsers returns a Users of the edge with that run id; figures may be nil.
func NewUsers(calls *redisclient.Batch, run string, figures *Figures, log *slog.Logger) *Users {
	u := &Users{redis: calls.Client(), calls: calls, run: run, figures: figures, log: log, open: make(map[userKey][]*openConnection), owed: make(map[userKey][]any)}
	u.stop, u.stopped = context.WithCancel(context.Background())
	return u
}

// admitUser adds a connection to a user's unless there are as many as may be; with
// close, it takes the oldest out for it.
// KEYS: the sorted set; ARGV: member, now (ms), most, life (s), close (0 or 1). It
// returns how many there are, whether it was added, and the members that are in the
// way: those to be closed, or all.
var admitUser = redis.NewScript(`
local n, most = redis.call('ZCARD', KEYS[1]), tonumber(ARGV[3])
local out = {}
if n >= most then
  if ARGV[5] == '0' then return {n, 0, redis.call('ZRANGE', KEYS[1], 0, -1)} end
  out = redis.call('ZRANGE', KEYS[1], 0, n - most)
  redis.call('ZREM', KEYS[1], unpack(out))
end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return {redis.call('ZCARD', KEYS[1]), 1, out}`)

// Admit counts a connection of a user until release is called, which may be called
// more than once. closed are the connections that were taken out for it, which the
// caller ends. The error is a *Refusal.
func (u *Users) Admit(ctx context.Context, t tenants.ID, user string, l *tenants.Limits, closeOldest bool, c UserConnection) (release func(), closed []UserConnection, err error) {
	k, most := userKey{t, user}, l.MaxConnectionsPerUser
	c.Run = u.run
	mine := &openConnection{hub: c.Hub, id: c.ID}
	u.mu.Lock()
	u.open[k] = append(u.open[k], mine) // from here on it is no ghost
	u.mu.Unlock()
	added, closed, err := u.ask(ctx, k, most, closeOldest, c)
	u.mu.Lock()
	defer u.mu.Unlock()
	if err != nil {
		// Alone, and the oldest can't be told: this edge's own are bounded.
		added, closed = u.admitted(k) < most, nil
	}
	if !added {
		u.forget(k, mine)
		if err != nil { // it may have been added all the same
			u.owe(k, c.member())
		}
		return nil, nil, refuse(usersRow, most, 0, connectionRetry)
	}
	mine.admitted = true
	if l.Tried != nil && l.Tried.MaxConnectionsPerUser > 0 && u.admitted(k) > l.Tried.MaxConnectionsPerUser {
		u.figures.Would(t, usersRow.Name)
	}
	return sync.OnceFunc(func() { u.release(k, mine, c) }), closed, nil
}

// admitted is how many of a user's connections this edge has. u.mu is held.
func (u *Users) admitted(k userKey) (n int) {
	for _, c := range u.open[k] {
		if c.admitted {
			n++
		}
	}
	return n
}

// forget takes one out. u.mu is held.
func (u *Users) forget(k userKey, mine *openConnection) {
	list := u.open[k]
	if i := slices.Index(list, mine); i >= 0 {
		list = slices.Delete(list, i, i+1)
	}
	if u.open[k] = list; len(list) == 0 {
		delete(u.open, k)
	}
}

// ask asks Redis; a connection of an edge that is dead doesn't count, nor does one of
// this edge that isn't open here.
func (u *Users) ask(ctx context.Context, k userKey, most int, closeOldest bool, c UserConnection) (added bool, out []UserConnection, err error) {
	timed := unhurried.With(ctx, leaseTimeout)
	defer timed.Stop()
	ctx = timed
	key := redisclient.UserConnections(k.tenant, k.user)
	ends := 0
	if closeOldest {
		ends = 1
	}
	for range 2 {
		var answer []any
		said, err := u.calls.Script(ctx, admitUser, []string{key}, c.member(), time.Now().UnixMilli(), most, int(userLife.Seconds()), ends)
		if err == nil {
			answer, err = said.Slice()
		}
		if err != nil || len(answer) != 3 {
			return false, nil, fmt.Errorf("count user's connections: %w", err)
		}
		members, _ := answer[2].([]any)
		out = out[:0]
		for _, m := range members {
			if text, ok := m.(string); ok {
				out = append(out, userConnection(text))
			}
		}
		if answer[1] == int64(1) {
			if n, ok := answer[0].(int64); ok {
				u.figures.Largest(k.tenant, usersRow.Name, int(n))
			}
			return true, out, nil
		}
		if !u.dropDead(ctx, k, out) {
			return false, nil, nil
		}
	}
	return false, nil, nil
}

// dropDead forgets connections of edges that have ended and those of this edge that
// aren't open here, and reports whether it did.
func (u *Users) dropDead(ctx context.Context, k userKey, all []UserConnection) bool {
	dead := u.ghosts(k, all)
	pipe := u.redis.Pipeline()
	leases := make(map[string]*redis.IntCmd)
	for _, c := range all {
		if leases[c.Run] == nil && c.Run != u.run {
			leases[c.Run] = pipe.Exists(ctx, redisclient.EdgeLease(c.Run))
		}
	}
	if len(leases) > 0 {
		if _, err := pipe.Exec(ctx); err != nil {
			return false
		}
	}
	for _, c := range all {
		if l := leases[c.Run]; l != nil && l.Val() == 0 {
			dead = append(dead, c.member())
		}
	}
	return len(dead) > 0 && u.redis.ZRem(ctx, redisclient.UserConnections(k.tenant, k.user), dead...).Err() == nil
}

// ghosts are the members of this edge that aren't open here.
func (u *Users) ghosts(k userKey, all []UserConnection) (dead []any) {
	type connection struct{ hub, id string }
	open := make(map[connection]bool)
	u.mu.Lock()
	for _, o := range u.open[k] {
		open[connection{o.hub, o.id}] = true
	}
	u.mu.Unlock()
	for _, c := range all {
		if c.Run == u.run && !open[connection{c.Hub, c.ID}] {
			dead = append(dead, c.member())
		}
	}
	return dead
}

func (u *Users) release(k userKey, mine *openConnection, c UserConnection) {
	u.mu.Lock()
	u.forget(k, mine)
	u.mu.Unlock()
	u.work.Go(func() {
		if err := u.takeOut(k, c.member()); err != nil {
			u.log.Debug("user's connection not taken back yet", "tenant_id", k.tenant, "error", err)
			u.mu.Lock()
			defer u.mu.Unlock()
			u.owe(k, c.member())
		}
	})
}

func (u *Users) takeOut(k userKey, members ...any) error {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	return u.redis.ZRem(ctx, redisclient.UserConnections(k.tenant, k.user), members...).Err()
}

// owe has a member taken out as soon as Redis is there. u.mu is held.
func (u *Users) owe(k userKey, member string) {
	if u.debts >= maxOwed {
		u.log.Warn("a user's connection is not taken back", "tenant_id", k.tenant, "limit", maxOwed)
		return
	}
	u.debts++
	u.owed[k] = append(u.owed[k], member)
	if !u.paying && u.stop.Err() == nil {
		u.paying = true
		u.work.Go(u.pay)
	}
}

// pay takes out what is owed, until nothing is or the edge ends, whose connections
// don't count then.
func (u *Users) pay() {
	tick := time.NewTicker(payEvery)
	defer tick.Stop()
	for {
		select {
		case <-u.stop.Done():
			return
		case <-tick.C:
		}
		for {
			k, members, ok := u.debt()
			if !ok {
				return
			}
			if u.takeOut(k, members...) != nil {
				break
			}
			u.paid(k, len(members))
		}
	}
}

// debt is something that is owed; false = nothing is, and nobody tries any more.
func (u *Users) debt() (k userKey, members []any, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for k, members := range u.owed {
		return k, slices.Clone(members), true
	}
	u.paying = false
	return k, nil, false
}

// paid forgets the first n that are owed for a user.
func (u *Users) paid(k userKey, n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.debts -= n
	if u.owed[k] = u.owed[k][n:]; len(u.owed[k]) == 0 {
		delete(u.owed, k)
	}
}

// Full returns the refusal that a further connection of a user would get now where
// the newest is refused, as far as is known; nil when there is none.
func (u *Users) Full(ctx context.Context, t tenants.ID, user string, l *tenants.Limits) error {
	timed := unhurried.With(ctx, peekPatience)
	defer timed.Stop()
	ctx = timed
	k := userKey{t, user}
	key := redisclient.UserConnections(t, user)
	n := redis.NewIntCmd(ctx, "zcard", key)
	if u.calls.Do(ctx, n) != nil || n.Err() != nil || n.Val() < int64(l.MaxConnectionsPerUser) {
		return nil // Admit will tell
	}
	members, err := u.redis.ZRange(ctx, key, 0, -1).Result()
	if err != nil {
		return nil // as above
	}
	all := make([]UserConnection, len(members))
	for i, m := range members {
		all[i] = userConnection(m)
	}
	if u.dropDead(ctx, k, all) {
		return nil
	}
	return refuse(usersRow, l.MaxConnectionsPerUser, 0, connectionRetry)
}

// Wait waits until what was released is told, or couldn't be.
func (u *Users) Wait() {
	u.stopped()
	u.work.Wait()
}
