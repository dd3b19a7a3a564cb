package tenantstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/tenants"
)

// PlanIDs implements tenants.Subscriptions.
func (s *Store) PlanIDs(ctx context.Context) ([]string, error) {
	return many(ctx, s, "plans", pgx.RowTo[string], "SELECT id FROM plans ORDER BY position, id")
}

// SetPlan implements tenants.Subscriptions.
func (s *Store) SetPlan(ctx context.Context, a tenants.AccountID, plan string, since time.Time) error {
	return s.exec(ctx, "account", "UPDATE accounts SET plan = $2, plan_since = $3, next_plan = NULL, next_plan_at = NULL WHERE id = $1", a, plan, since)
}

// MaxMembers implements tenants.Subscriptions.
func (s *Store) MaxMembers(ctx context.Context, a tenants.AccountID) (int, error) {
	return one(ctx, s, "account", pgx.RowTo[int], "SELECT coalesce(a.max_members, p.max_members) FROM accounts a JOIN plans p ON p.id = a.plan WHERE a.id = $1", a)
}

// AccountLimits implements tenants.Subscriptions.
func (s *Store) AccountLimits(ctx context.Context, a tenants.AccountID) (tenants.AccountLimits, error) {
	return one(ctx, s, "account", func(row pgx.CollectableRow) (v tenants.AccountLimits, err error) {
		err = row.Scan(&v.MaxTenants, &v.MaxMembers)
		return v, err
	}, "SELECT coalesce(max_tenants, 0), coalesce(max_members, 0) FROM accounts WHERE id = $1", a)
}

// SetAccountLimits implements tenants.Subscriptions.
func (s *Store) SetAccountLimits(ctx context.Context, a tenants.AccountID, v tenants.AccountLimits) error {
	return s.exec(ctx, "account", "UPDATE accounts SET max_tenants = nullif($2, 0), max_members = nullif($3, 0) WHERE id = $1", a, v.MaxTenants, v.MaxMembers)
}

// SetNextPlan implements tenants.Subscriptions.
func (s *Store) SetNextPlan(ctx context.Context, a tenants.AccountID, next *tenants.NextPlan) error {
	var plan *string
	var at *time.Time
	if next != nil {
		plan, at = &next.Plan, &next.At
	}
	return s.exec(ctx, "account", "UPDATE accounts SET next_plan = $2, next_plan_at = $3 WHERE id = $1", a, plan, at)
}

// PlanChanges implements tenants.Subscriptions.
func (s *Store) PlanChanges(ctx context.Context, a tenants.AccountID, since time.Time) (int, error) {
	return one(ctx, s, "changes of plans", pgx.RowTo[int], "SELECT count(*) FROM account_plans WHERE account_id = $1 AND since >= $2", a, since)
}

// Downgrades implements tenants.Subscriptions.
func (s *Store) Downgrades(ctx context.Context, a tenants.AccountID, since time.Time) (tenants.Downgrades, error) {
	return one(ctx, s, "changes of plans", func(row pgx.CollectableRow) (d tenants.Downgrades, err error) {
		var first *time.Time
		if err = row.Scan(&first, &d.Last); first != nil {
			d.First = first.UTC()
		}
		return d, err
	}, `
		WITH changes AS (
			SELECT h.since, h.id, p.position < lag(p.position) OVER (ORDER BY h.since, h.id) AS down
			FROM account_plans h JOIN plans p ON p.id = h.plan WHERE h.account_id = $1
		)
		SELECT (SELECT min(since) FROM changes WHERE down AND since >= $2), coalesce((SELECT down FROM changes ORDER BY since DESC, id DESC LIMIT 1), false)`, a, since)
}

// DuePlans implements tenants.Subscriptions.
func (s *Store) DuePlans(ctx context.Context, now time.Time, most int) ([]tenants.AccountID, error) {
	return many(ctx, s, "plans that are due", pgx.RowTo[tenants.AccountID], "SELECT id FROM accounts WHERE next_plan_at <= $1 ORDER BY next_plan_at, id LIMIT $2", now, most)
}
