package tenants

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
)

// BudgetAction is what happens when a budget is used up.
type BudgetAction string

// The actions, the mildest first.
const (
	// BudgetNotify tells, and goes on.
	BudgetNotify BudgetAction = "notify"
	// BudgetRefuseConnections lets those stay that are connected.
	BudgetRefuseConnections BudgetAction = "refuse_new_connections"
	// BudgetRefusePublish accepts no message, whoever sends it.
	BudgetRefusePublish BudgetAction = "refuse_publish"
	// BudgetReadOnly changes nothing either: groups, users, presence.
	BudgetReadOnly BudgetAction = "read_only"
	// BudgetStop refuses everything and closes all connections.
	BudgetStop BudgetAction = "stop"
)

// BudgetActions lists them.
var BudgetActions = []BudgetAction{BudgetNotify, BudgetRefuseConnections, BudgetRefusePublish, BudgetReadOnly, BudgetStop}

// The bounds of budgets.
const (
	maxBudget      = 1_000_000_000_000_000
	maxBudgetSteps = 10
	// MaxBudgetNotices is how often an account is told of a meter in a period: budgets
	// may change at any time, and each one has its own steps.
	MaxBudgetNotices = 50
	// budgetNoticeEvery is the time between two mails of a meter.
	budgetNoticeEvery = time.Hour
)

// defaultSteps are told of when an account has chosen none.
var defaultSteps = []int{50, 80, 100}

// Budget is what an account wants to use in a period, and what is to happen.
type Budget struct {
	Messages          int64 // accepted and delivered; 0 = the plan's allowance
	ConnectionMinutes int64 // likewise
	Steps             []int // percent at which people are told, ascending
	Action            BudgetAction
}

// Subscription is what an account has agreed to.
type Subscription struct {
	Account   AccountID
	Plan      string
	PlanSince time.Time
	Next      *NextPlan // nil = the plan stays
	AnchorDay int       // of the month, see Period
	Budget    Budget
	// From is the beginning of the period that these allowances are for: of the plans
	// that there were in it, each for its part.
	From                     time.Time
	MessagesAllowed          int64
	ConnectionMinutesAllowed int64
	// WholePeriod is what the present plan allows in a period of its own.
	WholePeriod Allowed
	// HardMessages and HardMinutes: the plan has no price for more, and refuses it.
	HardMessages, HardMinutes bool
	// How many tenants and members (people) the account may have, by its plan or an
	// operator, and how many there are.
	MaxTenants, Tenants int
	MaxMembers, Members int
}

// DocBudget is what of a budget and of the plan's allowance edges enforce. A limit of 0
// is none.
type DocBudget struct {
	Account           AccountID    `json:"account"`
	AnchorDay         int          `json:"anchor_day"`
	Messages          int64        `json:"messages,omitempty"`
	ConnectionMinutes int64        `json:"connection_minutes,omitempty"`
	Action            BudgetAction `json:"action"`
	// Allowance is the plan's, where that refuses more.
	Allowance *DocAllowance `json:"allowance,omitempty"`
}

// BudgetEnforced tells whether edges hold tenants to the budget itself.
func (s Subscription) BudgetEnforced() bool {
	return s.Budget.Action != BudgetNotify && (s.Budget.Messages > 0 || s.Budget.ConnectionMinutes > 0)
}

// Enforced returns what edges hold tenants to; nil = nothing.
func (s Subscription) Enforced() *DocBudget {
	allowance := s.hardAllowance()
	if !s.BudgetEnforced() && allowance == nil {
		return nil
	}
	d := &DocBudget{Account: s.Account, AnchorDay: s.AnchorDay, Action: BudgetNotify, Allowance: allowance}
	if s.BudgetEnforced() {
		d.Messages, d.ConnectionMinutes, d.Action = s.Budget.Messages, s.Budget.ConnectionMinutes, s.Budget.Action
	}
	return d
}

