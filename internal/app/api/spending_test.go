package api

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/signalbox/signalbox/billing/usage"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/scope"
	"github.com/signalbox/signalbox/internal/telemetry"
	"github.com/signalbox/signalbox/internal/testenv"
	"github.com/signalbox/signalbox/tenants"
)

// openIdle puts the control plane together. It doesn't run: nobody else looks after
// accounts.
func openIdle(t *testing.T) *app {
	t.Helper()
	signals, err := telemetry.Start(everywhere(t), telemetry.Config{Service: "api"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = signals.Shutdown(context.Background()) })
	a, err := open(everywhere(t), testConfig(t, testenv.Postgres(t), testenv.Redis(t)), slog.New(slog.DiscardHandler), io.Discard, signals)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.close)
	return a
}

// TestSpending tells of steps once, and keeps the live count in agreement with the
// ledger: at least what that has, and no more than what it can still get.
func TestSpending(t *testing.T) {
	t.Parallel()
	a := openIdle(t)
	_, err := a.core.pool.Exec(everywhere(t), `
		INSERT INTO users (id, email, email_key, password_hash) VALUES ('U1', 'owner@example.com', 'owner@example.com', ''), ('U2', 'dev@example.com', 'dev@example.com', '');
		INSERT INTO accounts (id, name, plan, anchor_on) VALUES ('A', 'Acme', 'pro', '2026-01-05');
		INSERT INTO members (account_id, user_id, role) VALUES ('A', 'U1', 'owner'), ('A', 'U2', 'developer');
		INSERT INTO tenants (id, account_id, slug, name, status) VALUES ('T', 'A', 'acme', 'Acme', 'active');
		INSERT INTO budgets (account_id, messages, steps, action) VALUES ('A', 100, '{50,80,100}', 'refuse_publish')`)
	if err != nil {
		t.Fatal(err)
	}
	s := a.spending
	now := time.Now()
	sequence := int64(0)
	use := func(messages int64) {
		t.Helper()
		sequence++
		if _, err := a.ledger.Commit(everywhere(t), usage.Flush{EdgeRun: "e", Sequence: sequence, SentAt: now, Deltas: []usage.Delta{
			{Tenant: "T", Hub: "chat", Minute: now, Delivered: messages},
		}}); err != nil {
			t.Fatal(err)
		}
		s.changed(everywhere(t), []tenants.ID{"T"})
	}
	round := func(at time.Time) {
		t.Helper()
		if err := s.round(everywhere(t), at); err != nil {
			t.Fatal(err)
		}
	}
	mails := func() (subjects []string) {
		t.Helper()
		all, err := a.core.store.RecentMail(everywhere(t), 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range all {
			if m.To != "owner@example.com" {
				t.Errorf("%s gets %q", m.To, m.Subject)
			}
			subjects = append(subjects, m.Subject)
		}
		return subjects
	}
	live := func() string {
		v, err := a.redis.HGet(everywhere(t), redisclient.Spending("A"), "messages").Result()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	use(49)
	round(now)
	if m := mails(); len(m) != 0 {
		t.Errorf("mails of 49 %%: %q", m)
	}
	if live() != "49" {
		t.Errorf("the live count is %s, want the ledger's", live())
	}
	use(1)
	round(now)
	round(now)
	if m := mails(); len(m) != 1 || m[0] != "Acme has used 50 % of its messages" {
		t.Errorf("mails of 50 %%: %q", m)
	}
	use(50) // 80 % was jumped over
	round(now)
	round(now)
	if m := mails(); len(m) != 2 || m[0] != "Acme has used 100 % of its messages" {
		t.Errorf("mails of 100 %%: %q", m)
	}
	// An edge counts 7 and is killed before it can flush them.
	sub, err := a.core.service.SubscriptionOf(everywhere(t), "A")
	if err != nil {
		t.Fatal(err)
	}
	from, _ := tenants.Period(sub.AnchorDay, now)
	if total, known, err := usage.Spend(everywhere(t), a.redis, usage.Report{Account: "A", From: from, Run: "r", Sequence: 1, Spent: usage.Spent{Messages: 7}}); err != nil || !known || total.Messages != 107 {
		t.Fatal(total, known, err)
	}
	const later = trueAfter + time.Hour // a round's own time counts, too
	now = now.Add(later)
	round(now)
	if live() != "107" {
		t.Errorf("the live count is %s: what may be on its way was taken off", live())
	}
	now = now.Add(later)
	round(now)
	if live() != "100" {
		t.Errorf("the live count is %s, want what the ledger has", live())
	}
	if _, known, err := usage.Spend(everywhere(t), a.redis, usage.Report{Account: "A", From: from.AddDate(0, -1, 0), Run: "r", Sequence: 2, Spent: usage.Spent{Messages: 5}}); err != nil || known || live() != "100" {
		t.Errorf("a period that is over counts: %t, %v", known, err)
	}
}

// TestSpending_goes_on_after_accounts_that_fail has more accounts than are read at once,
// and some whose live counts can't be kept.
func TestSpending_goes_on_after_accounts_that_fail(t *testing.T) {
	t.Parallel()
	a := openIdle(t)
	const accounts = spendingBatch + 20
	_, err := a.core.pool.Exec(everywhere(t), `
		INSERT INTO accounts (id, name, plan) SELECT 'A' || n, 'A', 'free' FROM generate_series(1, $1) n`, accounts)
	if err == nil {
		_, err = a.core.pool.Exec(everywhere(t), `
			INSERT INTO tenants (id, account_id, slug, name, status) SELECT 'T' || n, 'A' || n, 's' || n, 'T', 'active' FROM generate_series(1, $1) n`, accounts)
	}
	if err == nil {
		_, err = a.core.pool.Exec(everywhere(t), `
			INSERT INTO budgets (account_id, messages, steps, action)
			SELECT 'A' || n, 100, '{50}', CASE WHEN n < $1 THEN 'refuse_publish' ELSE 'notify' END FROM generate_series(1, $2) n`, mostFailures, accounts)
	}
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	f := usage.Flush{EdgeRun: "e", Sequence: 1, SentAt: now}
	var ids []tenants.ID
	for n := 1; n <= accounts; n++ {
		id := tenants.ID(fmt.Sprint("T", n))
		ids = append(ids, id)
		f.Deltas = append(f.Deltas, usage.Delta{Tenant: id, Hub: "chat", Minute: now, Delivered: 50})
	}
	if _, err := a.ledger.Commit(everywhere(t), f); err != nil {
		t.Fatal(err)
	}
	broken := make(map[tenants.ID]bool)
	for n := 1; n < mostFailures; n++ {
		broken[tenants.ID(fmt.Sprint("T", n))] = true
		if err := a.redis.Set(everywhere(t), redisclient.Spending(tenants.AccountID(fmt.Sprint("A", n))), "no hash", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	a.spending.changed(everywhere(t), ids)
	if err := a.spending.round(everywhere(t), now); err == nil || !strings.Contains(err.Error(), "account A1:") {
		t.Errorf("what fails isn't said: %v", err)
	}
	var told int
	if err := a.core.pool.QueryRow(everywhere(t), "SELECT count(DISTINCT account_id) FROM budget_notices").Scan(&told); err != nil || told != accounts {
		t.Errorf("%d of %d accounts are told, %v", told, accounts, err)
	}
	if diff := cmp.Diff(broken, a.spending.dirty); diff != "" {
		t.Errorf("left for the next round: %s", diff)
	}
	// When everything fails, nothing is forgotten.
	a.spending.changed(everywhere(t), ids)
	ctx, cancel := context.WithCancel(everywhere(t))
	cancel()
	if err := a.spending.round(ctx, now); err == nil || len(a.spending.dirty) != accounts {
		t.Errorf("%d of %d are left, %v", len(a.spending.dirty), accounts, err)
	}
}

// TestSpending_tells_once_in_an_hour changes budgets, each of which has reached a step
// that was never told of.
func TestSpending_tells_once_in_an_hour(t *testing.T) {
	t.Parallel()
	a := openIdle(t)
	_, err := a.core.pool.Exec(everywhere(t), `
		INSERT INTO users (id, email, email_key, password_hash) VALUES ('U1', 'owner@example.com', 'owner@example.com', '');
		INSERT INTO accounts (id, name, plan) VALUES ('A', 'Acme', 'pro');
		INSERT INTO members (account_id, user_id, role) VALUES ('A', 'U1', 'owner');
		INSERT INTO tenants (id, account_id, slug, name, status) VALUES ('T', 'A', 'acme', 'Acme', 'active');
		INSERT INTO budgets (account_id, messages, steps, action) VALUES ('A', 1000, '{10,20,100}', 'notify')`)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if _, err := a.ledger.Commit(everywhere(t), usage.Flush{EdgeRun: "e", Sequence: 1, SentAt: now, Deltas: []usage.Delta{
		{Tenant: "T", Hub: "chat", Minute: now, Delivered: 100},
	}}); err != nil {
		t.Fatal(err)
	}
	do := func(sql string, args ...any) {
		t.Helper()
		if _, err := a.core.pool.Exec(everywhere(t), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	look := func(budget int64, mails ...string) {
		t.Helper()
		if budget > 0 {
			do("UPDATE budgets SET messages = $1", budget)
			a.spending.changed(everywhere(t), []tenants.ID{"T"})
		}
		if err := a.spending.round(everywhere(t), now); err != nil {
			t.Fatal(err)
		}
		sent, err := a.core.store.RecentMail(everywhere(t), 100)
		if err != nil {
			t.Fatal(err)
		}
		var subjects []string
		for _, m := range sent {
			subjects = append(subjects, m.Subject)
		}
		if diff := cmp.Diff(mails, subjects); diff != "" {
			t.Errorf("with a budget of %d: %s", budget, diff)
		}
	}
	const ten, twenty, all = "Acme has used 10 % of its messages", "Acme has used 20 % of its messages", "Acme has used 100 % of its messages"
	look(1000, ten)
	look(500, ten) // 20 %, too soon
	for budget := range int64(5) {
		look(600+budget, ten)
	}
	look(100, all, ten) // which can't wait
	look(99, all, ten)
	look(500, all, ten)
	do("UPDATE budget_notices SET told_at = told_at - interval '1 hour'")
	look(0, all, ten) // nothing has changed and nobody waits yet
	now = now.Add(3 * time.Hour)
	look(0, twenty, all, ten)
	look(0, twenty, all, ten)
	if len(a.spending.waiting) != 0 {
		t.Errorf("%+v wait and have nothing to tell", a.spending.waiting)
	}
	do("UPDATE budget_notices SET told_at = told_at - interval '1 hour'")
	do(`INSERT INTO budget_notices (account_id, period, meter, budget, step, used, told_at)
		SELECT account_id, period, meter, n, 50, 0, told_at FROM generate_series(1, $1) n, (SELECT * FROM budget_notices LIMIT 1) one`, tenants.MaxBudgetNotices-3)
	look(98, twenty, all, ten)
	if len(a.spending.waiting) != 0 {
		t.Errorf("%+v wait for a period that has been told of often enough", a.spending.waiting)
	}
	do("DELETE FROM budget_notices WHERE budget = 1")
	look(98, all, twenty, all, ten)
}

// everywhere is the context of what looks after the accounts of all.
func everywhere(t *testing.T) context.Context { return scope.System(t.Context(), scope.Usage) }
