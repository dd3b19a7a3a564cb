package adminapi_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
)

// upstreams stands for the upstreams of tenants and the log of deliveries to them.
type upstreams struct {
	deliveries map[tenants.ID][]tenants.Delivery
	asked      []tenants.DeliveryQuery
	replayed   []string
}

func (u *upstreams) Check(_ context.Context, _ string, up tenants.Upstream) error {
	for i, r := range up.Rules {
		if strings.Contains(r.URL, "refused") {
			return fault.InvalidFields(fault.Field{Name: fmt.Sprintf("upstream.rules.%d.url", i), Message: "can't be reached"})
		}
	}
	return nil
}

func (u *upstreams) Replay(_ context.Context, d *tenants.Document, of tenants.Delivery, begin func() error) (tenants.Delivery, error) {
	if err := begin(); err != nil {
		return tenants.Delivery{}, err
	}
	u.replayed = append(u.replayed, string(d.ID)+" "+of.ID)
	again := of
	again.ID, again.ReplayOf = "9-0", of.ID
	return again, nil
}

func (u *upstreams) Deliveries(_ context.Context, t tenants.ID, q tenants.DeliveryQuery) ([]tenants.Delivery, string, error) {
	u.asked = append(u.asked, q)
	return u.deliveries[t], "1-0", nil
}

func (u *upstreams) Delivery(_ context.Context, t tenants.ID, id string) (tenants.Delivery, error) {
	for _, d := range u.deliveries[t] {
		if d.ID == id {
			return d, nil
		}
	}
	return tenants.Delivery{}, fault.New(fault.NotFound, "There is no such delivery.")
}

// The query of an upstream's URL often is a key, as that of an Azure function is.
func TestHubs_show_the_queries_of_upstreams_to_who_may_see_keys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	ada, acme := w.signUp("ada@example.com", "acme")
	account := acme.at("account", "id")
	const hub = "/v1/tenants/acme/hubs/chat"
	rule := map[string]any{"url": "https://example.com/{event}?code=s3cret"}
	status(t, ada.call("PATCH", hub, map[string]any{"upstream": map[string]any{"rules": []any{rule}}}), http.StatusOK)
	for role, sees := range map[tenants.Role]bool{tenants.Admin: true, tenants.Developer: true, tenants.Billing: false, tenants.Viewer: false} {
		c := w.member(string(role)+"@example.com", account, role)
		for _, path := range []string{hub, "/v1/tenants/acme/hubs"} {
			a := status(t, c.call("GET", path, nil), http.StatusOK)
			if strings.Contains(a.text, "s3cret") != sees || !strings.Contains(a.text, "https://example.com/{event}") {
				t.Errorf("%s sees %s", role, a.text)
			}
		}
	}
}

func TestHubs_have_upstreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, acme := w.signUp("ada@example.com", "acme")
	rule := map[string]any{"url": "https://example.com/{event}", "event": "send"}
	a := c.call("PATCH", "/v1/tenants/acme/hubs/chat", map[string]any{"upstream": map[string]any{"rules": []any{rule}}})
	want := map[string]any{"mode": "azure", "rules": []any{rule}, "timeout_seconds": 5.0, "reconnect_seconds": 0.0}
	if diff := cmp.Diff(want, a.body["upstream"]); a.status != http.StatusOK || diff != "" {
		t.Errorf("answered %d: %s", a.status, diff)
	}
	doc, err := w.service.Document(t.Context(), tenants.ID(acme.at("tenant", "id")))
	if err != nil || doc.Hubs["chat"].Upstream == nil || doc.Hubs["chat"].Upstream.Rules[0].Event != "send" {
		t.Errorf("the document has %+v, %v", doc.Hubs, err)
	}
	if a = c.call("PATCH", "/v1/tenants/acme/hubs/chat", map[string]any{"handler": "upstream"}); a.body["upstream"] == nil {
		t.Errorf("another patch takes the upstream away: %s", a.text)
	}
	if a = c.call("PATCH", "/v1/tenants/acme/hubs/chat", map[string]any{"upstream": map[string]any{}}); a.body["upstream"] != nil {
		t.Errorf("without rules there still is one: %s", a.text)
	}
	for field, upstream := range map[string]map[string]any{
		"upstream.rules.0.url":     {"rules": []any{map[string]any{"url": "ftp://example.com/"}}},
		"upstream.rules.1.url":     {"rules": []any{rule, map[string]any{"url": "https://refused.example/"}}},
		"upstream.timeout_seconds": {"timeout_seconds": 31},
		"upstream.mode":            {"mode": "grpc"},
		"upstream.rules":           {"rules": make([]map[string]any, 11)},
	} {
		for _, method := range []string{"PUT", "PATCH"} {
			a := c.call(method, "/v1/tenants/acme/hubs/chat", map[string]any{"upstream": upstream})
			if a.status != http.StatusBadRequest || !strings.Contains(fmt.Sprint(a.errorFields()), field) {
				t.Errorf("%s with a wrong %s answered %d: %s", method, field, a.status, a.text)
			}
		}
	}
}

