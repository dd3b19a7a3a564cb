package adminapi_test

import (
	"net/http"
	"testing"
	"time"
)

// A limit is lowered, raised for a time, tried out and put back, each within its bounds
// and by those who may.
func TestLimits_are_overridden(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, _ := w.signUp("ada@example.com", "acme")
	path := "/v1/tenants/acme/limits/calls_per_second"
	in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }

	a := c.call("PUT", path, map[string]any{"max": 3})
	want(t, a, http.StatusOK, "call_rate")
	for field, value := range map[string]string{"limit": "calls_per_second", "code": "call_rate", "scope": "connection", "kind": "throttle", "source": "override", "unit": "calls/s"} {
		if got := a.at(field); got != value {
			t.Errorf("%s is %q, want %q", field, got, value)
		}
	}
	doc, err := w.service.DocumentBySlug(t.Context(), "acme")
	if err != nil || doc.Limits.CallsPerSecond != 3 || len(doc.LaterLimits) != 0 {
		t.Fatalf("the document has %+v, %v", doc.Limits, err)
	}
	want(t, c.call("PUT", path, map[string]any{"max": 20, "expires_at": in(time.Hour)}), http.StatusOK, "call_rate")
	if doc, err = w.service.DocumentBySlug(t.Context(), "acme"); err != nil || doc.Limits.CallsPerSecond != 20 || len(doc.LaterLimits) != 1 || doc.LaterLimits[0].Limits.CallsPerSecond != 10 {
		t.Fatalf("the document has %+v and later %+v, %v", doc.Limits, doc.LaterLimits, err)
	}
	want(t, c.call("PUT", path, map[string]any{"max": 5, "dry_run": true, "expires_at": in(time.Hour)}), http.StatusOK, "call_rate")
	if doc, err = w.service.DocumentBySlug(t.Context(), "acme"); err != nil || doc.Limits.CallsPerSecond != 20 || doc.Limits.Tried == nil || doc.Limits.Tried.CallsPerSecond != 5 {
		t.Fatalf("the document has %+v, %v", doc.Limits, err)
	}
	for name, body := range map[string]map[string]any{
		"more than twice the plan's": {"max": 21, "expires_at": in(time.Hour)},
		"raised for ever":            {"max": 11},
		"nothing":                    {},
		"over":                       {"max": 5, "expires_at": in(-time.Hour)},
		"an unknown field":           {"max": 5, "plan": "scale"},
	} {
		if a := c.call("PUT", path, body); a.status != http.StatusBadRequest {
			t.Errorf("%s: %d", name, a.status)
		}
	}
	want(t, c.call("PUT", "/v1/tenants/acme/limits/no_such_limit", map[string]any{"max": 5}), http.StatusNotFound, "not_found")
	want(t, c.call("DELETE", path, nil), http.StatusNoContent, "")
	want(t, c.call("DELETE", path, nil), http.StatusNotFound, "not_found")
	if doc, err = w.service.DocumentBySlug(t.Context(), "acme"); err != nil || doc.Limits.CallsPerSecond != 10 || doc.Limits.Tried != nil {
		t.Fatalf("the document has %+v, %v", doc.Limits, err)
	}
}
