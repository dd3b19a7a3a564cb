package quota

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// pauses are for how long somebody is kept out who was closed for the first, second
// and third time within offencesLife.
var pauses = []time.Duration{2 * time.Second, 10 * time.Second, time.Minute}

const (
	offencesLife = 5 * time.Minute
	// maxKeptOut bounds who is kept out of one tenant at a time.
	maxKeptOut = 1000
)

// keptOut is who may not connect for a while, by tenant and by user or address, as of
// the last flush and by this edge's own doing.
type keptOut struct {
	figures *Figures

	mu  sync.Mutex
	who map[tenants.ID]map[string]int64 // until when, in Unix milliseconds
}

// Who is how somebody is known who is kept out: a user, else an address.
func Who(user, address string) string {
	if user != "" {
		return "user:" + user
	}
	return "ip:" + address
}

// offend counts an offence.
// KEYS: the count, the hash of who is kept out; ARGV: who, now (ms), life of the count
// (s), most that are kept out, and the pauses (ms). It returns until when.
var offend = redis.NewScript(`
local n = redis.call('INCR', KEYS[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
local pause = tonumber(ARGV[math.min(4 + n, #ARGV)])
local till = tonumber(ARGV[2]) + pause
if redis.call('HLEN', KEYS[2]) < tonumber(ARGV[4]) or redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then
  redis.call('HSET', KEYS[2], ARGV[1], till)
  redis.call('EXPIRE', KEYS[2], 300)
end
return till`)

// Offend keeps somebody out whose connection was closed for not stopping: for 2 s, for
// 10 s the second time within five minutes, then for a minute. The other edges know
// within a second.
func (f *Figures) Offend(ctx context.Context, t tenants.ID, who string) error {
	now := f.now()
	f.keptOut.add(t, who, now.Add(pauses[0]).UnixMilli())
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	args := []any{who, now.UnixMilli(), int(offencesLife.Seconds()), maxKeptOut}
	for _, p := range pauses {
		args = append(args, p.Milliseconds())
	}
	until, err := offend.Run(ctx, f.redis, []string{redisclient.Offences(t, who), redisclient.KeptOut(t)}, args...).Int64()
	if err != nil {
		return fmt.Errorf("count offence: %w", err)
	}
	f.keptOut.add(t, who, until)
	f.Seen(t) // the next flush asks who is kept out
	return nil
}

// KeptOut returns the refusal of somebody who is kept out, or nil.
func (f *Figures) KeptOut(t tenants.ID, who string) *Refusal {
	until := f.keptOut.until(t, who)
	left := until - f.now().UnixMilli()
	if left <= 0 {
		return nil
	}
	return &Refusal{Limit: fault.Limit{
		Code: CodeKeptOut, Scope: scopeOf(who), Limit: "offences", Max: offencesMost, RetryAfterMS: left, Doc: fault.PagesURL + CodeKeptOut,
	}}
}

func scopeOf(who string) string {
	if len(who) > 3 && who[:3] == "ip:" {
		return string(tenants.ScopeIP)
	}
	return string(tenants.ScopeUser)
}

func (k *keptOut) add(t tenants.ID, who string, until int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.who == nil {
		k.who = make(map[tenants.ID]map[string]int64)
	}
	if k.who[t] == nil {
		k.who[t] = make(map[string]int64)
	}
	if len(k.who[t]) < maxKeptOut {
		k.who[t][who] = max(k.who[t][who], until)
	}
}

// replace takes what the fleet knows.
func (k *keptOut) replace(t tenants.ID, kept map[string]int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.figures.now().UnixMilli()
	for who, until := range k.who[t] { // this edge may have added some meanwhile
		if until > now && len(kept) < maxKeptOut {
			if kept == nil {
				kept = make(map[string]int64)
			}
			kept[who] = max(kept[who], until)
		}
	}
	if len(kept) == 0 {
		delete(k.who, t)
		return
	}
	if k.who == nil {
		k.who = make(map[tenants.ID]map[string]int64)
	}
	k.who[t] = kept
}

func (k *keptOut) until(t tenants.ID, who string) int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.who[t][who]
}
