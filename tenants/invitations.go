package tenants

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
)

// How long an invitation is good, and how many may be open or sent.
const (
	invitationLife     = 7 * 24 * time.Hour
	maxInvitations     = 50 // open ones of an account
	invitationsPerHour = 30 // mails of an account
	// invitationsToAddress is how many mails an address gets in an hour, from all
	// accounts.
	invitationsToAddress = 10
)

// Invitation lets whoever reads the mail of an address join an account.
type Invitation struct {
	ID        string
	Account   AccountID
	Email     string
	Role      Role
	InvitedBy string // an address; "" = a service token
	Inviter   UserID // who sent it last; it ends with the inviter's right to invite
	CreatedAt time.Time
	SentAt    time.Time
	ExpiresAt time.Time
}

// InvitationOffer is an invitation as the invited person sees it.
type InvitationOffer struct {
	Invitation
	AccountName string
	HasUser     bool // the address has a user
}

// Invitations lists those of an account that were not accepted yet.
func (s *Service) Invitations(ctx context.Context, c Caller, account AccountID) ([]Invitation, error) {
	m, err := s.accountFor(ctx, c, account, ManageMembers)
	if err != nil {
		return nil, err
	}
	return s.store.Invitations(ctx, m.ID, s.now())
}

// Invite sends an address an invitation. It tells nothing of whether the address
// has a user already.
func (s *Service) Invite(ctx context.Context, c Caller, account AccountID, email string, role Role) (Invitation, error) {
	email, wrong := cleanEmail("email", email)
	var fields []fault.Field
	if wrong != nil {
		fields = append(fields, *wrong)
	}
	if !slices.Contains(Roles, role) {
		fields = append(fields, fault.Field{Name: "role", Message: "is not a role", Accepted: "owner, admin, developer, billing, viewer"})
	}
	if len(fields) > 0 {
		return Invitation{}, fault.InvalidFields(fields...)
	}
	m, by, err := s.inviter(ctx, c, account, email, role)
	if err != nil {
		return Invitation{}, err
	}
	made := Invitation{ID: newID(), Account: m.ID, Email: email, Role: role, InvitedBy: by, Inviter: c.User, CreatedAt: s.now()}
	err = s.changeAccount(ctx, c, m.ID, ManageMembers, func(tx Store, m Membership) error {
		if err := mayGive(c, m, role); err != nil {
			return err
		}
		if err := tx.DropInvitations(ctx, m.ID, s.now()); err != nil {
			return err
		}
		open, err := tx.Invitations(ctx, m.ID, s.now())
		if err != nil {
			return err
		}
		if len(open) >= maxInvitations {
			return fault.New(fault.QuotaExceeded, fmt.Sprintf("The account has %d open invitations, which is the most there can be.", len(open))).WithCode("max_invitations")
		}
		members, err := tx.Members(ctx, m.ID)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(members, func(o Member) bool { return emailKey(o.Email) == emailKey(email) }) {
			return fault.New(fault.Conflict, "This address belongs to a member of the account.").WithCode("already_member")
		}
		// Who is invited shall not be the one who learns that there is no room.
		if err := roomForMember(ctx, tx, m.ID, len(members)); err != nil {
			return err
		}
		if err := s.sendInvitation(ctx, tx, m, &made); err != nil {
			return err
		}
		return tx.Audit(ctx, Audit{Caller: c, Account: m.ID, Action: "invitation.created", Subject: made.ID, After: map[string]any{"email": email, "role": role}})
	})
	return made, err
}

// roomForMember returns a fault unless one more can join an account that has members.
func roomForMember(ctx context.Context, tx Store, a AccountID, have int) error {
	most, err := tx.MaxMembers(ctx, a)
	if err == nil && have >= most {
		err = fault.New(fault.QuotaExceeded, fmt.Sprintf("The account may have %d members by its plan, and has %d.", most, have)).WithCode("max_members")
	}
	return err
}