// The URLs of all hubs' upstreams together are a limit of the plan, refused in the words of
// all limits.
func TestURLs_of_upstreams_are_limited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, _ := w.signUp("ada@example.com", "acme")
	hub := func(name string, urls ...string) answer {
		rules := make([]any, len(urls))
		for i, url := range urls {
			rules[i] = map[string]any{"url": "https://example.com/" + url, "event": fmt.Sprint("e", i)}
		}
		return c.call("PUT", "/v1/tenants/acme/hubs/"+name, map[string]any{"upstream": map[string]any{"rules": rules}})
	}
	override := func(most int) {
		t.Helper()
		status(t, c.call("PUT", "/v1/tenants/acme/limits/max_upstream_endpoints", map[string]any{"max": most, "expires_at": time.Now().Add(time.Hour)}), http.StatusOK)
	}
	used := func() any { return c.call("GET", "/v1/tenants/acme/limits/max_upstream_endpoints", nil).body["used"] }
	status(t, hub("first", "a", "b", "a"), http.StatusCreated)
	status(t, hub("second", "b"), http.StatusCreated) // counted once
	refused := hub("third", "c")
	want(t, refused, http.StatusConflict, "upstream_endpoints")
	if refused.at("limit") != "max_upstream_endpoints" || refused.at("scope") != "tenant" || refused.body["max"] != 2.0 || refused.at("doc") != fault.PagesURL+"upstream_endpoints" {
		t.Errorf("told %s", refused.text)
	}
	if n := used(); n != 2.0 {
		t.Errorf("%v are used, want 2", n)
	}
	override(3)
	status(t, hub("third", "c"), http.StatusCreated)
	if n := used(); n != 3.0 {
		t.Errorf("%v are used, want 3", n)
	}
	// What there is stays and may change, but not grow.
	status(t, c.call("DELETE", "/v1/tenants/acme/limits/max_upstream_endpoints", nil), http.StatusNoContent)
	status(t, hub("third", "d"), http.StatusOK)
	want(t, hub("third", "d", "e"), http.StatusConflict, "upstream_endpoints")
	status(t, hub("second"), http.StatusOK)
	status(t, hub("third", "a"), http.StatusOK)
	want(t, hub("second", "f"), http.StatusConflict, "upstream_endpoints")
}

func TestNative_mode_needs_a_webhook_secret(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, acme := w.signUp("ada@example.com", "acme")
	native := map[string]any{"upstream": map[string]any{"mode": "native", "rules": []any{map[string]any{"url": "https://example.com/"}}}}
	want(t, c.call("PATCH", "/v1/tenants/acme/hubs/chat", native), http.StatusConflict, "webhook_secret_missing")

	first := c.call("POST", "/v1/tenants/acme/webhook-secrets/rotate", map[string]any{})
	if !strings.HasPrefix(first.at("secret"), "whsec_") || first.status != http.StatusCreated {
		t.Fatalf("answered %d: %s", first.status, first.text)
	}
	if a := c.call("PATCH", "/v1/tenants/acme/hubs/chat", native); a.status != http.StatusOK {
		t.Errorf("answered %d: %s", a.status, a.text)
	}
	second := c.call("POST", "/v1/tenants/acme/webhook-secrets/rotate", map[string]any{"overlap_seconds": 60})
	listed := c.call("GET", "/v1/tenants/acme/webhook-secrets", nil)
	list, _ := listed.body["webhook_secrets"].([]any)
	if len(list) != 2 || list[0].(map[string]any)["id"] != second.at("id") || list[1].(map[string]any)["expires_at"] == nil || strings.Contains(listed.text, first.at("secret")) {
		t.Errorf("listed %s", listed.text)
	}
	doc, err := w.service.Document(t.Context(), tenants.ID(acme.at("tenant", "id")))
	if err != nil || len(doc.WebhookSecrets) != 2 || doc.WebhookSecrets[0].Secret != second.at("secret") || doc.WebhookSecrets[1].Secret != first.at("secret") {
		t.Errorf("the document has %d secrets, %v", len(doc.WebhookSecrets), err)
	}
	if strings.Contains(w.logs.String(), first.at("secret")) {
		t.Error("the log shows a secret")
	}
	want(t, c.call("POST", "/v1/tenants/acme/webhook-secrets/rotate", map[string]any{"overlap_seconds": 604801}), http.StatusBadRequest, "invalid")
}

