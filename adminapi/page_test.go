package adminapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/signalbox/signalbox/adminapi"
)

// more makes one more thing of a list, by API or, where that would take long, in
// the database; n is another number each time.
var more = map[string]func(w *world, c *client, o scene, n int){
	"listSessions": func(w *world, _ *client, _ scene, _ int) { w.signIn("ada@example.com", password) },
	"listIdentities": func(w *world, _ *client, o scene, n int) {
		w.exec("INSERT INTO identities (id, user_id, issuer, subject, email, created_at) VALUES ($1, $2, 'https://id.example.com', $1, 'ada@example.com', now())", fmt.Sprint("identity", n), o.user)
	},
	"listMembers": func(w *world, _ *client, o scene, n int) {
		// Before and behind those that are there.
		w.exec("INSERT INTO users (id, email, email_key, password_hash) VALUES ($1, $2, $2, '')", fmt.Sprint("user", n), fmt.Sprintf("%c%d@example.com", "az"[n%2], n))
		w.exec("INSERT INTO members (account_id, user_id, role) VALUES ($1, $2, 'viewer')", o.account, fmt.Sprint("user", n))
	},
	"listInvitations": func(_ *world, c *client, o scene, n int) {
		status(o.t, c.call("POST", "/v1/accounts/"+o.account+"/invitations", map[string]any{"email": fmt.Sprintf("i%d@example.com", n), "role": "viewer"}), http.StatusCreated)
	},
	"listAccountTokens": func(_ *world, c *client, o scene, n int) {
		status(o.t, c.call("POST", "/v1/accounts/"+o.account+"/api-tokens", map[string]any{"name": fmt.Sprint(n), "role": "viewer"}), http.StatusCreated)
	},
	"listApiTokens": func(_ *world, c *client, o scene, n int) {
		status(o.t, c.call("POST", "/v1/api-tokens", map[string]any{"name": fmt.Sprint(n)}), http.StatusCreated)
	},
	"listTenants": func(_ *world, c *client, o scene, n int) {
		status(o.t, c.call("POST", "/v1/tenants", map[string]any{"name": fmt.Sprintf("%c %d", "Az"[n%2], n)}), http.StatusCreated)
	},
	"listHubs": func(_ *world, c *client, o scene, n int) {
		status(o.t, c.call("PUT", fmt.Sprintf("/v1/tenants/acme/hubs/%c%d", "az"[n%2], n), map[string]any{}), http.StatusCreated)
	},
	"listHubVersions": func(_ *world, c *client, o scene, n int) {
		status(o.t, c.call("PATCH", hubPath, map[string]any{"client_timeout_seconds": 100 + n}), http.StatusOK)
	},
	"listDomains": func(_ *world, c *client, o scene, n int) {
		status(o.t, c.call("POST", "/v1/tenants/acme/domains", map[string]any{"domain": fmt.Sprintf("%c%d.example.com", "az"[n%2], n)}), http.StatusCreated)
	},
	"listIssuers": func(_ *world, c *client, o scene, n int) {
		status(o.t, c.call("POST", "/v1/tenants/acme/issuers", map[string]any{"issuer": fmt.Sprint("issuer", n), "jwks_url": "https://id.example.com/keys"}), http.StatusCreated)
	},
	"listRevocations": func(_ *world, c *client, o scene, n int) {
		status(o.t, c.call("POST", "/v1/tenants/acme/revocations", map[string]any{"kind": "user", "value": fmt.Sprint("user", n)}), http.StatusCreated)
	},
	// There are so many, and no way to make more that leaves those there are.
	"listPlans": nil, "listKeys": nil, "listWebhookSecrets": nil,
	// Its store cuts its pages, which the tests of tenants/deliveries walk.
	"listUpstreamDeliveries": nil,
	"listAuditEvents": func(_ *world, c *client, o scene, n int) {
		status(o.t, c.call("PATCH", "/v1/accounts/"+o.account, map[string]any{"name": fmt.Sprint(n)}), http.StatusOK)
	},
	"listOwnAuditEvents": func(w *world, _ *client, _ scene, _ int) { w.signIn("ada@example.com", password) },
}

// scene is what a list is of.
type scene struct {
	t             *testing.T
	user, account string
}

// pagedOperation tells whether an operation lists things, and the name of the list.
func pagedOperation(op *openapi3.Operation) (name string, paged bool) {
	ok := op.Responses.Value("200")
	if ok == nil || ok.Value.Content.Get("application/json") == nil {
		return "", false
	}
	schema := ok.Value.Content.Get("application/json").Schema.Value
	for property, s := range schema.Properties {
		if s.Value.Type.Is("array") {
			name = property
		}
	}
	return name, schema.Properties["next_cursor"] != nil
}

// What has a list in its answer and no pages.
var unpaged = map[string]string{
	"getSession":       "the accounts of one person, of whom there are at most a hundred or so",
	"getTenant":        "hosts of one tenant",
	"getAccount":       "one thing",
	"getHub":           "one thing",
	"getLimits":        "as many as there are limits",
	"getUsage":         "as many points as were asked for",
	"getUsageTop":      "the largest so many, and one row for all others",
	"getLedger":        "a download, bounded in time and entries",
	"getAccountLedger": "a download, bounded in time and entries",
	"getIssuer":        "one thing",
	"getPlan":          "one thing",
	"getBudget":        "the steps of one budget",
	"getStatement":     "the lines of one statement, one of each meter and tenant",
	"getDevMailbox":    "for development, at most 100",
}

