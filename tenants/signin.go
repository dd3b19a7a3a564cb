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
// password give the same answer after the same work.
func (s *Service) SignIn(ctx context.Context, c Caller, email string, password Secret) (User, error) {
	byEmail, byIP := "email:"+emailKey(email), "ip:"+network(c.IP)
	at, err := s.attempt(ctx, "Too many attempts to sign in.", attemptWindow, bound{byEmail, attemptsPerEmail}, bound{byIP, attemptsPerCaller})
	if err != nil {
		return User{}, err
	}
	user, hash, err := s.store.UserByEmail(ctx, emailKey(email))
	if err != nil && !isKind(err, fault.NotFound) {
		return User{}, err
	}
	ok, err := s.passwords.check(ctx, password.Reveal(), hash)
	if err != nil {
		return User{}, err
	}
	c.User = user.ID
	if !ok {
		// What was typed is not kept: it may be a password in the wrong field.
		if err := s.store.Audit(ctx, Audit{Caller: c, Action: "session.refused", Subject: string(user.ID)}); err != nil {
			return User{}, err
		}
		return User{}, fault.New(fault.Unauthenticated, "Email address and password don't match.").WithCode("wrong_credentials")
	}
	if err := s.store.ForgetAttempts(ctx, byEmail); err != nil {
		return User{}, err
	}
	if err := s.store.ForgetAttempt(ctx, byIP, at); err != nil {
		return User{}, err
	}
	return user, s.store.Audit(ctx, Audit{Caller: c, Action: "session.created", Subject: string(user.ID)})
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
