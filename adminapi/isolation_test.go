package adminapi_test

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/signalbox/signalbox/adminapi"
	"github.com/signalbox/signalbox/tenants"
)

// bodies are what operations with a body are called with.
var bodies = map[string]any{
	"signUp":               map[string]any{"email": "new@example.com", "password": password},
	"confirmSignUp":        map[string]any{"token": "x"},
	"signIn":               map[string]any{"email": "nobody@example.com", "password": password},
	"finishSignIn":         map[string]any{"code": "123456"},
	"verifyEmail":          map[string]any{"token": "x"},
	"requestPasswordReset": map[string]any{"email": "nobody@example.com"},
	"resetPassword":        map[string]any{"token": "x", "password": password},
	"changePassword":       map[string]any{"current_password": password, "new_password": password},
	"changeEmail":          map[string]any{"email": "else@example.com", "password": password},
	"beginSecondFactor":    map[string]any{"password": password},
	"confirmSecondFactor":  map[string]any{"code": "123456"},
	"renewRecoveryCodes":   map[string]any{"password": password, "code": "123456"},
	"removeSecondFactor":   map[string]any{"password": password, "code": "123456"},
	"lookUpInvitation":     map[string]any{"token": "x"},
	"acceptInvitation":     map[string]any{"token": "x", "password": password},
	"createAccount":        map[string]any{"name": "Another"},
	"beginOidc":            map[string]any{},
	"linkIdentity":         map[string]any{"password": password},
	"updateAccount":        map[string]any{"name": "Renamed"},
	"putBudget":            map[string]any{"action": "notify"},
	"putPlan":              map[string]any{"plan": "free"},
	"updateMember":         map[string]any{"role": "viewer"},
	"createInvitation":     map[string]any{"email": "invited@example.com", "role": "viewer"},
	"createServiceToken":   map[string]any{"name": "CI", "role": "viewer"},
	"createTenant":         map[string]any{"name": "Another"},
	"updateTenant":         map[string]any{"name": "Renamed"},
	"createDomain":         map[string]any{"domain": "rt.example.com"},
	"regenerateKey":        map[string]any{},
	"putLimit":             map[string]any{"max": 10},
	"putHub":               map[string]any{},
	"patchHub":             map[string]any{"handler": "broadcast"},
	"rotateWebhookSecret":  map[string]any{},
	"createClientToken":    map[string]any{"hub": "chat"},
	"createRestToken":      map[string]any{},
	"createApiToken":       map[string]any{"name": "CI"},
	"checkPermission":      map[string]any{"hub": "chat", "action": "connect"},
	"createIssuer":         issuerBody,
	"replaceIssuer":        issuerBody,
	"createRevocation":     map[string]any{"kind": "user", "value": "ann"},
}

var issuerBody = map[string]any{"issuer": "https://id.example.com/", "jwks_url": "https://id.example.com/keys"}

// operation is one of the document's with its row of the table.
type operation struct {
	tenants.Operation
	id, method, path string
	query            string // what the document requires, with a question mark
	body             any
}

// at is the operation's address for an account and a tenant.
func (o operation) at(account, tenant string) string {
	return address(o.path, account, tenant) + o.query
}

// requiredQuery has the first accepted value of each parameter that op requires.
func requiredQuery(op *openapi3.Operation) string {
	query := url.Values{}
	for _, p := range op.Parameters {
		if p.Value.In == openapi3.ParameterInQuery && p.Value.Required {
			query.Set(p.Value.Name, fmt.Sprint(p.Value.Schema.Value.Enum[0]))
		}
	}
	if len(query) == 0 {
		return ""
	}
	return "?" + query.Encode()
}

