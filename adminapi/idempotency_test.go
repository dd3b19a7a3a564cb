package adminapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/signalbox/signalbox/adminapi"
	"github.com/signalbox/signalbox/tenants"
)

const keyHeader = "Idempotency-Key"

// count returns the number of rows that a condition holds for.
func (w *world) count(sql string, args ...any) (n int) {
	w.t.Helper()
	if err := w.pool.QueryRow(w.t.Context(), "SELECT count(*) FROM "+sql, args...).Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

func TestIdempotencyKey_makes_repeats_harmless(t *testing.T) {
	t.Parallel()
	now := time.Now()
	w := newWorld(t, settings{now: func() time.Time { return now }})
	c, acme := w.signUp("ada@example.com", "acme")
	body := map[string]any{"name": "Second"}
	first := status(t, c.call("POST", "/v1/tenants", body, keyHeader, "a"), http.StatusCreated)
	again := status(t, c.call("POST", "/v1/tenants", body, keyHeader, "a"), http.StatusCreated)
	if again.text != first.text || again.header.Get("Location") != first.header.Get("Location") || again.header.Get("Idempotent-Replay") != "true" || first.header.Get("Idempotent-Replay") != "" {
		t.Errorf("the repeat got another answer: %v %s", again.header, again.text)
	}
	if n := w.count("tenants WHERE account_id = $1", acme.at("account", "id")); n != 2 {
		t.Errorf("there are %d tenants, want 2", n)
	}
	if n := w.published.of(first.at("tenant", "id")); n != 1 {
		t.Errorf("the document was published %d times, want once", n)
	}
	want(t, c.call("POST", "/v1/tenants", map[string]any{"name": "Third"}, keyHeader, "a"), http.StatusConflict, "idempotency_conflict")
	want(t, c.call("POST", "/v1/tenants/acme/rest-tokens", body, keyHeader, "a"), http.StatusBadRequest, "invalid")
	want(t, c.call("POST", "/v1/tenants/acme/rest-tokens", map[string]any{}, keyHeader, "a"), http.StatusConflict, "idempotency_conflict")

	// Keys are their caller's own.
	other, _ := w.signUp("bob@example.com", "bobs")
	if a := status(t, other.call("POST", "/v1/tenants", body, keyHeader, "a"), http.StatusCreated); a.at("tenant", "id") == first.at("tenant", "id") {
		t.Error("somebody else got the answer")
	}
	// The secret in a kept answer is sealed.
	var kept []byte
	if err := w.pool.QueryRow(t.Context(), "SELECT answer FROM idempotent_requests WHERE user_id = $1", acme.at("user", "id")).Scan(&kept); err != nil {
		t.Fatal(err)
	}
	if len(kept) == 0 || strings.Contains(string(kept), "Second") {
		t.Errorf("the answer is kept as %q", kept)
	}
	// A refusal isn't kept: what it named can be set right.
	want(t, c.call("POST", "/v1/tenants", map[string]any{"name": "X", "slug": "bobs"}, keyHeader, "b"), http.StatusConflict, "slug_taken")
	status(t, c.call("POST", "/v1/tenants", map[string]any{"name": "X", "slug": "mine"}, keyHeader, "b"), http.StatusCreated)

	now = now.Add(tenants.RequestLife + time.Second)
	w.exec("UPDATE accounts SET plan = 'pro'")
	w.exec("UPDATE sessions SET seen_at = now()")
	if a := status(t, c.call("POST", "/v1/tenants", body, keyHeader, "a"), http.StatusCreated); a.at("tenant", "id") == first.at("tenant", "id") {
		t.Error("the key was remembered for more than a day")
	}
}

func TestIdempotencyKey_of_many_requests_at_once(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, acme := w.signUp("ada@example.com", "acme")
	answers := make([]answer, 8)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i] = c.call("POST", "/v1/tenants", map[string]any{"name": "Second"}, keyHeader, "k") })
	}
	all.Wait()
	made := 0
	for _, a := range answers {
		if a.status == http.StatusConflict && a.at("code") == "idempotency_in_progress" {
			continue // it waited for five seconds, on a very slow machine
		}
		if status(t, a, http.StatusCreated).text != answers[0].text {
			t.Errorf("two answers: %s and %s", a.text, answers[0].text)
		}
		if a.header.Get("Idempotent-Replay") == "" {
			made++
		}
	}
	if n := w.count("tenants WHERE account_id = $1", acme.at("account", "id")); n != 2 || made != 1 {
		t.Errorf("%d tenants, %d answers that are no repeats; want 2 and 1", n, made)
	}
}

