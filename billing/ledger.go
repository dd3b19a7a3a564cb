package billing

import (
	"context"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
)

// How long usage is kept by resolution. Hours, which are the ledger, and days are
// kept for ever.
const (
	MinutesKept = 15 * 24 * time.Hour
	// PostAfter is how long after its end an hour goes to the ledger. Until then it
	// is an entry without a number.
	PostAfter = 10 * time.Minute
)

// The bounds of one reading of the ledger.
const (
	maxLedgerSpan    = 366 * 24 * time.Hour
	maxLedgerEntries = 50_000
	maxReason        = 500
	maxCorrection    = 1_000_000_000_000_000
)

// Kind is what an entry of the ledger is.
type Kind string

// The kinds of entries.
const (
	KindUsage      Kind = "usage"
	KindCorrection Kind = "correction"
)

// Amounts are what an entry of the ledger counts. Those of a correction may be
// negative.
type Amounts struct {
	Accepted          int64 // messages
	Delivered         int64 // messages
	DeliveredBytes    int64
	ReceivedBytes     int64
	ConnectionSeconds int64
	Opened            int64 // connections
}

// Plus returns the sum.
func (a Amounts) Plus(b Amounts) Amounts {
	return Amounts{
		Accepted: a.Accepted + b.Accepted, Delivered: a.Delivered + b.Delivered, DeliveredBytes: a.DeliveredBytes + b.DeliveredBytes,
		ReceivedBytes: a.ReceivedBytes + b.ReceivedBytes, ConnectionSeconds: a.ConnectionSeconds + b.ConnectionSeconds, Opened: a.Opened + b.Opened,
	}
}

// Entry is a row of the ledger, which is never changed, or, with the ID 0, an hour
// that still counts.
type Entry struct {
	ID     int64
	Tenant tenants.ID
	Hub    string // "" = of no hub
	Hour   time.Time
	Kind   Kind
	Amounts
	// PostedAt is when the entry was written; zero = not yet.
	PostedAt time.Time
	// Of corrections: the hour they are about, why, and who made them.
	Concerns time.Time
	Reason   string
	Actor    string
}

// Correction adds amounts to a tenant's usage. It counts in the hour in which it
// is made, so that what is in a finished statement stays as it is.
type Correction struct {
	Tenant   tenants.ID
	Hub      string
	Concerns time.Time
	Amounts
	Reason string
	Actor  string
}

// Correct enters a correction. It is for operators.
func (s *Service) Correct(ctx context.Context, c Correction) error {
	var wrong []fault.Field
	now := s.now()
	for _, text := range []struct{ field, value string }{{"reason", c.Reason}, {"actor", c.Actor}} {
		if text.value == "" || len(text.value) > maxReason || !utf8.ValidString(text.value) {
			wrong = append(wrong, fault.Field{Name: text.field, Message: "is missing or too long", Accepted: fmt.Sprintf("1 to %d bytes", maxReason)})
		}
	}
	if c.Concerns.Before(earliest) || c.Concerns.After(now) {
		wrong = append(wrong, fault.Field{Name: "concerns", Message: "is out of range", Accepted: fmt.Sprintf("%s to now", earliest.Format(time.RFC3339))})
	}
	if c.Amounts == (Amounts{}) {
		wrong = append(wrong, fault.Field{Name: "accepted", Message: "changes nothing", Accepted: "at least one amount that isn't 0"})
	}
	for _, a := range []struct {
		field string
		value int64
	}{
		{"accepted", c.Accepted}, {"delivered", c.Delivered}, {"delivered_bytes", c.DeliveredBytes},
		{"received_bytes", c.ReceivedBytes}, {"connection_seconds", c.ConnectionSeconds}, {"opened", c.Opened},
	} {
		if a.value > maxCorrection || a.value < -maxCorrection {
			wrong = append(wrong, fault.Field{Name: a.field, Message: "is out of range", Accepted: fmt.Sprintf("-%d to %d", maxCorrection, maxCorrection)})
		}
	}
	if len(wrong) > 0 {
		return fault.InvalidFields(wrong...)
	}
	return s.store.Correct(ctx, c, now)
}

// Whose says whose entries are meant: those of a tenant, or of an account with all
// tenants that it has and had.
type Whose struct {
	Tenant  tenants.ID
	Account tenants.AccountID // wins
}

// Span asks for the entries of [From, To), cut to whole hours, and of one kind or,
// with "", of all. Zero times are the last 30 days.
type Span struct {
	From, To time.Time
	Kind     Kind
}

// resolve fills in defaults.
func (q Span) resolve(now time.Time) (Span, error) {
	if q.Kind != "" && q.Kind != KindUsage && q.Kind != KindCorrection {
		return q, fault.InvalidFields(fault.Field{Name: "kind", Message: "is not a kind", Accepted: "usage, correction"})
	}
	if q.To.IsZero() {
		q.To = now
	}
	if q.From.IsZero() {
		q.From = q.To.Add(-30 * 24 * time.Hour)
	}
	var err error
	if q.From, q.To, err = whole(q.From, q.To, time.Hour, now); err != nil {
		return q, err
	}
	if q.To.Sub(q.From) > maxLedgerSpan {
		return q, fault.InvalidFields(fault.Field{Name: "from", Message: "is too long before to", Accepted: "at most 366 days before to"})
	}
	return q, nil
}

// Ledger finds entries, in the order of hour, tenant and hub, and hands them
// one by one to each. begin is told before the first one which span it is;
// after that an error means that entries are missing.
func (s *Service) Ledger(ctx context.Context, w Whose, q Span, begin func(Span) error, each func(Entry) error) error {
	q, err := q.resolve(s.now())
	if err != nil {
		return err
	}
	n, err := s.store.CountEntries(ctx, w, q.From, q.To, q.Kind)
	if err != nil {
		return err
	}
	if n > maxLedgerEntries {
		return fault.InvalidFields(fault.Field{
			Name: "from", Message: fmt.Sprintf("gives %d entries", n), Accepted: fmt.Sprintf("at most %d entries: take a shorter span", maxLedgerEntries),
		})
	}
	if err := begin(q); err != nil {
		return err
	}
	// Those that came in since they were counted are in it, too.
	return s.store.Entries(ctx, w, q.From, q.To, q.Kind, each)
}
