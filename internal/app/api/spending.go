package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/billing"
	"github.com/signalbox/signalbox/billing/usage"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

const (
	spendingEvery = 2 * time.Second
	// spendingBatch is for how many tenants is read at once what their accounts used.
	spendingBatch   = 200
	spendingTimeout = 10 * time.Second // to read for a batch
	accountTimeout  = 5 * time.Second  // to look after an account
	// mostFailures is after how many accounts that fail a round ends: it isn't they who fail.
	mostFailures = 5
	// trueAfter is how old what edges have counted must be to be in the ledger if it
	// ever will: edges flush every two seconds, and what is flushed is committed while
	// no flush waits.
	trueAfter = 15 * time.Second
)

// spending tells people what their accounts have used of their budgets and of what their
// plans allow, and keeps the live counts that edges enforce those by in agreement with the
// ledger.
type spending struct {
	tenants *tenants.Service
	billing *billing.Service
	redis   *redis.Client
	logger  *slog.Logger

	mu    sync.Mutex
	dirty map[tenants.ID]bool

	// Of the goroutine that runs alone: accounts whose budgets are enforced, and those
	// that are near the allowance of a plan that refuses more.
	enforced map[tenants.AccountID]*liveCount
	// Likewise: accounts that are to be told of something later.
	waiting map[tenants.AccountID]laterNotice
}

// laterNotice is when to look after an account though it has used nothing.
type laterNotice struct {
	tenant tenants.ID // one of the account's
	at     time.Time
}

// liveCount is what edges had counted at a time.
type liveCount struct {
	tenant tenants.ID // one of the account's
	from   time.Time
	was    usage.Spent
	at     time.Time
}

func newSpending(t *tenants.Service, b *billing.Service, r *redis.Client, logger *slog.Logger) *spending {
	return &spending{
		tenants: t, billing: b, redis: r, logger: logger, dirty: make(map[tenants.ID]bool),
		enforced: make(map[tenants.AccountID]*liveCount), waiting: make(map[tenants.AccountID]laterNotice),
	}
}

// changed notes that tenants have used something, or have got a budget. It never
// blocks.
func (s *spending) changed(_ context.Context, ids []tenants.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		s.dirty[id] = true
	}
}

// run works until ctx ends, and goes on after every error.
func (s *spending) run(ctx context.Context) error {
	tick := time.NewTicker(spendingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := s.round(ctx, time.Now()); err != nil && ctx.Err() == nil {
			s.logger.WarnContext(ctx, "budgets not looked after, trying again", "error", err)
		}
	}
}

// round looks after the accounts of tenants that have changed, and after those whose
// budgets are enforced. Those that it fails at or doesn't come to are left for the next
// round; which it begins with is up to chance, so that none waits for ever for others.
func (s *spending) round(ctx context.Context, begun time.Time) error {
	started := time.Now()
	clock := func() time.Time { return begun.Add(time.Since(started)) }
	s.mu.Lock()
	due := s.dirty
	s.dirty = make(map[tenants.ID]bool)
	s.mu.Unlock()
	for _, c := range s.enforced {
		due[c.tenant] = true
	}
	for id, w := range s.waiting {
		if !w.at.After(begun) {
			due[w.tenant] = true
			delete(s.waiting, id)
		}
	}
	var failures []error
	left := slices.Collect(maps.Keys(due))
	for len(left) > 0 && len(failures) < mostFailures {
		batch := left[:min(len(left), spendingBatch)]
		failed, err := s.look(ctx, clock, batch, mostFailures-len(failures))
		if err != nil {
			s.changed(ctx, left)
			return errors.Join(append(failures, err)...)
		}
		failures = append(failures, failed...)
		left = left[len(batch):]
	}
	s.changed(ctx, left)
	return errors.Join(failures...)
}

