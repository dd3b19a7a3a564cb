package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/billing/usage"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// budgeted is a tenant whose account may use some messages in a period.
func budgeted(slug string, revision, messages int64, action tenants.BudgetAction) *tenants.Document {
	d := document(slug, revision)
	d.Budget = &tenants.DocBudget{Account: tenants.AccountID("A" + slug), AnchorDay: 1, Messages: messages, Action: action}
	return d
}

// TestBudget_refuses_what_its_action_says uses a budget up on one edge and looks at
// what the other one refuses, until the budget is raised.
func TestBudget_refuses_what_its_action_says(t *testing.T) {
	t.Parallel()
	const most = 5
	docs := map[tenants.BudgetAction]*tenants.Document{}
	var all []*tenants.Document
	for _, action := range tenants.BudgetActions {
		docs[action] = budgeted(strings.ReplaceAll(string(action), "_", ""), 1, most, action)
		all = append(all, docs[action])
	}
	c := startCluster(t, all...)
	for action, want := range map[tenants.BudgetAction]struct{ connect, publish, change, ask, invoke, kept bool }{
		tenants.BudgetNotify:            {connect: true, publish: true, change: true, ask: true, invoke: true, kept: true},
		tenants.BudgetRefuseConnections: {connect: false, publish: true, change: true, ask: true, invoke: true, kept: true},
		tenants.BudgetRefusePublish:     {connect: true, publish: false, change: true, ask: true, invoke: false, kept: true},
		tenants.BudgetReadOnly:          {connect: true, publish: false, change: false, ask: true, invoke: false, kept: true},
		tenants.BudgetStop:              {},
	} {
		t.Run(string(action), func(t *testing.T) {
			d := docs[action]
			k := c.connect(0, d, "chat", "ann")
			for n := 0; n < most; n += 2 { // accepted and delivered
				c.send(0, d, "chat", "m", "x")
				if f := k.next(); f.Target != "m" {
					t.Fatalf("got %+v", f)
				}
			}
			e := c.edges[1]
			c.eventually("the other edge knows", func() bool { return e.hubs.budgets.exceeded(d) != nil })
			rest := func(method, path, body string) (int, string) {
				res, text := c.do(method, c.base(1, d.Slug)+"/api/v1/hubs/chat"+path, restJWT(t, d), body, nil)
				if res.StatusCode == http.StatusForbidden && !strings.Contains(text, codeBudget) {
					t.Errorf("%s %s: %s", method, path, text)
				}
				return res.StatusCode, text
			}
			judge := func(what string, refused, allowed bool) {
				t.Helper()
				if refused == allowed {
					t.Errorf("%s: refused %t, want allowed %t", what, refused, allowed)
				}
			}
			_, _, err := c.dial(1, 1, d, "chat", clientJWT(t, d, 0, "chat", "bob"))
			judge("a new connection", err != nil && strings.Contains(err.Error(), codeBudget), want.connect)
			status, _ := rest(http.MethodPost, "", `{"target":"m","arguments":[]}`)
			judge("a publish", status == http.StatusForbidden, want.publish)
			if want.publish {
				k.next()
			}
			status, _ = rest(http.MethodPut, "/users/ann/groups/g", "")
			judge("a change", status == http.StatusForbidden, want.change)
			status, _ = rest(http.MethodGet, "/users/ann", "")
			judge("a question", status == http.StatusForbidden, want.ask)
			if want.kept {
				c.eventually("the own edge knows", func() bool { return c.edges[0].hubs.budgets.exceeded(d) != nil })
				k.write(`{"type":1,"invocationId":"1","target":"say","arguments":[]}`)
				judge("an invocation", strings.Contains(k.next().Error, codeBudget), want.invoke)
			} else if f := k.next(); f.Type != 7 || f.AllowReconnect || !strings.Contains(f.Error, codeBudget) {
				t.Errorf("a connection gets %+v", f)
			}
			c.publish(budgeted(d.Slug, 2, 1000, action))
			c.eventually("the raised budget is in force", func() bool {
				res, _ := c.do(http.MethodPost, c.base(1, d.Slug)+"/api/v1/hubs/chat", restJWT(t, d), `{"target":"m","arguments":[]}`, nil)
				return res.StatusCode == http.StatusAccepted
			})
		})
	}
}

