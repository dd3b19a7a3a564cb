package tenantstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/tenants"
)

// Subscription implements tenants.Budgets.
func (s *Store) Subscription(ctx context.Context, a tenants.AccountID) (tenants.Subscription, error) {
	return one(ctx, s, "account", func(row pgx.CollectableRow) (v tenants.Subscription, err error) {
		var next *string
		var nextAt *time.Time
		err = row.Scan(&v.Account, &v.Plan, &v.PlanSince, &next, &nextAt, &v.AnchorDay, &v.MessagesAllowed, &v.ConnectionMinutesAllowed, &v.MaxTenants, &v.Tenants, &v.MaxMembers, &v.Members,
			&v.Budget.Messages, &v.Budget.ConnectionMinutes, &v.Budget.Steps, &v.Budget.Action)
		v.PlanSince = v.PlanSince.UTC()
		if next != nil && nextAt != nil {
			v.Next = &tenants.NextPlan{Plan: *next, At: nextAt.UTC()}
		}
		return v, err
	}, `SELECT a.id, a.plan, a.plan_since, a.next_plan, a.next_plan_at, extract(day FROM a.anchor_on)::int, p.messages_per_month, p.connection_minutes_per_month,
			coalesce(a.max_tenants, p.max_tenants), (SELECT count(*) FROM tenants t WHERE t.account_id = a.id AND t.status <> 'deleted'),
			coalesce(a.max_members, p.max_members), (SELECT count(*) FROM members m JOIN users u ON u.id = m.user_id WHERE m.account_id = a.id AND u.kind = 'person'),
			coalesce(b.messages, 0), coalesce(b.connection_minutes, 0), coalesce(b.steps, '{50,80,100}'), coalesce(b.action, 'notify')
		FROM accounts a JOIN plans p ON p.id = a.plan LEFT JOIN budgets b ON b.account_id = a.id WHERE a.id = $1`, a)
}

// PlanTerms implements tenants.Budgets.
func (s *Store) PlanTerms(ctx context.Context, a tenants.AccountID, from time.Time) ([]tenants.PlanTerms, error) {
	return many(ctx, s, "terms of plans", func(row pgx.CollectableRow) (p tenants.PlanTerms, err error) {
		err = row.Scan(&p.Since, &p.Messages, &p.ConnectionMinutes, &p.HardMessages, &p.HardMinutes)
		p.Since = p.Since.UTC()
		return p, err
	}, `SELECT h.since, t.messages_per_month, t.connection_minutes_per_month, t.extra_messages_price IS NULL, t.extra_minutes_price IS NULL
		FROM account_plans h JOIN LATERAL (
			SELECT * FROM plan_terms t WHERE t.plan = h.plan AND t.since <= greatest(h.since, $2) ORDER BY t.since DESC, t.id DESC LIMIT 1
		) t ON true
		WHERE h.account_id = $1 ORDER BY h.since, h.id`, a, from)
}

// PutBudget implements tenants.Budgets.
func (s *Store) PutBudget(ctx context.Context, a tenants.AccountID, b tenants.Budget) error {
	return s.exec(ctx, "budget", `
		INSERT INTO budgets (account_id, messages, connection_minutes, steps, action) VALUES ($1, nullif($2, 0::bigint), nullif($3, 0::bigint), $4, $5)
		ON CONFLICT (account_id) DO UPDATE SET messages = excluded.messages, connection_minutes = excluded.connection_minutes,
			steps = excluded.steps, action = excluded.action, updated_at = now()`, a, b.Messages, b.ConnectionMinutes, b.Steps, b.Action)
}

// AccountTenants implements tenants.Budgets.
func (s *Store) AccountTenants(ctx context.Context, a tenants.AccountID) ([]tenants.ID, error) {
	return many(ctx, s, "tenants", pgx.RowTo[tenants.ID], "SELECT id FROM tenants WHERE account_id = $1 AND status <> 'deleted' ORDER BY id", a)
}

// NoteBudget implements tenants.Budgets.
func (s *Store) NoteBudget(ctx context.Context, a tenants.AccountID, n tenants.BudgetNotice) (bool, error) {
	tag, err := s.db.Exec(ctx, `
		INSERT INTO budget_notices (account_id, period, meter, budget, step, used, told_at) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
		a, n.Period, n.Meter, n.Budget, n.Step, n.Used, n.ToldAt)
	if err != nil {
		return false, postgres.Error("note budget", err)
	}
	return tag.RowsAffected() == 1, nil
}

// BudgetNotices implements tenants.Budgets.
func (s *Store) BudgetNotices(ctx context.Context, a tenants.AccountID, period time.Time) ([]tenants.BudgetNotice, error) {
	return many(ctx, s, "budget notices", func(row pgx.CollectableRow) (n tenants.BudgetNotice, err error) {
		err = row.Scan(&n.Period, &n.Meter, &n.Budget, &n.Step, &n.Used, &n.ToldAt)
		n.ToldAt = n.ToldAt.UTC()
		return n, err
	}, "SELECT period, meter, budget, step, used, told_at FROM budget_notices WHERE account_id = $1 AND period = $2 ORDER BY told_at DESC, step DESC", a, period)
}
