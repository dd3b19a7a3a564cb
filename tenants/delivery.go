package tenants

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
)

// Delivery is one request to an upstream and what came of it, as the delivery
// log keeps it: without signatures, tokens and the query of the URL.
type Delivery struct {
	ID  string    `json:"-"`
	At  time.Time `json:"at"` // when the request began
	Hub string    `json:"hub"`
	// Category and Event are those of the upstream's rules.
	Category string       `json:"category"`
	Event    string       `json:"event"`
	Mode     UpstreamMode `json:"mode"`
	// MessageID is the webhook-id, the same for every attempt; "" in Azure's mode.
	MessageID    string          `json:"message_id,omitempty"`
	ConnectionID string          `json:"connection_id"`
	UserID       string          `json:"user_id,omitempty"`
	URL          string          `json:"url"`
	Attempt      int             `json:"attempt"` // from 1
	Outcome      DeliveryOutcome `json:"outcome"`
	// Status is that of the answer; 0 when there was none.
	Status int `json:"status,omitempty"`
	// Error is the code of what went wrong; "" when nothing did.
	Error string `json:"error,omitempty"`
	// DurationMS is in milliseconds; 0 where nothing was reached.
	DurationMS int             `json:"duration_ms,omitempty"`
	Request    DeliveryContent `json:"request"`
	Response   DeliveryContent `json:"response"`
	// ReplayOf is the delivery that was sent again.
	ReplayOf string `json:"replay_of,omitempty"`
}

// DeliveryContent is what was sent one way. Body is cut when Bytes is more.
type DeliveryContent struct {
	Type  string `json:"type,omitempty"` // the Content-Type
	Body  []byte `json:"body,omitempty"`
	Bytes int    `json:"bytes,omitempty"` // of the whole body
	// Headers are those that a replay repeats, as name and value.
	Headers [][2]string `json:"headers,omitempty"`
}

// DeliveryOutcome is how a delivery ended.
type DeliveryOutcome string

// The outcomes of deliveries.
const (
	Delivered DeliveryOutcome = "delivered"
	Failed    DeliveryOutcome = "failed"
	Retried   DeliveryOutcome = "retried" // failed, and another attempt follows
)

// DeliveryOutcomes lists the outcomes.
var DeliveryOutcomes = []DeliveryOutcome{Delivered, Failed, Retried}

// Replayable reports whether the log holds all that a repetition needs.
func (d Delivery) Replayable() bool {
	return len(d.Request.Body) == d.Request.Bytes && d.Request.Bytes > 0
}

// DeliveryQuery selects deliveries; what is empty selects all.
type DeliveryQuery struct {
	Hub, Event string
	Outcome    DeliveryOutcome
	From, To   time.Time // From included, To not
	Cursor     string    // of the page before
	Limit      int       // 0 = 50
}

// The bounds of one page of deliveries.
const (
	defaultDeliveries = 50
	maxDeliveries     = 200
)

// DeliveryLog has the deliveries to a tenant's upstreams of late.
type DeliveryLog interface {
	// Deliveries returns the newest first, and the cursor of the page that
	// follows, "" when there is none.
	Deliveries(ctx context.Context, t ID, q DeliveryQuery) (page []Delivery, next string, err error)
	// Delivery returns a fault of kind NotFound for what the log doesn't have any more.
	Delivery(ctx context.Context, t ID, id string) (Delivery, error)
}

// Upstreams reaches the upstreams of tenants from the control plane.
type Upstreams interface {
	// Check returns an Invalid fault that names every rule of hub's upstream that
	// can't be used: its URL may not be reached, or, in native mode, whoever is
	// there doesn't agree to get requests. Fields are named below "upstream".
	Check(ctx context.Context, hub string, u Upstream) error
	// Replay sends a delivery again, as the document's settings are now, and
	// returns what came of it. It calls begin before, once nothing refuses to send, and
	// sends nothing when that returns an error.
	Replay(ctx context.Context, d *Document, of Delivery, begin func() error) (Delivery, error)
}

// Deliveries returns a page of the tenant's delivery log.
func (s *Service) Deliveries(ctx context.Context, c Caller, ref string, q DeliveryQuery) ([]Delivery, string, error) {
	t, err := s.tenantFor(ctx, c, ref, SeeDeliveries)
	if err != nil {
		return nil, "", err
	}
	if q.Limit == 0 {
		q.Limit = defaultDeliveries
	}
	var fields []fault.Field
	if q.Limit < 1 || q.Limit > maxDeliveries {
		fields = append(fields, fault.Field{Name: "limit", Message: "is out of range", Accepted: fmt.Sprintf("1 to %d", maxDeliveries)})
	}
	if q.Outcome != "" && !slices.Contains(DeliveryOutcomes, q.Outcome) {
		fields = append(fields, fault.Field{Name: "outcome", Message: "is not an outcome", Accepted: "delivered, failed, retried"})
	}
	if !q.From.IsZero() && !q.To.IsZero() && !q.From.Before(q.To) {
		fields = append(fields, fault.Field{Name: "from", Message: "must be before to"})
	}
	if len(fields) > 0 {
		return nil, "", fault.InvalidFields(fields...)
	}
	return s.deliveries.Deliveries(ctx, t.ID, q)
}

// ReplayDelivery sends what a delivery had sent once more to where the hub's
// upstream is now. The client gets nothing of it.
func (s *Service) ReplayDelivery(ctx context.Context, c Caller, ref, id string) (Delivery, error) {
	t, err := s.tenantFor(ctx, c, ref, ReplayDelivery)
	if err != nil {
		return Delivery{}, err
	}
	d, err := s.deliveries.Delivery(ctx, t.ID, id)
	if err != nil {
		return Delivery{}, err
	}
	if !d.Replayable() {
		return Delivery{}, fault.New(fault.Conflict, "The log does not hold the whole body of this delivery, so it can't be sent again.").WithCode("body_truncated")
	}
	doc, err := s.Document(ctx, t.ID)
	if err != nil {
		return Delivery{}, err
	}
	return s.upstreams.Replay(ctx, &doc, d, func() error {
		return s.store.Audit(ctx, Audit{Caller: c, Account: t.Account, Tenant: t.ID, Action: "delivery.replayed", Subject: id})
	})
}

// checkUpstream lets nothing be kept that can't work: before the transaction,
// since it asks whoever is at the URLs.
func (s *Service) checkUpstream(ctx context.Context, c Caller, ref, hub string, u *Upstream) error {
	if !u.Set() || s.upstreams == nil {
		return nil
	}
	t, err := s.tenantFor(ctx, c, ref, ChangeHub)
	if err != nil {
		return err
	}
	if u.Mode == UpstreamNative {
		secrets, err := s.store.WebhookSecrets(ctx, t.ID, s.now())
		if err != nil {
			return err
		}
		if len(secrets) == 0 {
			return fault.New(fault.Conflict, "The native mode signs with the tenant's webhook secret, and there is none yet. Make it first: POST /v1/tenants/{tenant}/webhook-secrets/rotate.").WithCode("webhook_secret_missing")
		}
	}
	return s.upstreams.Check(ctx, hub, u.WithDefaults())
}
