package adminapi_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/signalbox/signalbox/adminapi"
	"github.com/signalbox/signalbox/tenants"
)

// SEC-32: every operation of operators with a body refuses each field that its document
// doesn't name, before anything is done.
func TestOperations_of_operators_take_no_field_that_is_not_the_callers_to_say(t *testing.T) {
	t.Parallel()
	c := new(clock)
	w := newWorld(t, settings{now: c.now})
	w.signUp("ada@example.com", "acme")
	d := w.desk(c.now)
	grace, _ := d.operator(c, "Grace")
	spec, err := adminapi.OperatorSpec()
	if err != nil {
		t.Fatal(err)
	}
	before := w.state()
	eachOperatorOperation(t, func(o operation) {
		if o.body == nil {
			return
		}
		t.Run(o.id, func(t *testing.T) {
			known := spec.Paths.Find(o.path).GetOperation(o.method).RequestBody.Value.Content.Get("application/json").Schema.Value.Properties
			body, _ := o.body.(map[string]any)
			planted := maps.Clone(body)
			var foreign []string
			for _, name := range []string{
				"id", "plan", "quota", "limits", "balance", "is_admin", "account_id", "tenant_id", "operator_id", "role", "revision", "status", "created_at", "suspended_by", "password_hash",
			} {
				if known[name] == nil {
					foreign, planted[name] = append(foreign, name), "owner"
				}
			}
			a := grace.call(o.method, operatorPath(o), planted)
			want(t, a, http.StatusBadRequest, "invalid")
			for _, name := range foreign {
				if !slices.Contains(a.errorFields(), name) {
					t.Errorf("%s is not refused: %s", name, a.text)
				}
			}
		})
	})
	if after := w.state(); after != before {
		t.Errorf("something was changed: %v", differences(before, after))
	}
}

// SEC-36: an operator's session planted before signing in means nothing afterwards, and
// none means anything after signing out.
func TestOperators_sessions_change_with_every_sign_in_and_end_at_the_server(t *testing.T) {
	t.Parallel()
	c := new(clock)
	d := newWorld(t, settings{now: c.now}).desk(c.now)
	proof := d.ready(c, "Grace")
	const name = "signalbox-operator"
	session := func(a answer) string {
		t.Helper()
		res := http.Response{Header: a.header}
		for _, k := range res.Cookies() {
			if k.Name == name {
				return k.Value
			}
		}
		t.Fatalf("no session was given: %d %s", a.status, a.text)
		return ""
	}
	bare := &client{w: d, http: new(http.Client)}
	as := func(method, token string) answer {
		return bare.call(method, "/operator/v1/session", nil, "Cookie", name+"="+token)
	}
	first := session(status(t, bare.call("POST", "/operator/v1/session", proof(), "Cookie", name+"=planted"), http.StatusOK))
	second := session(status(t, bare.call("POST", "/operator/v1/session", proof(), "Cookie", name+"="+first), http.StatusOK))
	if first == "planted" || second == first {
		t.Errorf("signing in with %q gave %q, with that one %q", "planted", first, second)
	}
	want(t, as("GET", "planted"), http.StatusUnauthorized, "unauthenticated")
	want(t, as("GET", first), http.StatusUnauthorized, "unauthenticated")
	status(t, as("GET", second), http.StatusOK)
	status(t, as("DELETE", second), http.StatusNoContent)
	want(t, as("GET", second), http.StatusUnauthorized, "unauthenticated")
}

// SEC-36, SEC-40, SEC-43: what an operator's cookie is bound to, and the headers of
// answers and of pages.
func TestOperators_cookie_and_headers_in_production(t *testing.T) {
	t.Parallel()
	c := new(clock)
	w := newWorld(t, settings{now: c.now})
	proof := w.desk(c.now).ready(c, "Grace")
	config := w.operators(c.now)
	config.Dev = false
	config.Console = fstest.MapFS{"index.html": {Data: []byte(`<meta property="csp-nonce" nonce="__STYLE_NONCE__">`)}}
	handler, err := adminapi.NewOperators(config)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	defer server.Close()
	d := *w
	d.url = server.URL
	a := status(t, (&client{w: &d, http: new(http.Client)}).call("POST", "/operator/v1/session", proof()), http.StatusOK)
	cookie := a.header.Get("Set-Cookie")
	for _, attribute := range []string{"__Host-signalbox-operator=", "Path=/", "HttpOnly", "Secure", "SameSite=Strict"} {
		if !strings.Contains(cookie, attribute) {
			t.Errorf("cookie %q lacks %s", cookie, attribute)
		}
	}
	if strings.Contains(cookie, "Domain=") {
		t.Errorf("cookie %q is of other hosts, too", cookie)
	}
	if got := a.header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control: %q", got)
	}
	page := status(t, (&client{w: &d, http: new(http.Client)}).call("GET", "/tenants", nil), http.StatusOK)
	for of, header := range map[string]http.Header{"an answer": a.header, "a page": page.header} {
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
		} {
			if got := header.Get(name); got != want {
				t.Errorf("%s has %s: %q, want %q", of, name, got, want)
			}
		}
		policy := header.Get("Content-Security-Policy")
		for _, directive := range []string{
			"default-src 'none'", "script-src 'self';", "style-src 'self'", "img-src 'self'", "connect-src 'self';", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'",
		} {
			if !strings.Contains(policy, directive) {
				t.Errorf("%s's policy %q lacks %s", of, policy, directive)
			}
		}
		if strings.Contains(policy, "unsafe") {
			t.Errorf("%s's policy is %q", of, policy)
		}
	}
}

// SEC-37: every change of operators, as a browser sends it from another site and as what
// forms can send.
func TestRequests_of_operators_from_another_site_are_refused(t *testing.T) {
	t.Parallel()
	c := new(clock)
	w := newWorld(t, settings{now: c.now})
	w.signUp("ada@example.com", "acme")
	d := w.desk(c.now)
	grace, _ := d.operator(c, "Grace")
	before := w.state()
	eachOperatorOperation(t, func(o operation) {
		if o.method == http.MethodGet {
			return
		}
		t.Run(o.id, func(t *testing.T) {
			for _, header := range [][]string{
				{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"},
			} {
				want(t, grace.call(o.method, operatorPath(o), o.body, header...), http.StatusForbidden, "cross_origin")
			}
			if o.body == nil {
				return
			}
			for _, media := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"} {
				want(t, grace.call(o.method, operatorPath(o), o.body, "Content-Type", media), http.StatusUnsupportedMediaType, "unsupported_media_type")
			}
		})
	})
	if after := w.state(); after != before {
		t.Errorf("something was changed: %v", differences(before, after))
	}
	// The console's own request is taken.
	made := map[string]any{"name": "CI", "scopes": []tenants.Scope{tenants.OperatorScopes[0]}, "expires_in_days": 1}
	status(t, grace.call("POST", "/operator/v1/tokens", made, "Origin", d.url, "Sec-Fetch-Site", "same-origin"), http.StatusCreated)
}
