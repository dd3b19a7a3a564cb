package tenants

import (
	"errors"
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
