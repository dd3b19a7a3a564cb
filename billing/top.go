package billing

import (
	"context"
	"fmt"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
)

// Dimension is what accepted messages are told apart by.
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

// Top is what was accepted in [From, To), by the values of a dimension. What was
// accepted for a value is at least Accepted, and at most that and Other together.
type Top struct {
	From, To time.Time
	Step     Step
	By       Dimension
	Values   []TopValue // the largest first
	Other    int64      // of values that aren't listed, and what nobody could tell apart
	Total    int64      // the sum of Values and Other
}

// TopValue is a value of a dimension; "" = messages of none.
type TopValue struct {
	Value    string
	Accepted int64
}

// Top returns what a tenant's messages were accepted for.
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
		top.Other -= v.Accepted
	}
	// An edge may have told what was accepted before all of it is in the totals.
	if top.Other < 0 {
		top.Total, top.Other = top.Total-top.Other, 0
	}
	return top, nil
}
