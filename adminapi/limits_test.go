package adminapi_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
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