// DocBudgetNotice is what edges tell webhooks of a budget.
type DocBudgetNotice struct {
	Meter  BudgetMeter  `json:"meter"`
	Budget int64        `json:"budget"`
	Step   int          `json:"step"` // percent
	Used   int64        `json:"used"`
	Action BudgetAction `json:"action"`
	From   time.Time    `json:"from"` // of the period
	To     time.Time    `json:"to"`
	ToldAt time.Time    `json:"told_at"`
}

// NoticeFresh is how long webhooks are told of a notice.
const NoticeFresh = time.Hour

// ID is of the notice among those of its tenant.
func (n DocBudgetNotice) ID() string {
	return fmt.Sprintf("budget.%s.%s.%d.%d", n.From.Format("20060102"), n.Meter, n.Budget, n.Step)
}

// docNotices are the notices of a period that webhooks are to be told of.
func (s Subscription) docNotices(told []BudgetNotice, now time.Time) (fresh []DocBudgetNotice) {
	from, to := Period(s.AnchorDay, now)
	for _, n := range told {
		if now.Sub(n.ToldAt) < NoticeFresh {
			action := s.Budget.Action
			for _, m := range s.Marks(n.Meter) {
				if m.Amount == n.Budget {
					action = m.Action
					break
				}
			}
			fresh = append(fresh, DocBudgetNotice{
				Meter: n.Meter, Budget: n.Budget, Step: n.Step, Used: n.Used, Action: action, From: from, To: to, ToldAt: n.ToldAt,
			})
		}
	}
	return fresh
}

// BudgetMeter is what a budget limits.
type BudgetMeter string

// The meters of budgets.
const (
	MeterMessages          BudgetMeter = "messages"
	MeterConnectionMinutes BudgetMeter = "connection_minutes"
)

// BudgetNotice says that a step of a budget was reached.
type BudgetNotice struct {
	Period time.Time // its beginning
	Meter  BudgetMeter
	Budget int64
	Step   int // percent
	Used   int64
	ToldAt time.Time
}

// Budgets keeps what accounts want to use.
type Budgets interface {
	// Subscription has the default budget when the account has chosen none.
	Subscription(ctx context.Context, a AccountID) (Subscription, error)
	// PlanTerms lists the plans that an account has had, in order, with what they
	// allowed when the period that begins at from, or the plan in it, began.
	PlanTerms(ctx context.Context, a AccountID, from time.Time) ([]PlanTerms, error)
	PutBudget(ctx context.Context, a AccountID, b Budget) error
	// AccountTenants lists the tenants of an account that aren't deleted.
	AccountTenants(ctx context.Context, a AccountID) ([]ID, error)
	// NoteBudget keeps a notice and tells whether it is new.
	NoteBudget(ctx context.Context, a AccountID, n BudgetNotice) (bool, error)
	// BudgetNotices lists those of a period, the newest first.
	BudgetNotices(ctx context.Context, a AccountID, period time.Time) ([]BudgetNotice, error)
}

// Subscription returns what an account has agreed to, and what was told of its
// budget in this period.
func (s *Service) Subscription(ctx context.Context, c Caller, id AccountID) (Subscription, []BudgetNotice, error) {
	m, err := s.accountFor(ctx, c, id, SeeAccount)
	if err != nil {
		return Subscription{}, nil, err
	}
	sub, err := subscribed(ctx, s.store, m.ID, s.now())
	if err != nil {
		return Subscription{}, nil, err
	}
	from, _ := Period(sub.AnchorDay, s.now())
	notices, err := s.store.BudgetNotices(ctx, m.ID, from)
	return sub, notices, err
}

// SubscriptionOf is Subscription for what the service does by itself.
func (s *Service) SubscriptionOf(ctx context.Context, id AccountID) (Subscription, error) {
	return subscribed(ctx, s.store, id, s.now())
}

