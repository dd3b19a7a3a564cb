package tenants

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
)

// RevocationKind is by what tokens are revoked.
type RevocationKind string

// The kinds of revocations.
const (
	RevokedToken RevocationKind = "token" // one token, by its jti
	RevokedUser  RevocationKind = "user"  // a user's tokens
	RevokedKey   RevocationKind = "key"   // a key, with all that it signed: an access key's id, or the kid of an issuer's
)

// RevocationKinds lists the kinds.
var RevocationKinds = []RevocationKind{RevokedToken, RevokedUser, RevokedKey}

// Revocation takes back tokens before they expire. Those of a user are concerned
// when they were issued at IssuedBefore or earlier: the clock of tokens has whole
// seconds, so a token made in the second of the revocation is refused. Of a key,
// every token is, and the key itself as a bearer: whoever has it could date new
// tokens as they like.
type Revocation struct {
	ID           string
	Kind         RevocationKind
	Value        string
	IssuedBefore time.Time
	// ExpiresAt is when no such token can be good any more. Keys stay revoked until
	// they are regenerated or the revocation is lifted.
	ExpiresAt time.Time
	CreatedAt time.Time
}

// The bounds of revocations. They travel in the tenant's document, so there can
// be so many in force at once and no more; after a leak, a key is regenerated.
const (
	maxRevocations       = 2000
	maxRevocationBytes   = 128 << 10 // of all values together
	maxRevocationValue   = 256       // bytes: the longest user id
	revocationValueRules = "1 to 256 bytes without control characters"

	// revocationLife is the longest life of a token, with the leeway of
	// accesstoken at both ends.
	revocationLife = 24*time.Hour + 2*time.Minute
	// keyRevocationYears is for ever.
	keyRevocationYears = 100
)

// DocRevocation is a revocation inside a document.
type DocRevocation struct {
	Kind   RevocationKind `json:"k"`
	Value  string         `json:"v"`
	Before int64          `json:"b"` // Unix seconds; see Revocation.IssuedBefore
}

// compareRevocations is the order of revocations in a document.
func compareRevocations(a, b DocRevocation) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Value, b.Value))
}

// every takes the place of what follows one of the first colons in the value of a
// revocation of a user or a token, or of all of it: all ids are meant that begin so, when
// they were issued at IssuedBefore or earlier. It is in no id of a user, and in nothing
// that tenants revoke.
const every = "\x1f"

// revocableColons is how many of an id's colons every may follow.
const revocableColons = 3

// Credential is what is known of an accepted token.
type Credential struct {
	TokenID  string    // jti; "" = none
	UserID   string    // "" = none
	KeyID    string    // the access key, or the issuer's key, that signed it
	IssuerID string    // "" = an access key
	IssuedAt time.Time // zero = unknown, which counts as long ago
}

// Revoked tells by what the token was revoked, "" if it wasn't.
func (d *Document) Revoked(c Credential) RevocationKind {
	if len(d.Revocations) == 0 {
		return ""
	}
	for _, by := range []struct {
		kind  RevocationKind
		value string
	}{{RevokedToken, c.TokenID}, {RevokedUser, c.UserID}, {RevokedKey, c.KeyID}} {
		if by.value != "" && d.revokes(c, by.kind, by.value) {
			return by.kind
		}
	}
	for _, by := range []struct {
		kind RevocationKind
		id   string
	}{{RevokedToken, c.TokenID}, {RevokedUser, c.UserID}} {
		if by.id != "" && d.revokesAll(c, by.kind, by.id) {
			return by.kind
		}
	}
	return ""
}

// revokesAll reports whether a revocation of all ids that begin alike concerns the token.
func (d *Document) revokesAll(c Credential, kind RevocationKind, id string) bool {
	for begin, colons := 0, 0; ; colons++ {
		if d.revokes(c, kind, id[:begin]+every) {
			return true
		}
		i := strings.IndexByte(id[begin:], ':')
		if i < 0 || colons == revocableColons {
			return false
		}
		begin += i + 1
	}
}

// revokes reports whether there is that revocation and it concerns the token.
func (d *Document) revokes(c Credential, kind RevocationKind, value string) bool {
	i, found := slices.BinarySearchFunc(d.Revocations, DocRevocation{Kind: kind, Value: value}, compareRevocations)
	dated := kind == RevokedUser || strings.HasSuffix(value, every)
	return found && (!dated || c.IssuedAt.IsZero() || c.IssuedAt.Unix() <= d.Revocations[i].Before)
}

// KeyRevoked reports whether an access key was taken back, with all that it signed.
func (d *Document) KeyRevoked(id string) bool { return d.Revoked(Credential{KeyID: id}) != "" }

