package adminapi_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/signalbox/signalbox/billing/billingstore"
	"github.com/signalbox/signalbox/billing/usage"
	"github.com/signalbox/signalbox/internal/scope"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
)

func TestTenant_life(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, acme := w.signUp("ada@example.com", "acme")
	if got := acme.at("tenant", "endpoint"); got != "http://127.0.0.1:8888/t/acme" {
		t.Errorf("endpoint = %q", got)
	}
	if got, want := acme.at("key", "connection_string"), "Endpoint=http://acme.localhost;Port=8888;AccessKey="+acme.at("key", "secret")+";Version=1.0;"; got != want {
		t.Errorf("connection string = %q, want %q", got, want)
	}
	made := c.call("POST", "/v1/tenants", map[string]any{"name": "Zweite App!", "slug": "second"})
	if made.status != http.StatusCreated || made.header.Get("Location") != "/v1/tenants/"+made.at("tenant", "id") {
		t.Fatalf("creating answered %d: %s", made.status, made.text)
	}
	unnamed := c.call("POST", "/v1/tenants", map[string]any{"name": "Zweite App!"})
	if slug := unnamed.at("tenant", "slug"); !strings.HasPrefix(slug, "zweite-app-") || tenants.CheckSlug(slug) != nil {
		t.Errorf("the made up slug is %q", slug)
	}
	want(t, c.call("POST", "/v1/tenants", map[string]any{"name": "One too many"}), http.StatusConflict, "max_tenants")
	if a := c.call("PATCH", "/v1/tenants/second", map[string]any{"name": " Second "}); a.at("name") != "Second" {
		t.Errorf("renaming answered %d: %s", a.status, a.text)
	}
	if a := c.call("DELETE", "/v1/tenants/second", nil); a.status != http.StatusNoContent {
		t.Errorf("deleting answered %d: %s", a.status, a.text)
	}
	want(t, c.call("GET", "/v1/tenants/"+made.at("tenant", "id"), nil), http.StatusNotFound, "not_found")
	doc, err := w.service.Document(t.Context(), tenants.ID(made.at("tenant", "id")))
	if err != nil || doc.Status != tenants.Deleted || len(doc.Keys) != 0 || doc.Revision != 3 {
		t.Errorf("the tombstone is %+v, %v", doc, err)
	}
	if _, other := w.signUp("bob@example.com", "second"); other.at("tenant", "id") == made.at("tenant", "id") {
		t.Error("an id was used again")
	}
}

