package adminapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/signalbox/signalbox/internal/fleet"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/directory"
)

// SEC-47: many at once get no more than one after the other.
func TestLimits_hold_for_many_at_once(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, _ := w.signUp("ada@example.com", "acme")
	for path, row := range map[string]struct {
		code string
		free int64
	}{
		"/v1/tenants":    {"max_tenants", 2}, // of 3, one of them from the sign-up
		"/v1/api-tokens": {"max_api_tokens", 20},
	} {
		var made atomic.Int64
		var all sync.WaitGroup
		for range 40 {
			all.Go(func() {
				if a := c.call("POST", path, map[string]any{"name": "One of many"}); a.status == http.StatusCreated {
					made.Add(1)
				} else {
					want(t, a, http.StatusConflict, row.code)
				}
			})
		}
		all.Wait()
		if n := made.Load(); n != row.free {
			t.Errorf("%s: %d were made, want %d", path, n, row.free)
		}
	}
}

// A document that edges don't take could never be published again: no key taken
// back, no tenant deleted.
func TestHubs_together_stay_within_what_a_document_may_have(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, acme := w.signUp("ada@example.com", "acme")
	id := tenants.ID(acme.at("tenant", "id"))
	if _, err := w.pool.Exec(t.Context(), "UPDATE accounts SET plan = 'scale'"); err != nil {
		t.Fatal(err)
	}
	origins := make([]string, 50)
	for i := range origins {
		origins[i] = fmt.Sprintf("https://%s%d.example", strings.Repeat("a", 280), i)
	}
	var last answer
	hubs := 0
	for ; hubs < 200; hubs++ {
		last = c.call("PUT", fmt.Sprintf("/v1/tenants/acme/hubs/h%d", hubs), map[string]any{"allowed_origins": origins})
		if last.status != http.StatusCreated {
			break
		}
	}
	want(t, last, http.StatusConflict, "max_hub_bytes")
	want(t, c.call("PATCH", "/v1/tenants/acme/hubs/chat", map[string]any{"allowed_origins": origins}), http.StatusConflict, "max_hub_bytes")
	secrets, err := fleet.New(strings.Repeat("x", fleet.MinSecretLength))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := w.service.Document(t.Context(), id)
	if err != nil || len(doc.Hubs) != hubs+1 {
		t.Fatalf("the document has %d hubs, %v, want %d", len(doc.Hubs), err, hubs+1)
	}
	if _, err := directory.Seal(secrets, &doc); err != nil {
		t.Error(err)
	}
}
