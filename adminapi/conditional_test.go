package adminapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/signalbox/signalbox/adminapi"
)

const (
	hubPath   = "/v1/tenants/acme/hubs/chat"
	limitPath = "/v1/tenants/acme/limits/max_hubs"
)

func TestETag_names_what_was_read(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, _ := w.signUp("ada@example.com", "acme")
	read := status(t, c.call("GET", hubPath, nil), http.StatusOK)
	tag := read.header.Get("ETag")
	if again := c.call("GET", hubPath, nil); tag == "" || tag[0] != '"' || again.header.Get("ETag") != tag {
		t.Errorf("the tags of one representation are %s and %s", tag, again.header.Get("ETag"))
	}
	for _, field := range []string{tag, "W/" + tag, `"x", ` + tag, "*"} {
		a := c.call("GET", hubPath, nil, "If-None-Match", field)
		if a.status != http.StatusNotModified || a.text != "" || a.header.Get("ETag") != tag {
			t.Errorf("If-None-Match: %s answered %d %q", field, a.status, a.text)
		}
	}
	status(t, c.call("GET", hubPath, nil, "If-None-Match", `"x"`), http.StatusOK)
	for _, field := range []string{"x", `"x`, `x"`, `"x" "y"`, `"x",`, `*, "x"`} {
		want(t, c.call("GET", hubPath, nil, "If-None-Match", field), http.StatusBadRequest, "invalid")
		want(t, c.call("PATCH", hubPath, map[string]any{"keep_alive_seconds": 12}, "If-Match", field), http.StatusBadRequest, "invalid")
	}

	changed := status(t, c.call("PATCH", hubPath, map[string]any{"keep_alive_seconds": 11}, "If-Match", `"x",`+tag), http.StatusOK)
	if now := c.call("GET", hubPath, nil).header.Get("ETag"); now == tag || now != changed.header.Get("ETag") {
		t.Errorf("the change answered the tag %s, then it was %s, and before %s", changed.header.Get("ETag"), now, tag)
	}
	for _, field := range []string{tag, `W/` + changed.header.Get("ETag")} { // weak ones never match here
		stale := c.call("PUT", hubPath, map[string]any{}, "If-Match", field)
		want(t, stale, http.StatusPreconditionFailed, "changed")
		if stale.header.Get("ETag") != changed.header.Get("ETag") {
			t.Errorf("the refusal names the tag %s", stale.header.Get("ETag"))
		}
	}
	want(t, c.call("DELETE", hubPath, nil, "If-Match", tag), http.StatusPreconditionFailed, "changed")
	if a := c.call("GET", hubPath, nil); fmt.Sprint(a.body["keep_alive_seconds"]) != "11" {
		t.Errorf("something was changed: %s", a.text)
	}
	status(t, c.call("PATCH", hubPath, map[string]any{"keep_alive_seconds": 12}, "If-Match", "*"), http.StatusOK)
	status(t, c.call("DELETE", hubPath, nil, "If-Match", c.call("GET", hubPath, nil).header.Get("ETag")), http.StatusNoContent)
	want(t, c.call("PATCH", "/v1/tenants/none", map[string]any{"name": "x"}, "If-Match", "*"), http.StatusNotFound, "not_found")

	// A limit's tag changes with its use, but only what is set of it counts for changes.
	before := status(t, c.call("GET", limitPath, nil), http.StatusOK).header.Get("ETag")
	status(t, c.call("PUT", "/v1/tenants/acme/hubs/another", map[string]any{}), http.StatusCreated)
	used := status(t, c.call("GET", limitPath, nil, "If-None-Match", before), http.StatusOK)
	if used.header.Get("ETag") == before || fmt.Sprint(used.body["used"]) != "1" {
		t.Errorf("with another hub the tag is still %s: %s", before, used.text)
	}
	status(t, c.call("GET", limitPath, nil, "If-None-Match", used.header.Get("ETag")), http.StatusNotModified)
	set := status(t, c.call("PUT", limitPath, map[string]any{"max": 10}, "If-Match", before), http.StatusOK)
	stale := c.call("DELETE", limitPath, nil, "If-Match", before)
	want(t, stale, http.StatusPreconditionFailed, "changed")
	status(t, c.call("PUT", limitPath, map[string]any{"max": 11}, "If-Match", stale.header.Get("ETag")), http.StatusOK)
	want(t, c.call("DELETE", limitPath, nil, "If-Match", set.header.Get("ETag")), http.StatusPreconditionFailed, "changed")
	want(t, c.call("GET", "/v1/tenants/acme/limits/none", nil), http.StatusNotFound, "not_found")
}