// SigningKey returns the first access key that is in use and isn't revoked, for
// minting tokens.
func (d *Document) SigningKey() (DocKey, bool) {
	i := slices.IndexFunc(d.Keys, func(k DocKey) bool { return k.Expires == 0 && !d.KeyRevoked(k.ID) })
	if i < 0 {
		return DocKey{}, false
	}
	return d.Keys[i], true
}

// Vouched reports whether what signed the token is the tenant's at a time.
func (d *Document) Vouched(c Credential, at time.Time) bool {
	if c.IssuerID != "" {
		return slices.ContainsFunc(d.Issuers, func(i Issuer) bool { return i.ID == c.IssuerID })
	}
	return slices.ContainsFunc(d.Keys, func(k DocKey) bool { return k.ID == c.KeyID && k.Good(at) })
}

// Revocations lists those of a tenant that are in force, the newest first.
func (s *Service) Revocations(ctx context.Context, c Caller, ref string) ([]Revocation, error) {
	t, err := s.tenantFor(ctx, c, ref, SeeTenant)
	if err != nil {
		return nil, err
	}
	return s.store.Revocations(ctx, t.ID, s.now())
}

// Revoke takes back tokens. Connections that they made are closed.
func (s *Service) Revoke(ctx context.Context, c Caller, ref string, kind RevocationKind, value string) (Revocation, error) {
	var fields []fault.Field
	if !slices.Contains(RevocationKinds, kind) {
		fields = append(fields, fault.Field{Name: "kind", Message: "is not a kind of revocation", Accepted: "token, user, key"})
	}
	if !plainText(value, maxRevocationValue) {
		fields = append(fields, fault.Field{Name: "value", Message: "can't be the id of a token, a user or a key", Accepted: revocationValueRules})
	}
	if len(fields) > 0 {
		return Revocation{}, fault.InvalidFields(fields...)
	}
	now := s.now()
	expires := now.Add(revocationLife)
	if kind == RevokedKey {
		expires = now.AddDate(keyRevocationYears, 0, 0)
	}
	made := Revocation{ID: newID(), Kind: kind, Value: value, IssuedBefore: now, ExpiresAt: expires, CreatedAt: now}
	_, err := s.change(ctx, c, ref, RevokeToken, Audit{Action: "token.revoked", Subject: string(kind) + ":" + value, After: made.audited()}, func(tx Store, t *MemberTenant, _ *Audit) error {
		if err := tx.DropRevocations(ctx, t.ID, now); err != nil {
			return err
		}
		if err := tx.PutRevocation(ctx, t.ID, made); err != nil {
			return err
		}
		// The tenant's row is locked by the change under way, so the sums hold.
		have, bytes, err := tx.CountRevocations(ctx, t.ID)
		if err != nil {
			return err
		}
		if have > maxRevocations || bytes > maxRevocationBytes {
			return fault.New(fault.QuotaExceeded, fmt.Sprintf("At most %d revocations can be in force, with values of %d bytes together. Revoke a key, or regenerate it.",
				maxRevocations, maxRevocationBytes)).WithCode("max_revocations")
		}
		return nil
	})
	return made, err
}

// forgetKey drops the revocation of an access key that is no more.
func forgetKey(ctx context.Context, tx Store, t ID, key string, now time.Time) error {
	all, err := tx.Revocations(ctx, t, now)
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.Kind == RevokedKey && r.Value == key {
			return tx.DeleteRevocation(ctx, t, r.ID)
		}
	}
	return nil
}

// LiftRevocation ends a revocation: tokens that it concerned are good again.
func (s *Service) LiftRevocation(ctx context.Context, c Caller, ref, id string) error {
	_, err := s.change(ctx, c, ref, RevokeToken, Audit{Action: "token.revocation_lifted", Subject: id}, func(tx Store, t *MemberTenant, a *Audit) error {
		have, err := tx.Revocations(ctx, t.ID, s.now())
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(have, func(r Revocation) bool { return r.ID == id }); i >= 0 {
			a.Before = have[i].audited()
		}
		return tx.DeleteRevocation(ctx, t.ID, id)
	})
	return err
}

func (r Revocation) audited() any {
	return map[string]any{"kind": r.Kind, "value": r.Value, "issued_before": r.IssuedBefore.UTC(), "expires_at": r.ExpiresAt.UTC()}
}

// docRevocations puts revocations into the order of documents.
func docRevocations(all []Revocation) []DocRevocation {
	list := make([]DocRevocation, len(all))
	for i, r := range all {
		list[i] = DocRevocation{Kind: r.Kind, Value: r.Value, Before: r.IssuedBefore.Unix()}
	}
	slices.SortFunc(list, compareRevocations)
	return list
}
