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

// spend adds to what an account has used in a period, unless that or a later report of
// the run is counted already, and returns all of it, or nothing for a period that is
// over.
// KEYS: the hash, the number of the run's last report. ARGV: the period's beginning,
// messages, milliseconds, the report's number, seconds for which it is remembered.
var spend = redis.NewScript(beginPeriod + `
local messages, ms = tonumber(ARGV[2]), tonumber(ARGV[3])
if messages ~= 0 or ms ~= 0 then
  if tonumber(ARGV[4]) > tonumber(redis.call('GET', KEYS[2]) or '0') then
    redis.call('HINCRBY', KEYS[1], 'messages', ARGV[2])
    redis.call('HINCRBY', KEYS[1], 'ms', ARGV[3])
    redis.call('SET', KEYS[2], ARGV[4], 'EX', ARGV[5])
  else
    redis.call('EXPIRE', KEYS[2], ARGV[5])
  end
end
local answer = {}
for i, field in ipairs({'messages', 'ms'}) do
  answer[i] = tonumber(redis.call('HGET', KEYS[1], field) or '0')
end
return answer`)

// reportKept is how long the number of an edge's last report is remembered: a report
// is repeated for as long as it has no answer.
const reportKept = 24 * time.Hour

// Report is what an account has used on an edge, in the period that begins at From.
// (Run, Sequence) names it: it counts once, however often it is told. An edge makes
// its next report of an account when it has the answer to the last one.
type Report struct {
	Account  tenants.AccountID
	From     time.Time
	Run      string // of the edge
	Sequence int64  // ascending in a run, from 1
	Spent
}

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

// Spend adds what was used on an edge to the account's live count of the period, and
// returns that count. known is false for a period that is over.
func Spend(ctx context.Context, r redis.Scripter, s Report) (total Spent, known bool, err error) {
	return spentBy(spend.Run(ctx, r, []string{redisclient.Spending(s.Account), redisclient.SpendingReport(s.Account, s.Run)},
		s.From.Unix(), s.Messages, s.Milliseconds, s.Sequence, int64(reportKept.Seconds())))
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
