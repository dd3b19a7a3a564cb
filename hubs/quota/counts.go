package quota

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// grantConnections counts in one step what this run has and how much of what it
// asks for still fits, and returns {granted, others' sum, runs}.
// KEYS: the hash run → count. ARGV: run, open now, asked for, limit, life in seconds.
var grantConnections = redis.NewScript(`
local others, runs = 0, 1
local counts = redis.call('HGETALL', KEYS[1])
for i = 1, #counts, 2 do
  if counts[i] ~= ARGV[1] then
    others = others + tonumber(counts[i + 1])
    runs = runs + 1
  end
end
local open, asked = tonumber(ARGV[2]), tonumber(ARGV[3])
local granted = math.max(0, math.min(asked, tonumber(ARGV[4]) - others - open))
if open + granted > 0 then
  redis.call('HSET', KEYS[1], ARGV[1], open + granted)
  redis.call('EXPIRE', KEYS[1], ARGV[5])
else
  redis.call('HDEL', KEYS[1], ARGV[1])
end
return {granted, others, runs}`)

// dropRun forgets a run's count unless it has changed. KEYS: the hash. ARGV: run, count.
var dropRun = redis.NewScript(`
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then return redis.call('HDEL', KEYS[1], ARGV[1]) end
return 0`)

// verdict is what Redis says of a question.
type verdict struct {
	granted int // of what was asked for
	others  int // connections of the other edges
	runs    int // edges with connections, this one included
}

// grant writes how many connections this run has and asks for more.
func (c *Connections) grant(id tenants.ID, open, asked, limit int) (verdict, error) {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	var answer []int64
	said, err := c.calls.Script(ctx, grantConnections, []string{redisclient.ConnectionCounts(id)},
		c.run, open, asked, limit, int(countsLife.Seconds()))
	if err == nil {
		answer, err = said.Int64Slice()
	}
	if err != nil {
		return verdict{}, fmt.Errorf("count connections: %w", err)
	}
	return verdict{granted: int(answer[0]), others: int(answer[1]), runs: int(answer[2])}, nil
}

// dropDead forgets the counts in the hash at key of runs whose lease is gone, and
// reports whether there were any. It is only needed where a limit is reached.
func dropDead(r redis.UniversalClient, key, ownRun string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	counts, err := r.HGetAll(ctx, key).Result()
	if err != nil {
		return false
	}
	delete(counts, ownRun)
	pipe := r.Pipeline()
	leases := make(map[string]*redis.IntCmd, len(counts))
	for run := range counts {
		leases[run] = pipe.Exists(ctx, redisclient.EdgeLease(run))
	}
	if len(leases) == 0 {
		return false
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return false
	}
	dropped := false
	for run, lease := range leases {
		if lease.Val() == 0 && dropRun.Run(ctx, r, []string{key}, run, counts[run]).Err() == nil {
			dropped = true
		}
	}
	return dropped
}
