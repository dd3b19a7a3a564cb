package adminapi_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// cookie returns the session cookie that the browser has.
func (c *client) cookie() string {
	u, _ := url.Parse(c.w.url)
	for _, k := range c.http.Jar.Cookies(u) {
		if strings.HasSuffix(k.Name, "signalbox") {
			return k.Value
		}
	}
	return ""
}

// SEC-36: a token planted before signing in means nothing afterwards, and none
// means anything after signing out.
func TestSession_tokens_change_with_every_sign_in_and_end_at_the_server(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	w.signUp("ada@example.com", "acme")
	c := w.browser()
	signIn := map[string]string{"email": "ADA@example.com", "password": password}
	want := func(a answer, status int) {
		t.Helper()
		if a.status != status {
			t.Errorf("answered %d, want %d: %s", a.status, status, a.text)
		}
	}
	planted := http.Cookie{Name: "signalbox", Value: "planted"}
	a := c.call("POST", "/v1/session", signIn, "Cookie", planted.String())
	want(a, http.StatusOK)
	first := c.cookie()
	if first == "planted" || first == "" {
		t.Errorf("the session token is %q", first)
	}
	want(c.call("POST", "/v1/session", signIn), http.StatusOK)
	second := c.cookie()
	if second == first {
		t.Error("signing in again kept the token")
	}
	bare := &client{w: w, http: &http.Client{}}
	want(bare.call("GET", "/v1/session", nil, "Cookie", "signalbox="+first), http.StatusUnauthorized)
	want(bare.call("GET", "/v1/session", nil, "Cookie", "signalbox=planted"), http.StatusUnauthorized)
	want(bare.call("GET", "/v1/session", nil, "Cookie", "signalbox="+second), http.StatusOK)
	w.exec("ALTER TABLE audit_events ADD CONSTRAINT failing CHECK (action <> 'session.ended') NOT VALID")
	want(c.call("DELETE", "/v1/session", nil), http.StatusInternalServerError) // there is no end without its event
	want(bare.call("GET", "/v1/session", nil, "Cookie", "signalbox="+second), http.StatusOK)
	w.exec("ALTER TABLE audit_events DROP CONSTRAINT failing")
	want(c.call("DELETE", "/v1/session", nil), http.StatusNoContent)
	want(c.call("DELETE", "/v1/session", nil), http.StatusNoContent)
	want(bare.call("GET", "/v1/session", nil, "Cookie", "signalbox="+second), http.StatusUnauthorized)
	var stored int
	if err := w.pool.QueryRow(t.Context(), "SELECT count(*) FROM sessions WHERE token = ANY($1)", []string{first, second}).Scan(&stored); err != nil || stored != 0 {
		t.Errorf("%d session tokens are stored in the clear, %v", stored, err)
	}
}

// SEC-36, SEC-40, SEC-43: what a session's cookie is bound to, and the headers of answers
// with secrets in them.
func TestCookie_and_headers_in_production(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{production: true})
	_, a := w.signUp("ada@example.com", "acme")
	cookie := a.header.Get("Set-Cookie")
	for _, attribute := range []string{"__Host-signalbox=", "Path=/", "HttpOnly", "Secure", "SameSite=Lax"} {
		if !strings.Contains(cookie, attribute) {
			t.Errorf("cookie %q lacks %s", cookie, attribute)
		}
	}
	for header, want := range map[string]string{
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
	} {
		if got := a.header.Get(header); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
	csp := a.header.Get("Content-Security-Policy")
	for _, directive := range []string{"default-src 'none'", "script-src 'self';", "style-src 'self';", "img-src 'self';", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'", "http://127.0.0.1:8888 ws://127.0.0.1:8888"} {
		if !strings.Contains(csp, directive) {
			t.Errorf("policy %q lacks %s", csp, directive)
		}
	}
	want(t, w.browser().call("GET", "/v1/dev/mailbox", nil), http.StatusNotFound, "not_found")
}

