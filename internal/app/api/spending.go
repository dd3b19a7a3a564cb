package api

import (
	"context"
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
	spendingEvery   = 2 * time.Second
	spendingTimeout = 10 * time.Second
	// trueAfter is how old what edges have counted must be to be in the ledger if it
	// ever will: edges flush every two seconds, and what is flushed is committed while
	// no flush waits.
	trueAfter = 15 * time.Second
)

// spending tells people what their accounts have used of their budgets, and keeps
// the live counts that edges enforce budgets by in agreement with the ledger.
type spending struct {
	tenants *tenants.Service
	billing *billing.Service
	redis   *redis.Client
	logger  *slog.Logger

	mu    sync.Mutex
	dirty map[tenants.ID]bool

	// Of the goroutine that runs alone: accounts whose budgets are enforced.
	enforced map[tenants.AccountID]*liveCount
}

// liveCount is what edges had counted at a time.
type liveCount struct {
	tenant tenants.ID // one of the account's
	from   time.Time
	was    usage.Spent
	at     time.Time
}

func newSpending(t *tenants.Service, b *billing.Service, r *redis.Client, logger *slog.Logger) *spending {
	return &spending{tenants: t, billing: b, redis: r, logger: logger, dirty: make(map[tenants.ID]bool), enforced: make(map[tenants.AccountID]*liveCount)}
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
// budgets are enforced.
func (s *spending) round(ctx context.Context, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, spendingTimeout)
	defer cancel()
	s.mu.Lock()
	due := s.dirty
	s.dirty = make(map[tenants.ID]bool)
	s.mu.Unlock()
	for _, c := range s.enforced {
		due[c.tenant] = true
	}
	if len(due) == 0 {
		return nil
	}
	err := s.look(ctx, now, slices.Collect(maps.Keys(due)))
	if err != nil {
		s.changed(ctx, slices.Collect(maps.Keys(due)))
	}
	return err
}

func (s *spending) look(ctx context.Context, now time.Time, ids []tenants.ID) error {
	waiting, err := s.redis.XLen(ctx, redisclient.UsageStream).Result()
	if err != nil {
		return err
	}
	spent, err := s.billing.Spent(ctx, ids)
	if err != nil {
		return err
	}
	for _, a := range spent {
		sub, err := s.tenants.SubscriptionOf(ctx, a.Account)
		if err != nil {
			return err
		}
		messages, minutes := sub.Limits()
		if err := s.tenants.TellBudget(ctx, sub, tenants.MeterMessages, messages, a.Messages); err != nil {
			return err
		}
		used := billing.Values{ConnectionSeconds: a.ConnectionSeconds}.ConnectionMinutes()
		if err := s.tenants.TellBudget(ctx, sub, tenants.MeterConnectionMinutes, minutes, used); err != nil {
			return err
		}
		if !sub.Enforced() {
			delete(s.enforced, a.Account)
			continue
		}
		if err := s.settle(ctx, now, a, waiting == 0); err != nil {
			return err
		}
	}
	return nil
}

// settle makes an account's live count at least what the ledger has. What edges had
// counted a while ago and the ledger still hasn't is lost, with an edge that was
// killed, or corrected: it is taken off. quiet says that no flush waits.
func (s *spending) settle(ctx context.Context, now time.Time, a billing.Spent, quiet bool) error {
	c := s.enforced[a.Account]
	ledger := usage.Spent{Messages: a.Messages, Milliseconds: a.ConnectionSeconds * 1000}
	var surplus usage.Spent
	marks := c == nil || !c.from.Equal(a.From)
	if !marks && now.Sub(c.at) >= trueAfter {
		if quiet {
			// Seconds are rounded: a second per edge and hub may be on its way for long.
			surplus = usage.Spent{Messages: max(0, c.was.Messages-ledger.Messages)}
			if ms := c.was.Milliseconds - ledger.Milliseconds; ms > trueAfter.Milliseconds() {
				surplus.Milliseconds = ms
			}
		}
		marks = quiet
	}
	total, known, err := usage.SettleSpending(ctx, s.redis, a.Account, a.From, ledger, surplus)
	if err != nil {
		return err
	}
	if marks && known {
		s.enforced[a.Account] = &liveCount{tenant: a.Tenant, from: a.From, was: total, at: now}
	}
	return nil
}
