package tenants

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/alexedwards/argon2id"

	"github.com/signalbox/signalbox/internal/fault"
)

// passwordMemory is how much a hash takes, in KiB. With two passes and one lane it
// follows OWASP's advice for argon2id.
const passwordMemory = 19 << 10

// passwords hashes and checks passwords, a bounded number at once, so that
// signing in can't take the processor from everything else.
type passwords struct {
	slots chan struct{}
	wait  time.Duration
	// params are part of every hash, so a change leaves old hashes good.
	params *argon2id.Params
	dummy  string // a hash that no password has
}

// newPasswords makes hashes of so many KiB.
func newPasswords(memory uint32) (*passwords, error) {
	params := &argon2id.Params{Memory: memory, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}
	dummy, err := argon2id.CreateHash(string(newSecret()), params)
	if err != nil {
		return nil, fmt.Errorf("hash dummy password: %w", err)
	}
	return &passwords{slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)), wait: maxPasswordWait, params: params, dummy: dummy}, nil
}

// apart returns passwords with a slot of their own, for those who are not to wait for
// everybody else.
func (p *passwords) apart() *passwords {
	own := *p
	own.slots = make(chan struct{}, 1)
	return &own
}

// hash returns the hash of a password.
func (p *passwords) hash(ctx context.Context, password string) (string, error) {
	if err := p.acquire(ctx); err != nil {
		return "", err
	}
	defer p.release()
	hash, err := argon2id.CreateHash(password, p.params)
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return hash, nil
}

// check tells whether the password has that hash. Hash "" stands for a user who
// is not there: it costs the same and is never right.
func (p *passwords) check(ctx context.Context, password, hash string) (bool, error) {
	if err := p.acquire(ctx); err != nil {
		return false, err
	}
	defer p.release()
	known := hash != ""
	if !known {
		hash = p.dummy
	}
	match, err := argon2id.ComparePasswordAndHash(password, hash)
	if err != nil {
		return false, fmt.Errorf("check password: %w", err)
	}
	return match && known, nil
}

// maxPasswordWait is how long somebody waits for a slot; who would wait longer is
// told to come again, so that a flood doesn't pile up.
const maxPasswordWait = 5 * time.Second

func (p *passwords) acquire(ctx context.Context) error {
	wait := time.NewTimer(p.wait)
	defer wait.Stop()
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-wait.C:
		busy := fault.New(fault.Unavailable, "Too many people are signing in. Please try again.")
		busy.RetryAfter = maxPasswordWait
		return busy
	case <-ctx.Done():
		return fmt.Errorf("wait to hash a password: %w", ctx.Err())
	}
}

func (p *passwords) release() { <-p.slots }
