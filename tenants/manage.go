package tenants

import (
	"context"
	"fmt"

	"github.com/signalbox/signalbox/internal/fault"
)

// newTenant is what makes a tenant.
type newTenant struct {
	account Account
	slug    string
	name    string
	hosts   []string
	// Keys of a seeded tenant; "" = random.
	primary, secondary Secret
}

// madeTenant is a tenant right after it was made.
type madeTenant struct {
	tenant  Tenant
	primary NewKey
}

// createTenant makes a tenant with two keys and its first hub in tx.
func (s *Service) createTenant(ctx context.Context, tx Store, c Caller, in newTenant) (madeTenant, error) {
	now := s.now()
	t := Tenant{
		ID: ID(newID()), Account: in.account.ID, Slug: in.slug, Name: in.name, Status: Active, Plan: in.account.Plan,
		Hosts: in.hosts, CreatedAt: now,
	}
	if err := tx.CreateTenant(ctx, t); err != nil {
		return madeTenant{}, err
	}
	if err := tx.Change(ctx, t.ID, Audit{Caller: c, Account: t.Account, Tenant: t.ID, Action: "tenant.created", Subject: t.Slug}); err != nil {
		return madeTenant{}, err
	}
	made := madeTenant{tenant: t}
	for _, k := range []struct {
		slot   KeySlot
		secret Secret
	}{{Secondary, in.secondary}, {Primary, in.primary}} { // the primary one last, to be kept
		if k.secret == "" {
			k.secret = newSecret()
		}
		made.primary = s.sealer.makeKey(t.ID, k.slot, k.secret, now)
		if err := tx.PutKey(ctx, t.ID, made.primary.AccessKey); err != nil {
			return madeTenant{}, err
		}
	}
	if _, err := tx.PutHub(ctx, t.ID, Hub{Name: FirstHub, CreatedAt: now, UpdatedAt: now}); err != nil {
		return madeTenant{}, err
	}
	return made, nil
}

// CreateTenant makes a tenant in an account; account "" means the caller's only
// one, slug "" makes one from the name.
func (s *Service) CreateTenant(ctx context.Context, c Caller, account AccountID, name, slug string) (MemberTenant, NewKey, error) {
	name, ok := cleanName(name)
	var fields []fault.Field
	if !ok {
		fields = append(fields, nameField("name"))
	}
	if slug == "" {
		slug = SlugFrom(name)
	} else if err := CheckSlug(slug); err != nil {
		fields = append(fields, fault.Field{Name: "slug", Message: err.Error(), Accepted: SlugRule})
	}
	if len(fields) > 0 {
		return MemberTenant{}, NewKey{}, fault.InvalidFields(fields...)
	}
	in, err := s.accountFor(ctx, c, account, CreateTenant)
	if err != nil {
		return MemberTenant{}, NewKey{}, err
	}
	var made madeTenant
	err = s.store.InTx(ctx, func(tx Store) error {
		most, have, err := tx.LockAccount(ctx, in.ID)
		if err != nil {
			return err
		}
		if have >= most {
			return fault.New(fault.QuotaExceeded, fmt.Sprintf("The plan of this account allows %d tenants, and it has %d.", most, have)).WithCode("max_tenants")
		}
		made, err = s.createTenant(ctx, tx, c, newTenant{account: in.Account, slug: slug, name: name})
		return err
	})
	if err != nil {
		return MemberTenant{}, NewKey{}, err
	}
	s.hurry(ctx, made.tenant.ID)
	return MemberTenant{Tenant: made.tenant, Role: in.Role}, made.primary, nil
}

// Tenants lists the tenants that the caller sees, by name.
func (s *Service) Tenants(ctx context.Context, c Caller) ([]MemberTenant, error) {
	return s.store.TenantsOf(ctx, c.User, c.Account)
}

// Tenant returns the tenant that the caller names by id or slug.
func (s *Service) Tenant(ctx context.Context, c Caller, ref string) (MemberTenant, error) {
	return s.tenantFor(ctx, c, ref, SeeTenant)
}

// RenameTenant changes a tenant's name.
func (s *Service) RenameTenant(ctx context.Context, c Caller, ref, name string) (MemberTenant, error) {
	name, ok := cleanName(name)
	if !ok {
		return MemberTenant{}, fault.InvalidFields(nameField("name"))
	}
	t, err := s.change(ctx, c, ref, ChangeTenant, "tenant.renamed", name, func(tx Store, t MemberTenant) error {
		return tx.RenameTenant(ctx, t.ID, name)
	})
	t.Name = name
	return t, err
}

// DeleteTenant ends a tenant: edges drop it, its slug becomes free.
func (s *Service) DeleteTenant(ctx context.Context, c Caller, ref string) error {
	_, err := s.change(ctx, c, ref, DeleteTenant, "tenant.deleted", ref, func(tx Store, t MemberTenant) error {
		return tx.DeleteTenant(ctx, t.ID, s.now())
	})
	return err
}

// change runs one change of a tenant: it checks the permission, and in one
// transaction bumps the revision, writes the audit, queues the document and
// calls f; then it hurries the document to the data plane.
func (s *Service) change(ctx context.Context, c Caller, ref string, p Permission, action, subject string, f func(Store, MemberTenant) error) (MemberTenant, error) {
	t, err := s.tenantFor(ctx, c, ref, p)
	if err != nil {
		return MemberTenant{}, err
	}
	err = s.store.InTx(ctx, func(tx Store) error {
		if err := tx.Change(ctx, t.ID, Audit{Caller: c, Account: t.Account, Tenant: t.ID, Action: action, Subject: subject}); err != nil {
			return err
		}
		return f(tx, t)
	})
	if err != nil {
		return MemberTenant{}, err
	}
	s.hurry(ctx, t.ID)
	return t, nil
}
