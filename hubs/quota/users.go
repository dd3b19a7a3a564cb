package quota

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

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
	run     string
	log     *slog.Logger
	figures *Figures

	mu   sync.Mutex
	open map[userKey]int // on this edge
	work sync.WaitGroup
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
func NewUsers(r redis.UniversalClient, run string, figures *Figures, log *slog.Logger) *Users {
	return &Users{redis: r, run: run, figures: figures, log: log, open: make(map[userKey]int)}
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
	added, closed, err := u.ask(ctx, t, user, most, closeOldest, c)
	u.mu.Lock()
	defer u.mu.Unlock()
	if err != nil {
		// Alone, and the oldest can't be told: this edge's own are bounded.
		added, closed = u.open[k] < most, nil
	}
	if !added {
		return nil, nil, refuse(usersRow, most, 0, connectionRetry)
	}
	u.open[k]++
	if l.Tried != nil && l.Tried.MaxConnectionsPerUser > 0 && u.open[k] > l.Tried.MaxConnectionsPerUser {
		u.figures.Would(t, usersRow.Name)
	}
	return sync.OnceFunc(func() { u.release(k, c) }), closed, nil
}

// ask asks Redis; a connection of an edge that is dead doesn't count.
func (u *Users) ask(ctx context.Context, t tenants.ID, user string, most int, closeOldest bool, c UserConnection) (added bool, out []UserConnection, err error) {
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	key := redisclient.UserConnections(t, user)
	ends := 0
	if closeOldest {
		ends = 1
	}
	for range 2 {
		answer, err := admitUser.Run(ctx, u.redis, []string{key}, c.member(), time.Now().UnixMilli(), most, int(userLife.Seconds()), ends).Slice()
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
			return true, out, nil
		}
		if !u.dropDead(ctx, key, out) {
			return false, nil, nil
		}
	}
	return false, nil, nil
}

// dropDead forgets connections of edges that have ended, and reports whether it did.
func (u *Users) dropDead(ctx context.Context, key string, all []UserConnection) bool {
	pipe := u.redis.Pipeline()
	leases := make(map[string]*redis.IntCmd)
	for _, c := range all {
		if leases[c.Run] == nil && c.Run != u.run {
			leases[c.Run] = pipe.Exists(ctx, redisclient.EdgeLease(c.Run))
		}
	}
	if len(leases) == 0 {
		return false
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return false
	}
	var dead []any
	for _, c := range all {
		if l := leases[c.Run]; l != nil && l.Val() == 0 {
			dead = append(dead, c.member())
		}
	}
	return len(dead) > 0 && u.redis.ZRem(ctx, key, dead...).Err() == nil
}

func (u *Users) release(k userKey, c UserConnection) {
	u.mu.Lock()
	if u.open[k]--; u.open[k] <= 0 {
		delete(u.open, k)
	}
	u.mu.Unlock()
	u.work.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
		defer cancel()
		if err := u.redis.ZRem(ctx, redisclient.UserConnections(k.tenant, k.user), c.member()).Err(); err != nil {
			u.log.Warn("user's connection not taken back", "tenant_id", k.tenant, "error", err)
		}
	})
}

// Full returns the refusal that a further connection of a user would get now where
// the newest is refused, as far as is known; nil when there is none.
func (u *Users) Full(ctx context.Context, t tenants.ID, user string, l *tenants.Limits) error {
	ctx, cancel := context.WithTimeout(ctx, peekPatience)
	defer cancel()
	key := redisclient.UserConnections(t, user)
	n, err := u.redis.ZCard(ctx, key).Result()
	if err != nil || n < int64(l.MaxConnectionsPerUser) {
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
	if u.dropDead(ctx, key, all) {
		return nil
	}
	return refuse(usersRow, l.MaxConnectionsPerUser, 0, connectionRetry)
}

// Wait waits until what was released is told.
func (u *Users) Wait() { u.work.Wait() }
