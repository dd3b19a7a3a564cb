package tenants

import "time"

// Period returns the subscription period that a time is in: [from, to), from
// midnight to midnight, UTC. Periods begin on the day of the month of the account's
// anchor, or on the last day of months that are shorter.
func Period(anchorDay int, at time.Time) (from, to time.Time) {
	at = at.UTC()
	begins := func(year int, month time.Month) time.Time {
		last := time.Date(year, month+1, 0, 0, 0, 0, 0, time.UTC).Day()
		return time.Date(year, month, min(max(anchorDay, 1), last), 0, 0, 0, 0, time.UTC)
	}
	year, month := at.Year(), at.Month()
	if from = begins(year, month); at.Before(from) {
		first := time.Date(year, month-1, 1, 0, 0, 0, 0, time.UTC)
		year, month = first.Year(), first.Month()
		from = begins(year, month)
	}
	next := time.Date(year, month+1, 1, 0, 0, 0, 0, time.UTC)
	return from, begins(next.Year(), next.Month())
}
