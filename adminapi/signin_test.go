package adminapi_test

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/signalbox/signalbox/tenants"
)

// SEC-39: a known and an unknown address get the same answers, and only whoever
// reads the mail learns more.
func TestSignUp_that_is_confirmed_first_tells_nothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{confirmSignUps: true})
	signUp := func(email string) answer {
		return w.browser().call("POST", "/v1/signup", map[string]any{"email": email, "password": password, "tenant_slug": "acme"})
	}
	first := status(t, signUp("ada@example.com"), http.StatusAccepted)
	var users int
	if err := w.pool.QueryRow(t.Context(), "SELECT count(*) FROM users").Scan(&users); err != nil || users != 0 {
		t.Errorf("%d users, %v, before anything was confirmed", users, err)
	}
	_, token := w.mailTo("ada@example.com")
	ada := w.browser()
	made := status(t, ada.call("POST", "/v1/signup/confirmation", map[string]any{"token": token, "password": password}), http.StatusCreated)
	if made.body["user"].(map[string]any)["email_verified"] != true || made.at("key", "secret") == "" {
		t.Errorf("made %s", made.text)
	}
	status(t, ada.call("GET", "/v1/tenants/acme", nil), http.StatusOK)
	for id, actions := range map[string]string{first.header.Get("X-Request-Id"): "signup.requested", made.header.Get("X-Request-Id"): "tenant.created"} {
		if events := w.audited(id); len(events) != 1 || events[0].Action != actions {
			t.Errorf("%s left %+v", actions, events)
		}
	}
	want(t, ada.call("POST", "/v1/signup/confirmation", map[string]any{"token": token}), http.StatusNotFound, "link_expired")
	again := status(t, signUp("ADA@example.com"), http.StatusAccepted)
	for _, h := range []string{"X-Request-Id", "Date"} {
		first.header.Del(h)
		again.header.Del(h)
	}
	if first.text != again.text || len(first.header) != len(again.header) {
		t.Errorf("answers differ: %v %q, %v %q", first.header, first.text, again.header, again.text)
	}
	if m, token := w.mailTo("ADA@example.com"); token != "" || !strings.Contains(m.Subject, "already") {
		t.Errorf("whoever has a user was sent %+v", m)
	}
}

func TestPassword_is_reset_once_by_mail_and_ends_all_sessions(t *testing.T) {
	t.Parallel()
	var offset atomic.Int64
	w := newWorld(t, settings{now: func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }})
	ada, acme := w.signUp("ada@example.com", "acme")
	ask := func(email string) answer {
		return w.browser().call("POST", "/v1/password-reset", map[string]any{"email": email})
	}
	reset := func(token, password string) answer {
		return w.browser().call("POST", "/v1/password-reset/completion", map[string]any{"token": token, "password": password})
	}
	before := w.mails()
	unknown := status(t, ask("nobody@example.com"), http.StatusAccepted)
	if w.mails() != before {
		t.Error("an unknown address was sent a mail")
	}
	known := status(t, ask("ADA@example.com"), http.StatusAccepted)
	if known.text != unknown.text { // SEC-39
		t.Errorf("answers differ: %q, %q", known.text, unknown.text)
	}
	_, late := w.mailTo("ada@example.com")
	status(t, ask("ada@example.com"), http.StatusAccepted)
	_, token := w.mailTo("ada@example.com")
	var clear int
	if err := w.pool.QueryRow(t.Context(), "SELECT count(*) FROM password_resets WHERE token_hash = $1", []byte(token)).Scan(&clear); err != nil || clear != 0 {
		t.Errorf("%d tokens are kept in the clear, %v", clear, err)
	}
	offset.Store(int64(61 * time.Minute))
	want(t, reset(token, "another password"), http.StatusNotFound, "link_expired")
	offset.Store(0)
	want(t, reset(token, "short"), http.StatusBadRequest, "invalid")
	planted := ada.program("", nil)
	status(t, reset(token, "another password"), http.StatusNoContent)
	// The address was never confirmed: whoever signed up with it keeps no way in.
	want(t, planted.call("GET", "/v1/tenants", nil), http.StatusUnauthorized, "invalid_token")
	want(t, reset(token, "a third password"), http.StatusNotFound, "link_expired")
	want(t, reset(late, "a third password"), http.StatusNotFound, "link_expired")
	want(t, ada.call("GET", "/v1/session", nil), http.StatusUnauthorized, "unauthenticated")
	_, a := w.signIn("ada@example.com", password)
	want(t, a, http.StatusUnauthorized, "wrong_credentials")
	_, a = w.signIn("ada@example.com", "another password")
	status(t, a, http.StatusOK)
	for range 2 { // five an hour, and two were asked for
		status(t, ask("ada@example.com"), http.StatusAccepted)
	}
	status(t, ask("ada@example.com"), http.StatusAccepted)
	want(t, ask("ada@example.com"), http.StatusTooManyRequests, "rate_limited")
	for range 5 {
		ask("someone@example.com")
	}
	want(t, ask("someone@example.com"), http.StatusTooManyRequests, "rate_limited")
	if got := w.actions(acme.at("user", "id")); !slices.Contains(got, "password.reset") || !slices.Contains(got, "password.reset_requested") {
		t.Errorf("audited %v", got)
	}
}