// Of many who change what they all have seen, one does.
func TestIfMatch_lets_one_of_many_through(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, acme := w.signUp("ada@example.com", "acme")
	account := "/v1/accounts/" + acme.at("account", "id")
	w.exec("UPDATE accounts SET plan = 'scale'")
	for path, body := range map[string]func(int) map[string]any{
		hubPath: func(i int) map[string]any {
			return map[string]any{"keep_alive_seconds": 50 + i, "client_timeout_seconds": 200 + i}
		},
		"/v1/tenants/acme":  func(i int) map[string]any { return map[string]any{"name": fmt.Sprint("Name ", i)} },
		account:             func(i int) map[string]any { return map[string]any{"name": fmt.Sprint("Name ", i)} },
		account + "/budget": func(i int) map[string]any { return map[string]any{"action": "notify", "messages": 10 + i} },
		account + "/plan":   func(i int) map[string]any { return map[string]any{"plan": []string{"free", "pro"}[i%2]} },
		limitPath:           func(i int) map[string]any { return map[string]any{"max": 10 + i} },
	} {
		method := "PATCH"
		if path == limitPath || strings.HasSuffix(path, "/budget") || strings.HasSuffix(path, "/plan") {
			method = "PUT"
		}
		tag := c.call("GET", path, nil).header.Get("ETag")
		answers := make([]answer, 6)
		var all sync.WaitGroup
		for i := range answers {
			all.Go(func() { answers[i] = c.call(method, path, body(i), "If-Match", tag) })
		}
		all.Wait()
		done := 0
		for _, a := range answers {
			if a.status == http.StatusOK {
				done++
				if now := c.call("GET", path, nil).header.Get("ETag"); now != a.header.Get("ETag") {
					t.Errorf("%s is not as the one who changed it left it: %s, now %s", path, a.text, c.call("GET", path, nil).text)
				}
				continue
			}
			want(t, a, http.StatusPreconditionFailed, "changed")
		}
		if done != 1 {
			t.Errorf("%d of %d changed %s", done, len(answers), path)
		}
	}
}

// What replaces something as a whole that can't be read by itself.
var unconditional = map[string]string{
	"changePassword": "a person has only one, and proves it with each change",
}

// Every operation that replaces or changes something takes If-Match, refuses with a
// tag that isn't the present one, and has done nothing then; others say that they
// don't take it.
func TestIfMatch_on_every_operation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	ada, acme := w.signUp("ada@example.com", "acme")
	w.verified(acme)
	spec, err := adminapi.Spec()
	if err != nil {
		t.Fatal(err)
	}
	revision := func() (n int) {
		if err := w.pool.QueryRow(t.Context(), "SELECT revision + (SELECT count(*) FROM audit_events) FROM tenants WHERE slug = 'acme'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	eachOperation(t, func(o operation) {
		op := spec.Paths.Find(o.path).GetOperation(o.method)
		takes := op.Parameters.GetByInAndName("header", "If-Match") != nil
		if updates := o.method == "PUT" || o.method == "PATCH"; updates && !takes && unconditional[o.id] == "" {
			t.Errorf("%s changes what nobody can read: add a GET to its path", o.id)
		}
		path := address(o.path, acme.at("account", "id"), "acme")
		if o.path == "/v1/tenants/{tenant}/issuers/{issuer}" {
			made := map[string]any{"issuer": "for " + o.id, "jwks_url": "https://id.example.com/keys"}
			path = "/v1/tenants/acme/issuers/" + status(t, ada.call("POST", "/v1/tenants/acme/issuers", made), http.StatusCreated).at("id")
		}
		if o.path == "/v1/accounts/{account}/members/{user}" {
			path = "/v1/accounts/" + acme.at("account", "id") + "/members/" + acme.at("user", "id")
		}
		before := revision()
		a := ada.call(o.method, path, o.body, "If-Match", `"stale"`)
		switch {
		case takes && (a.status != http.StatusPreconditionFailed || a.header.Get("ETag") == ""):
			t.Errorf("%s answered %d: %s", o.id, a.status, a.text)
		case !takes && (a.status != http.StatusBadRequest || fmt.Sprint(a.errorFields()) != "[If-Match]"):
			t.Errorf("%s passes over If-Match: %d %s", o.id, a.status, a.text)
		}
		if revision() != before {
			t.Errorf("%s changed something", o.id)
		}
		if takes { // the change itself looks, too: else the log has it
			ada.call(o.method, path, o.body, "If-Match", "*")
		}
	})
	if strings.Contains(w.logs.String(), `"level":"ERROR"`) {
		t.Errorf("a condition was not looked at within the change: %s", w.logs.String())
	}
}