// eachOperation calls f with every operation of the document, those that would end
// what the others need last.
func eachOperation(t *testing.T, f func(o operation)) {
	t.Helper()
	spec, err := adminapi.Spec()
	if err != nil {
		t.Fatal(err)
	}
	var all []operation
	for path, item := range spec.Paths.Map() {
		for method, op := range item.Operations() {
			row, ok := tenants.Operations[op.OperationID]
			if !ok {
				t.Errorf("operation %s has no row: say who may call it", op.OperationID)
				continue
			}
			body, ok := bodies[op.OperationID]
			if ok != (op.RequestBody != nil) {
				t.Errorf("operation %s: a body is known: %t, the document asks for one: %t", op.OperationID, ok, op.RequestBody != nil)
			}
			all = append(all, operation{row, op.OperationID, method, path, requiredQuery(op), body})
		}
	}
	last := []string{"deleteTenant", "leaveAccount", "endOtherSessions", "signOut"}
	slices.SortFunc(all, func(a, b operation) int {
		return cmp.Or(cmp.Compare(slices.Index(last, a.id), slices.Index(last, b.id)), cmp.Compare(a.id, b.id))
	})
	for _, o := range all {
		f(o)
	}
}

// address fills a path in for an account and a tenant.
func address(path, account, tenant string) string {
	return strings.NewReplacer(
		"{account}", account, "{tenant}", tenant, "{hub}", "chat", "{slot}", "primary", "{api_token}", "none", "{issuer}", "none", "{revocation}", "none",
		"{delivery}", "1-1", "{user}", "none", "{invitation}", "none", "{session}", "none", "{identity}", "none", "{domain}", "none", "{version}", "1", "{limit}", "max_connections",
	).Replace(path)
}

// ofAccount tells whether an operation names an account or a tenant.
func (o operation) ofAccount() bool {
	return strings.Contains(o.path, "{account}") || strings.Contains(o.path, "{tenant}")
}

// SEC-31: every operation without a session and a token.
func TestOperations_without_a_caller_are_unauthenticated(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	_, acme := w.signUp("ada@example.com", "acme")
	eachOperation(t, func(o operation) {
		t.Run(o.id, func(t *testing.T) {
			a := w.browser().call(o.method, o.at(acme.at("account", "id"), acme.at("tenant", "id")), o.body)
			if refused := a.status == http.StatusUnauthorized && a.at("code") == "unauthenticated"; refused == (o.Callers == tenants.Anybody) {
				t.Errorf("answered %d: %s", a.status, a.text)
			}
		})
	})
}

// SEC-31: every operation with the ids of another's account and tenant, by session,
// by personal and service token and as somebody who was removed, by id and by slug.
func TestOperations_on_anothers_account_find_nothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	_, acme := w.signUp("ada@example.com", "acme")
	account, tenant := acme.at("account", "id"), acme.at("tenant", "id")
	mallory, own := w.signUp("mallory@example.com", "evil")
	w.verified(own)
	removed := w.member("removed@example.com", account, tenants.Admin)
	callers := map[string]*client{
		"session": mallory, "personal": mallory.program("", nil), "service": mallory.service(own.at("account", "id"), tenants.Admin, nil), "removed": removed,
	}
	if _, err := w.pool.Exec(t.Context(), "DELETE FROM members WHERE account_id = $1 AND role = 'admin'", account); err != nil {
		t.Fatal(err)
	}
	before := w.published.of(tenant)
	eachOperation(t, func(o operation) {
		if !o.ofAccount() {
			return
		}
		t.Run(o.id, func(t *testing.T) {
			for kind, c := range callers {
				if c.token != "" && o.Callers == tenants.SignedIn {
					continue
				}
				for _, ref := range []string{tenant, "acme"} {
					foreign, unknown := c.call(o.method, o.at(account, ref), o.body), c.call(o.method, o.at("unknown", "unknown"), o.body)
					if foreign.status != http.StatusNotFound || foreign.at("code") != "not_found" {
						t.Errorf("%s answered %d: %s", kind, foreign.status, foreign.text)
					}
					if foreign.at("detail") != unknown.at("detail") {
						t.Errorf("what is another's answers %q, what isn't there %q", foreign.at("detail"), unknown.at("detail"))
					}
				}
			}
		})
	})
	if n := w.published.of(tenant); n != before {
		t.Errorf("the tenant was published %d times more", n-before)
	}
	want(t, mallory.call("POST", "/v1/tenants", map[string]any{"name": "Mine", "account_id": account}), http.StatusNotFound, "not_found")
	want(t, mallory.call("POST", "/v1/api-tokens", map[string]any{"name": "Mine", "account_id": account}), http.StatusNotFound, "not_found")
}

