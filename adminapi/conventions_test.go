package adminapi_test

import (
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/signalbox/signalbox/adminapi"
)

// The document is OpenAPI 3.1, and has no word of a schema that requests aren't
// checked by.
func TestSpec_has_no_word_that_is_not_checked(t *testing.T) {
	t.Parallel()
	spec, err := adminapi.Spec()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(spec.OpenAPI, "3.1.") {
		t.Errorf("the document is OpenAPI %s", spec.OpenAPI)
	}
	for name, s := range spec.Components.Schemas {
		checkSchema(t, name, s.Value)
	}
}

// What every operation has in common is in the document, and so in every client
// that is generated from it.
func TestSpec_says_what_all_operations_have_in_common(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	served := w.browser().call("GET", "/openapi.json", nil)
	doc, err := openapi3.NewLoader().LoadFromData([]byte(served.text))
	if err != nil {
		t.Fatal(err)
	}
	eachOperation(t, func(o operation) {
		op := doc.Paths.Find(o.path).GetOperation(o.method)
		for _, name := range []string{"X-Request-Id"} {
			if op.Parameters.GetByInAndName("header", name) == nil {
				t.Errorf("%s doesn't take %s", o.id, name)
			}
		}
		for status, r := range op.Responses.Map() {
			for _, name := range []string{"X-Request-Id", "RateLimit", "RateLimit-Policy"} {
				if r.Value.Headers[name] == nil {
					t.Errorf("%s, %s lacks the header %s", o.id, status, name)
				}
			}
		}
		if ok := op.Responses.Value("200"); o.method == "GET" && ok != nil && ok.Value.Content.Get("application/json") != nil && (op.Responses.Value("304") == nil || ok.Value.Headers["ETag"] == nil) {
			t.Errorf("%s has no ETag", o.id)
		}
	})
}

func TestRequestID_is_the_callers_where_it_has_the_form(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, acme := w.signUp("ada@example.com", "acme")
	id := "build-42_" + strings.Repeat("a", 55)
	a := status(t, c.call("PATCH", "/v1/tenants/acme", map[string]any{"name": "Other"}, "X-Request-Id", id), http.StatusOK)
	if got := a.header.Get("X-Request-Id"); got != id {
		t.Errorf("the request is called %s", got)
	}
	if n := w.count("audit_events WHERE tenant_id = $1 AND request_id = $2", acme.at("tenant", "id"), id); n != 1 {
		t.Errorf("the audit has the id %d times", n)
	}
	for _, bad := range []string{id + "a", "a b", "ä", `a"b`} {
		refused := c.call("GET", "/v1/tenants/acme", nil, "X-Request-Id", bad)
		want(t, refused, http.StatusBadRequest, "invalid")
		if got := refused.header.Get("X-Request-Id"); !strings.HasPrefix(got, "req_") {
			t.Errorf("the refusal of %q is called %s", bad, got)
		}
	}
}

func TestProblems_everywhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, _ := w.signUp("ada@example.com", "acme")
	for name, row := range map[string]struct {
		method, path string
		body         any
		headers      []string
		status       int
		code         string
	}{
		"an unknown route":        {"GET", "/v1/nothing", nil, nil, 404, "not_found"},
		"another version":         {"GET", "/v1", nil, nil, 404, "not_found"},
		"a page that isn't there": {"GET", "/assets/none.js", nil, nil, 404, "not_found"},
		"a slash at the end":      {"GET", "/v1/tenants/", nil, nil, 404, "not_found"},
		"an unknown method":       {"PROPFIND", "/v1/tenants", nil, nil, 405, "method_not_allowed"},
		"a method too many":       {"DELETE", "/v1/tenants", nil, nil, 405, "method_not_allowed"},
		"no type that is read":    {"GET", "/v1/tenants", nil, []string{"Accept", "text/html, image/*"}, 406, "not_acceptable"},
		"JSON refused by weight":  {"GET", "/v1/tenants", nil, []string{"Accept", "application/json;q=0, text/html"}, 406, "not_acceptable"},
		"a compressed body":       {"POST", "/v1/tenants", map[string]any{"name": "a"}, []string{"Content-Encoding", "gzip"}, 415, "unsupported_media_type"},
		"another charset":         {"POST", "/v1/tenants", map[string]any{"name": "a"}, []string{"Content-Type", "application/json; charset=utf-16"}, 415, "unsupported_media_type"},
		"a large body":            {"POST", "/v1/tenants", `{"name":"` + strings.Repeat("a", 70_000) + `"}`, nil, 413, "too_large"},
	} {
		a := c.call(row.method, row.path, row.body, row.headers...)
		want(t, a, row.status, row.code)
		if allow := a.header.Get("Allow"); row.status == http.StatusMethodNotAllowed && allow != "GET, HEAD, POST" {
			t.Errorf("%s: Allow: %q", name, allow)
		}
	}
	for _, accept := range []string{"*/*", "application/*;q=0.1", "text/html, application/json", "application/json; charset=utf-8"} {
		status(t, c.call("GET", "/v1/tenants", nil, "Accept", accept), http.StatusOK)
	}
	head := c.call("HEAD", "/v1/tenants/acme", nil)
	if get := c.call("GET", "/v1/tenants/acme", nil); head.status != http.StatusOK || head.text != "" || head.header.Get("ETag") != get.header.Get("ETag") {
		t.Errorf("HEAD answered %d %q with %v", head.status, head.text, head.header)
	}
}

