package tenants

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
)

// Request is one that creates something, under the key that its caller gave it.
type Request struct {
	User UserID
	// Account is the one in which an API token acts; "" = a session's.
	Account AccountID
	Key     string
	Hash    []byte // of what is asked for
	Sealed  []byte // the answer as Sealer.Seal made it
	Expires time.Time
}

// RequestLife is how long the answer to a request is kept under its key.
const RequestLife = 24 * time.Hour

// maxRequests bounds the answers that are kept of one user or service token.
const maxRequests = 10_000

// requester is under whom requests of the caller are kept.
func (c Caller) requester() UserID {
	if c.Operator != nil {
		return UserID("operator:" + c.Operator.ID)
	}
	return c.User
}

// Place is where an operation works: in an account, on a tenant by id or slug, or
// on what is the caller's own.
type Place struct {
	Account AccountID
	Tenant  string
}

// Once carries out a request that has a key: f runs in one transaction with the
// note that it did. A repeat of the same caller, key and hash gets the answer of
// the first and f doesn't run, as long as the caller may still do what the
// operation needs; one that comes while the first is under way waits for it. f
// returns nil for an answer that isn't to be kept: then nothing is noted, and a
// repeat runs f again. Another hash under the same key is refused with
// idempotency_conflict.
func (s *Service) Once(ctx context.Context, c Caller, key string, hash []byte, needs Permission, at Place, f func(context.Context) (answer []byte, err error)) (answer []byte, replayed bool, err error) {
	now := s.now()
	r := Request{User: c.requester(), Account: c.Account, Key: key, Hash: hash, Expires: now.Add(RequestLife)}
	err = s.store.Unit(ctx, func(ctx context.Context) error {
		former, err := s.store.ClaimRequest(ctx, r, now)
		if err != nil {
			return err
		}
		if former != nil {
			replayed = true
			answer, err = s.former(ctx, c, *former, r, needs, at)
			return err
		}
		if answer, err = f(ctx); err != nil {
			return err
		}
		if answer == nil {
			return s.store.DropRequest(ctx, r)
		}
		have, err := s.store.CountRequests(ctx, r.User, now)
		if err != nil {
			return err
		}
		if have > maxRequests {
			return fault.New(fault.RateLimited, fmt.Sprintf("The answers of the last %d requests with an Idempotency-Key are kept, each for 24 hours, and there is no room for another.", maxRequests)).WithCode("too_many_idempotency_keys")
		}
		r.Sealed = s.sealer.Seal(sealedAnswers, requestScope(r), key, Secret(answer))
		return s.store.AnswerRequest(ctx, r)
	})
	if err != nil {
		return nil, false, err
	}
	return answer, replayed, nil
}

// former is the answer that a request had.
func (s *Service) former(ctx context.Context, c Caller, former, r Request, needs Permission, at Place) ([]byte, error) {
	if !slices.Equal(former.Hash, r.Hash) {
		return nil, fault.New(fault.Conflict, "This Idempotency-Key was used for another request.").WithCode("idempotency_conflict")
	}
	if err := s.allowed(ctx, c, needs, at); err != nil {
		return nil, err
	}
	answer, err := s.sealer.Open(sealedAnswers, requestScope(r), r.Key, former.Sealed)
	if err != nil {
		return nil, err
	}
	return []byte(answer), nil
}

func requestScope(r Request) ID { return ID("request/" + string(r.User) + "/" + string(r.Account)) }

// allowed returns an error unless the caller's role there has the permission.
func (s *Service) allowed(ctx context.Context, c Caller, p Permission, at Place) error {
	switch {
	case p == "":
		return nil
	case at.Tenant != "":
		_, err := s.tenantFor(ctx, c, at.Tenant, p)
		return err
	default:
		_, err := s.accountFor(ctx, c, at.Account, p)
		return err
	}
}

// Lock makes others wait who would change the account or the tenant of the place,
// until the transaction of ctx ends: strangers lock nothing.
func (s *Service) Lock(ctx context.Context, c Caller, at Place) error {
	switch {
	case at.Tenant != "" && c.Operator != nil:
		t, err := s.store.AnyTenant(ctx, at.Tenant)
		if err != nil {
			return err
		}
		return s.store.LockTenant(ctx, t.ID)
	case at.Tenant != "":
		t, err := s.tenantFor(ctx, c, at.Tenant, SeeTenant)
		if err != nil {
			return err
		}
		return s.store.LockTenant(ctx, t.ID)
	case at.Account != "":
		m, err := s.accountFor(ctx, c, at.Account, SeeAccount)
		if err != nil {
			return err
		}
		_, _, err = s.store.LockAccount(ctx, m.ID)
		return err
	}
	return nil
}

// guard is what has to hold for a change to be made.
type guard struct {
	check func(context.Context) error
	ran   bool
}

type guardKey struct{}

// Guarded returns a context with which the first transaction of a Service begins
// with check, within it: when that returns an error, the transaction fails with it
// and changes nothing. ran tells afterwards whether there was such a transaction.
func Guarded(ctx context.Context, check func(context.Context) error) (guarded context.Context, ran func() bool) {
	g := &guard{check: check}
	return context.WithValue(ctx, guardKey{}, g), func() bool { return g.ran }
}

// CheckGuard is for stores: it runs the check that ctx carries, if there is one and
// it didn't run yet. within is ctx with the transaction under way.
func CheckGuard(ctx, within context.Context) error {
	g, _ := ctx.Value(guardKey{}).(*guard)
	if g == nil || g.ran {
		return nil
	}
	g.ran = true
	return g.check(within)
}