// SEC-37: every change, as a browser sends it from another site, as what forms can send,
// and, for browsers that don't say from where, as what forms can send alone.
func TestRequests_from_another_site_are_refused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, acme := w.signUp("ada@example.com", "acme")
	for name, headers := range map[string][]string{
		"cross-site":           {"Sec-Fetch-Site", "cross-site"},
		"a sibling domain":     {"Sec-Fetch-Site", "same-site"},
		"a foreign origin":     {"Origin", "https://evil.example"},
		"an opaque origin":     {"Origin", "null"},
		"a form that looks ok": {"Origin", "https://evil.example", "Content-Type", "text/plain"},
	} {
		t.Run(name, func(t *testing.T) {
			want(t, c.call("POST", "/v1/tenants", `{"name":"Stolen"}`, headers...), http.StatusForbidden, "cross_origin")
			want(t, c.call("DELETE", "/v1/tenants/acme", nil, headers...), http.StatusForbidden, "cross_origin")
		})
	}
	eachOperation(t, func(o operation) {
		if o.method == http.MethodGet {
			return
		}
		t.Run(o.id, func(t *testing.T) {
			at := o.at(acme.at("account", "id"), "acme")
			want(t, c.call(o.method, at, o.body, "Sec-Fetch-Site", "cross-site"), http.StatusForbidden, "cross_origin")
			if o.body == nil {
				return
			}
			for _, media := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"} {
				want(t, c.call(o.method, at, o.body, "Content-Type", media), http.StatusUnsupportedMediaType, "unsupported_media_type")
			}
		})
	})
	if a := c.call("PATCH", "/v1/tenants/acme", `{"name":"Mine"}`, "Origin", w.url, "Sec-Fetch-Site", "same-origin"); a.status != http.StatusOK {
		t.Errorf("the console's own request answered %d: %s", a.status, a.text)
	}
}

