package billing

import (
	"fmt"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
)

// Step is the width of a point.
type Step string

// The steps.
const (
	Minute Step = "minute"
	Hour   Step = "hour"
	Day    Step = "day" // UTC
)

// maxPoints bounds one answer.
const maxPoints = 1500

// earliest is before there was any usage; nobody asks for more than a year
// ahead, maxAhead. Times far outside can't be written in JSON or kept in Postgres.
var earliest = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

const maxAhead = 366 * 24 * time.Hour

// steps has each step's width and the span shown when none is asked for.
var steps = map[Step]struct{ width, span time.Duration }{
	Minute: {time.Minute, time.Hour},
	Hour:   {time.Hour, 24 * time.Hour},
	Day:    {24 * time.Hour, 30 * 24 * time.Hour},
}

// Query asks for usage. Zero values take the defaults: by hour, up to now, over
// the step's usual span.
type Query struct {
	From, To time.Time
	Step     Step
}

// resolve fills in defaults and cuts the span to whole steps, the last one being
// that which To lies in.
func (q Query) resolve(now time.Time) (Query, error) {
	if q.Step == "" {
		q.Step = Hour
	}
	s, ok := steps[q.Step]
	if !ok {
		return q, fault.InvalidFields(fault.Field{Name: "step", Message: "is not a step", Accepted: "minute, hour, day"})
	}
	if q.To.IsZero() {
		q.To = now
	}
	if q.From.IsZero() {
		q.From = q.To.Add(-s.span)
	}
	if oldest := now.Add(-MinutesKept); q.Step == Minute && q.From.Before(oldest) && !q.From.Before(earliest) {
		return q, fault.InvalidFields(fault.Field{
			Name: "from", Message: "is before the oldest minute that is kept",
			Accepted: fmt.Sprintf("%s or later; hours and days are kept for ever", oldest.UTC().Format(time.RFC3339)),
		})
	}
	var err error
	if q.From, q.To, err = whole(q.From, q.To, s.width, now); err != nil {
		return q, err
	}
	if n := q.To.Sub(q.From) / s.width; n > maxPoints {
		return q, fault.InvalidFields(fault.Field{
			Name: "from", Message: fmt.Sprintf("gives %d points", n),
			Accepted: fmt.Sprintf("at most %d steps of one %s before to", maxPoints, q.Step),
		})
	}
	return q, nil
}

// whole cuts [from, to) to whole steps, the last one being that which to lies in.
func whole(from, to time.Time, width time.Duration, now time.Time) (time.Time, time.Time, error) {
	var outside []fault.Field
	latest := now.Add(maxAhead).UTC().Truncate(time.Second)
	for _, t := range []struct {
		field string
		at    time.Time
	}{{"from", from}, {"to", to}} {
		if t.at.Before(earliest) || t.at.After(latest) {
			outside = append(outside, fault.Field{
				Name: t.field, Message: "is out of range",
				Accepted: fmt.Sprintf("%s to %s", earliest.Format(time.RFC3339), latest.Format(time.RFC3339)),
			})
		}
	}
	if len(outside) > 0 {
		return from, to, fault.InvalidFields(outside...)
	}
	// Truncate counts from year 1, which agrees with UTC minutes, hours and days.
	from = from.UTC().Truncate(width)
	if cut := to.UTC().Truncate(width); cut.Before(to) {
		to = cut.Add(width)
	} else {
		to = cut
	}
	if !from.Before(to) {
		return from, to, fault.InvalidFields(fault.Field{Name: "from", Message: "is not before to"})
	}
	return from, to, nil
}