// inviter returns the caller's membership and address, if the caller may invite
// somebody for the role. Who invites is known by mail: else anybody could send
// mail to anybody through us.
func (s *Service) inviter(ctx context.Context, c Caller, account AccountID, email string, role Role) (Membership, string, error) {
	m, err := s.accountFor(ctx, c, account, ManageMembers)
	if err != nil {
		return Membership{}, "", err
	}
	if err := mayGive(c, m, role); err != nil {
		return Membership{}, "", err
	}
	u, err := s.store.User(ctx, c.User)
	if err != nil {
		return Membership{}, "", err
	}
	if c.Token != ServiceToken && !u.EmailVerified {
		return Membership{}, "", fault.New(fault.Forbidden, "Confirm your own email address before you invite others.").WithCode("email_unverified")
	}
	// By address, too: who has many accounts shall not fill somebody's mailbox.
	_, err = s.attempt(ctx, "Too many invitations from this account, or to this address.", time.Hour,
		bound{"invite:" + string(m.ID), invitationsPerHour}, bound{"invited:" + emailKey(email), invitationsToAddress})
	return m, u.Email, err
}

// sendInvitation keeps the invitation with a fresh token and queues its mail.
func (s *Service) sendInvitation(ctx context.Context, tx Store, m Membership, i *Invitation) error {
	token := rand.Text()
	i.SentAt = s.now()
	i.ExpiresAt = i.SentAt.Add(invitationLife)
	if err := tx.PutInvitation(ctx, m.ID, *i, emailKey(i.Email), tokenHash(token)); err != nil {
		return err
	}
	by := i.InvitedBy
	if by == "" {
		by = "An administrator"
	}
	return s.post(ctx, tx, i.Email, letter{
		Subject: "You are invited to " + m.Name + " on Signalbox",
		Before:  []string{by + " invites you to the account " + m.Name + " on Signalbox, as " + string(i.Role) + ".", "The link is good for seven days, once, for this address."},
		Action:  "Look at the invitation", Link: s.consoleURL + "/invitation?token=" + url.QueryEscape(token),
		After: []string{"If you don't know what this is about, you can ignore this mail."}, GoodUntil: i.ExpiresAt,
	})
}

// ResendInvitation sends an invitation again, with a new link; the former one is
// void.
func (s *Service) ResendInvitation(ctx context.Context, c Caller, account AccountID, id string) (Invitation, error) {
	if _, err := s.accountFor(ctx, c, account, ManageMembers); err != nil {
		return Invitation{}, err
	}
	i, err := s.store.Invitation(ctx, account, id)
	if err != nil {
		return Invitation{}, err
	}
	if _, _, err := s.inviter(ctx, c, account, i.Email, i.Role); err != nil {
		return Invitation{}, err
	}
	err = s.changeAccount(ctx, c, account, ManageMembers, func(tx Store, m Membership) error {
		if err := mayGive(c, m, i.Role); err != nil {
			return err
		}
		if i, err = tx.Invitation(ctx, m.ID, id); err != nil { // it may be accepted by now
			return err
		}
		i.Inviter = c.User
		if err := s.sendInvitation(ctx, tx, m, &i); err != nil {
			return err
		}
		return tx.Audit(ctx, Audit{Caller: c, Account: m.ID, Action: "invitation.resent", Subject: id, After: map[string]any{"email": i.Email, "role": i.Role}})
	})
	return i, err
}

// RevokeInvitation withdraws an invitation; its link is void at once.
func (s *Service) RevokeInvitation(ctx context.Context, c Caller, account AccountID, id string) error {
	return s.changeAccount(ctx, c, account, ManageMembers, func(tx Store, m Membership) error {
		i, err := tx.Invitation(ctx, m.ID, id)
		if err != nil {
			return err
		}
		if err := mayGive(c, m, i.Role); err != nil {
			return err
		}
		if err := tx.DeleteInvitation(ctx, m.ID, id); err != nil {
			return err
		}
		return tx.Audit(ctx, Audit{Caller: c, Account: m.ID, Action: "invitation.revoked", Subject: id, Before: map[string]any{"email": i.Email, "role": i.Role}})
	})
}

