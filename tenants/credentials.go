package tenants

import (
	"context"
	"crypto/rand"
	"net/url"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
)

// How long the link of a reset is good, and how many mails one address gets.
const (
	resetLife    = time.Hour
	mailsPerHour = 5
)

// Verified is an address that was proved.
type Verified struct {
	User  UserID
	Email string
	// Former is the address that the user had; "" = the same.
	Former string
}

// RequestReset sends the user with that address, if there is one, a link with
// which to set a new password. The answer and the work are the same for every
// address.
func (s *Service) RequestReset(ctx context.Context, c Caller, email string) error {
	key := emailKey(email)
	if _, err := s.attempt(ctx, "Too many mails were asked for.", time.Hour, bound{"reset:" + key, mailsPerHour}, bound{"reset-ip:" + network(c.IP), attemptsPerCaller}); err != nil {
		return err
	}
	user, _, err := s.store.UserByEmail(ctx, key)
	if err != nil && !isKind(err, fault.NotFound) {
		return err
	}
	c.User = user.ID
	return s.store.InTx(ctx, func(tx Store) error {
		if user.ID != "" {
			token, until := rand.Text(), s.now().Add(resetLife)
			if err := tx.PutReset(ctx, user.ID, tokenHash(token), until); err != nil {
				return err
			}
			if err := s.post(ctx, tx, user.Email, letter{
				Subject: "Set a new password for Signalbox",
				Before:  []string{"Somebody, probably you, asked for a new password. The link is good for one hour, once. All your sessions end when it is used."},
				Action:  "Set a new password", Link: s.consoleURL + "/reset-password?token=" + url.QueryEscape(token),
				After: []string{"If it wasn't you, you can ignore this mail: your password stays as it is."}, GoodUntil: until,
			}); err != nil {
				return err
			}
		}
		return tx.Audit(ctx, Audit{Caller: c, Action: "password.reset_requested", Subject: string(user.ID), Unproved: true})
	})
}

// ResetPassword sets a new password with the token of a mail, and ends all
// sessions of the user. It leaves the second factor as it is, unless the address was
// never confirmed before: then whatever else lets in is taken away, too.
func (s *Service) ResetPassword(ctx context.Context, c Caller, token, password Secret) error {
	if wrong := checkPassword("password", password); wrong != nil {
		return fault.InvalidFields(*wrong)
	}
	if err := s.tokenAttempt(ctx, c); err != nil {
		return err
	}
	hash, err := s.passwords.hash(ctx, password.Reveal())
	if err != nil {
		return err
	}
	return s.liveEnded(ctx, s.store.InTx(ctx, func(tx Store) error {
		u, err := tx.TakeReset(ctx, tokenHash(token.Reveal()), s.now())
		if err != nil {
			return errLink(err)
		}
		c.User = u
		user, err := tx.User(ctx, u)
		if err != nil {
			return err
		}
		var ends []liveEnd
		if !user.EmailVerified {
			// Whoever signed up may be somebody else than who reads the mail, and keeps no
			// way in, nor what sees figures live.
			alone, err := tx.DropCredentials(ctx, u)
			if err != nil {
				return err
			}
			ends = append(ends, credentialEnd(u, every))
			for _, a := range alone {
				ends = append(ends, membershipEnd(a, every))
			}
			if err := s.post(ctx, tx, user.Email, notice("Look at the access keys of your Signalbox tenants",
				"Your address was not confirmed before. So whoever signed up with it may have been somebody else: the user's API tokens, linked sign-ins and second factor are gone, and the service tokens of accounts with nobody else in them. The access keys of tenants are as they were: regenerate them, unless it was you who signed up.", s.now(), c)); err != nil {
				return err
			}
		}
		if err := tx.MarkVerified(ctx, u, s.now()); err != nil { // the mail was read
			return err
		}
		_, err = s.setPassword(ctx, tx, c, hash, "", "password.reset", ends...)
		return err
	}))
}

