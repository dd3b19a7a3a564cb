package tenants

import (
	"context"
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
// is in a group for each tenant.

// LiveTokenLife is how long a token for live figures is good.
const LiveTokenLife = time.Hour

// LiveUser is the user of the system tenant that a member of an account is there.
func LiveUser(a AccountID, u UserID) string { return "member:" + string(a) + ":" + string(u) }

// LiveGroup is the group of the system tenant that hears of a tenant.
func LiveGroup(t ID) string { return "tenant:" + string(t) }

// The bounds of what endLive leaves in the system tenant's document, which every
// removal of every account changes. Beyond them consoles that nobody meant to close ask
// anew, of that account first.
const (
	maxLiveEnds        = 500 // in all
	maxAccountLiveEnds = 10  // of one account
	// liveSkew is by how much the clocks of processes may differ.
	liveSkew = 5 * time.Second
)

// endLive takes back the tokens with which somebody sees figures of an account live;
// their connections are closed.
func (s *Service) endLive(ctx context.Context, tx Store, a AccountID, u UserID) error {
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
	over := now.Add(LiveTokenLife + time.Minute)
	if err := tx.DropRevocations(ctx, t.ID, now); err != nil {
		return err
	}
	have, err := tx.Revocations(ctx, t.ID, now)
	if err != nil {
		return err
	}
	value, instead := liveEnd(have, a, u)
	for _, r := range instead {
		if err := tx.DeleteRevocation(ctx, t.ID, r.ID); err != nil {
			return err
		}
	}
	return tx.PutRevocation(ctx, t.ID, Revocation{
		ID: newID(), Kind: RevokedUser, Value: value, IssuedBefore: now.Add(liveSkew), ExpiresAt: over, CreatedAt: now,
	})
}

// liveEnd returns which users are taken back to reach one, and what that makes
// superfluous of the revocations that there are.
func liveEnd(have []Revocation, a AccountID, u UserID) (value string, instead []Revocation) {
	var users, ofAccount []Revocation
	account := LiveUser(a, everyUser)
	for _, r := range have {
		if r.Kind != RevokedUser {
			continue
		}
		users = append(users, r)
		if strings.HasPrefix(r.Value, LiveUser(a, "")) {
			ofAccount = append(ofAccount, r)
		}
	}
	wide := slices.ContainsFunc(ofAccount, func(r Revocation) bool { return r.Value == account })
	switch {
	case len(users) >= maxLiveEnds:
		return everyUser, users
	case wide || len(ofAccount) >= maxAccountLiveEnds:
		return account, ofAccount
	}
	return LiveUser(a, u), nil
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