// TestBudget_overshoot is in counts: edges that talk to Redis after every few
// messages are over the budget by no more than what they use between two words, until
// each of them does what the budget's action says.
func TestBudget_overshoot(t *testing.T) {
	t.Parallel()
	const edges, recipients, between, most = 3, 4, 5, 1000
	acts := map[tenants.BudgetAction]func(*budgets, *tenants.Document) bool{
		tenants.BudgetNotify:            func(b *budgets, d *tenants.Document) bool { return len(b.exceeded(d)) > 0 },
		tenants.BudgetRefuseConnections: func(b *budgets, d *tenants.Document) bool { return b.connecting(d) != nil },
		tenants.BudgetRefusePublish:     func(b *budgets, d *tenants.Document) bool { return b.sending(d) != nil },
		tenants.BudgetReadOnly:          func(b *budgets, d *tenants.Document) bool { return b.sending(d) != nil && b.changing(d) != nil },
		tenants.BudgetStop:              func(b *budgets, d *tenants.Document) bool { return b.sending(d) != nil && b.asking(d) != nil },
	}
	var all []*tenants.Document
	for _, action := range tenants.BudgetActions {
		all = append(all, budgeted(strings.ReplaceAll(string(action), "_", ""), 1, most, action))
	}
	c := startCluster(t, all...)
	for i, action := range tenants.BudgetActions {
		d, acts := all[i], acts[action]
		t.Run(string(action), func(t *testing.T) {
			var fleet []*budgets
			for i := range edges {
				run := fmt.Sprint("run", i, action)
				r := usage.NewRecorder(c.redis, run, slog.New(slog.DiscardHandler))
				b := newBudgets(c.redis, run, r, c.edges[0].hubs, c.edges[0].log)
				b.now = func() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) } // not the cluster's own period
				fleet = append(fleet, b)
			}
			if _, err := c.edges[0].directory.BySlug(t.Context(), d.Slug); err != nil {
				t.Fatal(err)
			}
			used, acting := 0, 0
			for acting < edges {
				acting = 0
				for _, b := range fleet {
					for range between {
						if acts(b, d) {
							acting++
							break
						}
						b.recorder.Accepted(d.ID, "chat", "e", time.Time{}, 1, 1)
						m := b.recorder.Hub(d.ID, "chat")
						m.Delivered(recipients, 10)
						m.Close()
						used += 1 + recipients
					}
					b.exchange(t.Context())
				}
			}
			if bound := (edges - 1) * between * (1 + recipients); used < most || used > most+bound {
				t.Errorf("%d messages of %d were used; at most %d more may be", used, most, bound)
			}
			t.Logf("the budget of %d was overshot by %d", most, used-most)
			for _, b := range fleet { // the next period begins anew
				b.now = func() time.Time { return time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC) }
				if acts(b, d) {
					t.Error("the next period is over the budget, too")
				}
			}
		})
	}
}

// deaf loses the answers of Redis, which has done what it was asked for.
type deaf struct {
	spendingRedis
	lost int
}

func (d *deaf) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	c := d.spendingRedis.EvalSha(ctx, sha, keys, args...)
	if c.Err() == nil && d.lost > 0 {
		d.lost--
		c.SetErr(context.DeadlineExceeded)
	}
	return c
}

func TestBudget_counts_once_what_was_told_without_an_answer(t *testing.T) {
	t.Parallel()
	d := budgeted("demo", 1, 1000, tenants.BudgetRefusePublish)
	c := startCluster(t, d)
	if _, err := c.edges[0].directory.BySlug(t.Context(), d.Slug); err != nil {
		t.Fatal(err)
	}
	r := &deaf{spendingRedis: c.redis}
	recorder := usage.NewRecorder(c.redis, "run", slog.New(slog.DiscardHandler))
	b := newBudgets(r, "run", recorder, c.edges[0].hubs, c.edges[0].log)
	b.now = func() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) } // not the cluster's own period
	a := d.Budget.Account
	use := func() {
		recorder.Accepted(d.ID, "chat", "e", time.Time{}, 1, 10)
		b.exchange(t.Context())
	}
	use()
	r.lost = 3
	for range 3 {
		use() // Redis counts 10 of the 30
	}
	b.mu.Lock()
	if s := b.accounts[a]; s.total.Messages != 10 || s.owed.Messages != 30 {
		t.Errorf("without answers the edge knows %+v", *s)
	}
	b.mu.Unlock()
	b.exchange(t.Context()) // the report again
	b.exchange(t.Context()) // the next one
	b.mu.Lock()
	if s := b.accounts[a]; s.total.Messages != 40 || s.owed != (usage.Spent{}) {
		t.Errorf("with answers the edge knows %+v", *s)
	}
	b.mu.Unlock()
	// A first try that was on its way for long.
	late := usage.Report{Account: a, From: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), Run: "run", Sequence: 1, Spent: usage.Spent{Messages: 10}}
	if total, known, err := usage.Spend(t.Context(), c.redis, late); err != nil || !known || total.Messages != 40 {
		t.Errorf("a late try makes it %+v, %t, %v", total, known, err)
	}
	late.Run = "another"
	if total, _, err := usage.Spend(t.Context(), c.redis, late); err != nil || total.Messages != 50 {
		t.Errorf("another edge makes it %+v, %v", total, err)
	}
	for _, run := range []string{"run", "another"} {
		if left, err := c.redis.TTL(t.Context(), redisclient.SpendingReport(a, run)).Result(); err != nil || left <= 0 {
			t.Errorf("what %q told is remembered for %s, %v", run, left, err)
		}
	}
}