// ChangePassword sets another password and ends all other sessions of the caller, whom
// it returns with the new PasswordVersion.
func (s *Service) ChangePassword(ctx context.Context, c Caller, current, password Secret) (User, error) {
	if wrong := checkPassword("new_password", password); wrong != nil {
		return User{}, fault.InvalidFields(*wrong)
	}
	if err := s.prove(ctx, c, "current_password", current); err != nil {
		return User{}, err
	}
	hash, err := s.passwords.hash(ctx, password.Reveal())
	if err != nil {
		return User{}, err
	}
	var changed User
	err = s.liveEnded(ctx, s.store.InTx(ctx, func(tx Store) error {
		changed, err = s.setPassword(ctx, tx, c, hash, c.Session, "password.changed")
		return err
	}))
	return changed, err
}

// setPassword keeps a hash, ends sessions but one with what they see live, and whatever
// else is to be taken back of that, makes links that wait void, and tells the user.
func (s *Service) setPassword(ctx context.Context, tx Store, c Caller, hash, except, action string, ends ...liveEnd) (User, error) {
	// Before the sessions end: see tenantstore.Sessions.
	if err := tx.SetPassword(ctx, c.User, hash); err != nil {
		return User{}, err
	}
	ended, err := tx.EndSessions(ctx, c.User, except)
	if err != nil {
		return User{}, err
	}
	// Who knew the former password may have asked for another address, or for a reset.
	if err := tx.VoidLinks(ctx, c.User); err != nil {
		return User{}, err
	}
	u, err := tx.User(ctx, c.User)
	if err != nil {
		return User{}, err
	}
	if err := tx.ForgetAttempts(ctx, "email:"+emailKey(u.Email)); err != nil {
		return User{}, err
	}
	if err := s.post(ctx, tx, u.Email, notice("Your Signalbox password was changed", "Your password was changed.", s.now(), c)); err != nil {
		return User{}, err
	}
	if err := s.endLive(ctx, tx, append(ends, s.sessionEnds(c.User, ended)...)...); err != nil {
		return User{}, err
	}
	return u, tx.Audit(ctx, Audit{Caller: c, Action: action, Subject: string(c.User), After: map[string]any{"sessions_ended": len(ended)}})
}

// prove checks the caller's own password once more, before what matters. Guesses
// count as those at signing in.
func (s *Service) prove(ctx context.Context, c Caller, field string, password Secret) error {
	u, err := s.store.User(ctx, c.User)
	if err != nil {
		return err
	}
	subject := "email:" + emailKey(u.Email)
	if err := s.guess(ctx, c, u, subject); err != nil {
		return err
	}
	hash, err := s.store.PasswordHash(ctx, c.User)
	if err != nil {
		return err
	}
	ok, err := s.passwords.check(ctx, password.Reveal(), hash)
	if err != nil {
		return err
	}
	if !ok {
		if err := s.store.Audit(ctx, Audit{Caller: c, Action: "password.refused", Subject: string(c.User)}); err != nil {
			return err
		}
		message := "is not your password"
		if hash == "" {
			message = "can't be checked: you have no password yet. Set one with \"Forgot your password?\" on the sign-in page"
		}
		return fault.InvalidFields(fault.Field{Name: field, Message: message, Accepted: "your present password"})
	}
	return s.store.ForgetAttempts(ctx, subject)
}

