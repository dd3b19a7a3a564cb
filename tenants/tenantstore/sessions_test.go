package tenantstore_test

import (
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/tenantstore"
)

// SEC-36: a request that was under way at the sign-out writes its session back
// afterwards.
func TestSessions_that_ended_stay_ended(t *testing.T) {
	t.Parallel()
	_, pool, _ := newStore(t)
	s := tenantstore.NewSessions(pool)
	find := func(token string, want bool) {
		t.Helper()
		if data, found, err := s.Find(token); err != nil || found != want || !found && len(data) > 0 {
			t.Errorf("session %s = %q, %t, %v; want it found: %t", token, data, found, err, want)
		}
	}
	commit := func(token string, life time.Duration) {
		t.Helper()
		data, err := scs.GobCodec{}.Encode(time.Now().Add(life), map[string]any{tenants.SessionID: token})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(token, data, time.Now().Add(life)); err != nil {
			t.Fatal(err)
		}
	}
	commit("one", time.Hour)
	commit("two", time.Hour)
	commit("old", -time.Second)
	if err := s.Delete("one"); err != nil {
		t.Fatal(err)
	}
	commit("one", time.Hour)
	commit("two", time.Hour)
	find("one", false)
	find("two", true)
	find("old", false)
	if err := s.Delete("never there"); err != nil {
		t.Error(err)
	}
}