func TestDeliveries_are_listed_and_sent_again(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, acme := w.signUp("ada@example.com", "acme")
	id := tenants.ID(acme.at("tenant", "id"))
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	whole := tenants.Delivery{
		ID: "2-0", At: at, Hub: "chat", Category: "messages", Event: "send", Mode: tenants.UpstreamAzure, ConnectionID: "c", URL: "https://example.com/", Attempt: 1,
		Outcome: tenants.Failed, Status: 500, Error: "upstream_status", Request: tenants.DeliveryContent{Type: "application/x-msgpack", Body: []byte("\x96\x01\x80"), Bytes: 3},
		Response: tenants.DeliveryContent{Body: []byte("no\xc3"), Bytes: 9},
	}
	truncated := whole
	truncated.ID, truncated.Request.Bytes = "1-0", 9000
	w.upstreams.deliveries = map[tenants.ID][]tenants.Delivery{id: {whole, truncated}}

	a := c.call("GET", "/v1/tenants/acme/upstream-deliveries?hub=chat&event=send&outcome=failed&from=2026-01-01T00:00:00Z&to=2026-01-03T00:00:00Z&cursor=3-0&limit=2", nil)
	asked := tenants.DeliveryQuery{
		Hub: "chat", Event: "send", Outcome: tenants.Failed, From: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC),
		Cursor: "3-0", Limit: 2,
	}
	if diff := cmp.Diff([]tenants.DeliveryQuery{asked}, w.upstreams.asked); diff != "" {
		t.Errorf("asked for: %s", diff)
	}
	list, _ := a.body["deliveries"].([]any)
	if len(list) != 2 || a.at("next_cursor") != "1-0" {
		t.Fatalf("answered %d: %s", a.status, a.text)
	}
	first, second := list[0].(map[string]any), list[1].(map[string]any)
	if diff := cmp.Diff(map[string]any{"content_type": "application/x-msgpack", "bytes": 3.0, "base64": "lgGA", "truncated": false}, first["request"]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]any{"bytes": 9.0, "text": "no", "truncated": true}, first["response"]); diff != "" {
		t.Error(diff)
	}
	if first["replayable"] != true || second["replayable"] != false {
		t.Errorf("replayable: %v, %v", first["replayable"], second["replayable"])
	}

	again := c.call("POST", "/v1/tenants/acme/upstream-deliveries/2-0/replay", nil)
	if again.status != http.StatusOK || again.at("replay_of") != "2-0" || fmt.Sprint(w.upstreams.replayed) != "["+string(id)+" 2-0]" {
		t.Errorf("answered %d: %s; replayed %v", again.status, again.text, w.upstreams.replayed)
	}
	want(t, c.call("POST", "/v1/tenants/acme/upstream-deliveries/1-0/replay", nil), http.StatusConflict, "body_truncated")
	want(t, c.call("POST", "/v1/tenants/acme/upstream-deliveries/7-0/replay", nil), http.StatusNotFound, "not_found")
	want(t, c.call("GET", "/v1/tenants/acme/upstream-deliveries?from=2026-01-03T00:00:00Z&to=2026-01-01T00:00:00Z", nil), http.StatusBadRequest, "invalid")
}
