package adminapi_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// What a hub keeps is within its plan, and what is left out is what that allows.
func TestHubs_have_a_history_within_the_plan(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, _ := w.signUp("ada@example.com", "acme")
	const hub = "/v1/tenants/acme/hubs/news"
	a := c.call("PUT", hub, map[string]any{"history": map[string]any{"seconds": 180, "messages": 500, "bytes": 1 << 20, "group_index": true}, "gaps": "tell"})
	if a.status != http.StatusCreated || a.at("gaps") != "tell" {
		t.Fatalf("answered %d: %s", a.status, a.text)
	}
	a = c.call("PATCH", hub, map[string]any{"keep_alive_seconds": 10})
	if a.status != http.StatusOK || a.at("gaps") != "tell" || !strings.Contains(a.text, `"messages":500`) {
		t.Errorf("after another change: %s", a.text)
	}
	for field, body := range map[string]map[string]any{
		"history.seconds":  {"history": map[string]any{"seconds": 181}}, // the plan has 180
		"history.bytes":    {"history": map[string]any{"bytes": 1 << 30}},
		"history.messages": {"history": map[string]any{"messages": 7}},
	} {
		if a := c.call("PATCH", hub, body); a.status != http.StatusBadRequest || !slices.Contains(a.errorFields(), field) {
			t.Errorf("%v answered %d: %s", body, a.status, a.text)
		}
	}
	if a := c.call("PATCH", hub, map[string]any{"gaps": "hide"}); a.status != http.StatusBadRequest {
		t.Errorf("answered %d: %s", a.status, a.text)
	}
}
