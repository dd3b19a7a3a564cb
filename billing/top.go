package billing

import (
	"context"
	"fmt"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
)

// Dimension is what messages are told apart by.
type Dimension string

// The dimensions.
const (
	ByHub    Dimension = "hub"
	ByGroup  Dimension = "group"
	ByUser   Dimension = "user"
	ByMethod Dimension = "method"
	ByKey    Dimension = "key"
)

// TopKept is how long the values of dimensions are kept, by step.
var TopKept = map[Step]time.Duration{Minute: 24 * time.Hour, Hour: MinutesKept, Day: 400 * 24 * time.Hour}

// topValues is how many values are shown.
const topValues = 50

// Top is what was accepted and delivered in [From, To), by the values of a dimension.
// What is counted of a value is at least what it says, and at most that and Other
// together.
type Top struct {
	From, To time.Time
	Step     Step
	By       Dimension
	Values   []TopValue // the largest sum first
	// Other is of values that aren't listed, and what nobody could tell apart; Total is
	// the sum of Values and Other.
	Other, Total TopValue
}

// TopValue is a value of a dimension; "" = messages of none.
type TopValue struct {
	Value     string
	Accepted  int64
	Delivered int64
}

// Top returns what a tenant's messages were for.
func (s *Service) Top(ctx context.Context, t tenants.ID, q Query, by Dimension) (Top, error) {
	switch by {
	case ByHub, ByGroup, ByUser, ByMethod, ByKey:
	default:
		return Top{}, fault.InvalidFields(fault.Field{Name: "by", Message: "is not a dimension", Accepted: "hub, group, user, method, key"})
	}
	now := s.now()
	q, err := q.resolve(now)
	if err != nil {
		return Top{}, err
	}
	if oldest := now.Add(-TopKept[q.Step]); q.From.Before(oldest.Truncate(steps[q.Step].width)) {
		return Top{}, fault.InvalidFields(fault.Field{
			Name: "from", Message: "is before the oldest that is kept by this step", Accepted: fmt.Sprintf("%s or later", oldest.UTC().Format(time.RFC3339)),
		})
	}
	top := Top{From: q.From, To: q.To, Step: q.Step, By: by}
	if top.Values, top.Total, err = s.store.Top(ctx, t, q, by, topValues); err != nil {
		return Top{}, err
	}
	top.Other = top.Total
	for _, v := range top.Values {
		top.Other.Accepted -= v.Accepted
		top.Other.Delivered -= v.Delivered
	}
	// An edge may have told what messages were for before all of them are in the totals.
	top.Total.Accepted += max(0, -top.Other.Accepted)
	top.Total.Delivered += max(0, -top.Other.Delivered)
	top.Other.Accepted, top.Other.Delivered = max(0, top.Other.Accepted), max(0, top.Other.Delivered)
	return top, nil
}
