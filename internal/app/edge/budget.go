package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/billing/usage"
	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/serverconn"
	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
)

const (
	codeBudget    = "budget_exceeded"
	codeAllowance = "allowance_exceeded"
	// spendEvery is the time between two words with the fleet's count of what an
	// account has used. What it uses in that time is the most by which edges can be
	// wrong about each other.
	spendEvery   = 250 * time.Millisecond
	spendTimeout = time.Second
	// spendFor is how long an account's count is followed after somebody asked.
	spendFor = time.Minute
	// spendFarEvery is the time between two words of an account of which only the plan's
	// allowance is enforced, and less than half of that is used.
	spendFarEvery = 2 * time.Second
)

// budgetError refuses what an account's budget, or the allowance of its plan, no longer
// allows.
type budgetError struct {
	action tenants.BudgetAction
	until  time.Time
	// over is the allowance; the zero value = it is the budget.
	over fault.Limit
	used int64
	plan string
}

// code is that of the refusal.
func (e *budgetError) code() string {
	if e.over.Code != "" {
		return e.over.Code
	}
	return codeBudget
}

// fault is the refusal over REST.
func (e *budgetError) fault() *fault.Error {
	f := fault.New(fault.Forbidden, e.Error()).WithCode(e.code())
	if e.over.Code != "" {
		f = f.WithLimit(e.over)
	}
	return f
}

func (e *budgetError) Error() string {
	if e.over.Code != "" {
		return fmt.Sprintf("%s: the account has used %d of the %d that its plan (%s) allows (%s); change to a larger plan, which is in force at once, or wait for the next period at %s",
			codeAllowance, e.used, e.over.Max, e.plan, e.over.Limit, e.until.Format(time.RFC3339))
	}
	return fmt.Sprintf("%s: the account has used up its budget (%s); raise it, or wait for the next period at %s", codeBudget, e.action, e.until.Format(time.RFC3339))
}

// Unwrap makes the text one that hubs shows to clients.
func (e *budgetError) Unwrap() error { return hubs.NewError(e.Error()) }

// budgets holds tenants to the budgets of their accounts, and to what plans allow that
// refuse more. What an account has used
// is counted in Redis, by all edges, several times a second; between two words each
// edge adds what it has seen itself. While Redis is away, edges go on with that.
type budgets struct {
	redis    spendingRedis
	edgeRun  string
	recorder *usage.Recorder
	hubs     *registry
	log      *slog.Logger
	now      func() time.Time
	wake     chan struct{} // an account is asked for that isn't known

	mu       sync.Mutex
	accounts map[tenants.AccountID]*spending
	reports  int64 // made so far
	notices  map[noticeKey]notice
	away     bool
	ending   bool // all that is left is told now
}

// spendingRedis is what budgets need of Redis.
type spendingRedis interface {
	redis.Scripter
	SetNX(ctx context.Context, key string, value any, life time.Duration) *redis.BoolCmd
}

// spending is what an edge knows of an account.
type spending struct {
	from  time.Time // of the period
	known bool
	total usage.Spent // of the fleet
	owed  usage.Spent // seen here and not known to be in total
	// report is the part of owed that Redis was told, with no answer yet: it is told
	// again as it was.
	report usage.Report
	asked  time.Time
	spoken time.Time // when Redis answered last
	far    bool      // see spendFarEvery
}

func newBudgets(r spendingRedis, run string, recorder *usage.Recorder, hubs *registry, log *slog.Logger) *budgets {
	return &budgets{
		redis: r, edgeRun: run, recorder: recorder, hubs: hubs, log: log, now: time.Now,
		wake: make(chan struct{}, 1), accounts: make(map[tenants.AccountID]*spending),
	}
}

// refuses returns why one of some actions is in force for a tenant; nil = none is.
func (b *budgets) refuses(t *tenants.Document, actions ...tenants.BudgetAction) error {
	for _, e := range b.exceeded(t) {
		if slices.Contains(actions, e.action) {
			return e
		}
	}
	return nil
}