func TestKeys_are_shown_once_and_replaced_one_by_one(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, acme := w.signUp("ada@example.com", "acme")
	id := tenants.ID(acme.at("tenant", "id"))
	document := func() tenants.Document {
		doc, err := w.service.Document(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return doc
	}
	before := document()
	list := c.call("GET", "/v1/tenants/acme/keys", nil)
	for _, k := range before.Keys {
		if strings.Contains(list.text, k.Secret) {
			t.Errorf("the list shows a secret: %s", list.text)
		}
		if !strings.Contains(list.text, `"hint":"`+k.Secret[len(k.Secret)-4:]+`"`) {
			t.Errorf("the list lacks the hint of %s: %s", k.Slot, list.text)
		}
	}
	published := w.published.of(string(id))
	made := c.call("POST", "/v1/tenants/acme/keys/secondary/regenerate", nil)
	after := document()
	if made.at("secret") != after.Keys[1].Secret || after.Keys[1].Secret == before.Keys[1].Secret || after.Keys[1].ID == before.Keys[1].ID {
		t.Errorf("the secondary key was not replaced: %s", made.text)
	}
	if after.Keys[0] != before.Keys[0] || after.Revision != before.Revision+1 {
		t.Errorf("the primary key or revision: before %+v, after %+v", before, after)
	}
	if w.published.of(string(id)) != published+1 {
		t.Error("the change was not handed to the data plane at once")
	}
	var sealed []byte
	if err := w.pool.QueryRow(t.Context(), "SELECT sealed_secret FROM access_keys WHERE slot = 'primary' AND tenant_id = $1", id).Scan(&sealed); err != nil || strings.Contains(string(sealed), after.Keys[0].Secret) {
		t.Errorf("the secret is stored in the clear, %v", err)
	}
}

func TestSealed_secret_opens_in_its_own_row_only(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	w.signUp("ada@example.com", "acme")
	_, evil := w.signUp("mallory@example.com", "evil")
	// Somebody with write access to rows copies acme's key into a row of evil.
	_, err := w.pool.Exec(t.Context(), `UPDATE access_keys SET sealed_secret = (
		SELECT k.sealed_secret FROM access_keys k JOIN tenants t ON t.id = k.tenant_id WHERE t.slug = 'acme' AND k.slot = 'primary'
	) WHERE tenant_id = $1`, evil.at("tenant", "id"))
	if err != nil {
		t.Fatal(err)
	}
	if doc, err := w.service.Document(t.Context(), tenants.ID(evil.at("tenant", "id"))); err == nil {
		t.Errorf("the foreign secret opened: %v", doc.Keys)
	}
}

func TestHubs_put_replaces_and_patch_keeps(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, _ := w.signUp("ada@example.com", "acme")
	const game = "/v1/tenants/acme/hubs/Game"
	put := c.call("PUT", game, map[string]any{"handler": "broadcast", "allowed_origins": []string{"https://App.Example:443"}})
	if put.status != http.StatusCreated || put.at("name") != "game" || put.at("client_url") != "http://127.0.0.1:8888/t/acme/client/?hub=game" {
		t.Errorf("PUT answered %d: %s", put.status, put.text)
	}
	patched := c.call("PATCH", game, map[string]any{"keep_alive_seconds": 5})
	if patched.at("handler") != "broadcast" || patched.body["keep_alive_seconds"] != 5.0 || !strings.Contains(patched.text, `["https://app.example"]`) {
		t.Errorf("PATCH answered %s", patched.text)
	}
	if a := c.call("PUT", game, map[string]any{}); a.status != http.StatusOK || a.at("handler") != "auto" || a.body["keep_alive_seconds"] != 15.0 || !strings.Contains(a.text, `"allowed_origins":[]`) {
		t.Errorf("PUT of nothing answered %d: %s", a.status, a.text)
	}

	if a := c.call("DELETE", game, nil); a.status != http.StatusNoContent {
		t.Errorf("DELETE answered %d", a.status)
	}
	want(t, c.call("DELETE", game, nil), http.StatusNotFound, "not_found")
	if a := c.call("GET", game, nil); a.status != http.StatusOK || a.body["implicit"] != true || a.at("handler") != "auto" {
		t.Errorf("GET of a hub without settings answered %d: %s", a.status, a.text)
	}
}

func TestHubs_need_no_settings(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, acme := w.signUp("ada@example.com", "acme")
	_, evil := w.signUp("mallory@example.com", "evil")
	id, now := tenants.ID(acme.at("tenant", "id")), time.Now().UTC()
	month := now.Add(-31 * 24 * time.Hour)
	_, err := billingstore.New(w.pool).Commit(scope.System(t.Context(), scope.Usage), usage.Flush{EdgeRun: "e", Sequence: 1, SentAt: now,
		Deltas: []usage.Delta{
			{Tenant: id, Hub: "chat", Minute: now, Opened: 1},
			{Tenant: id, Hub: "game", Minute: now, Opened: 1},
			{Tenant: id, Hub: "guessed", Minute: now, Refused: map[string]int64{"invalid_token": 1}},
			{Tenant: id, Hub: "old", Minute: month, Delivered: 1},
			{Tenant: tenants.ID(evil.at("tenant", "id")), Hub: "theirs", Minute: now, Opened: 1},
		},
		Accepted: []usage.Counter{{Tenant: id, Hub: "alerts", Epoch: "1", Minute: now, Total: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	list := func() string {
		var text strings.Builder
		for _, h := range c.call("GET", "/v1/tenants/acme/hubs", nil).body["hubs"].([]any) {
			hub := h.(map[string]any)
			fmt.Fprintf(&text, "%v %v %v, ", hub["name"], hub["implicit"], hub["created_at"] != nil)
		}
		return text.String()
	}
	if got, want := list(), "alerts true false, chat false true, game true false, "; got != want {
		t.Errorf("hubs = %s, want %s", got, want)
	}
	if a := c.call("PATCH", "/v1/tenants/acme/hubs/Game", map[string]any{"handler": "broadcast"}); a.status != http.StatusOK || a.body["implicit"] != false || a.body["keep_alive_seconds"] != 15.0 {
		t.Errorf("PATCH of a hub without settings answered %d: %s", a.status, a.text)
	}
	if got, want := list(), "alerts true false, chat false true, game false true, "; got != want {
		t.Errorf("hubs = %s, want %s", got, want)
	}
}

func TestTokens_verify_with_the_tenants_keys_alone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, acme := w.signUp("ada@example.com", "acme")
	_, evil := w.signUp("mallory@example.com", "evil")
	verify := func(id, token string, target accesstoken.Target) (*accesstoken.Principal, error) {
		doc, err := w.service.Document(t.Context(), tenants.ID(id))
		if err != nil {
			t.Fatal(err)
		}
		return accesstoken.Verify(doc.Keys, token, target, time.Now())
	}
	hosts := []string{"127.0.0.1"}
	client := c.call("POST", "/v1/tenants/acme/client-tokens", map[string]any{"hub": "Chat", "user_id": "ada", "expires_in_seconds": 60})
	if client.at("url") != "http://127.0.0.1:8888/t/acme/client/?hub=chat" {
		t.Errorf("url = %q", client.at("url"))
	}
	target := accesstoken.Target{Kind: accesstoken.Client, Slug: "acme", Hosts: hosts, Hub: "chat"}
	if p, err := verify(acme.at("tenant", "id"), client.at("token"), target); err != nil || p.UserID != "ada" {
		t.Errorf("client token: %+v, %v", p, err)
	}
	if _, err := verify(evil.at("tenant", "id"), client.at("token"), target); err == nil {
		t.Error("another tenant's keys verify the token")
	}
	rest := c.call("POST", "/v1/tenants/acme/rest-tokens", map[string]any{})
	restTarget := accesstoken.Target{Kind: accesstoken.REST, Slug: "acme", Hosts: hosts, Path: "/api/v1/hubs/chat"}
	if _, err := verify(acme.at("tenant", "id"), rest.at("token"), restTarget); err != nil {
		t.Errorf("REST token: %v", err)
	}
	if _, err := verify(acme.at("tenant", "id"), client.at("token"), restTarget); err == nil {
		t.Error("a client token passes as REST token")
	}

	live := c.call("POST", "/v1/tenants/acme/live", nil)
	system, err := w.service.SystemTenant(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := verify(string(system.ID), live.at("token"), accesstoken.Target{Kind: accesstoken.Client, Slug: "signalbox", Hosts: hosts, Hub: "console"})
	if session := c.call("GET", "/v1/session", nil); err == nil && p.TokenID != tenants.LiveTokenID(tenants.UserID(acme.at("user", "id")), session.at("id")) {
		t.Errorf("live token %q isn't the session's", p.TokenID)
	}
	if err != nil || p.UserID != "member:"+acme.at("account", "id")+":"+acme.at("user", "id") || !slices.Equal(p.Groups, []string{"tenant:" + acme.at("tenant", "id")}) || !p.Permissions.Empty() {
		t.Errorf("live token: %+v, %v", p, err)
	}
}

func TestSystemTenant_made_by_many_at_once_is_one(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	var all sync.WaitGroup
	ids := make([]tenants.ID, 8)
	for i := range ids {
		all.Go(func() {
			system, err := w.service.SystemTenant(t.Context())
			if err != nil {
				t.Error(err)
			}
			ids[i] = system.ID
		})
	}
	all.Wait()
	for _, id := range ids {
		if id != ids[0] || id == "" {
			t.Errorf("ids = %v", ids)
		}
	}
}

func TestNothing_secret_is_logged_or_audited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, acme := w.signUp("ada@example.com", "acme")
	token := c.call("POST", "/v1/api-tokens", map[string]any{"name": "CI"}).at("secret")
	program := &client{w: w, http: http.DefaultClient, token: token}
	key := program.call("POST", "/v1/tenants/acme/keys/primary/regenerate", nil).at("secret")
	client := program.call("POST", "/v1/tenants/acme/client-tokens", map[string]any{"hub": "chat"}).at("token")
	c.call("POST", "/v1/session", map[string]string{"email": "ada@example.com", "password": "wrong " + password})
	w.pool.Close() // everything fails now, loudly
	c.call("POST", "/v1/session", map[string]string{"email": "ada@example.com", "password": password})
	want(t, program.call("POST", "/v1/tenants/acme/keys/primary/regenerate", nil), http.StatusServiceUnavailable, "unavailable")
	want(t, c.call("GET", "/v1/session", nil), http.StatusServiceUnavailable, "unavailable")
	if !strings.Contains(w.logs.String(), "request not served") {
		t.Error("a failure was not logged")
	}
	for name, secret := range map[string]string{
		"password": password, "API token": token, "access key": key, "first access key": acme.at("key", "secret"), "client token": client, "session": c.cookie(),
	} {
		if secret == "" || strings.Contains(w.logs.String(), secret) {
			t.Errorf("the %s is in the log (or missing: %q)", name, secret)
		}
	}
}

func TestAudit_has_who_what_and_from_where(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, acme := w.signUp("ada@example.com", "acme")
	a := c.call("PUT", "/v1/tenants/acme/hubs/game", map[string]any{})
	token := c.call("POST", "/v1/api-tokens", map[string]any{"name": "CI"}).at("api_token", "id")
	c.call("DELETE", "/v1/api-tokens/"+token, nil)
	var tokenEvents int
	if err := w.pool.QueryRow(t.Context(), "SELECT count(*) FROM audit_events WHERE action LIKE 'api_token.%' AND account_id = $1 AND subject = $2",
		acme.at("account", "id"), token).Scan(&tokenEvents); err != nil || tokenEvents != 2 {
		t.Errorf("%d events of the token in its account, %v, want 2", tokenEvents, err)
	}
	var account, user, subject, request, ip string
	err := w.pool.QueryRow(t.Context(), "SELECT account_id, actor_id, subject, request_id, ip FROM audit_events WHERE action = 'hub.put' AND tenant_id = $1",
		acme.at("tenant", "id")).Scan(&account, &user, &subject, &request, &ip)
	if err != nil || account != acme.at("account", "id") || user != acme.at("user", "id") || subject != "game" ||
		request != a.header.Get("X-Request-Id") || ip != "127.0.0.1" {
		t.Errorf("audit = %s %s %s %s %s, %v", account, user, subject, request, ip, err)
	}
}