// ChangeEmail sends a new address a link; the address changes when it is used.
// Whether another user has the address is told to nobody but whoever reads its
// mail. The present address is told at once.
func (s *Service) ChangeEmail(ctx context.Context, c Caller, email string, password Secret) error {
	email, wrong := cleanEmail("email", email)
	if wrong != nil {
		return fault.InvalidFields(*wrong)
	}
	if err := s.prove(ctx, c, "password", password); err != nil {
		return err
	}
	if err := s.mailAttempt(ctx, c, email); err != nil {
		return err
	}
	u, err := s.store.User(ctx, c.User)
	if err != nil {
		return err
	}
	_, _, err = s.store.UserByEmail(ctx, emailKey(email))
	if err != nil && !isKind(err, fault.NotFound) {
		return err
	}
	taken := err == nil
	return s.store.InTx(ctx, func(tx Store) error {
		token, until := rand.Text(), s.now().Add(verificationLife)
		l := letter{
			Subject: "Confirm your new email address for Signalbox", Before: []string{"Please confirm that this is your address within two days. From then on you sign in with it."},
			Action: "Confirm the address", Link: s.verifyLink(token), After: []string{"If you did not ask for this, you can ignore this mail."}, GoodUntil: until,
		}
		if taken {
			l = letter{
				Subject: "This address has a Signalbox user already",
				Before:  []string{"Somebody, probably you, wanted to use this address for another Signalbox user. It has one already, so nothing was changed."},
			}
		} else if err := tx.CreateVerification(ctx, c.User, email, emailKey(email), tokenHash(token), until); err != nil {
			return err
		}
		if err := s.post(ctx, tx, email, l); err != nil {
			return err
		}
		if err := s.post(ctx, tx, u.Email, notice("Another address for your Signalbox user", "Somebody who knows your password wants to sign in as "+email+" instead. A new password makes that void.", s.now(), c)); err != nil {
			return err
		}
		return tx.Audit(ctx, Audit{Caller: c, Action: "email.change_requested", Subject: string(c.User), After: map[string]any{"email": email}})
	})
}

// ResendVerification sends the mail that proves the caller's present address again.
func (s *Service) ResendVerification(ctx context.Context, c Caller) error {
	u, err := s.store.User(ctx, c.User)
	if err != nil {
		return err
	}
	if u.EmailVerified {
		return fault.New(fault.Conflict, "Your address is confirmed already.").WithCode("already_verified")
	}
	if err := s.mailAttempt(ctx, c, u.Email); err != nil {
		return err
	}
	return s.store.InTx(ctx, func(tx Store) error {
		if err := s.queueVerification(ctx, tx, u); err != nil {
			return err
		}
		return tx.Audit(ctx, Audit{Caller: c, Action: "email.verification_sent", Subject: string(c.User), After: map[string]any{"email": u.Email}})
	})
}

// mailAttempt bounds the mails that a user has sent, and that an address gets.
func (s *Service) mailAttempt(ctx context.Context, c Caller, email string) error {
	_, err := s.attempt(ctx, "Too many mails were asked for.", time.Hour, bound{"mail:" + emailKey(email), mailsPerHour}, bound{"mail-by:" + string(c.User), mailsPerHour})
	return err
}

// VerifyEmail confirms an address with the token that was sent to it, once. A new
// address takes the place of the former, which is told.
func (s *Service) VerifyEmail(ctx context.Context, c Caller, token Secret) (email string, err error) {
	if err := s.tokenAttempt(ctx, c); err != nil {
		return "", err
	}
	err = s.store.InTx(ctx, func(tx Store) error {
		v, err := tx.Verify(ctx, tokenHash(token.Reveal()), s.now())
		if err != nil {
			return errLink(err)
		}
		email, c.User = v.Email, v.User
		if v.Former == "" {
			return tx.Audit(ctx, Audit{Caller: c, Action: "email.verified", Subject: string(v.User), After: map[string]any{"email": v.Email}})
		}
		if err := s.post(ctx, tx, v.Former, notice("Your Signalbox address was changed", "You sign in as "+v.Email+" now.", s.now(), c)); err != nil {
			return err
		}
		return tx.Audit(ctx, Audit{
			Caller: c, Action: "email.changed", Subject: string(v.User), Before: map[string]any{"email": v.Former}, After: map[string]any{"email": v.Email},
		})
	})
	return email, err
}
