package adminapi_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/signalbox/signalbox/tenants"
)

func status(t *testing.T, a answer, want int) answer {
	t.Helper()
	if a.status != want {
		t.Errorf("answered %d, want %d: %s", a.status, want, a.text)
	}
	return a
}

func TestInvitation_of_a_new_person(t *testing.T) {
	t.Parallel()
	var offset atomic.Int64
	w := newWorld(t, settings{now: func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }})
	ada, acme := w.signUp("ada@example.com", "acme")
	base := "/v1/accounts/" + acme.at("account", "id")
	invite := map[string]any{"email": "Bob@example.com", "role": "developer"}
	want(t, ada.call("POST", base+"/invitations", invite), http.StatusForbidden, "email_unverified")
	w.verified(acme)
	made := status(t, ada.call("POST", base+"/invitations", invite), http.StatusCreated)
	want(t, ada.call("POST", base+"/invitations", map[string]any{"email": "bob@EXAMPLE.com", "role": "viewer"}), http.StatusConflict, "already_invited")
	want(t, ada.call("POST", base+"/invitations", map[string]any{"email": "ADA@example.com", "role": "viewer"}), http.StatusConflict, "already_member")
	// SEC-39: an address that has a user and one that has none are invited in the same way.
	w.signUp("carol@example.com", "carol")
	told := func(email string) (answer, string) {
		a := status(t, ada.call("POST", base+"/invitations", map[string]any{"email": email, "role": "viewer"}), http.StatusCreated)
		names := slices.DeleteFunc(slices.Sorted(maps.Keys(a.header)), func(name string) bool { return name == "Content-Length" })
		return a, fmt.Sprint(slices.Sorted(maps.Keys(a.body)), names, a.header.Get("RateLimit-Policy"), a.header.Values("Content-Type"))
	}
	_, known := told("carol@example.com")
	if _, unknown := told("nobody@example.com"); known != unknown {
		t.Errorf("answers differ: %s and %s", known, unknown)
	}
	m, first := w.mailTo("Bob@example.com")
	if !strings.Contains(m.Text, "ada@example.com invites you") || !strings.Contains(m.HTML, m.Link) || !strings.HasPrefix(m.Link, "https://console.example.com/invitation?token=") {
		t.Errorf("mail = %+v", m)
	}
	// Sent again: another link, and the former one is void.
	status(t, ada.call("POST", base+"/invitations/"+made.at("id")+"/resend", nil), http.StatusOK)
	_, second := w.mailTo("Bob@example.com")
	bob := w.browser()
	want(t, bob.call("POST", "/v1/invitations/lookup", map[string]any{"token": first}), http.StatusNotFound, "link_expired")
	offer := status(t, bob.call("POST", "/v1/invitations/lookup", map[string]any{"token": second}), http.StatusOK)
	if offer.at("email") != "Bob@example.com" || offer.body["has_user"] != false || offer.at("role") != "developer" {
		t.Errorf("offered %s", offer.text)
	}
	offset.Store(int64(8 * 24 * time.Hour))
	want(t, bob.call("POST", "/v1/invitations/acceptance", map[string]any{"token": second, "password": password}), http.StatusNotFound, "link_expired")
	offset.Store(0)
	want(t, bob.call("POST", "/v1/invitations/acceptance", map[string]any{"token": second}), http.StatusBadRequest, "invalid")
	// Of two who use it at once, one joins.
	var joined atomic.Int64
	var group sync.WaitGroup
	for _, c := range []*client{bob, w.browser()} {
		group.Go(func() {
			if a := c.call("POST", "/v1/invitations/acceptance", map[string]any{"token": second, "password": password}); a.status == http.StatusOK {
				joined.Add(1)
				bob = c
			}
		})
	}
	group.Wait()
	if joined.Load() != 1 {
		t.Fatalf("%d joined with one link", joined.Load())
	}
	session := status(t, bob.call("GET", "/v1/session", nil), http.StatusOK)
	if session.at("user", "email") != "Bob@example.com" || session.body["user"].(map[string]any)["email_verified"] != true {
		t.Errorf("session = %s", session.text)
	}
	status(t, bob.call("GET", "/v1/tenants/acme/keys", nil), http.StatusOK)
	want(t, bob.call("POST", base+"/invitations", map[string]any{"email": "eve@example.com", "role": "viewer"}), http.StatusForbidden, "forbidden")
	if a := ada.call("GET", base+"/invitations", nil); strings.Contains(a.text, "Bob") {
		t.Errorf("still open: %s", a.text)
	}
	if got := w.actions(made.at("id")); !slices.Equal(got, []string{"invitation.created", "invitation.resent"}) {
		t.Errorf("audited %v", got)
	}
}

