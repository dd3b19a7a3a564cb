package tenants

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
)

func TestNetwork_is_an_IPv4_address_or_a_64(t *testing.T) {
	t.Parallel()
	for ip, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "2001:db8:1:2::1": "2001:db8:1:2::/64", "2001:db8:1:3::1": "2001:db8:1:3::/64",
		"fe80::1%eth0": "fe80::/64", "": "", "pipe": "pipe",
	} {
		if got := network(ip); got != want {
			t.Errorf("network(%q) = %q, want %q", ip, got, want)
		}
	}
}

// SEC-38: a flood of sign-ins has few processors.
func TestPasswords_turn_a_flood_away(t *testing.T) {
	t.Parallel()
	p := &passwords{slots: make(chan struct{}, 1), wait: time.Millisecond}
	if err := p.acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	e, ok := errors.AsType[*fault.Error](p.acquire(t.Context()))
	if !ok || e.Kind != fault.Unavailable || e.RetryAfter == 0 {
		t.Errorf("error = %v, want Unavailable with a time to wait", e)
	}
	p.release()
	if err := p.acquire(t.Context()); err != nil {
		t.Error(err)
	}
}

// SEC-38. Less than that is for tests alone.
func TestPasswords_are_as_hard_as_OWASP_says(t *testing.T) {
	t.Parallel()
	p, err := newPasswords(passwordMemory)
	if err != nil {
		t.Fatal(err)
	}
	hash, err := p.hash(t.Context(), "a password")
	if err != nil || !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("the hash is %q, %v", hash, err)
	}
	for password, want := range map[string]bool{"a password": true, "another": false} {
		if right, err := p.check(t.Context(), password, hash); err != nil || right != want {
			t.Errorf("%q: %t, %v", password, right, err)
		}
	}
	if right, err := p.check(t.Context(), "a password", ""); err != nil || right {
		t.Errorf("nobody's password: %t, %v", right, err)
	}
}

// people is a store with a user, and with nothing else.
type people struct{ Store }

func (people) Attempt(context.Context, time.Time, time.Time, ...string) ([]int, error) {
	return []int{1, 1}, nil
}
func (people) CountAttempts(context.Context, string, time.Time) (int, error) { return 0, nil }
func (people) UserByEmail(_ context.Context, key string) (User, string, error) {
	if key == "ada@example.com" {
		return User{ID: "ada"}, "$argon2id$v=19$m=64,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", nil
	}
	return User{}, "", fault.New(fault.NotFound, "There is no such user.")
}

// SEC-39: who has a user and who has none costs the same hash, of the same strength, in
// the same queue: where no more are made, both are told so alike.
func TestSEC_39_nobody_costs_what_somebody_does(t *testing.T) {
	t.Parallel()
	p, err := newPasswords(passwordMemory)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(p.dummy, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("nobody's hash is %s", p.dummy)
	}
	p.wait = time.Millisecond
	for range cap(p.slots) {
		if err := p.acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, confirmed := range []bool{false, true} {
		s := &Service{store: people{}, passwords: p, now: time.Now, confirmSignUps: confirmed, signUpsPerHour: 10}
		for _, email := range []string{"ada@example.com", "nobody@example.com"} {
			if _, err := s.SignIn(t.Context(), Caller{}, email, "a password"); !isKind(err, fault.Unavailable) {
				t.Errorf("%s signs in without a hash: %v", email, err)
			}
			if _, _, err := s.SignUp(t.Context(), Caller{}, SignUp{Email: email, Password: "a long password", TenantSlug: "acme"}); !isKind(err, fault.Unavailable) {
				t.Errorf("%s signs up without a hash: %v", email, err)
			}
		}
	}
}