// exceeded returns what the budget of a tenant's account, and its plan, refuse now.
func (b *budgets) exceeded(t *tenants.Document) (over []*budgetError) {
	limit := t.Budget
	if limit == nil {
		return nil
	}
	now := b.now()
	from, to := tenants.Period(limit.AnchorDay, now)
	b.mu.Lock()
	defer b.mu.Unlock()
	unsaid := b.recorder.Unspent(t.ID) // behind the lock: exchange moves it to what is owed
	s := b.account(limit.Account, from)
	s.asked = now
	if !s.known {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
	used := s.total.Plus(s.owed).Plus(unsaid)
	minutes := used.Milliseconds / 60_000
	if limit.Messages > 0 && used.Messages >= limit.Messages || limit.ConnectionMinutes > 0 && minutes >= limit.ConnectionMinutes {
		over = append(over, &budgetError{action: limit.Action, until: to})
	}
	messages, allowedMinutes := limit.Allowance.In(from)
	if messages > 0 && used.Messages >= messages {
		over = append(over, allowanceError("messages_per_month", tenants.BudgetRefusePublish, messages, used.Messages, t.Plan, to))
	}
	if allowedMinutes > 0 && minutes >= allowedMinutes {
		over = append(over, allowanceError("connection_minutes_per_month", tenants.BudgetRefuseConnections, allowedMinutes, minutes, t.Plan, to))
	}
	s.far = limit.Messages == 0 && limit.ConnectionMinutes == 0 &&
		(messages == 0 || used.Messages < messages/2) && (allowedMinutes == 0 || minutes < allowedMinutes/2)
	return over
}

func allowanceError(name string, action tenants.BudgetAction, most, used int64, plan string, until time.Time) *budgetError {
	return &budgetError{
		action: action, until: until, used: used, plan: plan,
		over: fault.Limit{Code: codeAllowance, Scope: "account", Limit: name, Max: most, Doc: fault.PagesURL + codeAllowance},
	}
}

// account returns what is known of an account in a period; b.mu is held.
func (b *budgets) account(a tenants.AccountID, from time.Time) *spending {
	s := b.accounts[a]
	if s == nil || s.from.Before(from) {
		s = &spending{from: from, asked: b.now()}
		b.accounts[a] = s
	}
	return s
}

// connecting returns why a new connection of the tenant is refused; nil = it isn't.
func (b *budgets) connecting(t *tenants.Document) error {
	return b.refuses(t, tenants.BudgetRefuseConnections, tenants.BudgetStop)
}

// sending returns why a message of the tenant is refused.
func (b *budgets) sending(t *tenants.Document) error {
	return b.refuses(t, tenants.BudgetRefusePublish, tenants.BudgetReadOnly, tenants.BudgetStop)
}

// changing returns why a change that is no message is refused.
func (b *budgets) changing(t *tenants.Document) error {
	return b.refuses(t, tenants.BudgetReadOnly, tenants.BudgetStop)
}

// asking returns why a request that changes nothing is refused.
func (b *budgets) asking(t *tenants.Document) error {
	return b.refuses(t, tenants.BudgetStop)
}

// request is what a REST request is judged by, before it is known whether it sends.
func (b *budgets) request(t *tenants.Document, method string) error {
	if method == http.MethodGet || method == http.MethodHead {
		return b.asking(t)
	}
	return b.changing(t)
}

// refusedBy is the code of a refusal by budgets.
func refusedBy(err error) string {
	var e *budgetError
	if errors.As(err, &e) {
		return e.code()
	}
	return codeBudget
}

// run keeps counts until ctx is done, and then tells what is left.
func (b *budgets) run(ctx context.Context) error {
	tick := time.NewTicker(spendEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			b.mu.Lock()
			b.ending = true
			b.mu.Unlock()
			b.exchange(context.WithoutCancel(ctx))
			return nil
		case <-tick.C:
		case <-b.wake:
		}
		b.exchange(ctx)
		b.stop()
		b.tellNotices(ctx)
	}
}