// theirs makes one of everything that has an id in the account of ada, and returns the
// ids by the names of the parameters that take them.
func (w *world) theirs(ada *client, acme answer) map[string]string {
	w.t.Helper()
	w.verified(acme)
	account, tenant, user := acme.at("account", "id"), acme.at("tenant", "id"), acme.at("user", "id")
	made := func(a answer, path ...string) string {
		if a.at(path...) == "" {
			w.t.Fatalf("answered %d: %s", a.status, a.text)
		}
		return a.at(path...)
	}
	w.exec("INSERT INTO identities (id, user_id, issuer, subject, email, created_at) VALUES ('theirs', $1, 'https://id.example.com', '1', 'ada@example.com', now())", user)
	w.upstreams.deliveries = map[tenants.ID][]tenants.Delivery{tenants.ID(tenant): {{ID: "5-5", Hub: "canary", Mode: tenants.UpstreamNative, Outcome: "failed"}}}
	status(w.t, ada.call("PUT", "/v1/tenants/acme/hubs/canary", map[string]any{}), http.StatusCreated)
	status(w.t, ada.call("PATCH", "/v1/tenants/acme/hubs/canary", map[string]any{"handler": "broadcast"}), http.StatusOK)
	status(w.t, ada.call("PATCH", "/v1/tenants/acme", map[string]any{"name": "canary"}), http.StatusOK)
	return map[string]string{
		"user": user, "hub": "canary", "version": "2", "delivery": "5-5", "identity": "theirs",
		"session":    made(ada.call("GET", "/v1/session", nil), "id"),
		"invitation": made(ada.call("POST", "/v1/accounts/"+account+"/invitations", map[string]any{"email": "canary@example.com", "role": "viewer"}), "id"),
		"api_token":  made(ada.call("POST", "/v1/api-tokens", map[string]any{"name": "canary"}), "api_token", "id"),
		"domain":     made(ada.call("POST", "/v1/tenants/acme/domains", map[string]any{"domain": "canary.example.com"}), "id"),
		"issuer":     made(ada.call("POST", "/v1/tenants/acme/issuers", issuerBody), "id"),
		"revocation": made(ada.call("POST", "/v1/tenants/acme/revocations", map[string]any{"kind": "user", "value": "canary"}), "id"),
	}
}

// intruder asks for what is another's below an account and a tenant of its own.
type intruder struct {
	name string
	*client
	account, tenant string
	reads           bool // may read what is the other's, where it is
}

func (i intruder) own(path string) string { return address(path, i.account, i.tenant) }

// accountOf returns the id of a tenant's account.
func (w *world) accountOf(slug string) (id string) {
	w.t.Helper()
	if err := w.pool.QueryRow(w.t.Context(), "SELECT account_id FROM tenants WHERE slug = $1", slug).Scan(&id); err != nil {
		w.t.Fatal(err)
	}
	return id
}