// SEC-36: sessions are listed with device and address, ended one by one or all,
// end by idling, and change their token with what they may do.
func TestSessions_are_listed_and_ended(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	first, acme := w.signUp("ada@example.com", "acme")
	second := w.browser()
	const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	status(t, second.call("POST", "/v1/session", map[string]any{"email": "ada@example.com", "password": password, "remember": true}, "User-Agent", firefox), http.StatusOK)
	list := status(t, first.call("GET", "/v1/sessions", nil), http.StatusOK)
	sessions := list.body["sessions"].([]any)
	newest, oldest := sessions[0].(map[string]any), sessions[1].(map[string]any)
	if newest["device"] != "Firefox on Linux" || newest["ip"] != "127.0.0.1" || newest["remembered"] != true || newest["current"] != false || oldest["current"] != true {
		t.Errorf("sessions = %s", list.text)
	}
	life := func(s map[string]any) time.Duration {
		until, _ := time.Parse(time.RFC3339, s["expires_at"].(string))
		return time.Until(until).Round(time.Hour)
	}
	if life(newest) != 30*24*time.Hour || life(oldest) != 12*time.Hour {
		t.Errorf("sessions last %s and %s", life(newest), life(oldest))
	}
	status(t, first.call("DELETE", "/v1/sessions/"+newest["id"].(string), nil), http.StatusNoContent)
	want(t, second.call("GET", "/v1/session", nil), http.StatusUnauthorized, "unauthenticated")
	want(t, first.call("DELETE", "/v1/sessions/"+newest["id"].(string), nil), http.StatusNotFound, "not_found")

	second, _ = w.signIn("ada@example.com", password)
	third, _ := w.signIn("ada@example.com", password)
	status(t, third.call("DELETE", "/v1/sessions", nil), http.StatusNoContent)
	for _, c := range []*client{first, second} {
		want(t, c.call("GET", "/v1/session", nil), http.StatusUnauthorized, "unauthenticated")
	}
	// A change of password ends the others and renews this one.
	other, _ := w.signIn("ada@example.com", password)
	token := third.cookie()
	want(t, third.call("PUT", "/v1/user/password", map[string]any{"current_password": "wrong password", "new_password": "another password"}), http.StatusBadRequest, "invalid")
	status(t, third.call("PUT", "/v1/user/password", map[string]any{"current_password": password, "new_password": "another password"}), http.StatusNoContent)
	want(t, other.call("GET", "/v1/session", nil), http.StatusUnauthorized, "unauthenticated")
	status(t, third.call("GET", "/v1/session", nil), http.StatusOK)
	bare := &client{w: w, http: &http.Client{}}
	want(t, bare.call("GET", "/v1/session", nil, "Cookie", "signalbox="+token), http.StatusUnauthorized, "unauthenticated")
	// Idle for half an hour, or for two weeks where it is remembered.
	long := w.browser()
	status(t, long.call("POST", "/v1/session", map[string]any{"email": "ada@example.com", "password": "another password", "remember": true}), http.StatusOK)
	w.exec("UPDATE sessions SET seen_at = now() - interval '29 minutes'")
	status(t, third.call("GET", "/v1/session", nil), http.StatusOK)
	w.exec("UPDATE sessions SET seen_at = now() - interval '31 minutes'")
	want(t, third.call("GET", "/v1/session", nil), http.StatusUnauthorized, "unauthenticated")
	status(t, long.call("GET", "/v1/session", nil), http.StatusOK)
	w.exec("UPDATE sessions SET seen_at = now() - interval '15 days'")
	want(t, long.call("GET", "/v1/session", nil), http.StatusUnauthorized, "unauthenticated")
	// However much it is used, it ends when its time is over.
	used, _ := w.signIn("ada@example.com", "another password")
	status(t, used.call("GET", "/v1/session", nil), http.StatusOK)
	w.exec("UPDATE sessions SET expiry = now() - interval '1 second', seen_at = now()")
	want(t, used.call("GET", "/v1/session", nil), http.StatusUnauthorized, "unauthenticated")
	// A session may do what its user's role may, from one request to the next.
	ada, _ := w.signIn("ada@example.com", "another password")
	bob := w.member("bob@example.com", acme.at("account", "id"), tenants.Admin)
	status(t, bob.call("POST", "/v1/tenants/acme/keys/primary/regenerate", map[string]any{}), http.StatusOK)
	member := "/v1/accounts/" + acme.at("account", "id") + "/members/" + bob.call("GET", "/v1/session", nil).at("user", "id")
	status(t, ada.call("PATCH", member, map[string]any{"role": "viewer"}), http.StatusOK)
	want(t, bob.call("POST", "/v1/tenants/acme/keys/primary/regenerate", map[string]any{}), http.StatusForbidden, "forbidden")
	status(t, bob.call("GET", "/v1/tenants/acme", nil), http.StatusOK)
	status(t, ada.call("DELETE", member, nil), http.StatusNoContent)
	want(t, bob.call("GET", "/v1/tenants/acme", nil), http.StatusNotFound, "not_found")
}