// SetBudget replaces an account's budget. It is in force at once.
func (s *Service) SetBudget(ctx context.Context, c Caller, id AccountID, b Budget) (Subscription, error) {
	if len(b.Steps) == 0 {
		b.Steps = slices.Clone(defaultSteps)
	}
	if err := checkBudget(b); err != nil {
		return Subscription{}, err
	}
	var sub Subscription
	var concerned []ID
	err := s.changeAccount(ctx, c, id, ManageBudget, func(tx Store, m Membership) error {
		before, err := tx.Subscription(ctx, m.ID)
		if err != nil {
			return err
		}
		if err := tx.PutBudget(ctx, m.ID, b); err != nil {
			return err
		}
		if err := tx.Audit(ctx, Audit{Caller: c, Account: m.ID, Action: "budget.changed", Subject: string(m.ID), Before: before.Budget.audited(), After: b.audited()}); err != nil {
			return err
		}
		if sub, err = subscribed(ctx, tx, m.ID, s.now()); err != nil {
			return err
		}
		concerned, err = touchAll(ctx, tx, m.ID)
		return err
	})
	if err != nil {
		return Subscription{}, err
	}
	for _, t := range concerned {
		s.hurry(ctx, t)
	}
	return sub, nil
}

func (b Budget) audited() any {
	return map[string]any{"messages": b.Messages, "connection_minutes": b.ConnectionMinutes, "steps": b.Steps, "action": b.Action}
}

func checkBudget(b Budget) error {
	var wrong []fault.Field
	for _, amount := range []struct {
		field string
		value int64
	}{{"messages", b.Messages}, {"connection_minutes", b.ConnectionMinutes}} {
		if amount.value < 0 || amount.value > maxBudget {
			wrong = append(wrong, fault.Field{Name: amount.field, Message: "is out of range", Accepted: fmt.Sprintf("1 to %d, or none", maxBudget)})
		}
	}
	if !slices.Contains(BudgetActions, b.Action) {
		wrong = append(wrong, fault.Field{Name: "action", Message: "is not an action", Accepted: "notify, refuse_new_connections, refuse_publish, read_only, stop"})
	}
	if b.Action != BudgetNotify && b.Messages == 0 && b.ConnectionMinutes == 0 {
		wrong = append(wrong, fault.Field{Name: "action", Message: "needs a limit to act at", Accepted: "messages or connection_minutes as well, or the action notify"})
	}
	for i, step := range b.Steps {
		if step < 1 || step > 100 || i > 0 && step <= b.Steps[i-1] || len(b.Steps) > maxBudgetSteps {
			wrong = append(wrong, fault.Field{Name: "steps", Message: "are not percentages in ascending order", Accepted: fmt.Sprintf("up to %d different ones of 1 to 100", maxBudgetSteps)})
			break
		}
	}
	if len(wrong) > 0 {
		return fault.InvalidFields(wrong...)
	}
	return nil
}

// TellBudget tells the owners and the billing members of an account of each step
// that what it used has reached, once in a period, at most MaxBudgetNotices times, and
// not within an hour of the last time, unless the budget is used up since. again is
// when there will be something to tell, if nothing is used until then; zero = never.
func (s *Service) TellBudget(ctx context.Context, sub Subscription, meter BudgetMeter, used int64) (again time.Time, err error) {
	var failed error
	for _, m := range sub.Marks(meter) {
		at, err := s.tellMark(ctx, sub, m, used)
		if failed = errors.Join(failed, err); again.IsZero() || !at.IsZero() && at.Before(again) {
			again = at
		}
	}
	return again, failed
}

