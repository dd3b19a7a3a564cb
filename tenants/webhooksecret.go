package tenants

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
)

// WebhookSecret signs what is posted to a tenant's upstreams in native mode. A
// tenant has one, and for a time after a rotation the former one besides: what
// is posted is then signed with both.
type WebhookSecret struct {
	ID        string
	Sealed    []byte // the secret as Sealer.Seal made it
	Hint      string // the last characters of the secret
	CreatedAt time.Time
	// Expires is when a former secret stops signing; zero for the one in use.
	Expires time.Time
}

// NewWebhookSecret is a secret right after it was made.
type NewWebhookSecret struct {
	WebhookSecret
	Secret Secret
}

// The overlap of two webhook secrets, in seconds.
const (
	DefaultOverlapSeconds = 24 * 60 * 60
	maxOverlapSeconds     = 7 * 24 * 60 * 60
)

// webhookSecretBytes is the entropy of a webhook secret, in bytes.
const webhookSecretBytes = 32

// newWebhookSecret returns a secret in the form of Standard Webhooks.
func newWebhookSecret() Secret {
	b := make([]byte, webhookSecretBytes)
	_, _ = rand.Read(b) // never fails (Go 1.24)
	return Secret("whsec_" + base64.StdEncoding.EncodeToString(b))
}

// WebhookSecrets lists a tenant's webhook secrets, the one in use first.
func (s *Service) WebhookSecrets(ctx context.Context, c Caller, ref string) ([]WebhookSecret, error) {
	t, err := s.tenantFor(ctx, c, ref, SeeKeys)
	if err != nil {
		return nil, err
	}
	return s.store.WebhookSecrets(ctx, t.ID, s.now())
}

// RotateWebhookSecret makes a tenant's webhook secret, or replaces it; the former
// one goes on signing for a time in seconds, 0 = it stops at once.
func (s *Service) RotateWebhookSecret(ctx context.Context, c Caller, ref string, overlapSeconds int) (NewWebhookSecret, error) {
	if overlapSeconds < 0 || overlapSeconds > maxOverlapSeconds {
		return NewWebhookSecret{}, fault.InvalidFields(fault.Field{Name: "overlap_seconds", Message: "is out of range", Accepted: fmt.Sprintf("0 to %d", maxOverlapSeconds)})
	}
	var made NewWebhookSecret
	_, err := s.change(ctx, c, ref, RegenerateKey, Audit{Action: "webhook_secret.rotated"}, func(tx Store, t *MemberTenant, a *Audit) error {
		now := s.now()
		former, err := tx.WebhookSecrets(ctx, t.ID, now)
		if err != nil {
			return err
		}
		if len(former) > 0 {
			a.Before = keyState{ID: former[0].ID, Hint: former[0].Hint}
		}
		id, secret := newID(), newWebhookSecret()
		made = NewWebhookSecret{Secret: secret, WebhookSecret: WebhookSecret{
			ID: id, Sealed: s.sealer.Seal(sealedWebhookSecrets, t.ID, id, secret), Hint: hint(secret), CreatedAt: now,
		}}
		a.Subject, a.After = id, keyState{ID: id, Hint: made.Hint, Overlap: overlapSeconds}
		return tx.RotateWebhookSecret(ctx, t.ID, made.WebhookSecret, now.Add(time.Duration(overlapSeconds)*time.Second))
	})
	return made, err
}

// openWebhookSecrets returns the secrets that sign now, in the clear, the one in
// use first.
func (s *Service) openWebhookSecrets(ctx context.Context, t ID) ([]DocWebhookSecret, error) {
	sealed, err := s.store.WebhookSecrets(ctx, t, s.now())
	if err != nil {
		return nil, err
	}
	var open []DocWebhookSecret
	for _, w := range sealed {
		secret, err := s.sealer.Open(sealedWebhookSecrets, t, w.ID, w.Sealed)
		if err != nil {
			return nil, fault.Wrap(fault.Internal, "open webhook secret", err)
		}
		d := DocWebhookSecret{ID: w.ID, Secret: secret.Reveal()}
		if !w.Expires.IsZero() {
			d.Expires = w.Expires.Unix()
		}
		open = append(open, d)
	}
	return open, nil
}
