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

// SEC-31: what is another account's, named below the caller's own.
func TestOperations_find_nothing_of_another_account_below_ones_own(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	ada, acme := w.signUp("ada@example.com", "acme")
	w.verified(acme)
	mallory, evil := w.signUp("mallory@example.com", "evil")
	invited := ada.call("POST", "/v1/accounts/"+acme.at("account", "id")+"/invitations", map[string]any{"email": "bob@example.com", "role": "viewer"})
	token := ada.call("POST", "/v1/api-tokens", map[string]any{"name": "CI"})
	session := ada.call("GET", "/v1/session", nil)
	own := "/v1/accounts/" + evil.at("account", "id")
	for _, row := range []struct{ method, path string }{
		{"DELETE", own + "/members/" + acme.at("user", "id")}, {"DELETE", own + "/invitations/" + invited.at("id")},
		{"POST", own + "/invitations/" + invited.at("id") + "/resend"}, {"DELETE", own + "/api-tokens/" + token.at("api_token", "id")},
		{"DELETE", "/v1/api-tokens/" + token.at("api_token", "id")}, {"DELETE", "/v1/sessions/" + session.at("id")},
	} {
		want(t, mallory.call(row.method, row.path, nil), http.StatusNotFound, "not_found")
	}
	want(t, mallory.call("PATCH", own+"/members/"+acme.at("user", "id"), map[string]any{"role": "viewer"}), http.StatusNotFound, "not_found")
	for path, id := range map[string]string{"/members": acme.at("user", "id"), "/invitations": invited.at("id"), "/api-tokens": token.at("api_token", "id")} {
		if a := ada.call("GET", "/v1/accounts/"+acme.at("account", "id")+path, nil); !strings.Contains(a.text, id) {
			t.Errorf("%s is gone: %s", id, a.text)
		}
	}
}

// The table: every operation × role × kind of caller.
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
}
