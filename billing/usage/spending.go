package usage

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// beginPeriod makes the hash that of a period, unless a later one has begun.
const beginPeriod = `
local from, held = tonumber(ARGV[1]), tonumber(redis.call('HGET', KEYS[1], 'from') or '-1')
if from < held then return {} end
if from > held then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'from', ARGV[1])
end
redis.call('EXPIRE', KEYS[1], 3456000)
`

// spend adds to what an account has used in a period and returns all of it, or
// nothing for a period that is over.
// KEYS: the hash. ARGV: the period's beginning, messages, milliseconds.
var spend = redis.NewScript(beginPeriod + `
return {redis.call('HINCRBY', KEYS[1], 'messages', ARGV[2]), redis.call('HINCRBY', KEYS[1], 'ms', ARGV[3])}`)

// settleSpending takes off what turned out not to be, and makes the count at least
// what the ledger has.
// KEYS: the hash. ARGV: the period's beginning, messages and milliseconds of the
// ledger, messages and milliseconds to take off.
var settleSpending = redis.NewScript(beginPeriod + `
local answer = {}
for i, field in ipairs({'messages', 'ms'}) do
  local value = tonumber(redis.call('HGET', KEYS[1], field) or '0') - tonumber(ARGV[3 + i])
  if value < tonumber(ARGV[1 + i]) then value = tonumber(ARGV[1 + i]) end
  redis.call('HSET', KEYS[1], field, string.format('%.0f', value))
  answer[i] = value
end
return answer`)

// Spend adds what was used on an edge to the account's live count of the period that
// begins at from, and returns that count. known is false for a period that is over.
func Spend(ctx context.Context, r redis.Scripter, a tenants.AccountID, from time.Time, s Spent) (total Spent, known bool, err error) {
	return spentBy(spend.Run(ctx, r, []string{redisclient.Spending(a)}, from.Unix(), s.Messages, s.Milliseconds))
}

// SettleSpending takes surplus off the account's live count, makes it at least what
// the ledger has, and returns it. known is false for a period that is over.
func SettleSpending(ctx context.Context, r redis.Scripter, a tenants.AccountID, from time.Time, ledger, surplus Spent) (total Spent, known bool, err error) {
	return spentBy(settleSpending.Run(ctx, r, []string{redisclient.Spending(a)},
		from.Unix(), ledger.Messages, ledger.Milliseconds, surplus.Messages, surplus.Milliseconds))
}

func spentBy(c *redis.Cmd) (Spent, bool, error) {
	answer, err := c.Int64Slice()
	if err != nil {
		return Spent{}, false, fmt.Errorf("count spending: %w", err)
	}
	if len(answer) != 2 {
		return Spent{}, false, nil
	}
	return Spent{Messages: answer[0], Milliseconds: answer[1]}, true, nil
}
