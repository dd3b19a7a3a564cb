package adminapi_test

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/signalbox/signalbox/tenants"
)

func TestEnvironment_production_has_no_demo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, acme := w.signUp("ada@example.com", "acme")
	if acme.at("tenant", "environment") != "development" {
		t.Errorf("the first tenant is %s", acme.at("tenant", "environment"))
	}
	if a := c.call("GET", "/v1/tenants/acme/hubs/chat", nil); !strings.Contains(a.text, `"sendToGroup:demo"`) {
		t.Errorf("the first hub of a development tenant: %s", a.text)
	}
	live := c.call("POST", "/v1/tenants", map[string]any{"name": "Live", "slug": "live", "environment": "production"})
	if live.at("tenant", "environment") != "production" {
		t.Errorf("creating answered %d: %s", live.status, live.text)
	}
	if a := c.call("GET", "/v1/tenants/live/hubs/chat", nil); !strings.Contains(a.text, `"client_permissions":[]`) {
		t.Errorf("the first hub of a production tenant: %s", a.text)
	}
	demo := map[string]any{"client_permissions": []string{"joinGroup:room", "sendToGroup:demo"}}
	for _, method := range []string{"PUT", "PATCH"} {
		a := c.call(method, "/v1/tenants/live/hubs/chat", demo)
		want(t, a, http.StatusBadRequest, "invalid")
		if !slices.Equal(a.errorFields(), []string{"client_permissions.1"}) {
			t.Errorf("%s names %v", method, a.errorFields())
		}
	}
	promote := map[string]any{"environment": "production"}
	a := c.call("PATCH", "/v1/tenants/acme", promote)
	want(t, a, http.StatusConflict, "demo_permissions")
	if !strings.Contains(a.at("detail"), "chat") {
		t.Errorf("the hub is not named: %s", a.text)
	}
	c.call("PATCH", "/v1/tenants/acme/hubs/chat", map[string]any{"client_permissions": []string{}})
	if a := c.call("PATCH", "/v1/tenants/acme", promote); a.at("environment") != "production" {
		t.Errorf("promoting answered %d: %s", a.status, a.text)
	}
	// Nor do they come back with a former version.
	want(t, c.call("POST", "/v1/tenants/acme/hubs/chat/versions/1/return", nil), http.StatusBadRequest, "invalid")
	want(t, c.call("PATCH", "/v1/tenants/acme", map[string]any{"environment": "staging"}), http.StatusBadRequest, "invalid")
	doc, err := w.service.Document(t.Context(), tenants.ID(acme.at("tenant", "id")))
	if err != nil || doc.Environment != tenants.Production {
		t.Errorf("edges are told %q, %v", doc.Environment, err)
	}
}

