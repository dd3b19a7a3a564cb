package adminapi_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/signalbox/signalbox/adminapi"
	"github.com/signalbox/signalbox/tenants"
)

// operation says how to call an operation and what it takes to be allowed.
type operation struct {
	body   any
	public bool
	// needs is the permission in the tenant; "" = the operation is not about one.
	needs tenants.Permission
}

// operations has a row for every operation of the document; a new one without a
// row fails the tests.
var operations = map[string]operation{
	"signUp":                 {public: true, body: map[string]any{"email": "new@example.com", "password": password}},
	"signIn":                 {public: true, body: map[string]any{"email": "nobody@example.com", "password": password}},
	"getSession":             {},
	"signOut":                {public: true},
	"verifyEmail":            {public: true, body: map[string]any{"token": "x"}},
	"listPlans":              {public: true},
	"listTenants":            {},
	"createTenant":           {body: map[string]any{"name": "Another"}},
	"getTenant":              {needs: tenants.SeeTenant},
	"updateTenant":           {needs: tenants.ChangeTenant, body: map[string]any{"name": "Renamed"}},
	"deleteTenant":           {needs: tenants.DeleteTenant},
	"listKeys":               {needs: tenants.SeeKeys},
	"regenerateKey":          {needs: tenants.RegenerateKey},
	"listHubs":               {needs: tenants.SeeTenant},
	"getHub":                 {needs: tenants.SeeTenant},
	"putHub":                 {needs: tenants.ChangeHub, body: map[string]any{}},
	"patchHub":               {needs: tenants.ChangeHub, body: map[string]any{"handler": "broadcast"}},
	"deleteHub":              {needs: tenants.ChangeHub},
	"listWebhookSecrets":     {needs: tenants.SeeKeys},
	"rotateWebhookSecret":    {needs: tenants.RegenerateKey, body: map[string]any{}},
	"listUpstreamDeliveries": {needs: tenants.SeeDeliveries},
	"replayUpstreamDelivery": {needs: tenants.ReplayDelivery},
	"getLimits":              {needs: tenants.SeeTenant},
	"createClientToken":      {needs: tenants.MintToken, body: map[string]any{"hub": "chat"}},
	"createRestToken":        {needs: tenants.MintToken, body: map[string]any{}},
	"getUsage":               {needs: tenants.SeeTenant},
	"getActivity":            {needs: tenants.SeeTenant},
	"createLiveConnection":   {needs: tenants.SeeTenant},
	"listApiTokens":          {},
	"createApiToken":         {body: map[string]any{"name": "CI"}},
	"deleteApiToken":         {},
	"getDevMailbox":          {public: true},
	"getOpenapi":             {public: true},
	"checkPermission":        {needs: tenants.MintToken, body: map[string]any{"hub": "chat", "action": "connect"}},
	"listIssuers":            {needs: tenants.SeeTenant},
	"createIssuer":           {needs: tenants.ChangeIssuer, body: issuerBody},
	"replaceIssuer":          {needs: tenants.ChangeIssuer, body: issuerBody},
	"deleteIssuer":           {needs: tenants.ChangeIssuer},
	"listRevocations":        {needs: tenants.SeeTenant},
	"createRevocation":       {needs: tenants.RevokeToken, body: map[string]any{"kind": "user", "value": "ann"}},
	"deleteRevocation":       {needs: tenants.RevokeToken},
}

var issuerBody = map[string]any{"issuer": "https://id.example.com/", "jwks_url": "https://id.example.com/keys"}

// aboutOne are the operations on one thing that the tenant may not have.
var aboutOne = []string{"deleteHub", "getHub", "patchHub", "replaceIssuer", "deleteIssuer", "deleteRevocation", "replayUpstreamDelivery"}

// eachOperation calls f with every operation of the document.
func eachOperation(t *testing.T, f func(id, method, path string, o operation)) {
	t.Helper()
	spec, err := adminapi.Spec()
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range spec.Paths.Map() {
		for method, op := range item.Operations() {
			o, ok := operations[op.OperationID]
			if !ok {
				t.Errorf("operation %s has no row: say who may call it", op.OperationID)
				continue
			}
			f(op.OperationID, method, path, o)
		}
	}
}

// address fills a path in for a tenant.
func address(path, tenant string) string {
	return strings.NewReplacer("{tenant}", tenant, "{hub}", "chat", "{slot}", "primary", "{api_token}", "none", "{issuer}", "none", "{revocation}", "none", "{delivery}", "1-1").Replace(path)
}

