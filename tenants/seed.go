package tenants

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
)

// Seed is an account with tenants that should be there with exactly these
// values, for development and tests.
type Seed struct {
	AccountName string
	Email       string
	Password    Secret
	APIToken    Secret // "" = none
	Plan        string // "" = the plan stays as it is
	// Limits are those of the account by their names, in the place of the plan's; nil =
	// they stay as they are.
	Limits  map[string]int
	Tenants []SeedTenant
}

// SeedTenant is a tenant of a Seed.
type SeedTenant struct {
	Slug, Name         string
	Hosts              []string
	Primary, Secondary Secret // "" = random when new, else as they are
	Hubs               []string
	Limits             map[string]int // in the place of the plan's, within the bounds of the table
	Suspended          *bool          // by the operator; nil = as it is
}

// Seeded tells what a Seed became.
type Seeded struct {
	User    User
	Account Account
	Tenants []Tenant // in the order of the Seed
}

// Seed makes what is missing and corrects what differs; doing it again changes
// nothing. It is for operators: it asks for no permission.
func (s *Service) Seed(ctx context.Context, in Seed) (Seeded, error) {
	hash, err := s.passwords.hash(ctx, in.Password.Reveal())
	if err != nil {
		return Seeded{}, err
	}
	var out Seeded
	err = s.store.InTx(ctx, func(tx Store) error {
		if out, err = s.seedAccount(ctx, tx, in, hash); err != nil {
			return err
		}
		c := Caller{User: out.User.ID, System: true, RequestID: "seed"}
		if err := seedAccountLimits(ctx, tx, c, out.Account.ID, in.Limits); err != nil {
			return err
		}
		for _, t := range in.Tenants {
			seeded, err := s.seedTenant(ctx, tx, c, out.Account, t)
			if err != nil {
				return fmt.Errorf("seed tenant %s: %w", t.Slug, err)
			}
			out.Tenants = append(out.Tenants, seeded)
		}
		return nil
	})
	if err != nil {
		return Seeded{}, err
	}
	for _, t := range out.Tenants {
		s.hurry(ctx, t.ID)
	}
	return out, nil
}

// seedAccountLimits sets what an operator has in the place of the plan's limits of an
// account.
func seedAccountLimits(ctx context.Context, tx Store, c Caller, a AccountID, in map[string]int) error {
	if in == nil {
		return nil
	}
	limits, err := accountLimits(in)
	if err != nil {
		return err
	}
	had, err := tx.AccountLimits(ctx, a)
	if err != nil || had == limits {
		return err
	}
	if err := tx.SetAccountLimits(ctx, a, limits); err != nil {
		return err
	}
	return tx.Audit(ctx, Audit{Caller: c, Account: a, Action: "limit.overridden", Subject: string(a), Before: had.audited(), After: limits.audited()})
}

// seedAccount makes sure of the user, the user's first own account and the API
// token.
func (s *Service) seedAccount(ctx context.Context, tx Store, in Seed, hash string) (Seeded, error) {
	user, had, err := tx.UserByEmail(ctx, emailKey(in.Email))
	if isKind(err, fault.NotFound) {
		user = User{ID: UserID(newID()), Email: in.Email}
		err = tx.CreateUser(ctx, user, emailKey(in.Email), hash)
	} else if err == nil {
		err = s.seedPassword(ctx, tx, user, in.Password, had, hash)
	}
	if err != nil {
		return Seeded{}, err
	}
	if err := tx.MarkVerified(ctx, user.ID, s.now()); err != nil { // the operator vouches for it
		return Seeded{}, err
	}
	of, err := tx.Memberships(ctx, user.ID)
	if err != nil {
		return Seeded{}, err
	}
	var account Account
	if i := slices.IndexFunc(of, func(m Membership) bool { return m.Role == Owner }); i >= 0 {
		account = of[i].Account
	} else {
		account = Account{ID: AccountID(newID()), Name: in.AccountName, Plan: firstPlan}
		if err := errors.Join(tx.CreateAccount(ctx, account), tx.AddMember(ctx, account.ID, user.ID, Owner)); err != nil {
			return Seeded{}, err
		}
	}
	if in.Plan != "" && in.Plan != account.Plan {
		if err := tx.SetPlan(ctx, account.ID, in.Plan, s.now()); err != nil {
			return Seeded{}, err
		}
		account.Plan = in.Plan
	}
	if in.APIToken != "" {
		if err := s.seedAPIToken(ctx, tx, user.ID, account.ID, in.APIToken); err != nil {
			return Seeded{}, err
		}
	}
	return Seeded{User: user, Account: account}, nil
}

func (s *Service) seedPassword(ctx context.Context, tx Store, u User, password Secret, had, hash string) error {
	same, err := s.passwords.check(ctx, password.Reveal(), had)
	if err != nil || same {
		return err
	}
	return tx.SetPassword(ctx, u.ID, hash)
}

func (s *Service) seedAPIToken(ctx context.Context, tx Store, u UserID, a AccountID, token Secret) error {
	if !strings.HasPrefix(token.Reveal(), apiTokenPrefix) {
		return fault.InvalidFields(fault.Field{Name: "api_token", Message: "must begin with " + apiTokenPrefix})
	}
	_, err := tx.APITokenByHash(ctx, tokenHash(token.Reveal()), s.now())
	if !isKind(err, fault.NotFound) {
		return err
	}
	t := APIToken{ID: newID(), Account: a, Kind: PersonalToken, User: u, Name: "Seed", Hint: hint(token), Created: s.now()}
	return tx.CreateAPIToken(ctx, t, tokenHash(token.Reveal()))
}