func TestEmail_changes_when_the_new_address_is_proved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	ada, _ := w.signUp("ada@example.com", "acme")
	w.signUp("taken@example.com", "taken")
	change := func(email, password string) answer {
		return ada.call("POST", "/v1/user/email", map[string]any{"email": email, "password": password})
	}
	want(t, change("new@example.com", "wrong password"), http.StatusBadRequest, "invalid")
	free, taken := status(t, change("new@example.com", password), http.StatusAccepted), status(t, change("taken@example.com", password), http.StatusAccepted)
	if free.text != taken.text {
		t.Errorf("answers differ: %q, %q", free.text, taken.text)
	}
	if _, token := w.mailTo("taken@example.com"); token != "" {
		t.Error("the mail to a taken address has a link")
	}
	_, token := w.mailTo("new@example.com")
	status(t, w.browser().call("POST", "/v1/email-verification", map[string]any{"token": token}), http.StatusOK)
	if a := ada.call("GET", "/v1/session", nil); a.at("user", "email") != "new@example.com" {
		t.Errorf("session = %s", a.text)
	}
	if m, _ := w.mailTo("ada@example.com"); !strings.Contains(m.Subject, "changed") {
		t.Errorf("the former address was sent %q", m.Subject)
	}
	_, a := w.signIn("ada@example.com", password)
	want(t, a, http.StatusUnauthorized, "wrong_credentials")
	_, a = w.signIn("new@example.com", password)
	status(t, a, http.StatusOK)
	want(t, ada.call("POST", "/v1/user/email/verification", nil), http.StatusConflict, "already_verified")
}

