package tenants

import (
	"context"
	"slices"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/scope"
)

// Member is a person in an account.
type Member struct {
	User
	Role     Role
	JoinedAt time.Time
	LastSeen time.Time // in any session there is, to the minute; zero = in none
}

// Members lists the people of an account by address.
func (s *Service) Members(ctx context.Context, c Caller, account AccountID) ([]Member, error) {
	m, err := s.accountFor(ctx, c, account, SeeAccount)
	if err != nil {
		return nil, err
	}
	return s.store.Members(ctx, m.ID)
}

// Member returns one member of an account, without when the person was last seen.
func (s *Service) Member(ctx context.Context, c Caller, account AccountID, u UserID) (Member, error) {
	in, err := s.accountFor(ctx, c, account, SeeAccount)
	if err != nil {
		return Member{}, err
	}
	m, err := s.store.Member(ctx, in.ID, u)
	m.LastSeen = time.Time{}
	return m, err
}

// ChangeRole gives a member another role. Only owners make owners and change
// them, and the last one stays. Open invitations that the member could not make any
// more are withdrawn.
func (s *Service) ChangeRole(ctx context.Context, c Caller, account AccountID, u UserID, role Role) (Member, error) {
	if !slices.Contains(Roles, role) {
		return Member{}, fault.InvalidFields(fault.Field{Name: "role", Message: "is not a role", Accepted: "owner, admin, developer, billing, viewer"})
	}
	var changed Member
	err := s.changeMember(ctx, c, account, u, ManageMembers, func(tx Store, by Membership, m Member) error {
		if err := mayGive(c, by, role); err != nil {
			return err
		}
		if m.Role == Owner && role != Owner {
			if err := anotherOwner(ctx, tx, by.ID); err != nil {
				return err
			}
		}
		if err := tx.SetRole(ctx, by.ID, u, role); err != nil {
			return err
		}
		if err := tx.DropInvitationsBy(ctx, by.ID, u, notInvitedBy(role)); err != nil {
			return err
		}
		changed = m
		changed.Role, changed.LastSeen = role, time.Time{}
		return tx.Audit(ctx, Audit{
			Caller: c, Account: by.ID, Action: "member.changed", Subject: string(u), Before: map[string]any{"role": m.Role}, After: map[string]any{"role": role},
		})
	})
	return changed, err
}

// RemoveMember takes a person out of an account; the person's API tokens in it
// are void at once, and so are the invitations that the person made: else whoever is
// removed comes back with one. Connections on which the person sees figures live are
// closed.
func (s *Service) RemoveMember(ctx context.Context, c Caller, account AccountID, u UserID) error {
	return s.liveEnded(ctx, s.changeMember(ctx, c, account, u, ManageMembers, s.removal(ctx, c, "member.removed")))
}

// LeaveAccount takes the caller out of an account.
func (s *Service) LeaveAccount(ctx context.Context, c Caller, account AccountID) error {
	return s.liveEnded(ctx, s.changeMember(ctx, c, account, c.User, SeeAccount, s.removal(ctx, c, "member.left")))
}

func (s *Service) removal(ctx context.Context, c Caller, action string) func(Store, Membership, Member) error {
	return func(tx Store, by Membership, m Member) error {
		if m.Role == Owner {
			if err := anotherOwner(ctx, tx, by.ID); err != nil {
				return err
			}
		}
		if err := tx.RemoveMember(ctx, by.ID, m.ID); err != nil {
			return err
		}
		if err := tx.DropInvitationsBy(ctx, by.ID, m.ID, Roles); err != nil {
			return err
		}
		if err := s.endLive(ctx, tx, membershipEnd(by.ID, m.ID)); err != nil {
			return err
		}
		// Whoever has left doesn't see the account any more, whose log says so.
		return tx.Audit(scope.With(ctx, string(by.ID)), Audit{Caller: c, Account: by.ID, Action: action, Subject: string(m.ID), Before: map[string]any{"role": m.Role}})
	}
}

// changeMember runs a change of a member with the account locked, so that of two
// owners who remove each other one stays.
func (s *Service) changeMember(ctx context.Context, c Caller, account AccountID, u UserID, p Permission, f func(tx Store, by Membership, m Member) error) error {
	if _, err := s.memberOf(ctx, s.store, c, account, u, p); err != nil { // before the lock, which strangers shall not take
		return err
	}
	return s.store.InTx(ctx, func(tx Store) error {
		if _, _, err := tx.LockAccount(ctx, account); err != nil {
			return err
		}
		by, err := s.memberOf(ctx, tx, c, account, u, p)
		if err != nil {
			return err
		}
		m, err := tx.Member(ctx, account, u)
		if err != nil {
			return err
		}
		if m.Role == Owner && u != c.User {
			if err := mayGive(c, by, Owner); err != nil {
				return err
			}
		}
		return f(tx, by, m)
	})
}

// memberOf returns the caller's own membership. Who is shut out may still leave.
func (s *Service) memberOf(ctx context.Context, store Store, c Caller, account AccountID, u UserID, p Permission) (Membership, error) {
	by, err := membershipIn(ctx, store, c, account)
	if err != nil {
		return Membership{}, err
	}
	if by.ShutOut && u != c.User {
		return Membership{}, errSecondFactorRequired()
	}
	return by, authorize(by.Role, p)
}

// notInvitedBy are the roles for which a member with that role can't invite.
func notInvitedBy(r Role) []Role {
	switch {
	case !r.Allows(ManageMembers):
		return Roles
	case !r.Allows(ManageOwners):
		return []Role{Owner}
	}
	return nil
}

// anotherOwner returns a fault when the account has one owner.
func anotherOwner(ctx context.Context, tx Store, a AccountID) error {
	n, err := tx.CountOwners(ctx, a)
	if err != nil {
		return err
	}
	if n < 2 {
		return fault.New(fault.Conflict, "The account needs an owner: make somebody else owner first.").WithCode("last_owner")
	}
	return nil
}

// mayGive returns a fault unless the caller, a member, may give somebody the role, and
// take it away. A token gives nobody more than it may do itself: owners make owners in
// a session alone, and a token with scopes, which may do less than its role, makes
// viewers alone.
func mayGive(c Caller, by Membership, role Role) error {
	switch {
	case role == Owner && !by.Role.Allows(ManageOwners):
		return errOwnersOnly()
	case c.Token != "" && role == Owner:
		return fault.New(fault.Forbidden, "API tokens make, change and remove no owners: sign in to the console.").WithCode("session_required")
	case c.Token != "" && role != Viewer && len(c.Scopes) > 0:
		return fault.New(fault.Forbidden, "API tokens with scopes make viewers alone: sign in to the console, or use a token without scopes.").WithCode("session_required")
	}
	return nil
}

func errOwnersOnly() error {
	return fault.New(fault.Forbidden, "Only an owner of the account may make, change or remove owners.").WithCode("owners_only")
}
