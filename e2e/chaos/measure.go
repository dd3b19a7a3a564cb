package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/signalbox/signalbox/e2e/chaos/history"
)

// resumed is how long after since deliveries came at no less than 70 % of the rate
// that they had between from and until; a second is the window. −1 = never.
func (l *load) resumed(since, from, until time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := 0
	var after []time.Time
	for _, d := range l.deliveries {
		switch {
		case d.at.After(from) && d.at.Before(until):
			before++
		case d.at.After(since):
			after = append(after, d.at)
		}
	}
	want := max(1, int(0.7*float64(before)/until.Sub(from).Seconds()))
	slices.SortFunc(after, func(a, b time.Time) int { return a.Compare(b) })
	for i := range after {
		if i+want-1 < len(after) && after[i+want-1].Sub(after[i]) <= time.Second {
			return after[i].Sub(since)
		}
	}
	return -1
}

// resumes checks that deliveries flow again.
func (t *trial) resumes(what string, since time.Time, limit time.Duration) {
	took := t.load.resumed(since, t.began.Add(-t.phase(0.25)), t.began)
	if took < 0 {
		t.check(false, what, "never", "≤ "+short(limit))
		return
	}
	t.within(what, took, limit)
}

// noDisconnects checks that no life ended from the fault on, for any reason.
func (t *trial) noDisconnects(what string, of func(*history.Life) bool) {
	n, sample := t.disconnects(of)
	t.zero(what, n, sample)
}

// publishes notes how publishing went from from to until.
func (t *trial) publishes(what, slug string, from, until time.Time) []attempt {
	all := t.load.attemptsIn(slug, from, until)
	ok, bad := took(all, succeeded), took(all, failed)
	t.note(what, fmt.Sprintf("%d accepted (p99 %s), %d not (p99 %s)%s", len(ok), short(quantile(ok, 0.99)), len(bad), short(quantile(bad, 0.99)), reasons(all)))
	return all
}

// p99 is the latency of what the tenant's clients read in the time.
func (t *trial) p99(slug string, from, until time.Time) time.Duration {
	return quantile(t.load.latencies(slug, from, until), 0.99)
}

// compared checks a latency against that before the fault.
func (t *trial) compared(what, slug string, from, until time.Time, factor float64, slack time.Duration) {
	before, now := t.p99(slug, t.began.Add(-t.phase(0.4)), t.began), t.p99(slug, from, until)
	limit := max(time.Duration(factor*float64(before)), before+slack)
	t.bounds = append(t.bounds, bound{
		What: what, Measured: fmt.Sprintf("%s, %s before", short(now), short(before)), Bound: fmt.Sprintf("≤ %g× (at least +%s)", factor, short(slack)), Time: true, OK: now <= limit && now > 0,
	})
}

// edgesSum adds up a metric over the edges that can be asked.
func (t *trial) edgesSum(name string, labels ...string) (sum float64) {
	for _, e := range t.w.edges {
		if m, err := e.scrape(t); err == nil {
			if len(labels) == 0 {
				sum += m[name]
			} else {
				sum += m.sum(name, labels...)
			}
		}
	}
	return sum
}

// reasons are the commonest answers to attempts that failed.
func reasons(all []attempt) string {
	count := make(map[string]int)
	for _, a := range all {
		if failed(a) {
			count[a.status[:min(len(a.status), 90)]]++
		}
	}
	if len(count) == 0 {
		return ""
	}
	names := slices.SortedFunc(maps.Keys(count), func(a, b string) int { return cmp.Or(count[b]-count[a], strings.Compare(a, b)) })
	var list []string
	for _, name := range names[:min(3, len(names))] {
		list = append(list, fmt.Sprintf("%d× %s", count[name], name))
	}
	return ": " + strings.Join(list, "; ")
}