// LookUpInvitation tells what a token is an invitation to.
func (s *Service) LookUpInvitation(ctx context.Context, c Caller, token Secret) (InvitationOffer, error) {
	if err := s.tokenAttempt(ctx, c); err != nil {
		return InvitationOffer{}, err
	}
	return s.offer(ctx, s.store, token)
}

func (s *Service) offer(ctx context.Context, store Store, token Secret) (InvitationOffer, error) {
	i, err := store.InvitationByToken(ctx, tokenHash(token.Reveal()), s.now())
	if err != nil {
		return InvitationOffer{}, errLink(err)
	}
	a, err := store.Account(ctx, i.Account)
	if err != nil {
		return InvitationOffer{}, err
	}
	_, _, err = store.UserByEmail(ctx, emailKey(i.Email))
	if err != nil && !isKind(err, fault.NotFound) {
		return InvitationOffer{}, err
	}
	return InvitationOffer{Invitation: i, AccountName: a.Name, HasUser: err == nil}, nil
}

// AcceptInvitation makes whoever holds the token a member: the caller, when the
// invited address is the caller's; a new user with the password, when the address
// has none. Holding the token proves the address.
func (s *Service) AcceptInvitation(ctx context.Context, c Caller, token, password Secret) (User, error) {
	if err := s.tokenAttempt(ctx, c); err != nil {
		return User{}, err
	}
	offered, err := s.offer(ctx, s.store, token)
	if err != nil {
		return User{}, err
	}
	var hash string
	switch {
	case offered.HasUser:
		if err := s.invited(ctx, c, offered); err != nil {
			return User{}, err
		}
	default:
		if wrong := checkPassword("password", password); wrong != nil {
			return User{}, fault.InvalidFields(*wrong)
		}
		if hash, err = s.passwords.hash(ctx, password.Reveal()); err != nil {
			return User{}, err
		}
	}
	user := User{ID: UserID(newID()), Email: offered.Email, EmailVerified: true}
	err = s.store.InTx(ctx, func(tx Store) error {
		if _, _, err := tx.LockAccount(ctx, offered.Account); err != nil {
			return err
		}
		i, err := tx.InvitationByToken(ctx, tokenHash(token.Reveal()), s.now()) // again, now that nobody else uses it up
		if err != nil {
			return errLink(err)
		}
		if offered.HasUser {
			if user, err = tx.User(ctx, c.User); err != nil {
				return err
			}
		} else if err := tx.CreateUser(ctx, user, emailKey(user.Email), hash); err != nil {
			return err
		}
		c.User = user.ID
		members, err := tx.Members(ctx, i.Account)
		if err != nil {
			return err
		}
		if err := roomForMember(ctx, tx, i.Account, len(members)); err != nil {
			return err
		}
		if err := tx.MarkVerified(ctx, user.ID, s.now()); err != nil {
			return err
		}
		if err := tx.DeleteInvitation(ctx, i.Account, i.ID); err != nil {
			return err
		}
		if err := tx.AddMember(ctx, i.Account, user.ID, i.Role); err != nil {
			return err
		}
		return tx.Audit(ctx, Audit{Caller: c, Account: i.Account, Action: "invitation.accepted", Subject: string(user.ID), After: map[string]any{"email": i.Email, "role": i.Role}})
	})
	return user, err
}

// invited returns a fault unless the caller is the user whom the invitation is for.
func (s *Service) invited(ctx context.Context, c Caller, i InvitationOffer) error {
	if c.User == "" || c.Token != "" {
		return fault.New(fault.Unauthenticated, "Sign in as "+i.Email+" to accept.").WithCode("sign_in_first")
	}
	u, err := s.store.User(ctx, c.User)
	if err != nil {
		return err
	}
	if emailKey(u.Email) != emailKey(i.Email) {
		return fault.New(fault.Forbidden, "The invitation is for "+i.Email+": sign in with that address.").WithCode("another_address")
	}
	return nil
}
