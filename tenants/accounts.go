package tenants

import (
	"context"
	"fmt"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/scope"
)

// maxOwnAccounts is how many accounts one person may own: each has a free plan.
const maxOwnAccounts = 5

// AccountChange is what to change of an account; nil = as it is.
type AccountChange struct {
	Name                *string
	RequireSecondFactor *bool
}

// CreateAccount makes an account of which the caller is the owner.
func (s *Service) CreateAccount(ctx context.Context, c Caller, name string) (Membership, error) {
	name, ok := cleanName(name)
	if !ok {
		return Membership{}, fault.InvalidFields(nameField("name"))
	}
	made := Membership{Account: Account{ID: AccountID(newID()), Name: name, Plan: firstPlan, CreatedAt: s.now()}, Role: Owner}
	ctx = scope.With(ctx, string(made.ID))
	err := s.store.InTx(ctx, func(tx Store) error {
		// Locks the user's row, so that many at once are counted one after the other.
		if err := tx.LockUser(ctx, c.User); err != nil {
			return err
		}
		all, err := tx.Memberships(ctx, c.User)
		if err != nil {
			return err
		}
		own := 0
		for _, m := range all {
			if m.Role == Owner {
				own++
			}
		}
		if own >= maxOwnAccounts {
			return fault.New(fault.QuotaExceeded, fmt.Sprintf("You own %d accounts, which is the most there can be.", own)).WithCode("max_accounts")
		}
		if err := tx.CreateAccount(ctx, made.Account); err != nil {
			return err
		}
		if err := tx.AddMember(ctx, made.ID, c.User, Owner); err != nil {
			return err
		}
		return tx.Audit(ctx, Audit{Caller: c, Account: made.ID, Action: "account.created", Subject: string(made.ID), After: map[string]any{"name": name}})
	})
	return made, err
}

// Account returns an account of the caller's.
func (s *Service) Account(ctx context.Context, c Caller, id AccountID) (Membership, error) {
	return s.accountFor(ctx, c, id, SeeAccount)
}

// UpdateAccount renames an account, or lets it require a second factor. Requiring
// one takes an owner who has one.
func (s *Service) UpdateAccount(ctx context.Context, c Caller, id AccountID, change AccountChange) (Membership, error) {
	if change.Name != nil {
		name, ok := cleanName(*change.Name)
		if !ok {
			return Membership{}, fault.InvalidFields(nameField("name"))
		}
		change.Name = &name
	}
	var after Membership
	err := s.changeAccount(ctx, c, id, ChangeAccount, func(tx Store, m Membership) error {
		after = m
		if change.Name != nil {
			after.Name = *change.Name
		}
		if change.RequireSecondFactor != nil {
			if err := authorize(m.Role, RequireSecondFactor); err != nil {
				return err
			}
			after.RequireSecondFactor = *change.RequireSecondFactor
		}
		if after.RequireSecondFactor && !m.RequireSecondFactor {
			u, err := tx.User(ctx, c.User)
			if err != nil {
				return err
			}
			if !u.SecondFactor {
				return fault.New(fault.Conflict, "Set up your own second factor first: you would shut yourself out.").WithCode("second_factor_missing")
			}
		}
		if err := tx.UpdateAccount(ctx, after.Account); err != nil {
			return err
		}
		return tx.Audit(ctx, Audit{Caller: c, Account: m.ID, Action: "account.changed", Subject: string(m.ID), Before: m.audited(), After: after.audited()})
	})
	return after, err
}

func (a Account) audited() any {
	return map[string]any{"name": a.Name, "require_second_factor": a.RequireSecondFactor}
}
