package adminapi_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/signalbox/signalbox/adminapi"
	"github.com/signalbox/signalbox/tenants"
)

// Somebody knew the password and asked for another address: a new password makes
// that void, and the owner of the present address hears of it at once.
func TestPassword_new_voids_what_was_asked_for_with_the_former(t *testing.T) {
	t.Parallel()
	for name, renew := range map[string]func(w *world, ada *client){
		"reset": func(w *world, _ *client) {
			status(t, w.browser().call("POST", "/v1/password-reset", map[string]any{"email": "ada@example.com"}), http.StatusAccepted)
			_, token := w.mailTo("ada@example.com")
			status(t, w.browser().call("POST", "/v1/password-reset/completion", map[string]any{"token": token, "password": "another password"}), http.StatusNoContent)
		},
		"change": func(_ *world, ada *client) {
			status(t, ada.call("PUT", "/v1/user/password", map[string]any{"current_password": password, "new_password": "another password"}), http.StatusNoContent)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, settings{})
			ada, acme := w.signUp("ada@example.com", "acme")
			w.verified(acme)
			thief, _ := w.signIn("ada@example.com", password)
			status(t, thief.call("POST", "/v1/user/email", map[string]any{"email": "thief@example.com", "password": password}), http.StatusAccepted)
			_, link := w.mailTo("thief@example.com")
			if m, _ := w.mailTo("ada@example.com"); m.Subject != "Another address for your Signalbox user" {
				t.Errorf("the present address was told %q", m.Subject)
			}
			status(t, w.browser().call("POST", "/v1/password-reset", map[string]any{"email": "ada@example.com"}), http.StatusAccepted)
			_, reset := w.mailTo("ada@example.com")
			renew(w, ada)
			want(t, w.browser().call("POST", "/v1/email-verification", map[string]any{"token": link}), http.StatusNotFound, "link_expired")
			want(t, w.browser().call("POST", "/v1/password-reset/completion", map[string]any{"token": reset, "password": "a third password"}), http.StatusNotFound, "link_expired")
			_, a := w.signIn("ada@example.com", "another password")
			status(t, a, http.StatusOK)
		})
	}
}

// Somebody who knows the former password signs in while it is changed: the sign-in has
// looked at the former one, and its session begins after all others were ended.
func TestSignIn_that_straddles_a_new_password_is_refused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	ada, acme := w.signUp("ada@example.com", "acme")
	id := acme.at("user", "id")
	thief := w.browser()
	signIn := map[string]any{"email": "ada@example.com", "password": password}
	a := w.whileLocked("users", id, func() answer { return thief.call("POST", "/v1/session", signIn) },
		"UPDATE users SET password_version = password_version + 1 WHERE id = $1")
	want(t, a, http.StatusUnauthorized, "wrong_credentials")
	if len(a.body) == 0 || a.body["accounts"] != nil {
		t.Errorf("answered %s", a.text)
	}
	want(t, thief.call("GET", "/v1/session", nil), http.StatusUnauthorized, "unauthenticated")
	// The one who changes it goes on, with another token, and may change it again.
	for _, next := range []string{"another password", "a third password"} {
		current := signIn["password"]
		status(t, ada.call("PUT", "/v1/user/password", map[string]any{"current_password": current, "new_password": next}), http.StatusNoContent)
		status(t, ada.call("GET", "/v1/session", nil), http.StatusOK)
		signIn["password"] = next
	}
	// So does the second step of what began with the former password.
	secret := status(t, ada.call("POST", "/v1/user/second-factor", map[string]any{"password": "a third password"}), http.StatusOK).at("secret")
	code, err := totp.GenerateCode(secret, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	on := status(t, ada.call("POST", "/v1/user/second-factor/confirmation", map[string]any{"code": code}), http.StatusOK)
	recovery := map[string]any{"code": on.body["recovery_codes"].([]any)[0]}
	half, first := w.signIn("ada@example.com", "a third password")
	status(t, first, http.StatusAccepted)
	a = w.whileLocked("users", id, func() answer { return half.call("POST", "/v1/session/second-factor", recovery) },
		"UPDATE users SET password_version = password_version + 1 WHERE id = $1")
	want(t, a, http.StatusUnauthorized, "wrong_credentials")
	want(t, half.call("GET", "/v1/session", nil), http.StatusUnauthorized, "unauthenticated")
}

