package tenants

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/signalbox/signalbox/internal/fault"
)

// newTenant is what makes a tenant.
type newTenant struct {
	account Account
	slug    string
	name    string
	env     Environment
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
		ID: ID(newID()), Account: in.account.ID, Slug: in.slug, Name: in.name, Status: Active, Environment: in.env, Plan: in.account.Plan,
		Hosts: in.hosts, CreatedAt: now,
	}
	if err := tx.CreateTenant(ctx, t); err != nil {
		return madeTenant{}, err
	}
	if err := tx.Touch(ctx, t.ID); err != nil {
		return madeTenant{}, err
	}
	if err := tx.Audit(ctx, Audit{Caller: c, Account: t.Account, Tenant: t.ID, Action: "tenant.created", Subject: t.Slug, After: stateOf(t)}); err != nil {
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
		if err := tx.PutKey(ctx, t.ID, made.primary.AccessKey, now); err != nil {
			return madeTenant{}, err
		}
	}
	first := Hub{Name: FirstHub, Settings: in.env.firstHub(), CreatedAt: now, UpdatedAt: now}
	if _, err := tx.PutHub(ctx, t.ID, first); err != nil {
		return madeTenant{}, err
	}
	return made, tx.AddHubVersion(ctx, t.ID, c, HubVersion{Hub: FirstHub, Settings: &first.Settings, CreatedAt: now})
}

// CreateTenant makes a tenant in an account; account "" means the caller's only
// one, slug "" makes one from the name, environment "" is Development.
func (s *Service) CreateTenant(ctx context.Context, c Caller, account AccountID, name, slug string, env Environment) (MemberTenant, NewKey, error) {
	name, ok := cleanName(name)
	var fields []fault.Field
	env = cmp.Or(env, Development)
	if !slices.Contains(Environments, env) {
		fields = append(fields, environmentField())
	}
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
		stopped, err := tx.SuspendedByOperator(ctx, in.ID)
		if err != nil {
			return err
		}
		if stopped {
			return errImposed("An operator of the service has suspended a tenant of this account, which gets no new ones until that is over. Ask the operator.")
		}
		if have >= most {
			return fault.New(fault.QuotaExceeded, fmt.Sprintf("The plan of this account allows %d tenants, and it has %d.", most, have)).WithCode("max_tenants")
		}
		made, err = s.createTenant(ctx, tx, c, newTenant{account: in.Account, slug: slug, name: name, env: env})
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

// errUnchanged ends a change that would change nothing.
var errUnchanged = errors.New("nothing to change")

// change runs one change of a tenant: it checks the permission, and in one
// transaction bumps the revision, queues the document, calls f and writes the audit;
// then it hurries the document to the data plane. f says what was there before and
// after, and what the tenant has become, which is as it is behind the lock.
// errUnchanged of f takes everything back and is no error.
func (s *Service) change(ctx context.Context, c Caller, ref string, p Permission, a Audit, f func(tx Store, t *MemberTenant, a *Audit) error) (MemberTenant, error) {
	t, err := s.tenantFor(ctx, c, ref, p)
	if err != nil {
		return MemberTenant{}, err
	}
	err = s.store.InTx(ctx, func(tx Store) error {
		if err := tx.Touch(ctx, t.ID); err != nil {
			return err
		}
		fresh, err := tx.Tenant(ctx, t.ID)
		if err != nil {
			return err
		}
		t.Tenant = fresh
		a.Caller, a.Account, a.Tenant = c, t.Account, t.ID
		if err := f(tx, &t, &a); err != nil {
			return err
		}
		return tx.Audit(ctx, a)
	})
	if errors.Is(err, errUnchanged) {
		return t, nil
	}
	if err != nil {
		s.countRefusal(t.ID, err)
		return MemberTenant{}, err
	}
	s.hurry(ctx, t.ID)
	return t, nil
}
