package tenants

import (
	"context"
	"slices"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
)

// TenantPatch changes some settings of a tenant; nil leaves one as it is.
type TenantPatch struct {
	Name        *string
	Environment *Environment
}

// tenantState is what the audit has of a tenant.
type tenantState struct {
	Name        string      `json:"name"`
	Environment Environment `json:"environment"`
	Status      Status      `json:"status"`
	SuspendedBy Authority   `json:"suspended_by,omitempty"`
	Reason      string      `json:"reason,omitempty"`
}

func stateOf(t Tenant) tenantState {
	return tenantState{Name: t.Name, Environment: t.Environment, Status: t.Status, SuspendedBy: t.SuspendedBy, Reason: t.SuspendedReason}
}

// UpdateTenant changes a tenant's name and environment. To become a production
// tenant, it must have nothing that those can't have.
func (s *Service) UpdateTenant(ctx context.Context, c Caller, ref string, p TenantPatch) (MemberTenant, error) {
	var fields []fault.Field
	a := Audit{Action: "tenant.changed", Subject: ref}
	if p.Name != nil {
		name, ok := cleanName(*p.Name)
		if !ok {
			fields = append(fields, nameField("name"))
		}
		p.Name = &name
		if p.Environment == nil {
			a = Audit{Action: "tenant.renamed", Subject: name}
		}
	}
	if p.Environment != nil && !slices.Contains(Environments, *p.Environment) {
		fields = append(fields, environmentField())
	}
	if len(fields) > 0 {
		return MemberTenant{}, fault.InvalidFields(fields...)
	}
	return s.change(ctx, c, ref, ChangeTenant, a, func(tx Store, t *MemberTenant, a *Audit) error {
		was := t.Tenant
		if p.Name != nil {
			t.Name = *p.Name
		}
		if p.Environment != nil && *p.Environment != t.Environment {
			hubs, err := tx.Hubs(ctx, t.ID)
			if err != nil {
				return err
			}
			if err := readyFor(*p.Environment, hubs); err != nil {
				return err
			}
			t.Environment = *p.Environment
		}
		if t.Name == was.Name && t.Environment == was.Environment {
			return errUnchanged
		}
		a.Before, a.After = stateOf(was), stateOf(t.Tenant)
		return tx.UpdateTenant(ctx, t.Tenant)
	})
}

// SuspendTenant stops serving a tenant until it is resumed: its connections are
// closed, its keys are refused, and all that it has stays. One that is suspended
// stays so.
func (s *Service) SuspendTenant(ctx context.Context, c Caller, ref string) (MemberTenant, error) {
	return s.change(ctx, c, ref, SuspendTenant, Audit{Action: "tenant.suspended", Subject: ref}, func(tx Store, t *MemberTenant, a *Audit) error {
		a.Before = stateOf(t.Tenant)
		if !t.suspend(ByAccount, s.now()) {
			return errUnchanged
		}
		a.After = stateOf(t.Tenant)
		return tx.UpdateTenant(ctx, t.Tenant)
	})
}

// ResumeTenant serves a suspended tenant again, unless an operator has suspended it.
func (s *Service) ResumeTenant(ctx context.Context, c Caller, ref string) (MemberTenant, error) {
	return s.change(ctx, c, ref, SuspendTenant, Audit{Action: "tenant.resumed", Subject: ref}, func(tx Store, t *MemberTenant, a *Audit) error {
		if t.Status == Active {
			return errUnchanged
		}
		if t.SuspendedBy == ByOperator {
			return errImposed("An operator of the service has suspended this tenant, and people of its account can't resume it. Ask the operator.")
		}
		a.Before = stateOf(t.Tenant)
		t.resume()
		a.After = stateOf(t.Tenant)
		return tx.UpdateTenant(ctx, t.Tenant)
	})
}

// suspend reports whether that changes anything: an operator's word is above the
// account's.
func (t *Tenant) suspend(by Authority, now time.Time) bool {
	switch {
	case t.Status == Active:
		t.Status, t.SuspendedAt = Suspended, now
	case by == t.SuspendedBy || by != ByOperator:
		return false
	}
	t.SuspendedBy = by
	return true
}

func (t *Tenant) resume() {
	t.Status, t.SuspendedAt, t.SuspendedBy, t.SuspendedReason = Active, time.Time{}, "", ""
}

// Purged notes that nothing is left of what edges have kept of a deleted tenant, once.
func (s *Service) Purged(ctx context.Context, id ID) error {
	t, err := s.store.Tenant(ctx, id)
	if err != nil {
		return err
	}
	return s.store.InTx(ctx, func(tx Store) error {
		first, err := tx.MarkPurged(ctx, id, s.now())
		if err != nil || !first {
			return err
		}
		return tx.Audit(ctx, Audit{Caller: Caller{System: true}, Account: t.Account, Tenant: t.ID, Action: "tenant.purged", Subject: t.Slug})
	})
}

// DeleteTenant ends a tenant: edges drop it with all that they keep of it, and its
// slug becomes free. What it has used stays in the ledger. One that an operator has
// suspended can't be deleted by its account: it would come back under its slug.
func (s *Service) DeleteTenant(ctx context.Context, c Caller, ref string) error {
	_, err := s.change(ctx, c, ref, DeleteTenant, Audit{Action: "tenant.deleted", Subject: ref}, func(tx Store, t *MemberTenant, a *Audit) error {
		if t.SuspendedBy == ByOperator {
			return errImposed("An operator of the service has suspended this tenant, and people of its account can't delete it. Ask the operator.")
		}
		a.Before = stateOf(t.Tenant)
		return tx.DeleteTenant(ctx, t.ID, s.now())
	})
	return err
}
