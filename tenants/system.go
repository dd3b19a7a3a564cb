package tenants

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/scope"
)

// systemPlan is the plan of the service's own tenant.
const systemPlan = "scale"

// SystemTenant returns the tenant through which the service itself talks to
// consoles, and makes it when it isn't there. Several processes may do so at
// once. Its account has no members.
func (s *Service) SystemTenant(ctx context.Context) (Tenant, error) {
	ctx = scope.System(ctx, scope.Self)
	t, err := s.store.TenantBySlug(ctx, SystemSlug)
	if !isKind(err, fault.NotFound) {
		return t, err
	}
	account := Account{ID: AccountID(newID()), Name: "Signalbox", Plan: systemPlan}
	err = s.store.InTx(ctx, func(tx Store) error {
		if err := tx.CreateAccount(ctx, account); err != nil {
			return err
		}
		made, err := s.createTenant(ctx, tx, Caller{System: true, RequestID: "system"}, newTenant{account: account, slug: SystemSlug, name: "Signalbox", env: Production})
		t = made.tenant
		return err
	})
	if isKind(err, fault.Conflict) { // another process was faster
		return s.store.TenantBySlug(ctx, SystemSlug)
	}
	if err != nil {
		return Tenant{}, err
	}
	s.hurry(ctx, t.ID)
	return t, nil
}

// Who watches an account's tenants in the console is a user of the system tenant, and
// is in a group for each tenant. The token says by what it was got, so that it can be
// taken back with that.

// LiveTokenLife is how long a token for live figures is good.
const LiveTokenLife = time.Hour

// LiveUser is the user of the system tenant that a member of an account is there.
func LiveUser(a AccountID, u UserID) string { return "member:" + string(a) + ":" + string(u) }

// LiveTokenID is the id of tokens for live figures that a user gets in a session, or with
// an API token: by is its id. They share it, as they are taken back together.
func LiveTokenID(u UserID, by string) string { return liveTokens(u) + by }

// liveTokens is how the ids of a user's tokens begin. The number before the user is one of
// 256, by which users are taken back together when there are too many to be named.
func liveTokens(u UserID) string {
	h := fnv.New32a()
	h.Write([]byte(u))
	return fmt.Sprintf("live:%02x:%s:", h.Sum32()&0xff, u)
}

// LiveGroup is the group of the system tenant that hears of a tenant.
func LiveGroup(t ID) string { return "tenant:" + string(t) }

// The bounds of what endLive leaves in the system tenant's document, which ends of all
// accounts change. Beyond them consoles that nobody meant to close ask anew, those of the
// same account or user first.
const (
	maxLiveEnds      = 500 // of a kind
	maxGroupLiveEnds = 10  // of one account's members, of one user's sessions and tokens
	// liveSkew is by how much the clocks of processes may differ.
	liveSkew = 5 * time.Second
)

// liveEnd is whose tokens for live figures are taken back.
type liveEnd struct {
	kind RevocationKind
	id   string // of a user or a token
	// Ids begin with these that are taken back instead when there are too many to be
	// named: group of those that belong together, crowd of all.
	group, crowd string
}

// membershipEnd takes back what a member has in an account, by whatever means; u may be
// every.
func membershipEnd(a AccountID, u UserID) liveEnd {
	return liveEnd{kind: RevokedUser, id: LiveUser(a, u), group: LiveUser(a, "")}
}

// credentialEnd takes back what was got in a user's session, or with an API token; by may
// be every.
func credentialEnd(u UserID, by string) liveEnd {
	group := liveTokens(u)
	return liveEnd{kind: RevokedToken, id: LiveTokenID(u, by), group: group, crowd: strings.TrimSuffix(group, string(u)+":")}
}

// revocation returns by which value the end is told, and which revocations of those that
// there are it makes superfluous.
func (e liveEnd) revocation(have []Revocation) (value string, instead []Revocation) {
	begin := func(with string) []Revocation {
		return slices.DeleteFunc(slices.Clone(have), func(r Revocation) bool { return r.Kind != e.kind || !strings.HasPrefix(r.Value, with) })
	}
	group := begin(e.group)
	wide := e.id == e.group+every || slices.ContainsFunc(group, func(r Revocation) bool { return r.Value == e.group+every })
	switch {
	case len(begin("")) >= maxLiveEnds:
		return e.crowd + every, begin(e.crowd)
	case wide || len(group) >= maxGroupLiveEnds:
		return e.group + every, group
	}
	return e.id, nil
}

// endLive takes back tokens with which somebody sees figures live; their connections are
// closed. It is the last thing in a transaction that waits for others: what ends has been
// locked before, and the system tenant's row, which all accounts' ends want, is locked for
// as short as can be.
func (s *Service) endLive(ctx context.Context, tx Store, ends ...liveEnd) error {
	if len(ends) == 0 {
		return nil
	}
	ctx = scope.System(ctx, scope.Self)
	t, err := tx.TenantBySlug(ctx, SystemSlug)
	if isKind(err, fault.NotFound) {
		return nil // nobody ever asked for one
	}
	if err != nil {
		return err
	}
	if err := tx.Touch(ctx, t.ID); err != nil { // and locked, so that what is counted holds
		return err
	}
	now := s.now()
	if err := tx.DropRevocations(ctx, t.ID, now); err != nil {
		return err
	}
	for _, e := range ends {
		have, err := tx.Revocations(ctx, t.ID, now)
		if err != nil {
			return err
		}
		value, instead := e.revocation(have)
		for _, r := range instead {
			if err := tx.DeleteRevocation(ctx, t.ID, r.ID); err != nil {
				return err
			}
		}
		if err := tx.PutRevocation(ctx, t.ID, Revocation{
			ID: newID(), Kind: e.kind, Value: value, IssuedBefore: now.Add(liveSkew), ExpiresAt: now.Add(LiveTokenLife + time.Minute), CreatedAt: now,
		}); err != nil {
			return err
		}
	}
	return nil
}

// sessionEnds is what was got in sessions of a user that ended.
func (s *Service) sessionEnds(u UserID, ended []Session) []liveEnd {
	var ends []liveEnd
	for _, each := range ended {
		if s.now().Sub(each.SeenAt) < LiveTokenLife+lastUseSlack {
			ends = append(ends, credentialEnd(u, each.ID))
		}
	}
	if len(ends) > maxGroupLiveEnds {
		return []liveEnd{credentialEnd(u, every)}
	}
	return ends
}

// liveEnded has edges hear of endLive at once, when what it was part of has succeeded.
func (s *Service) liveEnded(ctx context.Context, err error) error {
	if err != nil {
		return err
	}
	t, err := s.store.TenantBySlug(scope.System(ctx, scope.Self), SystemSlug)
	if err == nil {
		s.hurry(ctx, t.ID)
	}
	return nil // the job tells them otherwise
}

// SystemKey returns the system tenant's primary key in the clear.
func (s *Service) SystemKey(ctx context.Context, t Tenant) (DocKey, error) {
	keys, err := s.openKeys(scope.System(ctx, scope.Self), t.ID)
	if err != nil {
		return DocKey{}, err
	}
	return keys[0], nil
}