func TestInvitation_is_for_its_address_alone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	ada, acme := w.signUp("ada@example.com", "acme")
	w.verified(acme)
	bob, _ := w.signUp("bob@example.com", "bob")
	eve, _ := w.signUp("eve@example.com", "eve")
	base := "/v1/accounts/" + acme.at("account", "id")
	status(t, ada.call("POST", base+"/invitations", map[string]any{"email": "bob@example.com", "role": "viewer"}), http.StatusCreated)
	_, token := w.mailTo("bob@example.com")
	accept := map[string]any{"token": token, "password": password}
	want(t, w.browser().call("POST", "/v1/invitations/acceptance", accept), http.StatusUnauthorized, "sign_in_first")
	want(t, eve.call("POST", "/v1/invitations/acceptance", accept), http.StatusForbidden, "another_address")
	joined := status(t, bob.call("POST", "/v1/invitations/acceptance", map[string]any{"token": token}), http.StatusOK)
	if len(joined.body["accounts"].([]any)) != 2 {
		t.Errorf("bob is in %s", joined.text)
	}
	want(t, bob.call("POST", "/v1/invitations/acceptance", map[string]any{"token": token}), http.StatusNotFound, "link_expired")
	// Withdrawn, the link is void.
	made := status(t, ada.call("POST", base+"/invitations", map[string]any{"email": "eve@example.com", "role": "viewer"}), http.StatusCreated)
	_, token = w.mailTo("eve@example.com")
	status(t, ada.call("DELETE", base+"/invitations/"+made.at("id"), nil), http.StatusNoContent)
	want(t, eve.call("POST", "/v1/invitations/acceptance", map[string]any{"token": token}), http.StatusNotFound, "link_expired")
}

func TestMembers_change_and_go(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	ada, acme := w.signUp("ada@example.com", "acme")
	account := acme.at("account", "id")
	base := "/v1/accounts/" + account
	admin := w.member("bob@example.com", account, tenants.Admin)
	dev := w.member("dan@example.com", account, tenants.Developer)
	id := func(c *client) string { return c.call("GET", "/v1/session", nil).at("user", "id") }
	adaID, devID := id(ada), id(dev)
	list := status(t, admin.call("GET", base+"/members", nil), http.StatusOK)
	if len(list.body["members"].([]any)) != 3 || !strings.Contains(list.text, "last_seen_at") {
		t.Errorf("members = %s", list.text)
	}
	role := func(r string) map[string]any { return map[string]any{"role": r} }
	want(t, ada.call("PATCH", base+"/members/"+adaID, role("admin")), http.StatusConflict, "last_owner")
	want(t, ada.call("DELETE", base+"/members/"+adaID, nil), http.StatusConflict, "last_owner")
	want(t, ada.call("POST", base+"/leave", nil), http.StatusConflict, "last_owner")
	want(t, admin.call("PATCH", base+"/members/"+devID, role("owner")), http.StatusForbidden, "owners_only")
	want(t, admin.call("PATCH", base+"/members/"+adaID, role("viewer")), http.StatusForbidden, "owners_only")
	want(t, admin.call("DELETE", base+"/members/"+adaID, nil), http.StatusForbidden, "owners_only")
	want(t, admin.call("PATCH", base+"/members/"+devID, role("king")), http.StatusBadRequest, "invalid")
	status(t, admin.call("PATCH", base+"/members/"+devID, role("viewer")), http.StatusOK)
	want(t, dev.call("GET", "/v1/tenants/acme/keys", nil), http.StatusForbidden, "forbidden")
	status(t, admin.call("PATCH", base+"/members/"+devID, role("developer")), http.StatusOK)
	// A removed member's personal token dies with the membership, and stays dead.
	token := dev.program(account, nil)
	status(t, token.call("GET", "/v1/tenants/acme", nil), http.StatusOK)
	status(t, admin.call("DELETE", base+"/members/"+devID, nil), http.StatusNoContent)
	want(t, token.call("GET", "/v1/tenants/acme", nil), http.StatusUnauthorized, "invalid_token")
	want(t, dev.call("GET", "/v1/tenants/acme", nil), http.StatusNotFound, "not_found")
	w.exec("INSERT INTO members (account_id, user_id, role) VALUES ($1, $2, 'developer')", account, devID)
	want(t, token.call("GET", "/v1/tenants/acme", nil), http.StatusUnauthorized, "invalid_token")
	if got := w.actions(devID); !slices.Equal(got, []string{"member.changed", "member.changed", "member.removed"}) {
		t.Errorf("audited %v", got)
	}
	var before, after string
	if err := w.pool.QueryRow(t.Context(), "SELECT before->>'role', after->>'role' FROM audit_events WHERE action = 'member.changed' ORDER BY id LIMIT 1").Scan(&before, &after); err != nil || before != "developer" || after != "viewer" {
		t.Errorf("the audit has %q → %q, %v", before, after, err)
	}
	// Two owners who remove each other at once: one stays.
	status(t, ada.call("PATCH", base+"/members/"+id(admin), role("owner")), http.StatusOK)
	var group sync.WaitGroup
	group.Go(func() { ada.call("DELETE", base+"/members/"+id(admin), nil) })
	group.Go(func() { admin.call("DELETE", base+"/members/"+adaID, nil) })
	group.Wait()
	var owners int
	if err := w.pool.QueryRow(t.Context(), "SELECT count(*) FROM members WHERE account_id = $1 AND role = 'owner'", account).Scan(&owners); err != nil || owners != 1 {
		t.Errorf("%d owners are left, %v", owners, err)
	}
}