// SEC-31: every id of what another account has, in the path below the caller's own
// account and tenant, in queries, as a cursor and in bodies; by session, by personal and
// service token, as somebody who may only read, in one's own account or in the other one,
// and as somebody who was removed from it. An operation that takes an id of a new kind has
// no row here, and fails.
func TestOperations_find_nothing_of_another_account_below_ones_own(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	ada, acme := w.signUp("ada@example.com", "acme")
	theirs := w.theirs(ada, acme)
	account := acme.at("account", "id")
	mallory, evil := w.signUp("mallory@example.com", "evil")
	w.verified(evil)
	own := evil.at("account", "id")
	removed := w.member("removed@example.com", account, tenants.Admin)
	reader := w.member("reader@example.com", account, tenants.Viewer)
	status(t, removed.call("GET", "/v1/accounts/"+account, nil), http.StatusOK)
	w.exec("DELETE FROM members WHERE account_id = $1 AND role = 'admin'", account)
	callers := []intruder{
		{"session", mallory, own, "evil", false},
		{"personal", mallory.program(own, nil), own, "evil", false},
		{"service", mallory.service(own, tenants.Admin, nil), own, "evil", false},
		{"viewer", w.member("viewer@example.com", own, tenants.Viewer), own, "evil", false},
		{"removed", removed, w.accountOf("removed-own"), "removed-own", false},
		{"reader", reader, w.accountOf("reader-own"), "reader-own", true},
	}
	spec, err := adminapi.Spec()
	if err != nil {
		t.Fatal(err)
	}
	// Words that are the same for everybody; hubs are there from their first change on.
	words, makes := []string{"account", "tenant", "slot", "limit"}, []string{"getHub", "putHub", "patchHub"}
	lists := []string{
		"/v1/accounts/" + acme.at("account", "id"), "/v1/accounts/" + acme.at("account", "id") + "/members", "/v1/accounts/" + acme.at("account", "id") + "/invitations", "/v1/sessions", "/v1/api-tokens",
		"/v1/user/identities", "/v1/tenants/acme", "/v1/tenants/acme/hubs", "/v1/tenants/acme/domains", "/v1/tenants/acme/issuers", "/v1/tenants/acme/revocations", "/v1/tenants/acme/keys",
	}
	seen := func() (all string) {
		for _, path := range lists {
			all += status(t, ada.call("GET", path, nil), http.StatusOK).text + "\n"
		}
		return all
	}
	queries := map[string][]string{
		"actor": {theirs["user"]}, "tenant": {acme.at("tenant", "id"), "acme"}, "hub": {"canary"}, "action": {"tenant.created"}, "number": {"1"}, "hash": {strings.Repeat("0", 64)},
		"after": {"1"}, "after_hash": {strings.Repeat("0", 64)},
	}
	harmless := []string{"cursor", "limit", "from", "to", "step", "kind", "format", "by", "at", "event", "outcome", "code", "state", "error", "most"}
	leaks := func(a answer) bool {
		for _, id := range append(slices.Collect(maps.Values(theirs)), acme.at("account", "id"), acme.at("tenant", "id"), "ada@example.com") {
			if len(id) > 5 && strings.Contains(a.text, id) {
				return true
			}
		}
		return false
	}
	before := seen()
	for kind, id := range theirs {
		if !strings.Contains(before, id) && kind != "version" && kind != "delivery" {
			t.Errorf("there is no %s %s: %s", kind, id, before)
		}
	}
	eachOperation(t, func(o operation) {
		op := spec.Paths.Find(o.path).GetOperation(o.method)
		next := ""
		if o.method == http.MethodGet && op.Parameters.GetByInAndName(openapi3.ParameterInQuery, "cursor") != nil {
			next = ada.call("GET", address(o.path, account, "acme")+"?limit=1", nil).at("next_cursor")
		}
		for _, by := range callers {
			if by.token != "" && o.Callers == tenants.SignedIn {
				continue
			}
			t.Run(o.id+"/"+by.name, func(t *testing.T) {
				path, foreign := o.path, false
				for part := range strings.SplitSeq(o.path, "/") {
					name, ok := strings.CutPrefix(strings.TrimSuffix(part, "}"), "{")
					if !ok || slices.Contains(words, name) {
						continue
					}
					if theirs[name] == "" {
						t.Fatalf("the path takes an id of a kind that isn't known: %s", name)
					}
					path, foreign = strings.Replace(path, part, theirs[name], 1), true
				}
				if foreign && !slices.Contains(makes, o.id) {
					a := by.call(o.method, by.own(path)+o.query, o.body)
					mayNot := by.name == "viewer" && a.status == http.StatusForbidden && a.at("code") == "forbidden"
					// A list of what a hub of one's own has not is empty, not missing.
					if a.status != http.StatusNotFound && !mayNot && (o.method != http.MethodGet || leaks(a)) {
						t.Errorf("answered %d: %s", a.status, a.text)
					}
				}
				for _, p := range op.Parameters {
					if p.Value.In != openapi3.ParameterInQuery {
						continue
					}
					if queries[p.Value.Name] == nil && !slices.Contains(harmless, p.Value.Name) {
						t.Errorf("the query takes something that isn't known: %s", p.Value.Name)
					}
					values := queries[p.Value.Name]
					if p.Value.Name == "cursor" && next != "" {
						values = []string{next}
					}
					for _, v := range values {
						query := "?" + p.Value.Name + "=" + url.QueryEscape(v)
						if o.query != "" {
							query = o.query + "&" + query[1:]
						}
						// What lists all of one's accounts shows a member the other one, too.
						if a := by.call(o.method, by.own(o.path)+query, nil); leaks(a) && (!by.reads || o.ofAccount()) {
							t.Errorf("?%s=%s shows what is another's: %s", p.Value.Name, v, a.text)
						}
					}
				}
				if op.RequestBody == nil {
					return
				}
				for name := range op.RequestBody.Value.Content.Get("application/json").Schema.Value.Properties {
					switch {
					case name == "account_id":
						a := by.call(o.method, by.own(o.path), map[string]any{"name": "Mine", name: account})
						if by.reads {
							want(t, a, http.StatusForbidden, "forbidden")
						} else {
							want(t, a, http.StatusNotFound, "not_found")
						}
					case strings.HasSuffix(name, "_id") && name != "user_id": // of a tenant's own users
						t.Errorf("the body takes an id of a kind that isn't known: %s", name)
					}
				}
			})
		}
	})
	if after := seen(); after != before || len(w.upstreams.replayed) > 0 {
		t.Errorf("something was changed, or sent: %v\n%s\n%s", w.upstreams.replayed, before, after)
	}
}

