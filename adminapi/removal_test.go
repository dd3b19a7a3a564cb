package adminapi_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/tenants"
)

// whileLocked holds a row of a table until what request does waits for it, then runs
// sql with the row's id, and lets both go on.
func (w *world) whileLocked(table, id string, request func() answer, sql string, args ...any) answer {
	w.t.Helper()
	tx := w.lock(table, id)
	answered := make(chan answer, 1)
	go func() { answered <- request() }()
	w.awaitWaiting(1)
	if _, err := tx.Exec(w.t.Context(), sql, append([]any{id}, args...)...); err != nil {
		w.t.Fatal(err)
	}
	if err := tx.Commit(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return <-answered
}

// lock locks a row of a table in a transaction, which it returns.
func (w *world) lock(table, id string) pgx.Tx {
	w.t.Helper()
	tx, err := w.pool.Begin(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	var found bool
	if err := tx.QueryRow(w.t.Context(), "SELECT true FROM "+table+" WHERE id = $1 FOR UPDATE", id).Scan(&found); err != nil {
		w.t.Fatal(err)
	}
	return tx
}

// awaitWaiting waits until so many statements wait for others' locks.
func (w *world) awaitWaiting(statements int) {
	w.t.Helper()
	for waiting, deadline := 0, time.Now().Add(10*time.Second); waiting < statements; time.Sleep(time.Millisecond) {
		if err := w.pool.QueryRow(w.t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0").Scan(&waiting); err != nil {
			w.t.Fatal(err)
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%d statements wait for locks, want %d", waiting, statements)
		}
	}
}

// Who is removed, or made less, while a request waits for the account changes
// nothing with it.
func TestAccount_changes_are_judged_behind_the_lock(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]struct {
		method, path string
		body         any
	}{
		"service token":  {"POST", "/api-tokens", map[string]any{"name": "CI", "role": "admin"}},
		"personal token": {"POST", "", map[string]any{"name": "CI"}},
		"invitation":     {"POST", "/invitations", map[string]any{"email": "mine@example.com", "role": "admin"}},
		"name":           {"PATCH", "", map[string]any{"name": "Mine"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, settings{})
			_, acme := w.signUp("ada@example.com", "acme")
			account := acme.at("account", "id")
			bob := w.member("bob@example.com", account, tenants.Admin)
			id := bob.call("GET", "/v1/session", nil).at("user", "id")
			a := w.whileLocked("accounts", account, func() answer {
				if name == "personal token" {
					return bob.call("POST", "/v1/api-tokens", map[string]any{"name": "CI", "account_id": account})
				}
				return bob.call(request.method, "/v1/accounts/"+account+request.path, request.body)
			}, "DELETE FROM members WHERE account_id = $1 AND user_id = $2", id)
			want(t, a, http.StatusNotFound, "not_found")
		})
	}
}

// An admin who renames the account while its owner requires a second factor doesn't
// take the requirement back.
func TestAccount_changes_at_once_are_both_kept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	_, acme := w.signUp("ada@example.com", "acme")
	account := acme.at("account", "id")
	admin := w.member("bob@example.com", account, tenants.Admin)
	a := w.whileLocked("accounts", account, func() answer { return admin.call("PATCH", "/v1/accounts/"+account, map[string]any{"name": "Renamed"}) },
		"UPDATE accounts SET require_second_factor = true WHERE id = $1")
	want(t, a, http.StatusForbidden, "second_factor_required") // bob has none
	var required bool
	if err := w.pool.QueryRow(t.Context(), "SELECT require_second_factor FROM accounts WHERE id = $1", account).Scan(&required); err != nil || !required {
		t.Errorf("required: %t, %v", required, err)
	}
}

