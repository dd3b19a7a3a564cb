package tenants

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
)

// How many failed attempts are taken within attemptWindow.
const (
	attemptWindow     = 15 * time.Minute
	attemptsPerEmail  = 10
	attemptsPerCaller = 50
)

// Each time that a user's attempts are used up within lockMemory the window
// doubles, up to lockMost.
const (
	lockMemory = 24 * time.Hour
	lockMost   = 2 * time.Hour
)

// SignIn checks an address and a password. An unknown address and a wrong
// password give the same answer after the same work. A user with a second factor
// is not signed in by it.
func (s *Service) SignIn(ctx context.Context, c Caller, email string, password Secret) (User, error) {
	key := emailKey(email)
	byIP := "ip:" + network(c.IP)
	fromIP, err := s.attempt(ctx, "Too many attempts to sign in.", attemptWindow, bound{byIP, attemptsPerCaller})
	if err != nil {
		return User{}, err
	}
	user, hash, err := s.store.UserByEmail(ctx, key)
	if err != nil && !isKind(err, fault.NotFound) {
		return User{}, err
	}
	c.User = user.ID
	if err := s.guess(ctx, c, user, "email:"+key); err != nil {
		if isKind(err, fault.RateLimited) {
			return User{}, forget(ctx, s.store, byIP, fromIP, err)
		}
		return User{}, err
	}
	ok, err := s.passwords.check(ctx, password.Reveal(), hash)
	if err != nil {
		return User{}, err
	}
	if !ok {
		// What was typed is not kept: it may be a password in the wrong field.
		if err := s.store.Audit(ctx, Audit{Caller: c, Action: "session.refused", Subject: string(user.ID), Unproved: true}); err != nil {
			return User{}, err
		}
		return User{}, fault.New(fault.Unauthenticated, "Email address and password don't match.").WithCode("wrong_credentials")
	}
	if err := s.store.ForgetAttempts(ctx, "email:"+key); err != nil {
		return User{}, err
	}
	if err := s.store.ForgetAttempt(ctx, byIP, fromIP); err != nil {
		return User{}, err
	}
	action := "session.created"
	if user.SecondFactor {
		action = "session.half_created"
	}
	return user, s.store.Audit(ctx, Audit{Caller: c, Action: action, Subject: string(user.ID)})
}

// forget takes an attempt back that another bound refused, and returns that
// refusal.
func forget(ctx context.Context, store Store, subject string, at time.Time, refusal error) error {
	if err := store.ForgetAttempt(ctx, subject, at); err != nil {
		return err
	}
	return refusal
}

// guess counts an attempt to prove oneself as a user, or refuses it. The window
// doubles with each time that all attempts were used up; the first refusal of a
// window is audited and tells the user, if there is one.
func (s *Service) guess(ctx context.Context, c Caller, u User, subject string) error {
	now := s.now()
	locks, err := s.store.CountAttempts(ctx, "lock:"+subject, now.Add(-lockMemory))
	if err != nil {
		return err
	}
	window := lockWindow(locks)
	_, err = s.attempt(ctx, "Too many attempts to sign in.", window, bound{subject, attemptsPerEmail})
	refused, ok := errors.AsType[*fault.Error](err)
	if !ok || refused.Kind != fault.RateLimited {
		return err
	}
	first, failed := s.store.AttemptOnce(ctx, "lock:"+subject, now, now.Add(-window))
	if failed != nil {
		return failed
	}
	if !first {
		return err
	}
	window = lockWindow(locks + 1)
	refused.RetryAfter = window
	if failed := s.store.InTx(ctx, func(tx Store) error {
		if u.ID != "" {
			if err := s.post(ctx, tx, u.Email, notice("Somebody tries to sign in to Signalbox as you",
				fmt.Sprintf("There were %d attempts to sign in as you that failed. Further ones are refused for %d minutes.", attemptsPerEmail, int(window.Minutes())), now, c)); err != nil {
				return err
			}
		}
		return tx.Audit(ctx, Audit{Caller: c, Action: "session.locked", Subject: string(u.ID), Unproved: c.Session == ""})
	}); failed != nil {
		return failed
	}
	return err
}

// lockWindow is the window after so many lock-outs of late.
func lockWindow(locks int) time.Duration {
	return min(lockMost, attemptWindow<<max(0, min(locks, 10)-1))
}

// Who returns the user and the accounts in which the caller may act.
func (s *Service) Who(ctx context.Context, c Caller) (User, []Membership, error) {
	user, err := s.store.User(ctx, c.User)
	if err != nil {
		return User{}, nil, err
	}
	all, err := s.store.Memberships(ctx, c.User)
	if err != nil {
		return User{}, nil, err
	}
	var mine []Membership
	for _, m := range all {
		if c.inAccount(m.ID) {
			mine = append(mine, m)
		}
	}
	return user, mine, nil
}