// SEC-31: the table, every operation × role × kind of caller.
func TestOperations_follow_the_table_of_roles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	for _, role := range tenants.Roles {
		for _, kind := range []tenants.TokenKind{"", tenants.PersonalToken, tenants.ServiceToken} {
			if kind == tenants.ServiceToken && role == tenants.Owner {
				continue // there is no such token
			}
			name := string(role) + "-" + string(kind) + "x"
			owner, acme := w.signUp("boss-"+name+"@example.com", "t-"+name)
			account := acme.at("account", "id")
			c := w.member(name+"@example.com", account, role)
			switch kind {
			case tenants.PersonalToken:
				// Made as developer at the least, since others can't make any: the role at
				// the time of use counts.
				w.exec("UPDATE members SET role = 'owner' WHERE account_id = $1", account)
				c = c.program(account, nil)
				w.exec("UPDATE members SET role = $2 WHERE account_id = $1 AND user_id <> $3", account, role, acme.at("user", "id"))
			case tenants.ServiceToken:
				c = owner.service(account, role, nil)
			}
			eachOperation(t, func(o operation) {
				if o.Callers == tenants.Anybody || o.Needs == "" && kind == "" {
					return
				}
				t.Run(name+"/"+o.id, func(t *testing.T) {
					body := o.body
					if o.id == "createTenant" || o.id == "createApiToken" {
						body = map[string]any{"name": "Another", "account_id": account}
					}
					a := c.call(o.method, o.at(account, acme.at("tenant", "id")), body)
					code := ""
					switch {
					case kind != "" && o.Callers == tenants.SignedIn:
						code = "session_required"
					case o.Needs != "" && !role.Allows(o.Needs):
						code = "forbidden"
					}
					switch {
					case code != "":
						want(t, a, http.StatusForbidden, code)
					case a.status == http.StatusForbidden || a.status == http.StatusUnauthorized && a.at("code") != "wrong_code" || a.status >= 500:
						t.Errorf("answered %d: %s", a.status, a.text)
					}
				})
			})
		}
	}
}