// seedTenant makes sure of one tenant, its hosts, keys and hubs.
func (s *Service) seedTenant(ctx context.Context, tx Store, c Caller, a Account, in SeedTenant) (Tenant, error) {
	if err := CheckSlug(in.Slug); err != nil {
		return Tenant{}, fault.InvalidFields(fault.Field{Name: "slug", Message: err.Error(), Accepted: SlugRule})
	}
	hosts := make([]string, 0, len(in.Hosts))
	for _, h := range in.Hosts {
		hosts = append(hosts, strings.ToLower(h))
	}
	t, err := tx.TenantBySlug(ctx, in.Slug)
	switch {
	case isKind(err, fault.NotFound):
		made, err := s.createTenant(ctx, tx, c, newTenant{account: a, slug: in.Slug, name: in.Name, env: Development, hosts: hosts, primary: in.Primary, secondary: in.Secondary})
		if err != nil {
			return Tenant{}, err
		}
		t = made.tenant
	case err != nil:
		return Tenant{}, err
	case t.Account != a.ID:
		return Tenant{}, fault.New(fault.Conflict, "The slug belongs to another account.").WithCode("slug_taken")
	default:
		// Also when nothing differs: the plan may have changed.
		if err := tx.Touch(ctx, t.ID); err != nil {
			return Tenant{}, err
		}
		if err := tx.Audit(ctx, Audit{Caller: c, Account: a.ID, Tenant: t.ID, Action: "tenant.seeded", Subject: in.Slug}); err != nil {
			return Tenant{}, err
		}
		t.Name, t.Environment, t.Hosts = in.Name, Development, hosts
		if err := errors.Join(tx.UpdateTenant(ctx, t), tx.SetHosts(ctx, t.ID, hosts), s.seedKeys(ctx, tx, t.ID, in)); err != nil {
			return Tenant{}, err
		}
	}
	err = errors.Join(s.seedHubs(ctx, tx, c, t.ID, in.Hubs), s.seedLimits(ctx, tx, t.ID, in.Limits), s.seedSuspension(ctx, tx, c, &t, in.Suspended))
	return t, err
}

// seedKeys replaces the keys whose secret differs.
func (s *Service) seedKeys(ctx context.Context, tx Store, t ID, in SeedTenant) error {
	have, err := tx.Keys(ctx, t, s.now())
	if err != nil {
		return err
	}
	for slot, want := range map[KeySlot]Secret{Primary: in.Primary, Secondary: in.Secondary} {
		same := slices.ContainsFunc(have, func(k AccessKey) bool {
			secret, err := s.sealer.Open(sealedKeys, t, k.ID, k.Sealed) // what another sealing key sealed is replaced
			return k.Slot == slot && k.Expires.IsZero() && err == nil && secret == want
		})
		if want == "" || same {
			continue
		}
		if err := tx.PutKey(ctx, t, s.sealer.makeKey(t, slot, want, s.now()).AccessKey, time.Time{}); err != nil {
			return err
		}
	}
	return nil
}

// seedHubs makes the hubs that are missing; settings of others stay.
func (s *Service) seedHubs(ctx context.Context, tx Store, c Caller, t ID, names []string) error {
	for _, name := range names {
		name, err := hubNamed(name)
		if err != nil {
			return err
		}
		_, err = tx.Hub(ctx, t, name)
		if isKind(err, fault.NotFound) {
			_, err = tx.PutHub(ctx, t, Hub{Name: name, CreatedAt: s.now(), UpdatedAt: s.now()})
			if err == nil {
				err = tx.AddHubVersion(ctx, t, c, HubVersion{Hub: name, Settings: new(HubSettings), CreatedAt: s.now()})
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// seedSuspension suspends or resumes a tenant in an operator's name, whoever had
// suspended it.
func (s *Service) seedSuspension(ctx context.Context, tx Store, c Caller, t *Tenant, suspended *bool) error {
	if suspended == nil || !*suspended && t.Status == Active {
		return nil
	}
	a := Audit{Caller: c, Account: t.Account, Tenant: t.ID, Action: "tenant.resumed", Subject: t.Slug, Before: stateOf(*t)}
	if !*suspended {
		t.resume()
	} else if a.Action = "tenant.suspended"; !t.suspend(ByOperator, s.now()) {
		return nil
	}
	a.After = stateOf(*t)
	return errors.Join(tx.UpdateTenant(ctx, *t), tx.Audit(ctx, a))
}

// seedLimits puts an operator's values in the place of the plan's; others stay as they
// are.
func (s *Service) seedLimits(ctx context.Context, tx Store, t ID, limits map[string]int) error {
	for name, value := range limits {
		r, known := Row(name)
		if !known || value < r.Least || value > r.Most {
			return fault.InvalidFields(fault.Field{Name: "limits." + name, Message: "is no limit, or out of bounds", Accepted: fmt.Sprintf("%d to %d", r.Least, r.Most)})
		}
		if err := tx.PutOverride(ctx, t, Override{Limit: name, Value: &value, By: ByOperator}); err != nil {
			return err
		}
	}
	return nil
}