// A request that takes too long is answered, and a handler that panics too.
func TestProblems_of_what_goes_wrong(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, _ := w.signUp("ada@example.com", "acme")
	w.exec("ALTER TABLE hubs RENAME TO lost_hubs") // what is there is not what the code expects
	a := c.call("GET", hubPath, nil)
	want(t, a, http.StatusInternalServerError, "internal")
	if strings.Contains(a.text, "hubs") || !strings.Contains(w.logs.String(), "lost_hubs") && !strings.Contains(w.logs.String(), "hubs") {
		t.Errorf("the answer is %s", a.text)
	}
	w.pool.Close()
	want(t, c.call("GET", "/v1/plans", nil), http.StatusServiceUnavailable, "unavailable")
}

func TestRateLimit_of_one_caller(t *testing.T) {
	t.Parallel()
	now := time.Now()
	w := newWorld(t, settings{requestsPerMinute: 60, now: func() time.Time { return now }})
	c, acme := w.signUp("ada@example.com", "acme")
	program := c.service(acme.at("account", "id"), "viewer", nil)
	first := status(t, program.call("GET", "/v1/tenants", nil), http.StatusOK)
	if policy, left := first.header.Get("RateLimit-Policy"), first.header.Get("RateLimit"); policy != `"requests_per_minute";q=60;w=60` || left != `"requests_per_minute";r=59;t=1` {
		t.Errorf("RateLimit-Policy: %s, RateLimit: %s", policy, left)
	}
	for range 59 {
		status(t, program.call("GET", "/v1/tenants", nil), http.StatusOK)
	}
	refused := program.call("GET", "/v1/tenants", nil)
	want(t, refused, http.StatusTooManyRequests, "too_many_api_requests")
	if refused.header.Get("Retry-After") != "1" || refused.header.Get("RateLimit") != `"requests_per_minute";r=0;t=60` {
		t.Errorf("the refusal has %v", refused.header)
	}
	status(t, c.call("GET", "/v1/tenants", nil), http.StatusOK) // somebody else
	now = now.Add(time.Second)
	status(t, program.call("GET", "/v1/tenants", nil), http.StatusOK)
	want(t, program.call("GET", "/v1/tenants", nil), http.StatusTooManyRequests, "too_many_api_requests")

	// Whoever guesses tokens is one caller, with all the tokens together.
	guess := func(n int) answer {
		return (&client{w: w, http: http.DefaultClient, token: "sbt_" + strings.Repeat("x", n)}).call("GET", "/v1/tenants", nil)
	}
	var last answer
	for n := range 400 {
		if last = guess(n + 1); last.status != http.StatusUnauthorized {
			break
		}
	}
	want(t, last, http.StatusTooManyRequests, "too_many_api_requests")
}

// The reference page is whole by itself: nothing in it is fetched or run.
func TestReference_page(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{production: true})
	res, err := http.Get(w.url + "/docs/api")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	page := string(content)
	if res.StatusCode != http.StatusOK || !strings.HasPrefix(page, "<!doctype html>") {
		t.Fatalf("answered %d %.100s", res.StatusCode, page)
	}
	_, style, _ := strings.Cut(page, "<style>")
	style, _, _ = strings.Cut(style, "</style>")
	sum := sha256.Sum256([]byte(style))
	policy := res.Header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy %s doesn't fit the page", policy)
	}
	for _, m := range regexp.MustCompile(`(?i)<script|<link|<img|<iframe|@import|url\(|\son\w+=|style=|src=`).FindAllString(page, -1) {
		t.Errorf("the page has %s", m)
	}
	for _, m := range regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if target, within := strings.CutPrefix(m[1], "#"); within && !strings.Contains(page, `id="`+target+`"`) || !within && m[1] != "/openapi.json" {
			t.Errorf("the page leads to %s", m[1])
		}
	}
	eachOperation(t, func(o operation) {
		if !strings.Contains(page, `<article id="`+o.id+`">`) {
			t.Errorf("%s isn't on the page", o.id)
		}
	})
	again, err := http.NewRequestWithContext(t.Context(), "GET", w.url+"/docs/api", nil)
	if err != nil {
		t.Fatal(err)
	}
	again.Header.Set("If-None-Match", res.Header.Get("ETag"))
	if second, err := http.DefaultClient.Do(again); err != nil || second.StatusCode != http.StatusNotModified {
		t.Errorf("asked again: %v %v", second, err)
	}
}

// What is JSON twice over, or none, is read by nobody.
func TestBody_is_read_in_one_way(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, _ := w.signUp("ada@example.com", "acme")
	for body, field := range map[string]string{
		`{"name":"a","name":"b"}`:                                         "name",
		`{"name":"a\u0000"}`:                                              "name",
		`{"handler":{"handler":1,"handler":2}}`:                           "handler.handler",
		`{"a":` + strings.Repeat(`[`, 40) + strings.Repeat(`]`, 40) + `}`: "a" + strings.Repeat(".0", 31),
		`{"name":` + strings.Repeat("1", 100) + `}`:                       "name",
		"{\"name\":\"\xff\"}":                                             "",
		`{"name":"\ud800"}`:                                               "",
	} {
		a := c.call("POST", "/v1/tenants", body)
		want(t, a, http.StatusBadRequest, "invalid")
		if fields := a.errorFields(); field != "" && (len(fields) != 1 || fields[0] != field) {
			t.Errorf("%.60s: named %v", body, fields)
		}
	}
	var queries = map[string]string{"limit=1&limit=2": "limit", "unknown=1": "unknown", "limit=%zz": "query"}
	for query, field := range queries {
		if a := c.call("GET", "/v1/tenants?"+query, nil); a.status != http.StatusBadRequest || len(a.errorFields()) != 1 || a.errorFields()[0] != field {
			t.Errorf("%s: %s", query, a.text)
		}
	}
}