// SEC-38, SEC-39.
func TestSignIn_tells_nothing_and_locks_out(t *testing.T) {
	t.Parallel()
	var offset atomic.Int64
	w := newWorld(t, settings{now: func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }})
	w.signUp("ada@example.com", "acme")
	c := w.browser()
	attempt := func(email, password string) answer {
		return c.call("POST", "/v1/session", map[string]string{"email": email, "password": password})
	}
	known, unknown := attempt("ada@example.com", "wrong"), attempt("nobody@example.com", "wrong")
	want(t, known, http.StatusUnauthorized, "wrong_credentials")
	if strings.Replace(known.text, known.at("request_id"), "", 1) != strings.Replace(unknown.text, unknown.at("request_id"), "", 1) {
		t.Errorf("answers differ: %s and %s", known.text, unknown.text)
	}
	// Many at once gain nothing over one after the other.
	var tried sync.WaitGroup
	var looked atomic.Int64
	for range 30 {
		tried.Go(func() {
			if a := attempt("ada@example.com", "wrong"); a.status == http.StatusUnauthorized {
				looked.Add(1)
			}
		})
	}
	tried.Wait()
	if n := looked.Load(); n > 9 {
		t.Errorf("%d of 30 further passwords were looked at, want at most 9", n)
	}
	for range 10 { // until the ten are used up, whoever came first
		attempt("ada@example.com", "wrong")
	}
	locked := attempt("ada@example.com", password)
	want(t, locked, http.StatusTooManyRequests, "rate_limited")
	if locked.header.Get("Retry-After") != "900" {
		t.Errorf("Retry-After is %q", locked.header.Get("Retry-After"))
	}
	offset.Store(int64(16 * time.Minute))
	if a := attempt("ada@example.com", password); a.status != http.StatusOK {
		t.Errorf("the right password after the lock-out answered %d: %s", a.status, a.text)
	}
	// One address, many callers: the user's bound holds for all of them.
	offset.Store(int64(40 * time.Minute))
	from := func(ip, email, password string) int {
		body := fmt.Sprintf(`{"email":%q,"password":%q}`, email, password)
		r := httptest.NewRequest("POST", "/v1/session", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.RemoteAddr = ip + ":1234"
		rec := httptest.NewRecorder()
		w.handler.ServeHTTP(rec, r)
		return rec.Code
	}
	answered := make(map[int]int)
	for n := range 20 {
		answered[from(fmt.Sprintf("192.0.2.%d", n), "ada@example.com", "wrong")]++
	}
	if answered[http.StatusUnauthorized] != 10 || answered[http.StatusTooManyRequests] != 10 {
		t.Errorf("of 20 passwords from 20 addresses, answered were %v; want 10 looked at", answered)
	}
	if got := from("192.0.2.99", "ada@example.com", password); got != http.StatusTooManyRequests {
		t.Errorf("the right one from another address answered %d", got)
	}
	// One caller, many addresses.
	offset.Store(int64(24 * time.Hour))
	for i := range 50 {
		want(t, attempt(fmt.Sprintf("user%d@example.com", i), "wrong"), http.StatusUnauthorized, "wrong_credentials")
	}
	want(t, attempt("user50@example.com", "wrong"), http.StatusTooManyRequests, "rate_limited")
	// The tokens of mails are guessed as little, by whatever they would open.
	guesses := []string{"/v1/password-reset/completion", "/v1/email-verification", "/v1/invitations/lookup", "/v1/signup/confirmation"}
	guess := func(n int) answer {
		body := map[string]string{"token": fmt.Sprint("guess", n)}
		if n%4 == 0 {
			body["password"] = password
		}
		return c.call("POST", guesses[n%4], body)
	}
	for n := range 50 {
		want(t, guess(n), http.StatusNotFound, "link_expired")
	}
	for n := range 4 {
		want(t, guess(n), http.StatusTooManyRequests, "rate_limited")
	}
	// A token that begins as a real one is told from it by nothing.
	offset.Store(int64(25 * time.Hour))
	ada, _ := w.signIn("ada@example.com", password)
	real := ada.program("", nil).token
	var texts []string
	for _, token := range []string{real[:len(real)-1] + "!", real[:len(real)-4], real[:12] + strings.Repeat("a", len(real)-12), "sbt_nothing"} {
		a := (&client{w: w, http: http.DefaultClient, token: token}).call("GET", "/v1/tenants", nil)
		want(t, a, http.StatusUnauthorized, "invalid_token")
		texts = append(texts, strings.Replace(a.text, a.at("request_id"), "", 1))
	}
	if slices.Sort(texts); texts[0] != texts[3] {
		t.Errorf("answers differ: %q", texts)
	}
}

// SEC-38: one address guesses so many API tokens a minute and no more, all are answered
// alike, and afterwards a good one is answered as they are. Tokens are of 256 bits, so the
// bound is that of requests.
func TestAPITokens_are_guessed_slowly(t *testing.T) {
	t.Parallel()
	const perMinute = 4
	now := time.Now() // stands still, so that nothing is given back
	w := newWorld(t, settings{requestsPerMinute: perMinute, now: func() time.Time { return now }})
	ada, _ := w.signUp("ada@example.com", "acme")
	good := ada.program("", nil)
	guess := func(n int) answer {
		c := &client{w: w, http: http.DefaultClient, token: fmt.Sprintf("%s%04d", good.token[:len(good.token)-4], n)}
		return c.call("GET", "/v1/tenants", nil)
	}
	texts := make(map[string]bool)
	const left = 5*perMinute - 2 // of the callers behind one address
	for n := range left {
		a := guess(n)
		want(t, a, http.StatusUnauthorized, "invalid_token")
		texts[strings.Replace(a.text, a.at("request_id"), "", 1)] = true
	}
	if len(texts) != 1 {
		t.Errorf("guesses are answered differently: %q", slices.Collect(maps.Keys(texts)))
	}
	for _, a := range []answer{guess(left), good.call("GET", "/v1/tenants", nil)} {
		want(t, a, http.StatusTooManyRequests, "too_many_api_requests")
		if a.header.Get("Retry-After") == "" {
			t.Errorf("nothing says how long to wait: %v", a.header)
		}
	}
	now = now.Add(time.Minute)
	status(t, good.call("GET", "/v1/tenants", nil), http.StatusOK)
}

