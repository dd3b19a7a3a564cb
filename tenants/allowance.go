package tenants

import (
	"context"
	"math/bits"
	"slices"
	"time"
)

// allowanceSteps are told of for every allowance that refuses, whatever a budget says.
var allowanceSteps = []int{80, 100}

// PlanTerms is what a plan that an account has had allows for a whole period.
type PlanTerms struct {
	Since             time.Time
	Messages          int64
	ConnectionMinutes int64
	// HardMessages and HardMinutes say that the plan has no price for more.
	HardMessages, HardMinutes bool
}

// Allowed is what an account may use in a period by its plans.
type Allowed struct {
	Messages          int64
	ConnectionMinutes int64
}

// EachSpan hands out the plans that counted in a period, in order, each with the part in
// which it did. What was before the first plan counts as that one's.
func EachSpan[T any](plans []T, since func(T) time.Time, from, to time.Time, each func(plan T, from, to time.Time)) {
	for i, p := range plans {
		begin, end := since(p), to
		if i == 0 || begin.Before(from) {
			begin = from
		}
		if i+1 < len(plans) && since(plans[i+1]).Before(to) {
			end = since(plans[i+1])
		}
		if begin.Before(end) {
			each(p, begin, end)
		}
	}
}

// Part returns whole × n / of, rounded down; none of them is negative.
func Part(whole, n, of int64) int64 {
	hi, lo := bits.Mul64(uint64(whole), uint64(n))
	q, _ := bits.Div64(hi, lo, uint64(of))
	return int64(q)
}

// SharedAllowance adds up what plans allow in a period, each for the seconds of its part.
func SharedAllowance(plans []PlanTerms, from, to time.Time) (sum Allowed) {
	length := int64(to.Sub(from) / time.Second)
	EachSpan(plans, func(p PlanTerms) time.Time { return p.Since }, from, to, func(p PlanTerms, from, to time.Time) {
		lasted := to.Unix() - from.Unix()
		sum.Messages += Part(p.Messages, lasted, length)
		sum.ConnectionMinutes += Part(p.ConnectionMinutes, lasted, length)
	})
	return sum
}

// DocAllowance is what edges hold an account to whose plan has no price for more. 0 =
// there is no such limit.
type DocAllowance struct {
	Messages          int64 `json:"messages,omitempty"` // in a whole period
	ConnectionMinutes int64 `json:"connection_minutes,omitempty"`
	// In the period that begins at Shared, in seconds since 1970, the plan has changed:
	// it allows these instead.
	Shared         int64 `json:"shared,omitempty"`
	SharedMessages int64 `json:"shared_messages,omitempty"`
	SharedMinutes  int64 `json:"shared_connection_minutes,omitempty"`
}

// In returns what is allowed in the period that begins at from; 0 = there is no limit.
func (a *DocAllowance) In(from time.Time) (messages, connectionMinutes int64) {
	switch {
	case a == nil:
		return 0, 0
	case a.Shared == from.Unix():
		return a.SharedMessages, a.SharedMinutes
	}
	return a.Messages, a.ConnectionMinutes
}

// hardAllowance is what the plan of the account refuses to go beyond; nil = nothing.
func (s Subscription) hardAllowance() *DocAllowance {
	if !s.HardMessages && !s.HardMinutes {
		return nil
	}
	a := &DocAllowance{Shared: s.From.Unix()}
	if s.HardMessages {
		// An allowance of nothing would be none at all.
		a.Messages, a.SharedMessages = max(1, s.WholePeriod.Messages), max(1, s.MessagesAllowed)
	}
	if s.HardMinutes {
		a.ConnectionMinutes, a.SharedMinutes = max(1, s.WholePeriod.ConnectionMinutes), max(1, s.ConnectionMinutesAllowed)
	}
	if a.SharedMessages == a.Messages && a.SharedMinutes == a.ConnectionMinutes {
		a.Shared, a.SharedMessages, a.SharedMinutes = 0, 0, 0
	}
	return a
}

// subscribed reads what an account has agreed to, with what its plans allow in the
// period that a time is in.
func subscribed(ctx context.Context, store Store, a AccountID, now time.Time) (Subscription, error) {
	sub, err := store.Subscription(ctx, a)
	if err != nil {
		return Subscription{}, err
	}
	from, to := Period(sub.AnchorDay, now)
	plans, err := store.PlanTerms(ctx, a, from)
	if err != nil || len(plans) == 0 {
		return sub, err
	}
	shared := SharedAllowance(plans, from, to)
	last := plans[len(plans)-1]
	sub.From = from
	sub.MessagesAllowed, sub.ConnectionMinutesAllowed = shared.Messages, shared.ConnectionMinutes
	sub.WholePeriod = Allowed{last.Messages, last.ConnectionMinutes}
	sub.HardMessages, sub.HardMinutes = last.HardMessages, last.HardMinutes
	return sub, nil
}

// Mark is an amount of which people are told what part is used.
type Mark struct {
	Meter  BudgetMeter
	Amount int64
	Steps  []int        // percent, ascending
	Action BudgetAction // at 100 %
	Plan   bool         // it is the plan's allowance, and not what the account wants to use
}

// Marks are the amounts of a meter: that of the budget, and the plan's allowance where
// there is no budget, or where the plan refuses more.
func (s Subscription) Marks(meter BudgetMeter) []Mark {
	own, allowed, hard, action := s.Budget.Messages, s.MessagesAllowed, s.HardMessages, BudgetRefusePublish
	if meter == MeterConnectionMinutes {
		own, allowed, hard, action = s.Budget.ConnectionMinutes, s.ConnectionMinutesAllowed, s.HardMinutes, BudgetRefuseConnections
	}
	var marks []Mark
	steps := s.Budget.Steps
	if hard {
		if own > 0 {
			steps = nil
		}
		steps = append(slices.Clone(steps), allowanceSteps...)
		slices.Sort(steps)
		marks = append(marks, Mark{Meter: meter, Amount: allowed, Steps: slices.Compact(steps), Action: action, Plan: true})
	}
	switch {
	case own > 0:
		marks = append(marks, Mark{Meter: meter, Amount: own, Steps: s.Budget.Steps, Action: s.Budget.Action})
	case !hard:
		marks = append(marks, Mark{Meter: meter, Amount: allowed, Steps: s.Budget.Steps, Action: BudgetNotify, Plan: true})
	}
	return marks
}
