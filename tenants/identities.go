package tenants

import (
	"context"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
)

// Identity is whom an OpenID provider knows a user as.
type Identity struct {
	ID      string
	User    UserID
	Issuer  string
	Subject string
	Email   string // as the provider said; it identifies nobody
	Linked  time.Time
}

// ProvedIdentity is what an OpenID provider proved.
type ProvedIdentity struct {
	Issuer, Subject, Email string
	EmailVerified          bool
}

// SignInWithIdentity returns the user whom an identity belongs to. One that isn't
// known is linked to the user with its address only when both the provider and we
// have verified the address: else whoever signed up with somebody's address, or
// has a provider that doesn't check addresses, would get into another's account.
// When the address has no user, one is made, with an account and a tenant.
func (s *Service) SignInWithIdentity(ctx context.Context, c Caller, p ProvedIdentity) (User, error) {
	known, err := s.store.IdentityBySubject(ctx, p.Issuer, p.Subject)
	if err == nil {
		u, err := s.store.User(ctx, known.User)
		if err != nil {
			return User{}, err
		}
		c.User = u.ID
		action := "session.created"
		if u.SecondFactor {
			action = "session.half_created"
		}
		return u, s.store.Audit(ctx, Audit{Caller: c, Action: action, Subject: string(u.ID), After: map[string]any{"issuer": p.Issuer}})
	}
	if !isKind(err, fault.NotFound) {
		return User{}, err
	}
	email, wrong := cleanEmail("email", p.Email)
	if wrong != nil || !p.EmailVerified {
		return User{}, fault.New(fault.Forbidden, "The OpenID provider does not vouch for your email address.").WithCode("provider_email_unverified")
	}
	u, _, err := s.store.UserByEmail(ctx, emailKey(email))
	switch {
	case isKind(err, fault.NotFound):
		return s.signUpWithIdentity(ctx, c, p, email)
	case err != nil:
		return User{}, err
	case !u.EmailVerified:
		return User{}, fault.New(fault.Forbidden, "There is a user with this address who has not confirmed it. Sign in with the password, or set a new one, and link the provider in your security settings.").WithCode("link_first")
	}
	return u, s.LinkIdentity(ctx, c, u.ID, p)
}

// signUpWithIdentity makes a user without a password.
func (s *Service) signUpWithIdentity(ctx context.Context, c Caller, p ProvedIdentity, email string) (User, error) {
	in, err := SignUp{Email: email, Password: newSecret()}.clean() // it has names made up; the password isn't kept
	if err != nil {
		return User{}, err
	}
	if _, err := s.attempt(ctx, "Too many sign-ups from your address.", time.Hour, bound{"signup:" + network(c.IP), s.signUpsPerHour}); err != nil {
		return User{}, err
	}
	var out SignedUp
	err = s.store.InTx(ctx, func(tx Store) error {
		if out, err = s.createSignedUp(ctx, tx, c, in, "", true); err != nil {
			return err
		}
		return s.linkIdentity(ctx, tx, c, out.User.ID, p)
	})
	if err != nil {
		return User{}, err
	}
	s.hurry(ctx, out.Tenant.ID)
	return out.User, nil
}

// LinkIdentity links an identity to a user, who is told. One of another user
// answers identity_taken.
func (s *Service) LinkIdentity(ctx context.Context, c Caller, u UserID, p ProvedIdentity) error {
	return s.store.InTx(ctx, func(tx Store) error {
		user, err := tx.User(ctx, u)
		if err != nil {
			return err
		}
		if err := s.linkIdentity(ctx, tx, c, u, p); err != nil {
			return err
		}
		return s.post(ctx, tx, user.Email, notice("A sign-in was linked to your Signalbox user", "You can sign in as "+p.Email+" at "+p.Issuer+" now.", s.now(), c))
	})
}

func (s *Service) linkIdentity(ctx context.Context, tx Store, c Caller, u UserID, p ProvedIdentity) error {
	i := Identity{ID: newID(), User: u, Issuer: p.Issuer, Subject: p.Subject, Email: p.Email, Linked: s.now()}
	if err := tx.PutIdentity(ctx, i); err != nil {
		return err
	}
	c.User = u
	return tx.Audit(ctx, Audit{Caller: c, Action: "identity.linked", Subject: i.ID, After: map[string]any{"issuer": i.Issuer, "email": i.Email}})
}

// Prove checks the caller's password before an identity is linked.
func (s *Service) Prove(ctx context.Context, c Caller, password Secret) error {
	return s.prove(ctx, c, "password", password)
}

// AttemptIdentity bounds how often sign-ins with the provider begin at an address.
func (s *Service) AttemptIdentity(ctx context.Context, c Caller) error {
	_, err := s.attempt(ctx, "Too many attempts to sign in.", attemptWindow, bound{"oidc:" + network(c.IP), attemptsPerCaller})
	return err
}

// Identities lists the caller's.
func (s *Service) Identities(ctx context.Context, c Caller) ([]Identity, error) {
	return s.store.Identities(ctx, c.User)
}

// UnlinkIdentity unlinks one of the caller's, who must have a password to sign in
// with.
func (s *Service) UnlinkIdentity(ctx context.Context, c Caller, id string) error {
	hash, err := s.store.PasswordHash(ctx, c.User)
	if err != nil {
		return err
	}
	return s.store.InTx(ctx, func(tx Store) error {
		i, err := tx.DeleteIdentity(ctx, c.User, id)
		if err != nil {
			return err
		}
		if hash == "" {
			return fault.New(fault.Conflict, "You have no password yet. Set one first, with \"Forgot your password?\" on the sign-in page.").WithCode("no_password")
		}
		return tx.Audit(ctx, Audit{Caller: c, Action: "identity.unlinked", Subject: id, Before: map[string]any{"issuer": i.Issuer, "email": i.Email}})
	})
}
