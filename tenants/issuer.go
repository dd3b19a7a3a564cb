package tenants

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/outbound"
)

// Algorithm is a signature algorithm of tokens (RFC 7518, 3.1; RFC 8037).
type Algorithm string

// The algorithms of issuers. Those with a shared secret are for access keys.
const (
	RS256 Algorithm = "RS256"
	ES256 Algorithm = "ES256"
	EdDSA Algorithm = "EdDSA"
)

// Algorithms lists those that an issuer may use.
var Algorithms = []Algorithm{RS256, ES256, EdDSA}

// IssuerSettings say which tokens of an identity provider are good for a
// tenant's clients, in place of tokens that an access key signs.
type IssuerSettings struct {
	// Issuer is what the tokens' iss says, exactly.
	Issuer string `json:"issuer"`
	// JWKSURL is where the provider publishes its public keys.
	JWKSURL string `json:"jwks_url"`
	// Algorithms are the accepted ones, at least one.
	Algorithms []Algorithm `json:"algorithms"`
	// Audiences are accepted values of aud; a token needs one of them. Empty: aud
	// must be the hub's client URL, as in tokens of access keys.
	Audiences []string `json:"audiences,omitempty"`
	// UserClaim is the claim with the user's id; "" = sub.
	UserClaim string `json:"user_claim,omitempty"`
	// CloseOnExpiry closes connections when the token that they were made with
	// expires, unless they have got a newer one.
	CloseOnExpiry bool `json:"close_on_expiry,omitempty"`
}

// Issuer is an identity provider whose tokens a tenant's clients may use.
type Issuer struct {
	ID string `json:"id"`
	IssuerSettings
	CreatedAt time.Time `json:"-"`
	UpdatedAt time.Time `json:"-"`
}

// The bounds of issuers.
const (
	maxIssuers       = 5
	maxIssuerLength  = 512
	maxAudiences     = 10
	maxAudience      = 512
	maxUserClaim     = 128
	defaultUserClaim = "sub"
)

// WithDefaults returns the settings with what is left out filled in.
func (s IssuerSettings) WithDefaults() IssuerSettings {
	if len(s.Algorithms) == 0 {
		s.Algorithms = slices.Clone(Algorithms)
	}
	if s.UserClaim == "" {
		s.UserClaim = defaultUserClaim
	}
	return s
}

// Validate returns an Invalid error that names every setting at fault.
func (s IssuerSettings) Validate(urls outbound.Policy) error {
	s = s.WithDefaults()
	var fields []fault.Field
	bad := func(name, message, accepted string) {
		fields = append(fields, fault.Field{Name: name, Message: message, Accepted: accepted})
	}
	if !plainText(s.Issuer, maxIssuerLength) {
		bad("issuer", "is not an issuer's name", fmt.Sprintf("the tokens' iss, 1 to %d bytes", maxIssuerLength))
	}
	if _, err := urls.Check(s.JWKSURL); err != nil {
		bad("jwks_url", err.Error(), urls.Rule())
	}
	for i, a := range s.Algorithms {
		if !slices.Contains(Algorithms, a) || slices.Contains(s.Algorithms[:i], a) {
			bad(fmt.Sprintf("algorithms.%d", i), "is not an algorithm, or there twice", "RS256, ES256, EdDSA")
		}
	}
	if len(s.Audiences) > maxAudiences {
		bad("audiences", "are too many", fmt.Sprintf("at most %d", maxAudiences))
	}
	for i, a := range s.Audiences {
		if !plainText(a, maxAudience) {
			bad(fmt.Sprintf("audiences.%d", i), "is not an audience", fmt.Sprintf("1 to %d bytes", maxAudience))
		}
	}
	if !plainText(s.UserClaim, maxUserClaim) {
		bad("user_claim", "is not a claim's name", fmt.Sprintf("1 to %d bytes", maxUserClaim))
	}
	if len(fields) > 0 {
		return fault.InvalidFields(fields...)
	}
	return nil
}

// plainText reports whether s is 1 to most bytes of text without signs that
// don't show.
func plainText(s string, most int) bool {
	return s != "" && len(s) <= most && utf8.ValidString(s) && !strings.ContainsFunc(s, hidden)
}