func TestAPITokens_have_scopes_roles_and_an_end(t *testing.T) {
	t.Parallel()
	var offset atomic.Int64
	w := newWorld(t, settings{now: func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }})
	ada, acme := w.signUp("ada@example.com", "acme")
	account := acme.at("account", "id")
	base := "/v1/accounts/" + account
	admin := w.member("bob@example.com", account, tenants.Admin)
	want(t, ada.call("POST", base+"/api-tokens", map[string]any{"name": "x", "role": "owner"}), http.StatusBadRequest, "invalid")
	made := status(t, admin.call("POST", base+"/api-tokens", map[string]any{
		"name": "Deploy", "role": "developer", "scopes": []string{"keys:read", "tenants:read"}, "expires_in_days": 30,
	}), http.StatusCreated)
	service := &client{w: w, http: http.DefaultClient, token: made.at("secret")}
	status(t, service.call("GET", "/v1/tenants/acme/keys", nil), http.StatusOK)
	want(t, service.call("PATCH", "/v1/tenants/acme", map[string]any{"name": "x"}), http.StatusForbidden, "insufficient_scope")
	if a := service.call("GET", "/v1/session", nil); a.at("user", "email") != "" || a.at("id") != "" {
		t.Errorf("session = %s", a.text)
	}
	// It belongs to the account, not to whoever made it.
	adminID := admin.call("GET", "/v1/session", nil).at("user", "id")
	status(t, ada.call("DELETE", base+"/members/"+adminID, nil), http.StatusNoContent)
	status(t, service.call("GET", "/v1/tenants/acme/keys", nil), http.StatusOK)
	all := status(t, ada.call("GET", base+"/api-tokens", nil), http.StatusOK)
	if !strings.Contains(all.text, `"kind":"service"`) || !strings.Contains(all.text, "last_used_at") || strings.Contains(all.text, made.at("secret")) {
		t.Errorf("tokens = %s", all.text)
	}
	if a := ada.call("GET", base+"/members", nil); len(a.body["members"].([]any)) != 1 {
		t.Errorf("a service is a member: %s", a.text)
	}
	offset.Store(int64(31 * 24 * time.Hour))
	want(t, service.call("GET", "/v1/tenants/acme/keys", nil), http.StatusUnauthorized, "invalid_token")
	offset.Store(0)
	status(t, ada.call("DELETE", base+"/api-tokens/"+made.at("api_token", "id"), nil), http.StatusNoContent)
	want(t, service.call("GET", "/v1/tenants/acme/keys", nil), http.StatusUnauthorized, "invalid_token")
	var left int
	if err := w.pool.QueryRow(t.Context(), "SELECT count(*) FROM users WHERE kind = 'service'").Scan(&left); err != nil || left != 0 {
		t.Errorf("%d services are left, %v", left, err)
	}
	var kept int
	if err := w.pool.QueryRow(t.Context(), "SELECT count(*) FROM api_tokens WHERE token_hash = $1::bytea OR hint = $2", []byte(made.at("secret")), made.at("secret")).Scan(&kept); err != nil || kept != 0 {
		t.Errorf("%d tokens are kept in the clear, %v", kept, err)
	}
}

func TestAccounts_are_made_renamed_and_bounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	ada, acme := w.signUp("ada@example.com", "acme")
	var made answer
	for range 4 {
		made = status(t, ada.call("POST", "/v1/accounts", map[string]any{"name": "Second"}), http.StatusCreated)
	}
	want(t, ada.call("POST", "/v1/accounts", map[string]any{"name": "Sixth"}), http.StatusConflict, "max_accounts")
	renamed := status(t, ada.call("PATCH", "/v1/accounts/"+made.at("id"), map[string]any{"name": "Renamed"}), http.StatusOK)
	if renamed.at("name") != "Renamed" {
		t.Errorf("account = %s", renamed.text)
	}
	want(t, ada.call("PATCH", "/v1/accounts/"+acme.at("account", "id"), map[string]any{"require_second_factor": true}), http.StatusConflict, "second_factor_missing")
	// SEC-32: what is not the caller's to change.
	for _, field := range []string{"plan", "id", "role", "created_at", "account_id", "is_admin", "balance", "quota", "owner"} {
		a := ada.call("PATCH", "/v1/accounts/"+acme.at("account", "id"), map[string]any{"name": "x", field: "y"})
		want(t, a, http.StatusBadRequest, "invalid")
		want(t, ada.call("PATCH", "/v1/tenants/acme", map[string]any{"name": "x", field: "y"}), http.StatusBadRequest, "invalid")
	}
	if a := ada.call("GET", "/v1/accounts/"+acme.at("account", "id"), nil); a.at("name") == "x" || a.at("plan") != "free" {
		t.Errorf("account = %s", a.text)
	}
}
