package adminapi_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/signalbox/signalbox/tenants"
)

func TestIssuers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, acme := w.signUp("ada@example.com", "acme")
	id := acme.at("tenant", "id")
	for _, row := range []struct {
		change map[string]any
		field  string
	}{
		{map[string]any{"jwks_url": "http://id.example.com/keys"}, "jwks_url"},
		{map[string]any{"jwks_url": "https://127.0.0.1/keys"}, "jwks_url"},
		{map[string]any{"jwks_url": "https://169.254.169.254/latest"}, "jwks_url"},
		{map[string]any{"jwks_url": "https://localhost/keys"}, "jwks_url"},
		{map[string]any{"jwks_url": "https://id.example.com:6379/keys"}, "jwks_url"},
		{map[string]any{"jwks_url": "https://a@id.example.com/keys"}, "jwks_url"},
		{map[string]any{"issuer": "a\nb"}, "issuer"},
		{map[string]any{"algorithms": []string{"HS256"}}, "algorithms.0"},
		{map[string]any{"algorithms": []string{"none"}}, "algorithms.0"},
		{map[string]any{"audiences": []string{"a", "\u202e"}}, "audiences.1"},
		{map[string]any{"user_claim": ""}, "user_claim"},
	} {
		body := map[string]any{"issuer": "https://id.example.com/", "jwks_url": "https://id.example.com/keys"}
		for k, v := range row.change {
			body[k] = v
		}
		a := c.call("POST", "/v1/tenants/acme/issuers", body)
		if a.status != http.StatusBadRequest || !slices.Contains(a.errorFields(), row.field) {
			t.Errorf("%v answered %d: %s", row.change, a.status, a.text)
		}
	}
	before := w.published.of(id)
	made := c.call("POST", "/v1/tenants/acme/issuers", issuerBody)
	if made.status != http.StatusCreated || made.at("user_claim") != "sub" || w.published.of(id) != before+1 {
		t.Fatalf("answered %d: %s", made.status, made.text)
	}
	want(t, c.call("POST", "/v1/tenants/acme/issuers", issuerBody), http.StatusConflict, "issuer_taken")
	changed := c.call("PUT", "/v1/tenants/acme/issuers/"+made.at("id"), map[string]any{
		"issuer": "https://id.example.com/", "jwks_url": "https://id.example.com/other", "algorithms": []string{"EdDSA"}, "audiences": []string{"x"}, "close_on_expiry": true,
	})
	if changed.status != http.StatusOK || changed.at("jwks_url") != "https://id.example.com/other" || changed.at("id") != made.at("id") {
		t.Fatalf("answered %d: %s", changed.status, changed.text)
	}
	doc, err := w.service.Document(t.Context(), tenants.ID(id))
	if err != nil || len(doc.Issuers) != 1 || doc.Issuers[0].ID != made.at("id") || !doc.Issuers[0].CloseOnExpiry || doc.Issuers[0].Audiences[0] != "x" {
		t.Fatalf("the document has %+v, %v", doc.Issuers, err)
	}
	for i := range 4 {
		if a := c.call("POST", "/v1/tenants/acme/issuers", map[string]any{"issuer": fmt.Sprint("i", i), "jwks_url": "https://id.example.com/keys"}); a.status != http.StatusCreated {
			t.Fatalf("issuer %d answered %d: %s", i, a.status, a.text)
		}
	}
	want(t, c.call("POST", "/v1/tenants/acme/issuers", map[string]any{"issuer": "one more", "jwks_url": "https://id.example.com/keys"}), http.StatusConflict, "max_issuers")
	// Another tenant has nothing to do with this one's.
	other, _ := w.signUp("eve@example.com", "evil")
	want(t, other.call("PUT", "/v1/tenants/evil/issuers/"+made.at("id"), issuerBody), http.StatusNotFound, "not_found")
	want(t, other.call("DELETE", "/v1/tenants/evil/issuers/"+made.at("id"), nil), http.StatusNotFound, "not_found")
	if a := c.call("DELETE", "/v1/tenants/acme/issuers/"+made.at("id"), nil); a.status != http.StatusNoContent {
		t.Errorf("answered %d: %s", a.status, a.text)
	}
	if a := c.call("GET", "/v1/tenants/acme/issuers", nil); strings.Contains(a.text, made.at("id")) {
		t.Errorf("still lists it: %s", a.text)
	}
}