// Issuers lists a tenant's issuers, the oldest first.
func (s *Service) Issuers(ctx context.Context, c Caller, ref string) ([]Issuer, error) {
	t, err := s.tenantFor(ctx, c, ref, SeeTenant)
	if err != nil {
		return nil, err
	}
	return s.store.Issuers(ctx, t.ID)
}

// Issuer returns one of a tenant's issuers.
func (s *Service) Issuer(ctx context.Context, c Caller, ref, id string) (Issuer, error) {
	all, err := s.Issuers(ctx, c, ref)
	if err != nil {
		return Issuer{}, err
	}
	i := slices.IndexFunc(all, func(i Issuer) bool { return i.ID == id })
	if i < 0 {
		return Issuer{}, fault.New(fault.NotFound, "There is no such issuer.")
	}
	return all[i], nil
}

// CreateIssuer lets a tenant's clients use the tokens of an identity provider.
func (s *Service) CreateIssuer(ctx context.Context, c Caller, ref string, settings IssuerSettings) (Issuer, error) {
	if err := settings.Validate(s.outbound); err != nil {
		return Issuer{}, err
	}
	now := s.now()
	made := Issuer{ID: newID(), IssuerSettings: settings, CreatedAt: now, UpdatedAt: now}
	_, err := s.change(ctx, c, ref, ChangeIssuer, Audit{Action: "issuer.created", Subject: made.ID, After: settings}, func(tx Store, t *MemberTenant, _ *Audit) error {
		have, err := tx.Issuers(ctx, t.ID)
		if err != nil {
			return err
		}
		if len(have) >= maxIssuers {
			return fault.New(fault.QuotaExceeded, fmt.Sprintf("A tenant may have %d issuers, and this one has them.", maxIssuers)).WithCode("max_issuers")
		}
		return putIssuer(ctx, tx, t.ID, have, made)
	})
	return made, err
}

// ReplaceIssuer replaces an issuer's settings. Connections that its tokens made
// stay.
func (s *Service) ReplaceIssuer(ctx context.Context, c Caller, ref, id string, settings IssuerSettings) (Issuer, error) {
	if err := settings.Validate(s.outbound); err != nil {
		return Issuer{}, err
	}
	var made Issuer
	_, err := s.change(ctx, c, ref, ChangeIssuer, Audit{Action: "issuer.replaced", Subject: id, After: settings}, func(tx Store, t *MemberTenant, a *Audit) error {
		have, err := tx.Issuers(ctx, t.ID)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(have, func(i Issuer) bool { return i.ID == id })
		if i < 0 {
			return fault.New(fault.NotFound, "There is no such issuer.")
		}
		a.Before = have[i].IssuerSettings
		made = Issuer{ID: id, IssuerSettings: settings, CreatedAt: have[i].CreatedAt, UpdatedAt: s.now()}
		return putIssuer(ctx, tx, t.ID, have, made)
	})
	return made, err
}

// putIssuer writes an issuer, unless another one of those that the tenant has
// goes by the same name: tokens could not tell the two apart.
func putIssuer(ctx context.Context, tx Store, t ID, have []Issuer, made Issuer) error {
	if slices.ContainsFunc(have, func(i Issuer) bool { return i.ID != made.ID && i.Issuer == made.Issuer }) {
		return fault.New(fault.Conflict, "This tenant has an issuer of this name already.").WithCode("issuer_taken")
	}
	return tx.PutIssuer(ctx, t, made)
}

// DeleteIssuer ends the use of an issuer: connections that its tokens made are
// closed.
func (s *Service) DeleteIssuer(ctx context.Context, c Caller, ref, id string) error {
	_, err := s.change(ctx, c, ref, ChangeIssuer, Audit{Action: "issuer.deleted", Subject: id}, func(tx Store, t *MemberTenant, a *Audit) error {
		have, err := tx.Issuers(ctx, t.ID)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(have, func(i Issuer) bool { return i.ID == id }); i >= 0 {
			a.Before = have[i].IssuerSettings
		}
		return tx.DeleteIssuer(ctx, t.ID, id)
	})
	return err
}