func TestSecondFactor_is_a_second_step(t *testing.T) {
	t.Parallel()
	var offset atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	w := newWorld(t, settings{now: now})
	ada, acme := w.signUp("ada@example.com", "acme")
	other, _ := w.signIn("ada@example.com", password)
	setup := status(t, ada.call("POST", "/v1/user/second-factor", map[string]any{"password": password}), http.StatusOK)
	secret := setup.at("secret")
	if !strings.HasPrefix(setup.at("uri"), "otpauth://totp/Signalbox:ada@example.com?") {
		t.Errorf("setup = %s", setup.text)
	}
	code := func() map[string]any {
		c, err := totp.GenerateCode(secret, now())
		if err != nil {
			t.Fatal(err)
		}
		return map[string]any{"code": c}
	}
	var clear int // SEC-43: it is sealed
	if err := w.pool.QueryRow(t.Context(), "SELECT count(*) FROM second_factors WHERE position($1::bytea IN sealed_secret) > 0", []byte(secret)).Scan(&clear); err != nil || clear != 0 {
		t.Errorf("%d secrets are kept in the clear, %v", clear, err)
	}
	_, a := w.signIn("ada@example.com", password) // not confirmed yet
	status(t, a, http.StatusOK)
	want(t, ada.call("POST", "/v1/user/second-factor/confirmation", map[string]any{"code": "000000"}), http.StatusBadRequest, "invalid")
	confirmed := code()
	on := status(t, ada.call("POST", "/v1/user/second-factor/confirmation", confirmed), http.StatusOK)
	codes := on.body["recovery_codes"].([]any)
	if len(codes) != 10 {
		t.Errorf("codes = %s", on.text)
	}
	want(t, other.call("GET", "/v1/session", nil), http.StatusUnauthorized, "unauthenticated")

	second := func(c *client, body map[string]any) answer {
		return c.call("POST", "/v1/session/second-factor", body)
	}
	c, a := w.signIn("ada@example.com", password)
	status(t, a, http.StatusAccepted)
	want(t, c.call("GET", "/v1/session", nil), http.StatusUnauthorized, "unauthenticated") // half is nothing
	want(t, second(c, confirmed), http.StatusUnauthorized, "wrong_code")                   // a code works once
	half := c.cookie()
	offset.Store(int64(time.Minute))
	status(t, second(c, code()), http.StatusOK)
	status(t, c.call("GET", "/v1/session", nil), http.StatusOK)
	if c.cookie() == half {
		t.Error("the second step kept the session's token")
	}
	// A recovery code, in any spelling, once.
	c, _ = w.signIn("ada@example.com", password)
	spelled := strings.ToLower(strings.ReplaceAll(codes[0].(string), "-", " "))
	status(t, second(c, map[string]any{"code": spelled}), http.StatusOK)
	c, _ = w.signIn("ada@example.com", password)
	want(t, second(c, map[string]any{"code": codes[0]}), http.StatusUnauthorized, "wrong_code")
	if a := ada.call("GET", "/v1/user/second-factor", nil); a.body["recovery_codes_left"] != 9.0 {
		t.Errorf("second factor = %s", a.text)
	}
	// SEC-38: guessing codes.
	for range 9 {
		want(t, second(c, map[string]any{"code": "000000"}), http.StatusUnauthorized, "wrong_code")
	}
	want(t, second(c, code()), http.StatusTooManyRequests, "rate_limited")
	if m, _ := w.mailTo("ada@example.com"); !strings.Contains(m.Subject, "tries to sign in") {
		t.Errorf("the user was sent %q", m.Subject)
	}
	offset.Store(int64(17 * time.Minute))
	want(t, second(c, code()), http.StatusUnauthorized, "first_step_missing") // ten minutes have passed
	// The first step alone ends with a new password.
	c, _ = w.signIn("ada@example.com", password)
	status(t, ada.call("PUT", "/v1/user/password", map[string]any{"current_password": password, "new_password": "another password"}), http.StatusNoContent)
	want(t, second(c, code()), http.StatusUnauthorized, "first_step_missing")

	// Required by the account: whoever has none is shut out, and may leave.
	base := "/v1/accounts/" + acme.at("account", "id")
	bob := w.member("bob@example.com", acme.at("account", "id"), "developer")
	token := bob.program(acme.at("account", "id"), nil)
	status(t, ada.call("PATCH", base, map[string]any{"require_second_factor": true}), http.StatusOK)
	want(t, bob.call("GET", "/v1/tenants/acme", nil), http.StatusForbidden, "second_factor_required")
	want(t, token.call("GET", "/v1/tenants/acme", nil), http.StatusForbidden, "second_factor_required")
	if a := bob.call("GET", "/v1/tenants", nil); strings.Contains(a.text, `"acme"`) {
		t.Errorf("bob sees %s", a.text)
	}
	if a := bob.call("GET", "/v1/session", nil); !strings.Contains(a.text, `"needs_second_factor":true`) {
		t.Errorf("session = %s", a.text)
	}
	status(t, bob.call("POST", base+"/leave", nil), http.StatusNoContent)
	both := code()
	both["password"] = "another password"
	want(t, ada.call("POST", "/v1/user/second-factor/removal", both), http.StatusConflict, "second_factor_needed")
	status(t, ada.call("PATCH", base, map[string]any{"require_second_factor": false}), http.StatusOK)
	status(t, ada.call("POST", "/v1/user/second-factor/removal", both), http.StatusNoContent)
	_, a = w.signIn("ada@example.com", "another password")
	status(t, a, http.StatusOK)
	if got := w.actions(acme.at("user", "id")); !slices.Contains(got, "second_factor.enabled") || !slices.Contains(got, "second_factor.removed") || !slices.Contains(got, "second_factor.refused") {
		t.Errorf("audited %v", got)
	}
}

// SEC-38: each lock-out within a day lasts twice as long, and the user is told
// once each time.
func TestSignIn_locks_out_longer_and_longer_and_tells_the_user(t *testing.T) {
	t.Parallel()
	var offset atomic.Int64
	w := newWorld(t, settings{now: func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }})
	_, acme := w.signUp("ada@example.com", "acme")
	for i, wait := range []string{"900", "1800", "3600", "7200"} {
		before := w.mails()
		for n := range 10 {
			if _, a := w.signIn("ada@example.com", "wrong password"); a.status != http.StatusUnauthorized {
				t.Fatalf("lock-out %d, attempt %d answered %d: %s", i, n, a.status, a.text)
			}
		}
		for range 3 {
			_, a := w.signIn("ada@example.com", password)
			want(t, a, http.StatusTooManyRequests, "rate_limited")
			if got := a.header.Get("Retry-After"); got != wait {
				t.Errorf("lock-out %d: Retry-After is %s, want %s", i, got, wait)
			}
		}
		if got := w.mails() - before; got != 1 {
			t.Errorf("lock-out %d: %d mails", i, got)
		}
		offset.Add(int64(2*time.Hour + time.Minute))
	}
	locked := 0
	for _, a := range w.actions(acme.at("user", "id")) {
		if a == "session.locked" {
			locked++
		}
	}
	if locked != 4 {
		t.Errorf("%d lock-outs are audited", locked)
	}
}