func TestOperations_without_a_caller_are_unauthenticated(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	_, acme := w.signUp("ada@example.com", "acme")
	eachOperation(t, func(id, method, path string, o operation) {
		t.Run(id, func(t *testing.T) {
			a := w.browser().call(method, address(path, acme.at("tenant", "id")), o.body)
			if refused := a.status == http.StatusUnauthorized && a.at("code") == "unauthenticated"; refused == o.public {
				t.Errorf("answered %d: %s", a.status, a.text)
			}
		})
	})
}

// SEC-31: every operation with the ids of another's tenant, by session and by
// API token, by id and by slug.
func TestOperations_on_anothers_tenant_find_nothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	_, acme := w.signUp("ada@example.com", "acme")
	mallory, _ := w.signUp("mallory@example.com", "evil")
	program := &client{w: w, http: http.DefaultClient, token: mallory.call("POST", "/v1/api-tokens", map[string]any{"name": "CI"}).at("secret")}
	before := w.published.of(acme.at("tenant", "id"))
	eachOperation(t, func(id, method, path string, o operation) {
		if o.needs == "" {
			return
		}
		t.Run(id, func(t *testing.T) {
			for _, c := range []*client{mallory, program} {
				for _, ref := range []string{acme.at("tenant", "id"), "acme"} {
					foreign, unknown := c.call(method, address(path, ref), o.body), c.call(method, address(path, "unknown"), o.body)
					want(t, foreign, http.StatusNotFound, "not_found")
					if foreign.at("detail") != unknown.at("detail") {
						t.Errorf("a foreign tenant answers %q, an unknown one %q", foreign.at("detail"), unknown.at("detail"))
					}
				}
			}
		})
	})
	if n := w.published.of(acme.at("tenant", "id")); n != before {
		t.Errorf("the tenant was published %d times more", n-before)
	}
	want(t, mallory.call("POST", "/v1/tenants", map[string]any{"name": "Mine", "account_id": acme.at("account", "id")}), http.StatusNotFound, "not_found")
	want(t, mallory.call("POST", "/v1/api-tokens", map[string]any{"name": "Mine", "account_id": acme.at("account", "id")}), http.StatusNotFound, "not_found")
}

func TestOperations_follow_the_table_of_roles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	_, acme := w.signUp("ada@example.com", "acme")
	account := acme.at("account", "id")
	for _, role := range []tenants.Role{tenants.Viewer, tenants.Billing, tenants.Developer} {
		c := w.member(string(role)+"@example.com", account, role)
		eachOperation(t, func(id, method, path string, o operation) {
			if o.needs == "" {
				return
			}
			a := c.call(method, address(path, "acme"), o.body)
			if role.Allows(o.needs) == (a.status == http.StatusForbidden) || a.status == http.StatusNotFound && !slices.Contains(aboutOne, id) {
				t.Errorf("%s as %s answered %d: %s", id, role, a.status, a.text)
			}
		})
		create := c.call("POST", "/v1/tenants", map[string]any{"name": "Another", "account_id": account})
		want(t, create, http.StatusForbidden, "forbidden")
	}
	// A role taken away counts at once.
	c := w.member("gone@example.com", account, tenants.Admin)
	if a := c.call("GET", "/v1/tenants/acme", nil); a.status != http.StatusOK {
		t.Errorf("an admin got %d", a.status)
	}
	if _, err := w.pool.Exec(t.Context(), "DELETE FROM members WHERE role = 'admin'"); err != nil {
		t.Fatal(err)
	}
	want(t, c.call("GET", "/v1/tenants/acme", nil), http.StatusNotFound, "not_found")
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
	want(t, program.call("GET", "/v1/tenants/developer-own", nil), http.StatusNotFound, "not_found")
	if a := program.call("GET", "/v1/tenants", nil); strings.Contains(a.text, "developer-own") {
		t.Errorf("the list shows another account's tenant: %s", a.text)
	}
	if a := c.call("DELETE", "/v1/api-tokens/"+made.body["api_token"].(map[string]any)["id"].(string), nil); a.status != http.StatusNoContent {
		t.Errorf("revoking answered %d", a.status)
	}
	want(t, program.call("GET", "/v1/tenants/acme", nil), http.StatusUnauthorized, "invalid_token")
}
