package adminapi_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/signalbox/signalbox/internal/scope"
)

// TestExpireOverrides_of_all_but_who_fails: a tenant whose overrides can't be ended
// keeps nobody else's.
func TestExpireOverrides_of_all_but_who_fails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	ada, acme := w.signUp("ada@example.com", "acme")
	w.verified(acme)
	want(t, ada.call("POST", "/v1/tenants", map[string]any{"name": "Other", "slug": "other"}), http.StatusCreated, "")
	ends := time.Now().Add(time.Hour)
	for _, tenant := range []string{"acme", "other"} {
		if a := ada.call("PUT", "/v1/tenants/"+tenant+"/limits/max_hubs", map[string]any{"max": 21, "expires_at": ends}); a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", tenant, a.status, a.text)
		}
	}
	w.exec("UPDATE limit_overrides SET expires_at = now() - interval '1 second'")
	w.exec("ALTER TABLE audit_events ADD CONSTRAINT failing CHECK (action <> 'limit.override_expired' OR tenant_id <> '" + acme.at("tenant", "id") + "') NOT VALID")
	if err := w.service.ExpireOverrides(scope.System(t.Context(), scope.Jobs)); err == nil {
		t.Error("nothing is said of the one that failed")
	}
	if n := w.count("limit_overrides WHERE tenant_id = $1", acme.at("tenant", "id")); n != 1 {
		t.Errorf("the one that failed has %d overrides", n)
	}
	if n := w.count("limit_overrides"); n != 1 {
		t.Errorf("%d overrides are left, want the one that failed", n)
	}
}