// Who may not invite any more does not come back with an invitation made before.
func TestInvitations_end_with_their_inviter(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	ada, acme := w.signUp("ada@example.com", "acme")
	w.verified(acme)
	account := acme.at("account", "id")
	base := "/v1/accounts/" + account
	role := func(r string) map[string]any { return map[string]any{"role": r} }
	for name, row := range map[string]struct {
		had   tenants.Role
		to    string
		end   func(id string) answer
		stays bool
	}{
		"removed":           {tenants.Admin, "admin", func(id string) answer { return ada.call("DELETE", base+"/members/"+id, nil) }, false},
		"made less":         {tenants.Admin, "viewer", func(id string) answer { return ada.call("PATCH", base+"/members/"+id, role("developer")) }, false},
		"no owner any more": {tenants.Owner, "owner", func(id string) answer { return ada.call("PATCH", base+"/members/"+id, role("admin")) }, false},
		"still an admin":    {tenants.Owner, "viewer", func(id string) answer { return ada.call("PATCH", base+"/members/"+id, role("admin")) }, true},
	} {
		local := string(row.had) + "-" + row.to + "-" + name[:2]
		bob := w.member(local+"@example.com", account, row.had)
		status(t, bob.call("POST", base+"/invitations", map[string]any{"email": local + "@elsewhere.example", "role": row.to}), http.StatusCreated)
		_, token := w.mailTo(local + "@elsewhere.example")
		if a := row.end(bob.call("GET", "/v1/session", nil).at("user", "id")); a.status >= 300 {
			t.Fatalf("%s: answered %d: %s", name, a.status, a.text)
		}
		a := w.browser().call("POST", "/v1/invitations/acceptance", map[string]any{"token": token, "password": password})
		if joined := a.status == http.StatusOK; joined != row.stays {
			t.Errorf("%s: answered %d: %s", name, a.status, a.text)
		}
	}
	// A service token's go with it.
	robot := ada.service(account, tenants.Admin, nil)
	status(t, robot.call("POST", base+"/invitations", map[string]any{"email": "robot@elsewhere.example", "role": "admin"}), http.StatusCreated)
	_, token := w.mailTo("robot@elsewhere.example")
	list := status(t, ada.call("GET", base+"/api-tokens", nil), http.StatusOK)
	id := list.body["api_tokens"].([]any)[0].(map[string]any)["id"].(string)
	status(t, ada.call("DELETE", base+"/api-tokens/"+id, nil), http.StatusNoContent)
	want(t, w.browser().call("POST", "/v1/invitations/acceptance", map[string]any{"token": token, "password": password}), http.StatusNotFound, "link_expired")
}

// A token's revocation by its user and the user's removal want the same rows: neither
// fails for the other.
func TestRemoval_while_the_member_revokes_a_token(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	ada, acme := w.signUp("ada@example.com", "acme")
	ben, benTeam := w.signUp("ben@example.com", "team")
	account, member := acme.at("account", "id"), benTeam.at("user", "id")
	w.exec("INSERT INTO members (account_id, user_id, role) VALUES ($1, $2, 'developer')", account, member)
	made := status(t, ben.call("POST", "/v1/api-tokens", map[string]any{"name": "CI", "account_id": account}), http.StatusCreated)
	watching := &client{w: w, http: http.DefaultClient, token: made.at("secret")}
	id, short := made.at("api_token", "id"), time.Now().Add(10*time.Minute).Truncate(time.Second)
	// The token expires before what it is given to see figures live would.
	w.exec("UPDATE api_tokens SET expires_at = $2 WHERE id = $1", id, short)
	live := status(t, watching.call("POST", "/v1/tenants/acme/live", nil), http.StatusOK)
	if until, err := time.Parse(time.RFC3339, live.at("expires_at")); err != nil || until.After(short) {
		t.Errorf("live figures are good until %s, %v; the token until %s", until, err, short)
	}
	tx := w.lock("api_tokens", id)
	revoked, removed := make(chan answer, 1), make(chan answer, 1)
	go func() { revoked <- ben.call("DELETE", "/v1/api-tokens/"+id, nil) }()
	w.awaitWaiting(1)
	go func() { removed <- ada.call("DELETE", "/v1/accounts/"+account+"/members/"+member, nil) }()
	w.awaitWaiting(2)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	status(t, <-revoked, http.StatusNoContent)
	status(t, <-removed, http.StatusNoContent)
}
