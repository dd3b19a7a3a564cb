package tenants

import (
	"context"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
)

// How many failed attempts are taken within attemptWindow.
const (
	attemptWindow     = 15 * time.Minute
	attemptsPerEmail  = 10
	attemptsPerCaller = 50
)

// SignIn checks an address and a password. An unknown address and a wrong
// password give the same answer after the same work. Attempts are counted before
// the password is looked at, so that many at once gain nothing.
func (s *Service) SignIn(ctx context.Context, c Caller, email string, password Secret) (User, error) {
	now := s.now().Truncate(time.Microsecond) // as the database keeps it
	byEmail, byIP := "email:"+emailKey(email), "ip:"+c.IP
	counts, err := s.store.Attempt(ctx, now, now.Add(-attemptWindow), byEmail, byIP)
	if err != nil {
		return User{}, err
	}
	if counts[0] > attemptsPerEmail || counts[1] > attemptsPerCaller {
		// What is refused doesn't count, so that nobody can be locked out for ever.
		for _, subject := range []string{byEmail, byIP} {
			if err := s.store.ForgetAttempt(ctx, subject, now); err != nil {
				return User{}, err
			}
		}
		return User{}, tooMany("Too many attempts to sign in.", attemptWindow)
	}
	user, hash, err := s.store.UserByEmail(ctx, emailKey(email))
	if err != nil && !isKind(err, fault.NotFound) {
		return User{}, err
	}
	ok, err := s.passwords.check(ctx, password.Reveal(), hash)
	if err != nil {
		return User{}, err
	}
	if !ok {
		return User{}, fault.New(fault.Unauthenticated, "Email address and password don't match.").WithCode("wrong_credentials")
	}
	if err := s.store.ForgetAttempts(ctx, byEmail); err != nil {
		return User{}, err
	}
	if err := s.store.ForgetAttempt(ctx, byIP, now); err != nil {
		return User{}, err
	}
	c.User = user.ID
	return user, s.store.Audit(ctx, Audit{Caller: c, Action: "session.created", Subject: string(user.ID)})
}

// throttleToken bounds guesses at tokens from one IP address.
func (s *Service) throttleToken(ctx context.Context, c Caller) error {
	now := s.now()
	counts, err := s.store.Attempt(ctx, now, now.Add(-attemptWindow), "token:"+c.IP)
	if err != nil {
		return err
	}
	if counts[0] > attemptsPerCaller {
		return tooMany("Too many attempts.", attemptWindow)
	}
	return nil
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
