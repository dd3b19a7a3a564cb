package tenants

import (
	"context"
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
	if err := tx.Touch(ctx, t.ID); err != nil {
		return err
	}
	now := s.now()
	if err := tx.DropRevocations(ctx, t.ID, now); err != nil {
		return err
	}
	return tx.PutRevocation(ctx, t.ID, Revocation{
		ID: newID(), Kind: RevokedUser, Value: LiveUser(a, u), IssuedBefore: now, ExpiresAt: now.Add(LiveTokenLife + time.Minute), CreatedAt: now,
	})
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
