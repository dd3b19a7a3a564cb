package api

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// limitsInUse makes a tenant use something of each limit whose use is shown, over real
// edges, and waits until the api says how much. It has ann's connection to edge 0, and the
// tenant nothing else.
func (f *plane) limitsInUse(ann *client, publish func(e int) (int, string)) {
	t := f.t
	t.Helper()
	second := f.connect(0, f.token(f.key, "ann"))
	f.want(http.StatusOK, "PATCH", "/v1/tenants/acme/hubs/chat", map[string]any{"client_permissions": []string{"joinGroup", "leaveGroup"}})
	for _, group := range []string{"a", "b", "c"} {
		eventually(t, func() string { return ann.call("$joinGroup", group) })
	}
	shown := func() map[string]map[string]any {
		t.Helper()
		all, _ := f.want(http.StatusOK, "GET", "/v1/tenants/acme/limits", nil)["limits"].([]any)
		byName := make(map[string]map[string]any)
		for _, one := range all {
			l, _ := one.(map[string]any)
			byName[at(l, "limit")] = l
		}
		return byName
	}
	hubs, _ := shown()["max_hubs"]["used"].(float64)
	f.want(http.StatusCreated, "PUT", "/v1/tenants/acme/hubs/second", map[string]any{})
	exactly := func(want map[string][2]any) string { // used, peak
		limits := shown()
		for name, w := range want {
			if l := limits[name]; l["used"] != w[0] || l["peak"] != w[1] {
				return fmt.Sprintf("%s: used %v, peak %v, want %v", name, l["used"], l["peak"], w)
			}
		}
		return ""
	}
	eventually(t, func() string {
		return exactly(map[string][2]any{
			"max_connections": {2.0, 2.0}, "max_group_memberships": {3.0, 3.0}, "max_hubs": {hubs + 1, nil},
			"max_connections_per_user": {nil, 2.0}, "max_connections_per_ip": {nil, 2.0},
		})
	})
	// What is used comes down, and the peak stays.
	second.ws.CloseNow()
	for _, group := range []string{"a", "b"} {
		if refused := ann.call("$leaveGroup", group); refused != "" {
			t.Fatal(refused)
		}
	}
	f.want(http.StatusNoContent, "DELETE", "/v1/tenants/acme/hubs/second", nil)
	eventually(t, func() string {
		return exactly(map[string][2]any{
			"max_connections": {1.0, 2.0}, "max_group_memberships": {1.0, 3.0}, "max_hubs": {hubs, nil},
			"max_connections_per_user": {nil, 2.0}, "max_connections_per_ip": {nil, 2.0},
		})
	})
	// Rates are those of the last second, so there is traffic until each was seen.
	rates := []string{"connects_per_second", "messages_per_second", "deliveries_per_second", "requests_per_second", "token_issues_per_second"}
	var last time.Time
	eventually(t, func() string {
		if time.Since(last) < 100*time.Millisecond { // an address may connect 20 times a second
			return "there is to be more traffic"
		}
		last = time.Now()
		if status, body := publish(0); status != http.StatusAccepted {
			t.Fatalf("publish: %d %s", status, body)
		}
		if status, body := f.negotiateAt(0, "/t/acme/api/hubs/chat/:generateToken", f.key.Secret, "", ""); status != http.StatusOK {
			t.Fatalf("a token: %d %s", status, body)
		}
		if status, body := f.negotiate(0, f.token(f.key, "ben"), "", ""); status != http.StatusOK {
			t.Fatalf("negotiate: %d %s", status, body)
		}
		_ = ann.call("$joinGroup", "c") // takes what has come
		limits := shown()
		rates = slices.DeleteFunc(rates, func(name string) bool {
			used, _ := limits[name]["used"].(float64)
			peak, _ := limits[name]["peak"].(float64)
			if peak < used {
				t.Errorf("%s: used %v, of at most %v", name, used, peak)
			}
			return used > 0 && peak > 0
		})
		if len(rates) > 0 {
			return "nothing is used of " + strings.Join(rates, ", ")
		}
		if kept, _ := limits["history_bytes"]["used"].(float64); kept <= 0 {
			return "no bytes are kept"
		}
		return ""
	})
}

// What the api refuses for a limit is counted as what edges refuse.
func TestRefusals_of_the_api_are_counted(t *testing.T) {
	t.Parallel()
	f := startPlane(t, 1, func(*Config) {})
	all := f.want(http.StatusOK, "GET", "/v1/tenants/acme/hubs", nil)["hubs"].([]any)
	f.want(http.StatusOK, "PUT", "/v1/tenants/acme/limits/max_hubs", map[string]any{"max": len(all)})
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WebHook-Allowed-Origin", "*")
	}))
	t.Cleanup(hook.Close)
	rules := make([]any, 3)
	for i := range rules {
		rules[i] = map[string]any{"url": fmt.Sprintf("%s/%d", hook.URL, i)}
	}
	f.want(http.StatusCreated, "POST", "/v1/tenants/acme/webhook-secrets/rotate", map[string]any{})
	for range 2 {
		if got := at(f.want(http.StatusConflict, "PUT", "/v1/tenants/acme/hubs/more", map[string]any{}), "code"); got != "max_hubs" {
			t.Errorf("one more hub is refused with %s", got)
		}
	}
	if got := at(f.want(http.StatusConflict, "PATCH", "/v1/tenants/acme/hubs/chat", map[string]any{"upstream": map[string]any{"mode": "native", "rules": rules}}), "code"); got != "upstream_endpoints" {
		t.Errorf("a third URL is refused with %s", got)
	}
	eventually(t, func() string {
		limits, _ := f.want(http.StatusOK, "GET", "/v1/tenants/acme/limits", nil)["limits"].([]any)
		want := map[string]float64{"max_hubs": 2, "max_upstream_endpoints": 1}
		for _, one := range limits {
			l, _ := one.(map[string]any)
			name := at(l, "limit")
			if n, counted := want[name]; counted && (l["refused"] != n || l["last_hit_at"] == nil) {
				return fmt.Sprintf("%s: refused %v, last hit %v, want %v", name, l["refused"], l["last_hit_at"], n)
			}
			delete(want, name)
		}
		return strings.Join(slices.Collect(maps.Keys(want)), ", ")
	})
}