// Each scope opens the operations that name it, and no others.
func TestOperations_follow_the_scopes_of_tokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	for i, scope := range tenants.Scopes {
		owner, acme := w.signUp(fmt.Sprintf("ada%d@example.com", i), fmt.Sprintf("acme%d", i))
		w.verified(acme)
		for kind, c := range map[string]*client{
			"personal": owner.program("", []tenants.Scope{scope}), "service": owner.service(acme.at("account", "id"), tenants.Admin, []tenants.Scope{scope}),
		} {
			eachOperation(t, func(o operation) {
				if o.Callers != tenants.WithToken || o.id == "deleteTenant" {
					return
				}
				t.Run(string(scope)+"/"+kind+"/"+o.id, func(t *testing.T) {
					a := c.call(o.method, o.at(acme.at("account", "id"), acme.at("tenant", "id")), o.body)
					if refused := a.at("code") == "insufficient_scope"; refused != (o.Scope != "" && o.Scope != scope) {
						t.Errorf("answered %d: %s", a.status, a.text)
					}
				})
			})
		}
	}
}

func TestAPIToken_acts_in_one_account_only(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	_, acme := w.signUp("ada@example.com", "acme")
	c := w.member("bob@example.com", acme.at("account", "id"), tenants.Developer)
	want(t, c.call("POST", "/v1/api-tokens", map[string]any{"name": "CI"}), http.StatusBadRequest, "invalid") // which account?
	made := c.call("POST", "/v1/api-tokens", map[string]any{"name": "CI", "account_id": acme.at("account", "id")})
	program := &client{w: w, http: http.DefaultClient, token: made.at("secret")}
	if a := program.call("GET", "/v1/tenants/acme", nil); a.status != http.StatusOK {
		t.Errorf("the token's own account answered %d", a.status)
	}
	want(t, program.call("GET", "/v1/tenants/bob-own", nil), http.StatusNotFound, "not_found")
	if a := program.call("GET", "/v1/tenants", nil); strings.Contains(a.text, "bob-own") {
		t.Errorf("the list shows another account's tenant: %s", a.text)
	}
	if a := c.call("DELETE", "/v1/api-tokens/"+made.body["api_token"].(map[string]any)["id"].(string), nil); a.status != http.StatusNoContent {
		t.Errorf("revoking answered %d", a.status)
	}
	want(t, program.call("GET", "/v1/tenants/acme", nil), http.StatusUnauthorized, "invalid_token")
}

// SEC-32: every operation with a body refuses each field that its document doesn't
// name, before anything is done.
func TestOperations_take_no_field_that_is_not_the_callers_to_say(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	ada, acme := w.signUp("ada@example.com", "acme")
	spec, err := adminapi.Spec()
	if err != nil {
		t.Fatal(err)
	}
	before := w.state()
	eachOperation(t, func(o operation) {
		if o.body == nil {
			return
		}
		t.Run(o.id, func(t *testing.T) {
			known := spec.Paths.Find(o.path).GetOperation(o.method).RequestBody.Value.Content.Get("application/json").Schema.Value.Properties
			body, _ := o.body.(map[string]any)
			planted := maps.Clone(body)
			var foreign []string
			for _, name := range []string{
				"id", "plan", "quota", "limits", "balance", "is_admin", "account_id", "tenant_id", "user_id", "role", "revision", "created_at", "email_verified", "password_hash",
			} {
				if known[name] == nil {
					foreign, planted[name] = append(foreign, name), "owner"
				}
			}
			a := ada.call(o.method, address(o.path, acme.at("account", "id"), "acme"), planted)
			if a.status != http.StatusBadRequest || a.at("code") != "invalid" {
				t.Errorf("answered %d: %s", a.status, a.text)
			}
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