// What ends a process ends its connections: nothing is left of the request, and a
// repeat carries it out.
func TestIdempotencyKey_leaves_nothing_of_a_request_that_dies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, acme := w.signUp("ada@example.com", "acme")
	// The connection is ended when all is written and the answer is about to be kept.
	w.exec(`CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$`)
	w.exec(`CREATE TRIGGER die BEFORE UPDATE ON idempotent_requests FOR EACH ROW EXECUTE FUNCTION die()`)
	body := map[string]any{"name": "Second"}
	want(t, c.call("POST", "/v1/tenants", body, keyHeader, "k"), http.StatusServiceUnavailable, "unavailable")
	if n := w.count("tenants WHERE account_id = $1", acme.at("account", "id")); n != 1 || w.count("idempotent_requests") != 0 {
		t.Errorf("%d tenants are left of a request that died", n)
	}
	w.exec("DROP TRIGGER die ON idempotent_requests")
	first := status(t, c.call("POST", "/v1/tenants", body, keyHeader, "k"), http.StatusCreated)
	if first.header.Get("Idempotent-Replay") != "" || w.published.of(first.at("tenant", "id")) != 1 {
		t.Errorf("the repeat was not carried out: %v", first.header)
	}
}

// A former answer holds secrets: who may not do the operation any more doesn't get
// it again.
func TestIdempotencyKey_gives_nothing_to_who_lost_the_role(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	_, acme := w.signUp("ada@example.com", "acme")
	account := acme.at("account", "id")
	bob := w.member("bob@example.com", account, tenants.Developer)
	const path = "/v1/tenants/acme/keys/primary/regenerate"
	status(t, bob.call("POST", path, nil, keyHeader, "k"), http.StatusOK)
	w.exec("UPDATE members SET role = 'viewer' WHERE account_id = $1 AND role = 'developer'", account)
	want(t, bob.call("POST", path, nil, keyHeader, "k"), http.StatusForbidden, "forbidden")
	w.exec("DELETE FROM members WHERE account_id = $1 AND role = 'viewer'", account)
	want(t, bob.call("POST", path, nil, keyHeader, "k"), http.StatusNotFound, "not_found")
}

// Every operation that creates something takes a key, and all others say that they
// don't.
func TestIdempotencyKey_on_every_operation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	ada, acme := w.signUp("ada@example.com", "acme")
	w.verified(acme)
	w.exec("UPDATE accounts SET plan = 'scale'")
	spec, err := adminapi.Spec()
	if err != nil {
		t.Fatal(err)
	}
	eachOperation(t, func(o operation) {
		op := spec.Paths.Find(o.path).GetOperation(o.method)
		takes := op.Parameters.GetByInAndName("header", keyHeader) != nil
		if creates := o.method == "POST" && op.Responses.Value("201") != nil && o.Callers != tenants.Anybody; creates && !takes {
			t.Errorf("%s creates something and takes no key", o.id)
		}
		if o.Callers == tenants.Anybody {
			return
		}
		path := address(o.path, acme.at("account", "id"), "acme")
		body := o.body
		if o.id == "createTenant" || o.id == "createApiToken" { // createAccount made a second one
			body = map[string]any{"name": "Another", "account_id": acme.at("account", "id")}
		}
		a := func() answer { return ada.call(o.method, path, body, keyHeader, "key-of-"+o.id) }
		if !takes {
			if got := a(); got.status != http.StatusBadRequest || fmt.Sprint(got.errorFields()) != "["+keyHeader+"]" {
				t.Errorf("%s passes over a key: %d %s", o.id, got.status, got.text)
			}
			return
		}
		first, second := a(), a()
		if first.status >= 300 {
			if first.status != http.StatusNotFound { // what it is about isn't there
				t.Errorf("%s answered %d: %s", o.id, first.status, first.text)
			}
			return
		}
		if second.text != first.text || second.header.Get("Idempotent-Replay") != "true" {
			t.Errorf("%s answered the repeat with %d %s", o.id, second.status, second.text)
		}
	})
	// Signing up takes none: who lost the answer, and with it the secret, isn't lost.
	lost := map[string]string{"email": "lost@example.com", "password": password, "tenant_slug": "lost"}
	status(t, w.browser().call("POST", "/v1/signup", lost), http.StatusCreated)
	want(t, w.browser().call("POST", "/v1/signup", lost), http.StatusConflict, "email_taken")
	again, _ := w.signIn("lost@example.com", password)
	if a := status(t, again.call("POST", "/v1/tenants/lost/keys/primary/regenerate", map[string]any{}), http.StatusOK); a.at("secret") == "" && a.at("key", "secret") == "" {
		t.Errorf("the key has no secret: %s", a.text)
	}
	want(t, ada.call("POST", "/v1/tenants", map[string]any{"name": "A"}, keyHeader, strings.Repeat("k", 129)), http.StatusBadRequest, "invalid")
	want(t, ada.call("POST", "/v1/tenants", map[string]any{"name": "A"}, keyHeader, "a b"), http.StatusBadRequest, "invalid")
}
