package tenants

import (
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

// Less than that is for tests alone.
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
