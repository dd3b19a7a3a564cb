package adminapi_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestInput_that_is_wrong_is_refused_by_name(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, _ := w.signUp("ada@example.com", "acme")
	const hub, usage = "/v1/tenants/acme/hubs/chat", "/v1/tenants/acme/usage"
	long := strings.Repeat("a", 300)
	for name, row := range map[string]struct {
		method, path string
		body         any
		status       int
		code         string
		fields       []string
	}{
		"no body":                            {"POST", "/v1/tenants", nil, 400, "invalid", nil},
		"not JSON":                           {"POST", "/v1/tenants", `{"name":`, 400, "invalid", nil},
		"an array":                           {"POST", "/v1/tenants", `[]`, 400, "invalid", []string{"body"}},
		"null":                               {"POST", "/v1/tenants", `null`, 400, "invalid", []string{"body"}},
		"two values":                         {"POST", "/v1/tenants", `{"name":"a"}{"name":"b"}`, 400, "invalid", nil},
		"a missing field":                    {"POST", "/v1/tenants", `{}`, 400, "invalid", []string{"name"}},
		"two missing fields":                 {"POST", "/v1/session", `{}`, 400, "invalid", []string{"email", "password"}},
		"an unknown field":                   {"POST", "/v1/tenants", `{"name":"a","plan":"scale"}`, 400, "invalid", []string{"plan"}},
		"the wrong type":                     {"POST", "/v1/tenants", `{"name":1}`, 400, "invalid", []string{"name"}},
		"null in a field":                    {"POST", "/v1/tenants", `{"name":null}`, 400, "invalid", []string{"name"}},
		"a blank name":                       {"POST", "/v1/tenants", `{"name":"  "}`, 400, "invalid", []string{"name"}},
		"a name with a line break":           {"POST", "/v1/tenants", `{"name":"a\nb"}`, 400, "invalid", []string{"name"}},
		"a long name":                        {"POST", "/v1/tenants", `{"name":"` + long + `"}`, 400, "invalid", []string{"name"}},
		"a slug in capitals":                 {"POST", "/v1/tenants", `{"name":"a","slug":"ACME"}`, 400, "invalid", []string{"slug"}},
		"a reserved slug":                    {"POST", "/v1/tenants", `{"name":"a","slug":"signalbox"}`, 400, "invalid", []string{"slug"}},
		"a taken slug":                       {"POST", "/v1/tenants", `{"name":"a","slug":"acme"}`, 409, "slug_taken", nil},
		"a body too large":                   {"POST", "/v1/tenants", `{"name":"` + strings.Repeat("a", 70_000) + `"}`, 413, "too_large", nil},
		"a body where none is taken":         {"POST", "/v1/tenants/acme/live", `{}`, 400, "invalid", nil},
		"an empty change":                    {"PATCH", "/v1/tenants/acme", `{}`, 400, "invalid", []string{"body"}},
		"mass assignment":                    {"PATCH", "/v1/tenants/acme", `{"name":"a","id":"x","role":"owner"}`, 400, "invalid", []string{"id", "role"}},
		"an unknown handler":                 {"PUT", hub, `{"handler":"both"}`, 400, "invalid", []string{"handler"}},
		"a number as text":                   {"PUT", hub, `{"keep_alive_seconds":"15"}`, 400, "invalid", []string{"keep_alive_seconds"}},
		"a fraction":                         {"PUT", hub, `{"keep_alive_seconds":1.5}`, 400, "invalid", []string{"keep_alive_seconds"}},
		"a number in another way":            {"PUT", hub, `{"keep_alive_seconds":1.5e1}`, 400, "invalid", []string{"keep_alive_seconds"}},
		"a huge number":                      {"PUT", hub, `{"keep_alive_seconds":1e400}`, 400, "invalid", []string{"keep_alive_seconds"}},
		"a negative number":                  {"PUT", hub, `{"keep_alive_seconds":-1}`, 400, "invalid", []string{"keep_alive_seconds"}},
		"three mistakes at once":             {"PUT", hub, `{"handler":"x","keep_alive_seconds":0,"color":"red"}`, 400, "invalid", []string{"color", "handler", "keep_alive_seconds"}},
		"a timeout below twice the ping":     {"PUT", hub, `{"keep_alive_seconds":20,"client_timeout_seconds":30}`, 400, "invalid", []string{"client_timeout_seconds"}},
		"a change that breaks what is there": {"PATCH", hub, `{"keep_alive_seconds":100}`, 400, "invalid", []string{"client_timeout_seconds"}},
		"an origin with a path":              {"PUT", hub, `{"allowed_origins":["https://a.example/x"]}`, 400, "invalid", []string{"allowed_origins.0"}},
		"an origin that is a pattern":        {"PUT", hub, `{"allowed_origins":["https://*.example"]}`, 400, "invalid", []string{"allowed_origins.0"}},
		"the same origin twice":              {"PUT", hub, `{"allowed_origins":["https://a.example","https://a.example"]}`, 400, "invalid", []string{"allowed_origins"}},
		"a hub name with a space":            {"PUT", "/v1/tenants/acme/hubs/a%20b", `{}`, 400, "invalid", []string{"hub"}},
		"a hub name with a slash":            {"PUT", "/v1/tenants/acme/hubs/a%2Fb", `{}`, 400, "invalid", []string{"hub"}},
		"a hub name with NUL":                {"GET", "/v1/tenants/acme/hubs/a%00b", nil, 400, "invalid", []string{"hub"}},
		"a tenant with NUL":                  {"GET", "/v1/tenants/a%00b", nil, 400, "invalid", []string{"tenant"}},
		"an address with NUL":                {"POST", "/v1/session", `{"email":"a\u0000@b.example","password":"x"}`, 400, "invalid", []string{"email"}},
		"an unknown slot":                    {"POST", "/v1/tenants/acme/keys/third/regenerate", nil, 400, "invalid", []string{"slot"}},
		"an unknown step":                    {"GET", usage + "?step=week", nil, 400, "invalid", []string{"step"}},
		"a time that is none":                {"GET", usage + "?from=yesterday", nil, 400, "invalid", []string{"from"}},
		"from after to":                      {"GET", usage + "?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", nil, 400, "invalid", []string{"from"}},
		"the last day of all":                {"GET", usage + "?from=9999-12-31T00:00:00Z&to=9999-12-31T23:59:59Z&step=day", nil, 400, "invalid", []string{"from", "to"}},
		"before all time":                    {"GET", usage + "?to=0000-01-01T00:00:00Z", nil, 400, "invalid", []string{"from", "to"}},
		"too many points":                    {"GET", usage + "?from=2020-01-01T00:00:00Z&to=2026-01-01T00:00:00Z&step=minute", nil, 400, "invalid", []string{"from"}},
		"a token for too long":               {"POST", "/v1/tenants/acme/client-tokens", `{"hub":"chat","expires_in_seconds":86401}`, 400, "invalid", []string{"expires_in_seconds"}},
		"a REST token for too long":          {"POST", "/v1/tenants/acme/rest-tokens", `{"expires_in_seconds":3601}`, 400, "invalid", []string{"expires_in_seconds"}},
		"a token for a bad hub":              {"POST", "/v1/tenants/acme/client-tokens", `{"hub":"a b"}`, 400, "invalid", []string{"hub"}},
		"a token for a long user":            {"POST", "/v1/tenants/acme/client-tokens", `{"hub":"chat","user_id":"` + long + `"}`, 400, "invalid", []string{"user_id"}},
		"a token for a blank user":           {"POST", "/v1/tenants/acme/client-tokens", `{"hub":"chat","user_id":" "}`, 400, "invalid", []string{"user_id"}},
		"a token that no edge takes":         {"POST", "/v1/tenants/acme/client-tokens", `{"hub":"chat","user_id":"a\nb","groups":["g","\t","a\u0001"],"permissions":["fly"]}`, 400, "invalid", []string{"groups.1", "groups.2", "permissions.0", "user_id"}},
		"a user of too many bytes":           {"POST", "/v1/tenants/acme/client-tokens", `{"hub":"chat","user_id":"` + strings.Repeat("ü", 200) + `"}`, 400, "invalid", []string{"user_id"}},
		"a short password":                   {"POST", "/v1/signup", `{"email":"a@b.example","password":"short"}`, 400, "invalid", []string{"password"}},
		"an address that is none":            {"POST", "/v1/signup", `{"email":"Ada <a@b.example>","password":"` + password + `"}`, 400, "invalid", []string{"email"}},
		"an address that is taken":           {"POST", "/v1/signup", `{"email":"ADA@example.com","password":"` + password + `"}`, 409, "email_taken", nil},
		"an unknown address":                 {"GET", "/v1/nothing", nil, 404, "not_found", nil},
		"an unknown method":                  {"PUT", "/v1/session", `{}`, 405, "method_not_allowed", nil},
	} {
		t.Run(name, func(t *testing.T) {
			a := c.call(row.method, row.path, row.body)
			want(t, a, row.status, row.code)
			fields := a.errorFields()
			slices.Sort(fields)
			if !slices.Equal(fields, row.fields) {
				t.Errorf("named %v, want %v: %s", fields, row.fields, a.text)
			}
			for _, internal := range []string{"SQLSTATE", "pgx", "kin-openapi", "json:", ".go:", "Schema:"} {
				if strings.Contains(a.text, internal) {
					t.Errorf("the answer shows internals (%s): %s", internal, a.text)
				}
			}
		})
	}
	if a := c.call("POST", "/v1/tenants", "name=a", "Content-Type", "application/x-www-form-urlencoded"); a.status != http.StatusUnsupportedMediaType {
		t.Errorf("a form answered %d: %s", a.status, a.text)
	}
	if a := c.call("PUT", hub, map[string]any{"handler": "both"}); !strings.Contains(a.text, "auto, broadcast, upstream, app_server") {
		t.Errorf("the accepted values are not named: %s", a.text)
	}
	if a := c.call("GET", hub, nil); a.at("handler") != "auto" {
		t.Errorf("something was half-written: %s", a.text)
	}
	if strings.Contains(w.logs.String(), `"level":"ERROR"`) {
		t.Errorf("bad input was logged as our error: %s", w.logs.String())
	}
}