// Somebody signed up with another's address and left service tokens for whoever
// takes the user over. Where there are other people, their tokens stay.
func TestReset_of_an_unconfirmed_address_ends_service_tokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	planter, acme := w.signUp("ada@example.com", "acme")
	bob, team := w.signUp("bob@example.com", "team")
	w.exec("INSERT INTO members (account_id, user_id, role) VALUES ($1, $2, 'admin')", team.at("account", "id"), acme.at("user", "id"))
	planted := planter.service(acme.at("account", "id"), tenants.Admin, nil)
	shared := planter.service(team.at("account", "id"), tenants.Viewer, nil)
	status(t, planted.call("GET", "/v1/tenants/acme/keys", nil), http.StatusOK)
	for at, watching := range map[string][]*client{"acme": {planted, planter}, "team": {bob, planter}} {
		for _, each := range watching {
			status(t, each.call("POST", "/v1/tenants/"+at+"/live", nil), http.StatusOK)
		}
	}
	service, session := planted.call("GET", "/v1/session", nil).at("user", "id"), planter.call("GET", "/v1/session", nil).at("id")
	given := time.Now().Add(-time.Second)
	status(t, w.browser().call("POST", "/v1/password-reset", map[string]any{"email": "ada@example.com"}), http.StatusAccepted)
	_, token := w.mailTo("ada@example.com")
	status(t, w.browser().call("POST", "/v1/password-reset/completion", map[string]any{"token": token, "password": "another password"}), http.StatusNoContent)
	want(t, planted.call("GET", "/v1/tenants/acme/keys", nil), http.StatusUnauthorized, "invalid_token")
	doc := w.systemDocument()
	ada := tenants.UserID(acme.at("user", "id"))
	for who, row := range map[string]struct {
		account answer
		user    tenants.UserID
		by      string
		stays   bool
	}{
		"the service token":         {acme, tenants.UserID(service), "its id", false},
		"the user":                  {acme, ada, session, false},
		"the user in another's":     {team, ada, session, false},
		"another in their account":  {team, tenants.UserID(team.at("user", "id")), "bob's", true},
		"a service token of theirs": {team, "service", "its id", true},
	} {
		live := tenants.Credential{UserID: tenants.LiveUser(tenants.AccountID(row.account.at("account", "id")), row.user), TokenID: tenants.LiveTokenID(row.user, row.by), IssuedAt: given}
		if gone := doc.Revoked(live) != ""; gone == row.stays {
			t.Errorf("live figures of %s: taken back %t", who, gone)
		}
	}
	status(t, shared.call("GET", "/v1/tenants/team", nil), http.StatusOK)
}

// Somebody signs up with another's address and waits for a click on the link: the
// password would be theirs. Only their browser, or the password, confirms it.
func TestSignUp_of_somebody_else_is_not_confirmed_by_a_click(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{confirmSignUps: true})
	ada, thief := w.browser(), w.browser()
	status(t, thief.call("POST", "/v1/signup", map[string]any{"email": "ada@example.com", "password": "the thief's own"}), http.StatusAccepted)
	_, theirs := w.mailTo("ada@example.com")
	status(t, ada.call("POST", "/v1/signup", map[string]any{"email": "ada@example.com", "password": password}), http.StatusAccepted)
	_, own := w.mailTo("ada@example.com")
	confirm := func(c *client, token, password string) answer {
		in := map[string]any{"token": token}
		if password != "" {
			in["password"] = password
		}
		return c.call("POST", "/v1/signup/confirmation", in)
	}
	for _, typed := range []string{"", password} {
		if a := confirm(ada, theirs, typed); a.status != http.StatusBadRequest || len(a.errorFields()) != 1 || a.errorFields()[0] != "password" {
			t.Errorf("with %q answered %d: %s", typed, a.status, a.text)
		}
	}
	phone := w.browser()
	if a := confirm(phone, own, ""); a.status != http.StatusBadRequest {
		t.Errorf("another browser answered %d: %s", a.status, a.text)
	}
	status(t, confirm(phone, own, password), http.StatusCreated)
	_, a := w.signIn("ada@example.com", "the thief's own")
	want(t, a, http.StatusUnauthorized, "wrong_credentials")
}

func TestAccount_has_a_bounded_number_of_members(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	ada, acme := w.signUp("ada@example.com", "acme")
	w.verified(acme)
	account := acme.at("account", "id")
	status(t, ada.call("POST", "/v1/accounts/"+account+"/invitations", map[string]any{"email": "bob@example.com", "role": "viewer"}), http.StatusCreated)
	_, token := w.mailTo("bob@example.com")
	w.exec("UPDATE accounts SET max_members = NULL WHERE id = $1", account) // so the plan's counts
	w.member("eve@example.com", account, tenants.Viewer)
	join := func() answer {
		return w.browser().call("POST", "/v1/invitations/acceptance", map[string]any{"token": token, "password": password})
	}
	invite := func() answer {
		return ada.call("POST", "/v1/accounts/"+account+"/invitations", map[string]any{"email": "fay@example.com", "role": "viewer"})
	}
	shown := func(most int) {
		t.Helper()
		var state adminapi.PlanState
		if read(t, ada.call("GET", "/v1/accounts/"+account+"/plan", nil), &state); state.Members != 2 || state.MaxMembers != most {
			t.Errorf("the plan shows %d of %d members, want 2 of %d", state.Members, state.MaxMembers, most)
		}
	}
	want(t, join(), http.StatusConflict, "max_members")
	want(t, invite(), http.StatusConflict, "max_members")
	shown(2)
	w.exec("UPDATE accounts SET plan = 'pro' WHERE id = $1", account)
	shown(20)
	w.exec("UPDATE accounts SET max_members = 2 WHERE id = $1", account) // by an operator
	want(t, invite(), http.StatusConflict, "max_members")
	w.exec("UPDATE accounts SET max_members = 3 WHERE id = $1", account)
	shown(3)
	status(t, invite(), http.StatusCreated)
	status(t, join(), http.StatusOK)
}
