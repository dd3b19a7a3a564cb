package tenants

import (
	"context"

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

// SystemKey returns the system tenant's primary key in the clear.
func (s *Service) SystemKey(ctx context.Context, t Tenant) (DocKey, error) {
	keys, err := s.openKeys(scope.System(ctx, scope.Self), t.ID)
	if err != nil {
		return DocKey{}, err
	}
	return keys[0], nil
}
