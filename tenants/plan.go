package tenants

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
)

// PlanFrom says from when on a change of the plan counts.
type PlanFrom string

// The times.
const (
	// PlanNow shares the present period by time: what the old plan costs and allows
	// until now, and the new one from now on.
	PlanNow PlanFrom = "now"
	// PlanAtPeriodEnd leaves the present period as it is.
	PlanAtPeriodEnd PlanFrom = "period_end"
)

// PlanGrace is how long connections beyond the limit of a plan stay that the account has
// changed to.
const PlanGrace = 24 * time.Hour

// GraceOver is how long after the end of a grace it is still looked after.
const GraceOver = time.Hour

// graceEnds is when connections beyond the limit of the present plan end; zero = they
// stay, or it was long ago. A period has one grace, from its first change to a smaller
// plan on: who changes back and forth has no larger plan's connections all the time.
func (s Subscription) graceEnds(d Downgrades, now time.Time) time.Time {
	if !d.Last || d.First.IsZero() {
		return time.Time{}
	}
	ends := d.First.Add(PlanGrace)
	if ends.Before(s.PlanSince) {
		ends = s.PlanSince
	}
	if now.After(ends.Add(GraceOver)) {
		return time.Time{}
	}
	return ends
}

// Downgrades are the changes of an account to a smaller plan since a time.
type Downgrades struct {
	First time.Time // zero = there was none
	Last  bool      // the present plan came by one
}

// maxPlanChanges is how often the plan can change at once in a period.
const maxPlanChanges = 20

// NextPlan is the plan that an account will have.
type NextPlan struct {
	Plan string
	At   time.Time
}

// Subscriptions keeps which plan accounts have, had and will have.
type Subscriptions interface {
	// PlanIDs lists the plans, smallest first.
	PlanIDs(ctx context.Context) ([]string, error)
	// SetPlan changes the plan from a time on, and forgets the next one.
	SetPlan(ctx context.Context, a AccountID, plan string, since time.Time) error
	// MaxMembers is how many people may be members of the account, by its plan or an
	// operator.
	MaxMembers(ctx context.Context, a AccountID) (int, error)
	// AccountLimits returns what an operator has set in the place of the plan's.
	AccountLimits(ctx context.Context, a AccountID) (AccountLimits, error)
	// SetAccountLimits sets that.
	SetAccountLimits(ctx context.Context, a AccountID, l AccountLimits) error
	// SetNextPlan says which plan comes next; nil = none.
	SetNextPlan(ctx context.Context, a AccountID, next *NextPlan) error
	// PlanChanges counts how often the plan has changed since a time.
	PlanChanges(ctx context.Context, a AccountID, since time.Time) (int, error)
	// Downgrades returns the changes to a smaller plan since a time.
	Downgrades(ctx context.Context, a AccountID, since time.Time) (Downgrades, error)
	// DuePlans lists accounts whose next plan counts by now.
	DuePlans(ctx context.Context, now time.Time, most int) ([]AccountID, error)
}

