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
	bob, bobUp := w.signUp("bob@example.com", "bob")
	eve, eveUp := w.signUp("eve@example.com", "eve")
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
	// An address gets ten an hour from all accounts together, an account sends thirty.
	w.verified(eveUp)
	invite := func(c *client, account answer, email string) answer {
		return c.call("POST", "/v1/accounts/"+account.at("account", "id")+"/invitations", map[string]any{"email": email, "role": "viewer"})
	}
	first := status(t, invite(eve, eveUp, "much@example.com"), http.StatusCreated)
	for range 8 {
		status(t, eve.call("POST", "/v1/accounts/"+eveUp.at("account", "id")+"/invitations/"+first.at("id")+"/resend", nil), http.StatusOK)
	}
	status(t, invite(ada, acme, "much@example.com"), http.StatusCreated)
	mails := w.mails()
	for name, a := range map[string]answer{
		"the eleventh, from a third account":    invite(bob, bobUp, "MUCH@example.com"),
		"the eleventh, sent again by the first": eve.call("POST", "/v1/accounts/"+eveUp.at("account", "id")+"/invitations/"+first.at("id")+"/resend", nil),
	} {
		if a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: answered %d: %s", name, a.status, a.text)
		}
	}
	if n := w.mails(); n != mails {
		t.Errorf("refused invitations sent %d mails", n-mails)
	}
	for i := range 21 { // eve has sent nine
		status(t, invite(eve, eveUp, fmt.Sprintf("guest%d@example.com", i)), http.StatusCreated)
	}
	want(t, invite(eve, eveUp, "guest21@example.com"), http.StatusTooManyRequests, "rate_limited")
	status(t, invite(bob, bobUp, "guest21@example.com"), http.StatusCreated)
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
	// No token makes anybody more than it is itself: owners are made in sessions alone,
	// and by tokens that have scopes viewers alone.
	w.exec("UPDATE users SET email_verified_at = now() WHERE id = $1", adaID)
	ofOwner, ofService := ada.program(account, nil), ada.service(account, tenants.Admin, nil)
	for name, row := range map[string]struct {
		by   *client
		role string
		code string
	}{
		"an owner's token, an owner":                {ofOwner, "owner", "session_required"},
		"an owner's token with scopes, an owner":    {ada.program(account, []tenants.Scope{tenants.WriteMembers}), "owner", "session_required"},
		"an owner's token with scopes, an admin":    {ada.program(account, []tenants.Scope{tenants.WriteMembers}), "admin", "session_required"},
		"an owner's token with scopes, a developer": {ada.program(account, []tenants.Scope{tenants.WriteMembers}), "developer", "session_required"},
		"an owner's token with scopes, billing":     {ada.program(account, []tenants.Scope{tenants.WriteMembers}), "billing", "session_required"},
		"an owner's token without the scope":        {ada.program(account, []tenants.Scope{tenants.ReadMembers}), "viewer", "insufficient_scope"},
		"a service token, an owner":                 {ofService, "owner", "owners_only"},
	} {
		want(t, row.by.call("PATCH", base+"/members/"+devID, role(row.role)), http.StatusForbidden, row.code)
		if a := row.by.call("POST", base+"/invitations", map[string]any{"email": "more@example.com", "role": row.role}); a.status != http.StatusForbidden || a.at("code") != row.code {
			t.Errorf("%s: an invitation answered %d: %s", name, a.status, a.text)
		}
	}
	status(t, ofOwner.call("PATCH", base+"/members/"+devID, role("admin")), http.StatusOK)
	status(t, ofService.call("PATCH", base+"/members/"+devID, role("developer")), http.StatusOK)
	status(t, ada.call("PATCH", base+"/members/"+id(admin), role("owner")), http.StatusOK)
	want(t, ofOwner.call("DELETE", base+"/members/"+id(admin), nil), http.StatusForbidden, "session_required")
	want(t, ofOwner.call("PATCH", base+"/members/"+id(admin), role("viewer")), http.StatusForbidden, "session_required")
	status(t, ada.call("PATCH", base+"/members/"+id(admin), role("admin")), http.StatusOK)
	for _, path := range []string{base + "/api-tokens", "/v1/api-tokens"} {
		want(t, ofOwner.call("POST", path, map[string]any{"name": "more", "role": "admin"}), http.StatusForbidden, "session_required")
	}
	// A removed member's personal token dies with the membership, and stays dead; what
	// shows the tenant's figures live is taken back.
	token := dev.program(account, nil)
	status(t, token.call("GET", "/v1/tenants/acme", nil), http.StatusOK)
	status(t, dev.call("POST", "/v1/tenants/acme/live", nil), http.StatusOK)
	status(t, ofService.call("POST", "/v1/tenants/acme/live", nil), http.StatusOK)
	live := func(u string) bool {
		doc := w.systemDocument()
		return doc.Revoked(tenants.Credential{UserID: tenants.LiveUser(tenants.AccountID(account), tenants.UserID(u)), IssuedAt: time.Now().Add(-time.Second)}) == ""
	}
	if !live(devID) {
		t.Error("a member's live figures are taken back")
	}
	status(t, admin.call("DELETE", base+"/members/"+devID, nil), http.StatusNoContent)
	if live(devID) || !live(adaID) {
		t.Errorf("after one is gone, live figures are there for that one: %t, for others: %t", live(devID), live(adaID))
	}
	service := ofService.call("GET", "/v1/session", nil).at("user", "id")
	system, err := w.service.SystemTenant(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// A document that many removals have grown takes back everybody's instead: they ask anew.
	w.exec(`INSERT INTO token_revocations (tenant_id, id, kind, value, issued_before, expires_at)
		SELECT $1, 'id-' || n, 'user', 'member:a' || n || ':u', now(), now() + interval '1 hour' FROM generate_series(1, 499) n`, string(system.ID))
	// A token that was never used was given nothing that could be taken back.
	unused := status(t, ada.call("POST", base+"/api-tokens", map[string]any{"name": "unused", "role": "viewer"}), http.StatusCreated)
	status(t, ada.call("DELETE", base+"/api-tokens/"+unused.at("api_token", "id"), nil), http.StatusNoContent)
	if !live(adaID) {
		t.Error("a service token that was never used takes back live figures")
	}
	ofAccount := ada.call("GET", base+"/api-tokens", nil).body["api_tokens"].([]any)
	for _, each := range ofAccount {
		if one := each.(map[string]any); one["kind"] == "service" {
			status(t, ada.call("DELETE", base+"/api-tokens/"+one["id"].(string), nil), http.StatusNoContent)
		}
	}
	if live(service) {
		t.Error("a service token that is gone leaves its live figures")
	}
	if doc, err := w.service.Document(t.Context(), system.ID); err != nil || len(doc.Revocations) != 1 || live(adaID) {
		t.Errorf("of 501 there are left: %v, %v", doc.Revocations, err)
	}
	want(t, token.call("GET", "/v1/tenants/acme", nil), http.StatusUnauthorized, "invalid_token")
	want(t, dev.call("GET", "/v1/tenants/acme", nil), http.StatusNotFound, "not_found")
	w.exec("INSERT INTO members (account_id, user_id, role) VALUES ($1, $2, 'developer')", account, devID)
	want(t, token.call("GET", "/v1/tenants/acme", nil), http.StatusUnauthorized, "invalid_token")
	if got := w.actions(devID); !slices.Equal(got, []string{"member.changed", "member.changed", "member.changed", "member.changed", "member.removed"}) {
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
