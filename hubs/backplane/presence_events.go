package backplane

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// Comings and goings are told once over all processes. How many presences a member
// has is counted where they are written down and forgotten; what changes between some
// and none is looked at a while later, by whoever is first, and told when it isn't as
// it was told last. Who begins to tell something writes that down: when its process
// ends before it is told, another does it, with the same id.

const (
	// presenceDebounce is how long a change must have lasted to be told.
	presenceDebounce = 2 * time.Second
	// presenceLook is how often is looked whether the process that tells something
	// lives.
	presenceLook = 2 * time.Second
	// presenceTelling is how long it has, alive or not.
	presenceTelling = 5 * time.Minute
	// presenceNews is the most that is taken of a hub at once.
	presenceNews = 200
	// presenceHubs is the most hubs that are looked at in one round.
	presenceHubs = 100
	// presenceTellers is the most hubs of which news are taken at once.
	presenceTellers = 16
)

// PresenceEvent tells that a member has come to a group or has left it: a user with
// all connections, or a connection without a user.
type PresenceEvent struct {
	ID           string // the same whenever it is told again
	Joined       bool   // else it has left
	Group        string
	UserID       string
	ConnectionID string // of a member without a user
}

// presenceMember names who is counted.
func presenceMember(group, user, connection string) string {
	if user != "" {
		connection = ""
	}
	text, err := json.Marshal([]string{group, user, connection})
	if err != nil {
		panic(err) // texts always marshal
	}
	return string(text)
}

// The value of a presence in the hash of its run is its token, and behind a slash the
// member as which it counts. presenceLua has what the scripts share.
const presenceLua = `
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local function split(value)
  local i = string.find(value, '/', 1, true)
  if not i then return value, nil end
  return string.sub(value, 1, i - 1), string.sub(value, i + 1)
end
local function due(keys, member, at, hub)
  redis.call('ZADD', keys.due, 'NX', at, member)
  redis.call('PEXPIRE', keys.due, keys.life)
  redis.call('ZADD', keys.news, 'LT', at, hub)
end
`

// rememberPresence writes one down. KEYS: hash of the run, counts, due, news. ARGV: life,
// field, token, settings, member or "", tenant/hub, debounce.
var rememberPresence = redis.NewScript(presenceLua + `
local keys = {due = KEYS[3], news = KEYS[4], life = ARGV[1]}
local before, member = redis.call('HGET', KEYS[1], ARGV[2]), nil
if before then before, member = split(before) end
if not member and ARGV[5] ~= '' then
  member = ARGV[5]
  if redis.call('HINCRBY', KEYS[2], member, 1) == 1 then due(keys, member, now() + ARGV[7], ARGV[6]) end
  redis.call('PEXPIRE', KEYS[2], ARGV[1])
end
local value = ARGV[3]
if member then value = value .. '/' .. member end
redis.call('HSET', KEYS[1], '', ARGV[4], ARGV[2], value)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1`)

// forgetPresence forgets presences unless there are newer ones. KEYS: as above. ARGV: life,
// tenant/hub, debounce, then field, token, and so on.
var forgetPresence = redis.NewScript(presenceLua + `
local keys = {due = KEYS[3], news = KEYS[4], life = ARGV[1]}
for i = 4, #ARGV, 2 do
  local value = redis.call('HGET', KEYS[1], ARGV[i])
  if value then
    local token, member = split(value)
    if token == ARGV[i + 1] then
      redis.call('HDEL', KEYS[1], ARGV[i])
      if member and redis.call('HINCRBY', KEYS[2], member, -1) <= 0 then
        redis.call('HDEL', KEYS[2], member)
        due(keys, member, now() + ARGV[3], ARGV[2])
      end
    end
  end
end
local left = redis.call('HLEN', KEYS[1])
if left == 1 and redis.call('HEXISTS', KEYS[1], '') == 1 then redis.call('DEL', KEYS[1]) return 0 end
return left`)