// exchange tells Redis what accounts have used here and learns what they have used
// anywhere.
func (b *budgets) exchange(ctx context.Context) {
	now := b.now()
	b.mu.Lock()
	for id, s := range b.recorder.TakeSpent() {
		if t, ok := b.hubs.directory.Cached(id); ok && t.Budget != nil {
			from, _ := tenants.Period(t.Budget.AnchorDay, now)
			a := b.account(t.Budget.Account, from)
			a.owed, a.asked = a.owed.Plus(s), now
		}
	}
	due := make(map[tenants.AccountID]usage.Report)
	for id, s := range b.accounts {
		if now.Sub(s.asked) > spendFor && s.owed == (usage.Spent{}) {
			delete(b.accounts, id)
			continue
		}
		if s.far && s.known && !b.ending && now.Sub(s.spoken) < spendFarEvery {
			continue
		}
		if s.report.Spent == (usage.Spent{}) {
			b.reports++
			s.report = usage.Report{Account: id, From: s.from, Run: b.edgeRun, Sequence: b.reports, Spent: s.owed}
		}
		due[id] = s.report
	}
	b.mu.Unlock()
	for _, r := range due {
		if !b.exchangeOne(ctx, r) {
			return // the others would wait for the same
		}
	}
}

func (b *budgets) exchangeOne(ctx context.Context, told usage.Report) bool {
	ctx, cancel := context.WithTimeout(ctx, spendTimeout)
	defer cancel()
	total, known, err := usage.Spend(ctx, b.redis, told)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		if !b.away {
			b.log.Warn("spending not counted in redis, going on with what is known", "error", err)
		}
		b.away = true
		return false
	}
	b.away = false
	s := b.accounts[told.Account]
	if s == nil || s.report != told {
		return true // another period has begun
	}
	s.report = usage.Report{}
	s.owed.Messages -= told.Messages
	s.owed.Milliseconds -= told.Milliseconds
	if known {
		s.total, s.known, s.spoken = total, true, b.now()
	}
	return true
}

// stop closes the connections of tenants that are to have none.
func (b *budgets) stop() {
	for _, id := range b.hubs.ids() {
		t, ok := b.hubs.directory.Cached(id)
		if !ok || t.Budget == nil || t.Budget.Action != tenants.BudgetStop {
			continue
		}
		e := b.refuses(t, tenants.BudgetStop)
		if e == nil {
			continue
		}
		for _, s := range b.hubs.of(id) {
			s.server.Each(func(c *hubs.Connection) { c.Close(e.Error(), false) })
		}
		b.hubs.servers.CloseWhere(func(a *serverconn.Admission, _ bool) bool { return a.Hub.Tenant == id }, e.Error())
	}
}

// budgetFilter refuses invocations that a budget doesn't allow.
type budgetFilter struct {
	hubs.PassFilter
	budgets *budgets
	current func() *tenants.Document
	refused func(code string)
}

// OnInvocation implements hubs.Filter.
func (f *budgetFilter) OnInvocation(ctx context.Context, _ *hubs.Connection, m *protocol.Message, next func(context.Context) error) error {
	t := f.current()
	if t.Budget == nil {
		return next(ctx)
	}
	judge := f.budgets.sending
	switch strings.ToLower(m.Target) {
	case "$leavegroup", "$refreshtoken", "$clearpresence", "$readpresence", "$unwatchpresence", "$history":
		return next(ctx) // these only end or read something
	case "$joingroup", "$setpresence", "$watchpresence":
		judge = f.budgets.changing
	}
	if err := judge(t); err != nil {
		f.refused(refusedBy(err))
		return err
	}
	return next(ctx)
}