func TestSignUp_is_bounded_and_leaves_nothing_behind_when_it_fails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{signUpsPerHour: 3})
	w.signUp("ada@example.com", "acme")
	c := w.browser()
	taken := c.call("POST", "/v1/signup", map[string]string{"email": "bob@example.com", "password": password, "tenant_slug": "acme"})
	want(t, taken, http.StatusConflict, "slug_taken")
	again := c.call("POST", "/v1/signup", map[string]string{"email": "bob@example.com", "password": password})
	if again.status != http.StatusCreated {
		t.Errorf("the address is taken by a sign-up that failed: %s", again.text)
	}
	want(t, c.call("POST", "/v1/signup", map[string]string{"email": "eve@example.com", "password": password}), http.StatusTooManyRequests, "rate_limited")
}

func TestSignIn_takes_an_address_in_any_alphabet_and_case(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	w.signUp("Émile@example.com", "acme")
	for _, email := range []string{"Émile@example.com", "émile@example.com"} {
		if a := w.browser().call("POST", "/v1/session", map[string]string{"email": email, "password": password}); a.status != http.StatusOK {
			t.Errorf("%s: answered %d: %s", email, a.status, a.text)
		}
	}
	want(t, w.browser().call("POST", "/v1/signup", map[string]string{"email": "ÉMILE@example.com", "password": password}), http.StatusConflict, "email_taken")
}

func TestSignIn_that_fails_is_in_the_audit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	_, acme := w.signUp("ada@example.com", "acme")
	for _, email := range []string{"ada@example.com", "hunter2@example.com"} {
		w.browser().call("POST", "/v1/session", map[string]string{"email": email, "password": "wrong"})
	}
	var ofAda, ofNobody, typed int
	err := w.pool.QueryRow(t.Context(), `SELECT count(*) FILTER (WHERE actor_id = $1 AND subject = $1 AND ip = '127.0.0.1'), count(*) FILTER (WHERE actor_id IS NULL),
		count(*) FILTER (WHERE audit_events::text LIKE '%hunter2%') FROM audit_events WHERE action = 'session.refused'`, acme.at("user", "id")).
		Scan(&ofAda, &ofNobody, &typed)
	if err != nil || ofAda != 1 || ofNobody != 1 || typed != 0 {
		t.Errorf("%d of ada, %d of nobody, %d with what was typed, %v; want 1, 1, 0", ofAda, ofNobody, typed, err)
	}
}

func TestAttempts_that_are_refused_are_not_kept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{signUpsPerHour: 1})
	c, _ := w.signUp("ada@example.com", "acme")
	for range 5 {
		want(t, c.call("POST", "/v1/signup", map[string]string{"email": "eve@example.com", "password": password}), http.StatusTooManyRequests, "rate_limited")
	}
	var kept int
	if err := w.pool.QueryRow(t.Context(), "SELECT count(*) FROM attempts").Scan(&kept); err != nil || kept != 1 {
		t.Errorf("%d attempts are kept, %v, want 1", kept, err)
	}
}

func TestVerification_link_works_once(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, _ := w.signUp("ada@example.com", "acme")
	mails := c.call("GET", "/v1/dev/mailbox", nil).body["mails"].([]any)
	mail := mails[0].(map[string]any)
	_, token, ok := strings.Cut(mail["link"].(string), "https://console.example.com/verify-email?token=")
	if !ok || mail["to"] != "ada@example.com" {
		t.Fatalf("mail = %v", mail)
	}
	if a := c.call("POST", "/v1/email-verification", map[string]string{"token": token}); a.at("email") != "ada@example.com" {
		t.Errorf("answered %d: %s", a.status, a.text)
	}
	want(t, c.call("POST", "/v1/email-verification", map[string]string{"token": token}), http.StatusNotFound, "link_expired")
	if a := c.call("GET", "/v1/session", nil); a.body["user"].(map[string]any)["email_verified"] != true {
		t.Errorf("session = %s", a.text)
	}
}