// takePresence takes what a process has to tell. KEYS: counts, told, due, news. ARGV: life,
// tenant/hub, run, prefix of leases, look, telling, most, id. What is being told is in
// told under the member behind an exclamation mark: run, since when, 1 for joined, id.
var takePresence = redis.NewScript(presenceLua + `
local at, news = now(), {}
for n, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', at, 'LIMIT', 0, ARGV[7])) do
  local telling = redis.call('HGET', KEYS[2], '!' .. member)
  local tell
  if telling then
    local t = cjson.decode(telling)
    if at - t[2] > tonumber(ARGV[6]) or redis.call('EXISTS', ARGV[4] .. t[1]) == 0 then
      tell = {ARGV[3], at, t[3], t[4]}
    end
    redis.call('ZADD', KEYS[3], at + ARGV[5], member)
  else
    local here = (tonumber(redis.call('HGET', KEYS[1], member) or '0') > 0) and 1 or 0
    local was = redis.call('HEXISTS', KEYS[2], member)
    if here == was then
      redis.call('ZREM', KEYS[3], member)
    else
      if here == 1 then redis.call('HSET', KEYS[2], member, '1') else redis.call('HDEL', KEYS[2], member) end
      tell = {ARGV[3], at, here, ARGV[8] .. n}
      redis.call('ZADD', KEYS[3], at + ARGV[5], member)
    end
  end
  if tell then
    local text = cjson.encode(tell)
    redis.call('HSET', KEYS[2], '!' .. member, text)
    news[#news + 1] = member
    news[#news + 1] = text
  end
end
redis.call('PEXPIRE', KEYS[2], ARGV[1])
local first = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
if first[2] then redis.call('ZADD', KEYS[4], first[2], ARGV[2]) else redis.call('ZREM', KEYS[4], ARGV[2]) end
return news`)

// toldPresence notes that something was told. KEYS: told, due, news. ARGV: life,
// tenant/hub, member, what take has returned for it.
var toldPresence = redis.NewScript(presenceLua + `
if redis.call('HGET', KEYS[1], '!' .. ARGV[3]) ~= ARGV[4] then return 0 end
redis.call('HDEL', KEYS[1], '!' .. ARGV[3])
redis.call('ZREM', KEYS[2], ARGV[3])
due({due = KEYS[2], news = KEYS[3], life = ARGV[1]}, ARGV[3], now(), ARGV[2])
return 1`)

func (id hubID) name() string { return string(id.tenant) + "/" + id.hub }

// taking is what a process takes up of what there is to tell.
type taking struct {
	ctx  context.Context // until no more is taken up
	stop context.CancelFunc
	work sync.WaitGroup

	mu   sync.Mutex
	busy map[hubID]struct{}
}

func newTaking(ctx context.Context) *taking {
	n := &taking{busy: make(map[hubID]struct{})}
	n.ctx, n.stop = context.WithCancel(ctx)
	return n
}

// begin reports whether the news of a hub are to be taken now; end has to follow.
func (n *taking) begin(id hubID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, is := n.busy[id]; is || len(n.busy) >= presenceTellers || n.ctx.Err() != nil {
		return false
	}
	n.busy[id] = struct{}{}
	n.work.Add(1)
	return true
}

func (n *taking) end(id hubID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.busy, id)
	n.work.Done()
}

// StopTelling has no more news of presence taken up, and returns when none are being
// taken: what a process that ends takes up, another would have to tell again.
func (r *Redis) StopTelling() {
	r.taking.mu.Lock()
	r.taking.stop() // nothing begins from here on
	r.taking.mu.Unlock()
	r.taking.work.Wait()
}

// tell has news of presence told until StopTelling or Close.
func (r *Redis) tell() {
	for {
		quarter := presenceSweep / 4
		select {
		case <-time.After(presenceSweep - quarter/2 + mathrand.N(quarter+1)):
		case <-r.taking.ctx.Done():
			return
		}
		if err := r.tellPresence(r.taking.ctx); err != nil && r.taking.ctx.Err() == nil {
			r.log.Debug("news of presence can't be told", "error", err)
		}
	}
}