// A walk through a list by pages of one thing sees everything that is there all the
// time, once, whatever comes meanwhile.
func TestPages_of_every_list(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, acme := w.signUp("ada@example.com", "acme")
	w.verified(acme)
	w.exec("UPDATE accounts SET plan = 'scale'")
	o := scene{t: t, user: acme.at("user", "id"), account: acme.at("account", "id")}
	spec, err := adminapi.Spec()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		status(t, c.call("POST", "/v1/tenants/acme/webhook-secrets/rotate", map[string]any{}), http.StatusCreated)
	}
	n := 0
	eachOperation(t, func(op operation) {
		name, paged := pagedOperation(spec.Paths.Find(op.path).GetOperation(op.method))
		if op.method == "GET" && name != "" && !paged && unpaged[op.id] == "" {
			t.Errorf("%s answers a list without pages: give it cursor, limit and next_cursor", op.id)
		}
		if !paged {
			return
		}
		add, known := more[op.id]
		if !known {
			t.Errorf("%s has pages, and this test doesn't know how to make one more thing of its list", op.id)
			return
		}
		grow := func() {
			if n++; add != nil {
				add(w, c, o, n)
			}
		}
		path := address(op.path, o.account, "acme")
		refusesPages(t, c, op.id, path)
		if op.id != "listUpstreamDeliveries" {
			walkPages(t, c, op.id, path, name, grow, add != nil)
		}
	})
}

// refusesPages asks a list for pages that there can't be.
func refusesPages(t *testing.T, c *client, id, path string) {
	t.Helper()
	for name, limit := range map[string]string{"none": "0", "too many": "201", "no number": "x", "negative": "-1"} {
		if a := c.call("GET", path+"?limit="+limit, nil); a.status != http.StatusBadRequest || !slices.Equal(a.errorFields(), []string{"limit"}) {
			t.Errorf("%s, %s: %d %s", id, name, a.status, a.text)
		}
	}
}

// walkPages walks a list by pages of one thing while it grows, if it does.
func walkPages(t *testing.T, c *client, id, path, name string, grow func(), grows bool) {
	t.Helper()
	for _, cursor := range []string{"x", "W10", "WyJvdGhlciIsImEiXQ", "%00", "bnVsbA", strings.Repeat("A", 2000)} {
		if a := c.call("GET", path+"?cursor="+cursor, nil); a.status != http.StatusBadRequest || !slices.Equal(a.errorFields(), []string{"cursor"}) {
			t.Errorf("%s takes the cursor %.20s: %d %s", id, cursor, a.status, a.text)
		}
	}
	for range 3 {
		grow()
	}
	whole := things(t, status(t, c.call("GET", path+"?limit=200", nil), http.StatusOK), name)
	if grows && len(whole) < 3 {
		t.Errorf("%s shows %d things", id, len(whole))
	}
	seen := make(map[string]int)
	query := "?limit=1"
	for pages := 0; ; pages++ {
		a := status(t, c.call("GET", path+query, nil), http.StatusOK)
		page := things(t, a, name)
		if len(page) != 1 {
			t.Fatalf("%s: a page of one has %d: %s", id, len(page), a.text)
		}
		seen[page[0]]++
		next := a.at("next_cursor")
		if next == "" {
			break
		}
		query = "?limit=1&cursor=" + next
		if pages < 2 { // else a list that grows at its end has no end
			grow()
		}
	}
	for _, id := range whole {
		if seen[id] != 1 {
			t.Errorf("%s: %s was seen %d times", path, id, seen[id])
		}
	}
	for id, times := range seen {
		if times != 1 {
			t.Errorf("%s: %s was seen %d times", path, id, times)
		}
	}
}

// things lists what tells the things of a page apart.
func things(t *testing.T, a answer, name string) (ids []string) {
	t.Helper()
	all, _ := a.body[name].([]any)
	for _, v := range all {
		thing := v.(map[string]any)
		id := ""
		for _, field := range []string{"id", "user_id", "version", "name", "hash"} {
			if thing[field] != nil {
				text, err := json.Marshal(thing[field])
				if err != nil {
					t.Fatal(err)
				}
				id = string(text)
				break
			}
		}
		if id == "" {
			t.Fatalf("what tells these apart? %v", thing)
		}
		ids = append(ids, id)
	}
	return ids
}

// What was seen may go while the list is walked.
func TestPages_while_things_go(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, _ := w.signUp("ada@example.com", "acme")
	for i := range 6 {
		status(t, c.call("PUT", fmt.Sprint("/v1/tenants/acme/hubs/h", i), map[string]any{}), http.StatusCreated)
	}
	var seen []string
	query := "?limit=2"
	for {
		a := status(t, c.call("GET", "/v1/tenants/acme/hubs"+query, nil), http.StatusOK)
		for _, h := range a.body["hubs"].([]any) {
			name := h.(map[string]any)["name"].(string)
			seen = append(seen, name)
			status(t, c.call("DELETE", "/v1/tenants/acme/hubs/"+name, nil), http.StatusNoContent)
		}
		if a.at("next_cursor") == "" {
			break
		}
		query = "?limit=2&cursor=" + a.at("next_cursor")
	}
	if want := []string{"chat", "h0", "h1", "h2", "h3", "h4", "h5"}; !slices.Equal(seen, want) {
		t.Errorf("saw %v, want %v", seen, want)
	}
}