func TestRevocations(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	w := newWorld(t, settings{now: func() time.Time { return now }})
	c, acme := w.signUp("ada@example.com", "acme")
	id := acme.at("tenant", "id")
	revoke := func(kind, value string) answer {
		return c.call("POST", "/v1/tenants/acme/revocations", map[string]any{"kind": kind, "value": value})
	}
	for _, row := range []struct{ kind, value, field string }{
		{"user", "", "value"}, {"user", "a\x00b", "value"}, {"user", strings.Repeat("é", 200), "value"}, {"group", "x", "kind"},
	} {
		if a := revoke(row.kind, row.value); a.status != http.StatusBadRequest || !slices.Contains(a.errorFields(), row.field) {
			t.Errorf("%+v answered %d: %s", row, a.status, a.text)
		}
	}
	before := w.published.of(id)
	first := revoke("user", "zoe")
	if first.status != http.StatusCreated || w.published.of(id) != before+1 || first.at("expires_at") != "2026-11-23T12:02:00Z" {
		t.Fatalf("answered %d: %s", first.status, first.text)
	}
	now = now.Add(time.Hour)
	again := revoke("user", "zoe") // renews it
	revoke("token", "t1")
	revoke("key", "k1")
	revoke("user", "ann")
	doc, err := w.service.Document(t.Context(), tenants.ID(id))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(doc.Revocations); got != fmt.Sprintf("[{key k1 %[1]d} {token t1 %[1]d} {user ann %[1]d} {user zoe %[1]d}]", now.Unix()) {
		t.Errorf("the document has %s", got)
	}
	issued := func(at time.Time) tenants.Credential {
		return tenants.Credential{UserID: "zoe", KeyID: "k2", TokenID: "t2", IssuedAt: at}
	}
	for _, row := range []struct {
		credential tenants.Credential
		want       tenants.RevocationKind
	}{
		{issued(now), tenants.RevokedUser}, {issued(now.Add(time.Second)), ""}, {issued(time.Time{}), tenants.RevokedUser},
		{tenants.Credential{TokenID: "t1", IssuedAt: now.Add(time.Hour)}, tenants.RevokedToken},
		{tenants.Credential{KeyID: "k1", UserID: "bob", IssuedAt: now}, tenants.RevokedKey},
		{tenants.Credential{KeyID: "k1", UserID: "bob", IssuedAt: now.Add(time.Hour)}, tenants.RevokedKey},
		{tenants.Credential{KeyID: "ann", UserID: "k1", TokenID: "zoe", IssuedAt: now}, ""},
		{tenants.Credential{}, ""},
	} {
		if got := doc.Revoked(row.credential); got != row.want {
			t.Errorf("%+v is revoked by %q, want %q", row.credential, got, row.want)
		}
	}
	other, _ := w.signUp("eve@example.com", "evil")
	want(t, other.call("DELETE", "/v1/tenants/evil/revocations/"+again.at("id"), nil), http.StatusNotFound, "not_found")
	want(t, c.call("DELETE", "/v1/tenants/acme/revocations/"+first.at("id"), nil), http.StatusNotFound, "not_found") // renewed under another id
	if a := c.call("DELETE", "/v1/tenants/acme/revocations/"+again.at("id"), nil); a.status != http.StatusNoContent {
		t.Errorf("answered %d: %s", a.status, a.text)
	}
	// What has expired is in nobody's way; a key stays revoked.
	now = now.Add(25 * time.Hour)
	if a := c.call("GET", "/v1/tenants/acme/revocations", nil); strings.Count(a.text, "kind") != 1 || !strings.Contains(a.text, `"k1"`) {
		t.Errorf("lists %s", a.text)
	}
	if _, err := w.pool.Exec(t.Context(), `INSERT INTO token_revocations (tenant_id, id, kind, value, issued_before, expires_at)
		SELECT $1, 'id-' || n, 'user', 'user-' || n, $2, $2 FROM generate_series(1, 1999) n`, id, now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	want(t, revoke("user", "one more"), http.StatusConflict, "max_revocations")
	now = now.Add(2 * time.Hour)
	if a := revoke("user", "one more"); a.status != http.StatusCreated {
		t.Errorf("answered %d: %s", a.status, a.text)
	}
}

// A revoked access key signs nothing more, not for the control plane either; a
// regenerated one is another key, and its predecessor's revocation is gone.
func TestRevokedKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, _ := w.signUp("ada@example.com", "acme")
	keyOf := func() map[string]string {
		var list struct{ Keys []struct{ ID, Slot string } }
		if err := json.Unmarshal([]byte(c.call("GET", "/v1/tenants/acme/keys", nil).text), &list); err != nil {
			t.Fatal(err)
		}
		all := make(map[string]string)
		for _, k := range list.Keys {
			all[k.Slot] = k.ID
		}
		return all
	}
	signedBy := func() string {
		a := c.call("POST", "/v1/tenants/acme/client-tokens", map[string]any{"hub": "chat", "user_id": "ann"})
		token, _, err := jwt.NewParser().ParseUnverified(a.at("token"), jwt.MapClaims{})
		if err != nil {
			t.Fatalf("answered %d: %s", a.status, a.text)
		}
		kid, _ := token.Header["kid"].(string)
		return kid
	}
	keys := keyOf()
	if got := signedBy(); got != keys["primary"] {
		t.Fatalf("signed by %s, want the primary key of %v", got, keys)
	}
	revoke := func(slot string) {
		t.Helper()
		if a := c.call("POST", "/v1/tenants/acme/revocations", map[string]any{"kind": "key", "value": keys[slot]}); a.status != http.StatusCreated {
			t.Fatalf("answered %d: %s", a.status, a.text)
		}
	}
	revoke("primary")
	if got := signedBy(); got != keys["secondary"] {
		t.Errorf("signed by %s, want the secondary key of %v", got, keys)
	}
	revoke("secondary")
	want(t, c.call("POST", "/v1/tenants/acme/client-tokens", map[string]any{"hub": "chat"}), http.StatusConflict, "keys_revoked")
	want(t, c.call("POST", "/v1/tenants/acme/rest-tokens", map[string]any{}), http.StatusConflict, "keys_revoked")
	if a := c.call("POST", "/v1/tenants/acme/keys/primary/regenerate", nil); a.status != http.StatusOK {
		t.Fatalf("answered %d: %s", a.status, a.text)
	}
	if got, now := signedBy(), keyOf(); got != now["primary"] || got == keys["primary"] {
		t.Errorf("signed by %s, want the new primary key of %v", got, now)
	}
	if a := c.call("GET", "/v1/tenants/acme/revocations", nil); strings.Contains(a.text, keys["primary"]) || !strings.Contains(a.text, keys["secondary"]) {
		t.Errorf("lists %s, want the secondary key's alone", a.text)
	}
}