func (s *Service) tellMark(ctx context.Context, sub Subscription, m Mark, used int64) (again time.Time, err error) {
	now := s.now()
	from, to := Period(sub.AnchorDay, now)
	reached := 0
	for _, step := range m.Steps {
		if m.Amount > 0 && used >= (m.Amount*int64(step)+99)/100 {
			reached = step
		}
	}
	if reached == 0 {
		return time.Time{}, nil
	}
	// A step that was jumped over isn't told of.
	n := BudgetNotice{Period: from, Meter: m.Meter, Budget: m.Amount, Step: reached, Used: used, ToldAt: now}
	told, err := s.store.BudgetNotices(ctx, sub.Account, from)
	if err != nil {
		return time.Time{}, err
	}
	if due, again := n.due(told); !due {
		return again, nil
	}
	var concerned []ID
	err = s.store.InTx(ctx, func(tx Store) error {
		// Others, who may see the same now, wait.
		if _, _, err := tx.LockAccount(ctx, sub.Account); err != nil {
			return err
		}
		if told, err = tx.BudgetNotices(ctx, sub.Account, from); err != nil {
			return err
		}
		var due bool
		if due, again = n.due(told); !due {
			return nil
		}
		isNew, err := tx.NoteBudget(ctx, sub.Account, n)
		if err != nil || !isNew {
			return err
		}
		account, err := tx.Account(ctx, sub.Account)
		if err != nil {
			return err
		}
		members, err := tx.Members(ctx, sub.Account)
		if err != nil {
			return err
		}
		if err := tx.Audit(ctx, Audit{
			Caller: Caller{System: true}, Account: sub.Account, Action: "budget.step_reached", Subject: string(m.Meter), After: map[string]any{"step": reached, "used": used, "budget": m.Amount, "action": m.Action},
		}); err != nil {
			return err
		}
		mail := budgetLetter(account, m, used, reached, to, s.consoleURL)
		for _, who := range members {
			if who.Role != Owner && who.Role != Billing {
				continue
			}
			if err := s.post(ctx, tx, who.Email, mail); err != nil {
				return err
			}
		}
		// Webhooks are told by edges.
		concerned, err = touchAll(ctx, tx, sub.Account)
		return err
	})
	if err == nil {
		for _, t := range concerned {
			s.hurry(ctx, t)
		}
	}
	return again, err
}

// touchAll has the documents of an account's tenants published again.
func touchAll(ctx context.Context, tx Store, a AccountID) ([]ID, error) {
	concerned, err := tx.AccountTenants(ctx, a)
	if err != nil {
		return nil, err
	}
	for _, t := range concerned {
		if err := tx.Touch(ctx, t); err != nil {
			return nil, err
		}
	}
	return concerned, nil
}

// due tells whether a notice may go out after those of its period that have; if not,
// when it may, and zero for never.
func (n BudgetNotice) due(told []BudgetNotice) (due bool, again time.Time) {
	count, usedUp := 0, false
	for _, t := range told {
		if t.Meter != n.Meter {
			continue
		}
		if t.Budget == n.Budget && t.Step == n.Step {
			return false, time.Time{}
		}
		count++
		if next := t.ToldAt.Add(budgetNoticeEvery); next.After(n.ToldAt) {
			usedUp = usedUp || t.Step == 100
			if next.After(again) {
				again = next
			}
		}
	}
	switch {
	case count >= MaxBudgetNotices:
		return false, time.Time{}
	case again.IsZero(), n.Step == 100 && !usedUp:
		return true, time.Time{}
	}
	return false, again
}

func budgetLetter(a Account, m Mark, used int64, step int, to time.Time, console string) letter {
	what := "messages"
	if m.Meter == MeterConnectionMinutes {
		what = "connection minutes"
	}
	l := letter{
		Subject: fmt.Sprintf("%s has used %d %% of its %s", a.Name, step, what),
		Before: []string{
			fmt.Sprintf("The account %s has used %d of %d %s. Its period ends on %s.", a.Name, used, m.Amount, what, to.Format("2 January 2006, 15:04 UTC")),
		},
		Action: "See the usage and the budget", Link: console + "/",
	}
	refused := "messages are refused; connections stay"
	if m.Meter == MeterConnectionMinutes {
		refused = "new connections are refused; those that are there stay"
	}
	switch {
	case m.Plan && m.Action != BudgetNotify && step < 100:
		l.After = []string{fmt.Sprintf("That is what the plan allows. At 100 %% %s, until the account has a larger plan or the next period begins.", refused)}
	case m.Plan && m.Action != BudgetNotify:
		l.After = []string{fmt.Sprintf("That is all that the plan allows: %s, until the account has a larger plan or the next period begins.", refused)}
	case step < 100:
	case m.Action == BudgetNotify:
		l.After = []string{"Nothing is refused."}
	default:
		l.After = []string{fmt.Sprintf("As the budget says (%s), tenants are now held to it until it is raised or the next period begins.", m.Action)}
	}
	return l
}