func TestBudget_of_the_largest_size_refuses_nothing(t *testing.T) {
	t.Parallel()
	d := budgeted("demo", 1, 0, tenants.BudgetStop)
	b := newBudgets(nil, "run", usage.NewRecorder(nil, "run", slog.New(slog.DiscardHandler)), nil, slog.New(slog.DiscardHandler))
	for _, minutes := range []int64{1, 153_722_867_281, 1_000_000_000_000_000, math.MaxInt64} {
		d.Budget.ConnectionMinutes = minutes
		if e := b.exceeded(d); e != nil {
			t.Errorf("%d minutes: %v", minutes, e)
		}
	}
	d.Budget.ConnectionMinutes = 2
	from, _ := tenants.Period(d.Budget.AnchorDay, time.Now())
	for ms, over := range map[int64]bool{119_999: false, 120_000: true} {
		b.mu.Lock()
		b.account(d.Budget.Account, from).total = usage.Spent{Milliseconds: ms}
		b.mu.Unlock()
		if got := b.exceeded(d) != nil; got != over {
			t.Errorf("%d ms of 2 minutes: exceeded %t", ms, got)
		}
	}
}

// TestAllowance_refuses_what_the_plan_has_no_price_for: messages and new connections, each
// by its own limit, until the period in which the plan has changed is over.
func TestAllowance_refuses_what_the_plan_has_no_price_for(t *testing.T) {
	t.Parallel()
	d := budgeted("demo", 1, 0, tenants.BudgetNotify)
	d.Plan = "free"
	november := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	d.Budget.Allowance = &tenants.DocAllowance{Messages: 100, ConnectionMinutes: 20, Shared: november.Unix(), SharedMessages: 10, SharedMinutes: 2}
	b := newBudgets(nil, "run", usage.NewRecorder(nil, "run", slog.New(slog.DiscardHandler)), nil, slog.New(slog.DiscardHandler))
	now := november.AddDate(0, 0, 21)
	b.now = func() time.Time { return now }
	use := func(s usage.Spent) {
		from, _ := tenants.Period(1, now)
		b.mu.Lock()
		defer b.mu.Unlock()
		b.account(d.Budget.Account, from).total = s
	}
	judge := func(what string, err error, limit string) {
		t.Helper()
		if limit == "" {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
			return
		}
		var over *budgetError
		if !errors.As(err, &over) {
			t.Fatalf("%s: %v", what, err)
		}
		if f := over.fault(); f.Code != codeAllowance || f.Limit == nil || f.Limit.Limit != limit || f.Limit.Scope != "account" {
			t.Errorf("%s: %+v", what, f)
		}
	}
	use(usage.Spent{Messages: 9, Milliseconds: 119_999})
	judge("below", errors.Join(b.sending(d), b.connecting(d)), "")
	use(usage.Spent{Messages: 10, Milliseconds: 119_999})
	judge("a message", b.sending(d), "messages_per_month")
	judge("a connection, a change, a question", errors.Join(b.connecting(d), b.changing(d), b.asking(d)), "")
	const want = "allowance_exceeded: the account has used 10 of the 10 that its plan (free) allows (messages_per_month); change to a larger plan, which is in force at once, or wait for the next period at 2026-12-01T00:00:00Z"
	if err := b.sending(d); err.Error() != want {
		t.Errorf("it says %q", err)
	}
	use(usage.Spent{Messages: 9, Milliseconds: 120_000})
	judge("a message", b.sending(d), "")
	judge("a connection", b.connecting(d), "connection_minutes_per_month")
	d.Budget.Messages, d.Budget.Action = 5, tenants.BudgetRefuseConnections // a budget of one's own counts as well
	use(usage.Spent{Messages: 10})
	judge("a message", b.sending(d), "messages_per_month")
	if err := b.connecting(d); refusedBy(err) != codeBudget {
		t.Errorf("a connection: %v", err)
	}
	d.Budget.Messages = 0
	now = now.AddDate(0, 1, 0)
	judge("in the next period", errors.Join(b.sending(d), b.connecting(d)), "")
	use(usage.Spent{Messages: 99})
	judge("its whole allowance", b.sending(d), "")
	use(usage.Spent{Messages: 100})
	judge("beyond it", b.sending(d), "messages_per_month")
}