// ChangePlan gives an account another plan, now or from the next period on; the plan
// that it has takes a change back that is to come. What there is beyond a smaller
// plan's limits stays, and nothing new is taken until it is below them; connections
// are kept for PlanGrace. used is what the account has used in this period: a plan that
// would refuse everything more at once comes with the next period alone.
func (s *Service) ChangePlan(ctx context.Context, c Caller, id AccountID, plan string, from PlanFrom, used Allowed) (Subscription, error) {
	if from != PlanNow && from != PlanAtPeriodEnd {
		return Subscription{}, fault.InvalidFields(fault.Field{Name: "effective", Message: "is not a time", Accepted: "now, period_end"})
	}
	var sub Subscription
	var concerned []ID
	err := s.changeAccount(ctx, c, id, ChangePlan, func(tx Store, m Membership) error {
		known, err := tx.PlanIDs(ctx)
		if err != nil {
			return err
		}
		if !slices.Contains(known, plan) {
			return fault.InvalidFields(fault.Field{Name: "plan", Message: "is not a plan", Accepted: strings.Join(known, ", ")})
		}
		now := s.now()
		before, err := subscribed(ctx, tx, m.ID, now)
		if err != nil {
			return err
		}
		begins, ends := Period(before.AnchorDay, now)
		action := "plan.changed"
		switch {
		case plan == before.Plan && before.Next == nil:
			sub = before
			return nil
		case plan == before.Plan:
			action = "plan.change_withdrawn"
			err = tx.SetNextPlan(ctx, m.ID, nil)
		case from == PlanAtPeriodEnd:
			action = "plan.change_scheduled"
			err = tx.SetNextPlan(ctx, m.ID, &NextPlan{Plan: plan, At: ends})
		default:
			changes, err := tx.PlanChanges(ctx, m.ID, begins)
			if err != nil {
				return err
			}
			if changes >= maxPlanChanges {
				return fault.New(fault.QuotaExceeded, fmt.Sprintf("The plan was changed %d times in this period, which is the most. It can still change at the period's end.", changes)).WithCode("max_plan_changes")
			}
			concerned, err = setPlan(ctx, tx, m.ID, plan, now)
			if err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
		if sub, err = subscribed(ctx, tx, m.ID, now); err != nil {
			return err
		}
		if sub.stopsAt(used) && !before.stopsAt(used) {
			return fault.New(fault.Conflict, fmt.Sprintf("The account has used %d messages and %d connection minutes in this period, of which this plan from now on would allow %d and %d: it would refuse more at once. Let the change count from the period's end.",
				used.Messages, used.ConnectionMinutes, sub.MessagesAllowed, sub.ConnectionMinutesAllowed)).WithCode("allowance_used")
		}
		return tx.Audit(ctx, Audit{Caller: c, Account: m.ID, Action: action, Subject: string(m.ID), Before: before.auditedPlan(), After: sub.auditedPlan()})
	})
	if err != nil {
		return Subscription{}, err
	}
	for _, t := range concerned {
		s.hurry(ctx, t)
	}
	return sub, nil
}

// stopsAt tells whether the plan refuses more when so much is used in the period.
func (s Subscription) stopsAt(used Allowed) bool {
	return s.HardMessages && used.Messages >= s.MessagesAllowed || s.HardMinutes && used.ConnectionMinutes >= s.ConnectionMinutesAllowed
}

// setPlan gives an account a plan, and tells which tenants have new limits by that.
func setPlan(ctx context.Context, tx Store, a AccountID, plan string, since time.Time) ([]ID, error) {
	if err := tx.SetPlan(ctx, a, plan, since); err != nil {
		return nil, err
	}
	return touchAll(ctx, tx, a)
}

// dueAtOnce is how many changes ApplyPlans looks for at a time.
const dueAtOnce = 100

// ApplyPlans carries out the changes of plans whose time has come. They count from
// that time, however late it is. Any number of processes may do it.
func (s *Service) ApplyPlans(ctx context.Context) error {
	for {
		due, err := s.store.DuePlans(ctx, s.now(), dueAtOnce)
		if err != nil || len(due) == 0 {
			return err
		}
		var failed error
		for _, a := range due {
			if err := s.applyPlan(ctx, a); err != nil { // which keeps no other account from its plan
				failed = errors.Join(failed, fmt.Errorf("change plan of account %s: %w", a, err))
			}
		}
		if failed != nil {
			return failed
		}
	}
}

func (s *Service) applyPlan(ctx context.Context, a AccountID) error {
	var concerned []ID
	err := s.store.InTx(ctx, func(tx Store) error {
		if _, _, err := tx.LockAccount(ctx, a); err != nil {
			return err
		}
		before, err := tx.Subscription(ctx, a)
		if err != nil {
			return err
		}
		if before.Next == nil || before.Next.At.After(s.now()) {
			return nil // somebody else has done it
		}
		if concerned, err = setPlan(ctx, tx, a, before.Next.Plan, before.Next.At); err != nil {
			return err
		}
		after, err := tx.Subscription(ctx, a)
		if err != nil {
			return err
		}
		return tx.Audit(ctx, Audit{Caller: Caller{System: true, RequestID: "period"}, Account: a, Action: "plan.changed", Subject: string(a), Before: before.auditedPlan(), After: after.auditedPlan()})
	})
	if err != nil {
		return err
	}
	for _, t := range concerned {
		s.hurry(ctx, t)
	}
	return nil
}

func (s Subscription) auditedPlan() any {
	shown := map[string]any{"plan": s.Plan, "since": s.PlanSince}
	if s.Next != nil {
		shown["next_plan"], shown["next_plan_at"] = s.Next.Plan, s.Next.At
	}
	return shown
}