// provider is an identity provider with one key.
func provider(t *testing.T) (url string, token func(claims jwt.MapClaims) string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]any{
			"kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": base64.RawURLEncoding.EncodeToString(public),
		}}})
	}))
	t.Cleanup(s.Close)
	return s.URL, func(claims jwt.MapClaims) string {
		signed := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims)
		signed.Header["kid"] = "k1"
		text, err := signed.SignedString(private)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
}

func TestWouldThisBeAllowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{outbound: thisMachine})
	c, _ := w.signUp("ada@example.com", "acme")
	if a := c.call("PUT", "/v1/tenants/acme/hubs/chat", map[string]any{"client_permissions": []string{"joinGroup:open-*"}}); a.status != http.StatusOK {
		t.Fatalf("answered %d: %s", a.status, a.text)
	}
	mint := func(body map[string]any) answer {
		a := c.call("POST", "/v1/tenants/acme/client-tokens", body)
		if a.status != http.StatusCreated {
			t.Fatalf("answered %d: %s", a.status, a.text)
		}
		return a
	}
	mine := mint(map[string]any{"hub": "chat", "user_id": "ann", "groups": []string{"lobby"}, "permissions": []string{"sendToGroup:room-*", "joinGroup:user-{user}"}})
	revoked := mint(map[string]any{"hub": "chat", "user_id": "bob"})
	if a := c.call("POST", "/v1/tenants/acme/revocations", map[string]any{"kind": "token", "value": revoked.at("id")}); a.status != http.StatusCreated {
		t.Fatalf("answered %d: %s", a.status, a.text)
	}
	rest := c.call("POST", "/v1/tenants/acme/rest-tokens", map[string]any{})
	url, issue := provider(t)
	if a := c.call("POST", "/v1/tenants/acme/issuers", map[string]any{"issuer": "mine", "jwks_url": url, "audiences": []string{"signalbox"}}); a.status != http.StatusCreated {
		t.Fatalf("answered %d: %s", a.status, a.text)
	}
	claims := jwt.MapClaims{"iss": "mine", "aud": "signalbox", "sub": "cid", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(), "roles": []string{"webpubsub.sendToGroup", "webpubsub.unknown"}}
	issued := issue(claims)
	claims["sub"] = "ann\nbob"
	unfit := issue(claims)
	claims["exp"] = time.Now().Add(-2 * time.Minute).Unix()
	for _, row := range []struct {
		name   string
		body   map[string]any
		code   string
		source string // of the rule
		rule   string
	}{
		{"connect", map[string]any{"action": "connect", "token": mine.at("token")}, "allowed", "", ""},
		{"token_allows", map[string]any{"action": "sendToGroup", "group": "room-1", "token": mine.at("token")}, "allowed", "token", "sendToGroup:room-*"},
		{"user_of_the_token", map[string]any{"action": "joinGroup", "group": "user-ann", "token": mine.at("token")}, "allowed", "token", "joinGroup:user-{user}"},
		{"another_user", map[string]any{"action": "joinGroup", "group": "user-bob", "token": mine.at("token")}, "permission_denied", "", ""},
		{"hub_allows", map[string]any{"action": "joinGroup", "group": "open-1", "token": mine.at("token")}, "allowed", "hub", "joinGroup:open-*"},
		{"nothing_allows", map[string]any{"action": "leaveGroup", "group": "room-1", "token": mine.at("token")}, "permission_denied", "", ""},
		{"other_hub", map[string]any{"action": "connect", "token": mine.at("token"), "hub": "other"}, "invalid_token", "", ""},
		{"description_allows", map[string]any{"action": "readHistory", "group": "x", "permissions": []string{"readHistory"}}, "allowed", "token", "readHistory"},
		{"description_of_a_user", map[string]any{"action": "joinGroup", "group": "u-eve", "user_id": "eve", "permissions": []string{"joinGroup:u-{user}"}}, "allowed", "token", "joinGroup:u-{user}"},
		{"description_allows_nothing", map[string]any{"action": "sendToGroup", "group": "x", "permissions": []string{"nonsense"}}, "permission_denied", "", ""},
		{"revoked", map[string]any{"action": "connect", "token": revoked.at("token")}, "token_revoked", "", ""},
		{"rest_token", map[string]any{"action": "connect", "token": rest.at("token")}, "wrong_token_kind", "", ""},
		{"no_token_at_all", map[string]any{"action": "connect", "token": "x.y.z"}, "invalid_token", "", ""},
		{"issued", map[string]any{"action": "sendToGroup", "group": "any", "token": issued}, "allowed", "token", "webpubsub.sendToGroup"},
		{"issued_for_a_user_whom_no_edge_serves", map[string]any{"action": "connect", "token": unfit}, "invalid_token", "", ""},
		{"issued_expired", map[string]any{"action": "connect", "token": issue(claims)}, "invalid_token", "", ""},
	} {
		body := map[string]any{"hub": "chat"}
		for k, v := range row.body {
			body[k] = v
		}
		a := c.call("POST", "/v1/tenants/acme/permission-checks", body)
		if a.status != http.StatusOK || a.body["allowed"] != (row.code == "allowed") || a.at("code") != row.code ||
			a.at("rule", "source") != row.source || a.at("rule", "permission") != row.rule || a.at("reason") == "" || strings.Contains(a.at("reason"), "yet") {
			t.Errorf("%s: answered %d: %s", row.name, a.status, a.text)
		}
	}
	a := c.call("POST", "/v1/tenants/acme/permission-checks", map[string]any{"hub": "chat", "action": "connect", "token": issued})
	if a.at("token", "user_id") != "cid" || !strings.Contains(a.text, `"webpubsub.unknown"`) || a.at("token", "key_id") != "k1" {
		t.Errorf("answered %s", a.text)
	}
	for field, body := range map[string]map[string]any{
		"group":  {"hub": "chat", "action": "joinGroup"},
		"token":  {"hub": "chat", "action": "connect", "token": "x", "user_id": "ann"},
		"action": {"hub": "chat", "action": "fly"},
	} {
		if a := c.call("POST", "/v1/tenants/acme/permission-checks", body); a.status != http.StatusBadRequest || !slices.Contains(a.errorFields(), field) {
			t.Errorf("%v answered %d: %s", body, a.status, a.text)
		}
	}
	// What can't be in a token is refused when it is asked for.
	for field, body := range map[string]map[string]any{
		"permissions.1":        {"hub": "chat", "permissions": []string{"joinGroup", "fly"}},
		"client_permissions.0": nil,
	} {
		var a answer
		if body != nil {
			a = c.call("POST", "/v1/tenants/acme/client-tokens", body)
		} else {
			a = c.call("PATCH", "/v1/tenants/acme/hubs/chat", map[string]any{"client_permissions": []string{"fly"}})
		}
		if a.status != http.StatusBadRequest || !slices.Contains(a.errorFields(), field) {
			t.Errorf("%s: answered %d: %s", field, a.status, a.text)
		}
	}
	many := make([]string, 100)
	for i := range many {
		many[i] = fmt.Sprintf("joinGroup:a-group-with-a-name-of-some-length-%d", i)
	}
	want(t, c.call("POST", "/v1/tenants/acme/client-tokens", map[string]any{"hub": "chat", "permissions": many}), http.StatusBadRequest, "token_too_long")
}