// tellPresence has the news told that are due, of each hub by itself: one of which
// isn't known what to tell holds up no other.
func (r *Redis) tellPresence(ctx context.Context) error {
	now, err := r.client.Time(ctx).Result()
	if err != nil {
		return fmt.Errorf("read time: %w", err)
	}
	names, err := r.client.ZRangeByScore(ctx, redisclient.PresenceNews, &redis.ZRangeBy{
		Min: "-inf", Max: fmt.Sprint(now.UnixMilli()), Count: presenceHubs,
	}).Result()
	if err != nil {
		return fmt.Errorf("read hubs with news of presence: %w", err)
	}
	for _, name := range names {
		tenant, hub, ok := strings.Cut(name, "/")
		id := hubID{tenant: tenants.ID(tenant), hub: hub}
		if !ok || !r.taking.begin(id) {
			continue
		}
		started := r.start(func() {
			defer r.taking.end(id)
			if err := r.tellHub(ctx, id); err != nil && ctx.Err() == nil {
				r.log.Debug("news of presence wait", "tenant_id", id.tenant, "hub", id.hub, "error", err)
			}
		})
		if !started {
			r.taking.end(id)
		}
	}
	return nil
}

// postpone has the news of a hub wait for a moment, so that others come to be looked at.
func (r *Redis) postpone(ctx context.Context, id hubID) error {
	now, err := r.client.Time(ctx).Result()
	if err != nil {
		return err
	}
	at := now.Add(presenceLook).UnixMilli()
	return r.client.ZAddArgs(ctx, redisclient.PresenceNews, redis.ZAddArgs{XX: true, GT: true, Members: []redis.Z{{Score: float64(at), Member: id.name()}}}).Err()
}

// tellHub has the news of one hub told that are due.
func (r *Redis) tellHub(ctx context.Context, id hubID) error {
	tell, err := r.cfg.Presence(ctx, id.tenant, id.hub)
	if err != nil {
		return errors.Join(fmt.Errorf("who is to be told: %w", err), r.postpone(ctx, id))
	}
	k := redisclient.Hub(id.tenant, id.hub)
	list, err := takePresence.Run(ctx, r.client,
		[]string{k.PresenceCounts(), k.PresenceTold(), k.PresenceDue(), redisclient.PresenceNews},
		headLife.Milliseconds(), id.name(), r.run, redisclient.EdgeLease(""), presenceLook.Milliseconds(),
		presenceTelling.Milliseconds(), presenceNews, "presence."+rand.Text()+".").StringSlice()
	if err != nil {
		return fmt.Errorf("take news of presence: %w", err)
	}
	for ; len(list) >= 2; list = list[2:] {
		member, telling := list[0], list[1]
		told := func() { r.start(func() { r.presenceTold(id, member, telling) }) }
		var names []string
		var what []any
		if json.Unmarshal([]byte(member), &names) != nil || json.Unmarshal([]byte(telling), &what) != nil || len(names) != 3 || len(what) != 4 {
			told() // it is of no process of this version
			continue
		}
		e := PresenceEvent{Joined: what[2] == float64(1), Group: names[0], UserID: names[1], ConnectionID: names[2]}
		e.ID, _ = what[3].(string)
		tell(e, told)
	}
	return nil
}

// presenceTold notes that an event was told, or never will be. What it fails to note
// is told again.
func (r *Redis) presenceTold(id hubID, member, telling string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), attemptPatience)
	defer cancel()
	k := redisclient.Hub(id.tenant, id.hub)
	if err := toldPresence.Run(ctx, r.client, []string{k.PresenceTold(), k.PresenceDue(), redisclient.PresenceNews},
		headLife.Milliseconds(), id.name(), member, telling).Err(); err != nil {
		r.log.Warn("an event of presence may be told twice", "tenant", id.tenant, "hub", id.hub, "error", err)
	}
}

// countedAs is the member as which an announcement counts; "" when the hub tells of
// none.
func (h *hubBackplane) countedAs(e *hubs.Entry, s Settings) string {
	if !s.PresenceEvents {
		return ""
	}
	user := ""
	if len(e.Users) > 0 {
		user = e.Users[0]
	}
	return presenceMember(e.Groups[0], user, e.Connections[0])
}

// presenceKeys are those of the scripts that write presences down and forget them.
func (h *hubBackplane) presenceKeys(run string) []string {
	return []string{h.keys().Presence(run), h.keys().PresenceCounts(), h.keys().PresenceDue(), redisclient.PresenceNews}
}