func TestHubVersions_say_who_and_lead_back(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	ada, acme := w.signUp("ada@example.com", "acme")
	w.verified(acme)
	account := acme.at("account", "id")
	const hub = "/v1/tenants/acme/hubs/game"
	ada.call("PUT", hub, map[string]any{"handler": "broadcast", "upstream": map[string]any{"rules": []any{map[string]any{"url": "https://x.example/?code=secret"}}}})
	ada.call("PATCH", hub, map[string]any{"keep_alive_seconds": 5})
	ada.call("PATCH", hub, map[string]any{"keep_alive_seconds": 5}) // changes nothing
	ada.program("", nil).call("PATCH", hub, map[string]any{"keep_alive_seconds": 7})
	ada.call("DELETE", hub, nil)
	list := func(c *client) []map[string]any {
		t.Helper()
		var all []map[string]any
		for _, v := range c.call("GET", hub+"/versions", nil).body["versions"].([]any) {
			all = append(all, v.(map[string]any))
		}
		return all
	}
	all := list(ada)
	if len(all) != 4 {
		t.Fatalf("versions = %v, want 4", all)
	}
	if all[0]["settings"] != nil || all[0]["version"] != 4.0 || all[0]["changed_by"] != "ada@example.com" {
		t.Errorf("the newest is %v", all[0])
	}
	if all[1]["token"] != "CI" || all[1]["settings"].(map[string]any)["keep_alive_seconds"] != 7.0 {
		t.Errorf("that of the token is %v", all[1])
	}
	back := ada.call("POST", hub+"/versions/1/return", nil)
	if back.at("handler") != "broadcast" || back.body["keep_alive_seconds"] != 15.0 || !strings.Contains(back.text, "code=secret") {
		t.Errorf("returning answered %d: %s", back.status, back.text)
	}
	if all := list(ada); len(all) != 5 || all[0]["returned_to"] != 1.0 {
		t.Errorf("after returning: %v", all[0])
	}
	if a := ada.call("POST", hub+"/versions/4/return", nil); a.status != http.StatusOK || a.body["implicit"] != true {
		t.Errorf("returning to no settings answered %d: %s", a.status, a.text)
	}
	want(t, ada.call("POST", hub+"/versions/99/return", nil), http.StatusNotFound, "not_found")
	viewer := w.member("vic@example.com", account, tenants.Viewer)
	if a := viewer.call("GET", hub+"/versions", nil); strings.Contains(a.text, "code=secret") {
		t.Errorf("a viewer sees the queries of upstreams: %s", a.text)
	}
	want(t, viewer.call("POST", hub+"/versions/1/return", nil), http.StatusForbidden, "forbidden")
	var before, after string
	err := w.pool.QueryRow(t.Context(), "SELECT before::text, after::text FROM audit_events WHERE action = 'hub.patched' AND subject = 'game' ORDER BY id LIMIT 1").Scan(&before, &after)
	if err != nil || !strings.Contains(after, `"keep_alive_seconds":5`) || strings.Contains(before+after, "secret") {
		t.Errorf("the audit has %s, %s, %v", before, after, err)
	}
	// Returning brings whether connections end with their tokens, too.
	whole := ada.call("PUT", hub, map[string]any{"close_on_expiry": true, "user_connections": "close_oldest", "method_rates": map[string]any{"move": map[string]any{"per_second": 5}}})
	if whole.body["close_on_expiry"] != true {
		t.Errorf("closing on expiry: %d %s", whole.status, whole.text)
	}
	closing := list(ada)[0]
	// A version shows each setting as the hub did.
	for _, name := range []string{"name", "client_url", "rest_url", "implicit", "created_at", "updated_at"} {
		delete(whole.body, name)
	}
	if !reflect.DeepEqual(closing["settings"], any(whole.body)) {
		t.Errorf("the version shows %v, the hub %v", closing["settings"], whole.body)
	}
	if a := ada.call("PATCH", hub, map[string]any{"close_on_expiry": false}); a.body["close_on_expiry"] != false {
		t.Errorf("closing no more: %d %s", a.status, a.text)
	}
	if a := ada.call("POST", fmt.Sprintf("%s/versions/%v/return", hub, closing["version"]), nil); a.body["close_on_expiry"] != true || closing["settings"].(map[string]any)["close_on_expiry"] != true {
		t.Errorf("returning to %v: %d %s", closing, a.status, a.text)
	}
	if doc, err := w.service.Document(t.Context(), tenants.ID(acme.at("tenant", "id"))); err != nil || !doc.Hubs["game"].CloseOnExpiry {
		t.Errorf("edges are told %+v, %v", doc.Hubs["game"], err)
	}
	for i := range tenants.MaxHubVersions + 5 {
		if a := ada.call("PATCH", hub, map[string]any{"keep_alive_seconds": 1 + i%2}); a.status != http.StatusOK {
			t.Fatalf("change %d answered %d: %s", i, a.status, a.text)
		}
	}
	var kept int
	if err := w.pool.QueryRow(t.Context(), "SELECT count(*) FROM hub_versions WHERE hub = 'game'").Scan(&kept); err != nil || kept != tenants.MaxHubVersions {
		t.Errorf("%d versions are kept, %v; want %d", kept, err, tenants.MaxHubVersions)
	}

	// Each change of the number of partitions is another generation, also the way back and
	// the end of the settings; other changes are none.
	inDocument := func(want tenants.HubPartitions) {
		t.Helper()
		doc, err := w.service.Document(t.Context(), tenants.ID(acme.at("tenant", "id")))
		if err != nil || doc.Partitioned["game"] != want {
			t.Errorf("edges are told %v, %v; want %v", doc.Partitioned, err, want)
		}
	}
	inDocument(tenants.HubPartitions{})
	if a := ada.call("PATCH", hub, map[string]any{"partitions": 4}); a.status != http.StatusOK || a.body["partitions"] != 4.0 {
		t.Errorf("four partitions: %d %s", a.status, a.text)
	}
	inDocument(tenants.HubPartitions{Generation: 1, Count: 4})
	ada.call("PATCH", hub, map[string]any{"keep_alive_seconds": 3})
	inDocument(tenants.HubPartitions{Generation: 1, Count: 4})
	former := list(ada)[2]["version"].(float64)
	if a := ada.call("POST", fmt.Sprintf("%s/versions/%d/return", hub, int(former)), nil); a.body["partitions"] != 1.0 {
		t.Errorf("returned to one: %d %s", a.status, a.text)
	}
	inDocument(tenants.HubPartitions{Generation: 2, Count: 1})
	want(t, ada.call("PATCH", hub, map[string]any{"partitions": 17}), http.StatusBadRequest, "invalid")
	ada.call("PATCH", hub, map[string]any{"partitions": 2})
	ada.call("DELETE", hub, nil)
	inDocument(tenants.HubPartitions{Generation: 4, Count: 1})
}

func TestDomains_that_can_not_be_are_refused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, _ := w.signUp("ada@example.com", "acme")
	for _, name := range []string{
		"localhost", "acme.localhost", "x.acme.localhost", "127.0.0.1", "[::1]", "example", "*.example.com", "rt.example.com:443", "https://rt.example.com",
		"rt..example.com", "-rt.example.com", "bücher.example", "rt.example.123", "rt_x.example.com", "rt.example.com/x", strings.Repeat("a", 64) + ".example.com",
		strings.Repeat("a.", 125) + "example",
	} {
		a := c.call("POST", "/v1/tenants/acme/domains", map[string]any{"domain": name})
		if want(t, a, http.StatusBadRequest, "invalid"); !slices.Contains(a.errorFields(), "domain") {
			t.Errorf("%q: %s", name, a.text)
		}
	}
	for i := range 20 {
		if a := c.call("POST", "/v1/tenants/acme/domains", map[string]any{"domain": fmt.Sprintf("rt-%d.xn--bcher-kva.example", i)}); a.status != http.StatusCreated {
			t.Fatalf("domain %d answered %d: %s", i, a.status, a.text)
		}
	}
	want(t, c.call("POST", "/v1/tenants/acme/domains", map[string]any{"domain": "RT-0.xn--bcher-kva.example"}), http.StatusConflict, "domain_exists")
	want(t, c.call("POST", "/v1/tenants/acme/domains", map[string]any{"domain": "rt.example.com"}), http.StatusConflict, "max_domains")
}
