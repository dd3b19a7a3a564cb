package quota

import (
	"errors"
	"testing"

	"github.com/signalbox/signalbox/tenants"
)

// A publish that is refused, by one of its groups or by another limit, takes nothing of
// its groups' rates.
func TestGroups_charge_only_what_is_published(t *testing.T) {
	t.Parallel()
	const burst = 3
	l := &tenants.Limits{GroupPublishesPerSecond: 1, GroupPublishBurst: burst}
	errOther := errors.New("another limit")
	accept := func() error { return nil }
	// accepted is how many of n publishes are; a burst at least once nothing was taken.
	accepted := func(g *Groups, n int, others func() error, groups ...string) (ok int) {
		for range n {
			if g.Charge(acme, "chat", groups, l, others) == nil {
				ok++
			}
		}
		return ok
	}
	t.Run("by another limit", func(t *testing.T) {
		t.Parallel()
		g := NewGroups(nil)
		refused := func() error { return errOther }
		for range 10 * burst {
			if err := g.Charge(acme, "chat", []string{"a", "b"}, l, refused); !errors.Is(err, errOther) {
				t.Fatalf("got %v", err)
			}
		}
		if n := accepted(g, burst, accept, "a", "b"); n != burst {
			t.Errorf("%d are accepted, want %d", n, burst)
		}
	})
	t.Run("by one of its groups", func(t *testing.T) {
		t.Parallel()
		g := NewGroups(nil)
		accepted(g, 10*burst, accept, "b")
		n := accepted(g, 10*burst, accept, "a", "b") // what b has again meanwhile
		if n += accepted(g, burst, accept, "a"); n < burst {
			t.Errorf("%d are accepted to a, want %d", n, burst)
		}
		wantRefusal(t, untilRefused(g, l, "b"), groupRow.Code, 1)
	})
}

// untilRefused publishes to a group until that is refused.
func untilRefused(g *Groups, l *tenants.Limits, group string) (err error) {
	for err == nil {
		err = g.Charge(acme, "chat", []string{group}, l, func() error { return nil })
	}
	return err
}