// look looks after the accounts of some tenants, and returns the errors of those at
// which it failed. After so many it leaves the others alone. err = it came to none.
func (s *spending) look(ctx context.Context, clock func() time.Time, ids []tenants.ID, most int) (failed []error, err error) {
	read := clock()
	reading, cancel := context.WithTimeout(ctx, spendingTimeout)
	defer cancel()
	waiting, err := s.redis.XLen(reading, redisclient.UsageStream).Result()
	if err != nil {
		return nil, err
	}
	spent, err := s.billing.Spent(reading, ids)
	if err != nil {
		return nil, err
	}
	for _, a := range spent {
		if len(failed) < most {
			err := s.account(ctx, clock, ledgerState{a, read, waiting == 0})
			if err == nil {
				continue
			}
			failed = append(failed, fmt.Errorf("account %s: %w", a.Account, err))
		}
		s.changed(ctx, []tenants.ID{a.Tenant})
	}
	return failed, nil
}

// ledgerState is what the ledger has of an account.
type ledgerState struct {
	billing.Spent
	at    time.Time // it had this, at the least
	quiet bool      // no flush waited
}

// account tells of an account's budget and keeps its live count.
func (s *spending) account(ctx context.Context, clock func() time.Time, a ledgerState) error {
	ctx, cancel := context.WithTimeout(ctx, accountTimeout)
	defer cancel()
	sub, err := s.tenants.SubscriptionOf(ctx, a.Account)
	if err != nil {
		return err
	}
	used := billing.Values{ConnectionSeconds: a.ConnectionSeconds}.ConnectionMinutes()
	later, err := s.tenants.TellBudget(ctx, sub, tenants.MeterMessages, a.Messages)
	minutesLater, minutesErr := s.tenants.TellBudget(ctx, sub, tenants.MeterConnectionMinutes, used)
	// What can't be told is no reason to let the live count be wrong.
	told := errors.Join(err, minutesErr)
	if later.IsZero() || !minutesLater.IsZero() && minutesLater.Before(later) {
		later = minutesLater
	}
	if later.IsZero() {
		delete(s.waiting, a.Account)
	} else {
		s.waiting[a.Account] = laterNotice{a.Tenant, later}
	}
	held := sub.Enforced()
	if held == nil {
		delete(s.enforced, a.Account)
		return told
	}
	err = s.settle(ctx, clock, a)
	if c := s.enforced[a.Account]; c != nil && !sub.BudgetEnforced() && !near(held.Allowance, c) {
		delete(s.enforced, a.Account)
	}
	return errors.Join(told, err)
}

// near tells whether an account has used half of what its plan allows. Before that its
// count is put right when it uses something, and nobody looks at it in between: most
// accounts of a plan without a price for more are idle.
func near(allowed *tenants.DocAllowance, c *liveCount) bool {
	messages, minutes := allowed.In(c.from)
	return messages > 0 && c.was.Messages >= messages/2 || minutes > 0 && c.was.Milliseconds/60_000 >= minutes/2
}

// settle makes an account's live count at least what the ledger has. What edges had
// counted a while ago and the ledger still hasn't is lost, with an edge that was
// killed, or corrected: it is taken off.
func (s *spending) settle(ctx context.Context, clock func() time.Time, a ledgerState) error {
	c := s.enforced[a.Account]
	ledger := usage.Spent{Messages: a.Messages, Milliseconds: a.ConnectionSeconds * 1000}
	var surplus usage.Spent
	marks := c == nil || !c.from.Equal(a.From)
	if !marks && a.at.Sub(c.at) >= trueAfter {
		if a.quiet {
			// Seconds are rounded: a second per edge and hub may be on its way for long.
			surplus = usage.Spent{Messages: max(0, c.was.Messages-ledger.Messages)}
			if ms := c.was.Milliseconds - ledger.Milliseconds; ms > trueAfter.Milliseconds() {
				surplus.Milliseconds = ms
			}
		}
		marks = a.quiet
	}
	total, known, err := usage.SettleSpending(ctx, s.redis, a.Account, a.From, ledger, surplus)
	if err != nil {
		return err
	}
	if marks && known {
		s.enforced[a.Account] = &liveCount{tenant: a.Tenant, from: a.From, was: total, at: clock()}
	}
	return nil
}
