package adminapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/pquerna/otp/totp"

	"github.com/signalbox/signalbox/adminapi"
	"github.com/signalbox/signalbox/billing"
	"github.com/signalbox/signalbox/billing/billingstore"
	"github.com/signalbox/signalbox/internal/fleet"
	"github.com/signalbox/signalbox/internal/scope"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/tenantstore"
)

// fewEdges stands for a fleet; real edges are held in internal/app/api.
type fewEdges struct{ held atomic.Int64 } // nanoseconds

func (e *fewEdges) Edges(context.Context) ([]adminapi.FleetEdge, error) {
	return []adminapi.FleetEdge{
		{Run: "one", Address: "127.0.0.1:1", State: &fleet.EdgeState{Run: "one", Version: "v1", Started: time.Unix(1, 0), Held: e.held.Load() > 0, HeldFor: time.Duration(e.held.Load()).Seconds(), Ready: e.held.Load() == 0, Connections: 3}},
		{Run: "two", Address: "127.0.0.1:2"},
	}, nil
}

func (e *fewEdges) Hold(_ context.Context, of adminapi.FleetEdge, life time.Duration) error {
	if of.Run != "one" {
		return fmt.Errorf("held %s", of.Run)
	}
	e.held.Store(int64(life))
	return nil
}

// readyEdges stand for a fleet in which whoever holds an edge gives others the time to
// decide by what was before.
type readyEdges struct {
	mu    sync.Mutex
	held  map[string]bool
	asked chan struct{}
}

func newReadyEdges(runs ...string) *readyEdges {
	e := &readyEdges{held: make(map[string]bool), asked: make(chan struct{}, 100)}
	for _, run := range runs {
		e.held[run] = false
	}
	return e
}

func (e *readyEdges) ready() (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, held := range e.held {
		if !held {
			n++
		}
	}
	return n
}

func (e *readyEdges) Edges(context.Context) (all []adminapi.FleetEdge, _ error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for run, held := range e.held {
		all = append(all, adminapi.FleetEdge{Run: run, State: &fleet.EdgeState{Run: run, Held: held, Ready: !held}})
	}
	e.asked <- struct{}{}
	return all, nil
}

func (e *readyEdges) Hold(_ context.Context, of adminapi.FleetEdge, life time.Duration) error {
	<-e.asked // by this one
	select {
	case <-e.asked: // by another one, who sees what this one does not yet
	case <-time.After(200 * time.Millisecond):
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held[of.Run] = life > 0
	return nil
}

// operators is what the operators' listener of a world is made of.
func (w *world) operators(now func() time.Time) adminapi.OperatorsConfig {
	return adminapi.OperatorsConfig{
		Tenants: w.service, Billing: billing.NewService(billingstore.New(w.pool), now), Sessions: tenantstore.NewOperatorSessions(w.pool), Edges: new(fewEdges), Dev: true,
		Logger: slog.New(slog.NewJSONHandler(w.logs, nil)), Now: now,
	}
}

// desk is the operators' listener of a world. Its own world has the same database, and
// calls that listener.
func (w *world) desk(now func() time.Time) *world {
	w.t.Helper()
	handler, err := adminapi.NewOperators(w.operators(now))
	if err != nil {
		w.t.Fatal(err)
	}
	d := *w
	d.handler = handler
	spec, err := adminapi.OperatorSpec()
	if err != nil {
		w.t.Fatal(err)
	}
	spec.OpenAPI = "3.0.3"
	if d.routes, err = gorillamux.NewRouter(spec); err != nil {
		w.t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	w.t.Cleanup(server.Close)
	d.url = server.URL
	return &d
}

// operatorBodies are what operations of operators with a body are called with.
var operatorBodies = map[string]any{
	"setUpOperator":       map[string]any{"token": "x", "password": password},
	"confirmOperator":     map[string]any{"token": "x", "code": "123456"},
	"signInOperator":      map[string]any{"email": "none@example.com", "password": password, "code": "123456"},
	"createOperatorToken": map[string]any{"name": "CI", "scopes": []string{"operate:edges:read"}, "expires_in_days": 1},
	"suspendAnyTenant":    map[string]any{"reason": "test"},
	"resumeAnyTenant":     map[string]any{"reason": "test"},
	"putOperatorLimit":    map[string]any{"max": 7, "reason": "test"},
	"drainEdge":           map[string]any{"reason": "test", "force": true},
	"undrainEdge":         map[string]any{"reason": "test"},
}

// eachOperatorOperation calls f with every operation of the operators' document.
func eachOperatorOperation(t *testing.T, f func(o operation)) {
	t.Helper()
	spec, err := adminapi.OperatorSpec()
	if err != nil {
		t.Fatal(err)
	}
	var all []operation
	for path, item := range spec.Paths.Map() {
		for method, op := range item.Operations() {
			row, ok := tenants.OperatorOperations[op.OperationID]
			if body, known := operatorBodies[op.OperationID]; !ok || known != (op.RequestBody != nil) {
				t.Errorf("operation %s: has a row: %t; a body is known: %t", op.OperationID, ok, known)
			} else {
				query := ""
				if op.OperationID == "deleteOperatorLimit" {
					query = "?reason=test"
				}
				all = append(all, operation{row, op.OperationID, method, path, query, body})
			}
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.id, b.id) })
	for _, o := range all {
		f(o)
	}
}

func operatorPath(o operation) string {
	return strings.NewReplacer("{tenant}", "acme", "{limit}", "max_hubs", "{edge}", "one", "{token}", "none").Replace(o.path) + o.query
}

// clock is a time that goes on by itself and can be put forward.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// invited makes an operator who has the link alone, and returns the link's token.
func (w *world) invited(name string) (token string) {
	w.t.Helper()
	_, secret, err := w.service.AddOperator(scope.System(w.t.Context(), scope.Operator), name, strings.ToLower(name)+"@example.com")
	if err != nil {
		w.t.Fatal(err)
	}
	return secret.Reveal()
}

// begun makes an operator with a password who has yet to confirm the authenticator
// app; code returns a new code of it each time.
func (w *world) begun(c *clock, name string) (token string, code func() string) {
	w.t.Helper()
	token = w.invited(name)
	setup := status(w.t, w.browser().call("POST", "/operator/v1/set-up", map[string]any{"token": token, "password": password}), http.StatusOK)
	return token, func() string {
		c.ahead.Add(int64(30 * time.Second)) // each code is good once
		code, err := totp.GenerateCode(setup.at("secret"), c.now())
		if err != nil {
			w.t.Fatal(err)
		}
		return code
	}
}

// ready makes an operator who can sign in; proof returns what with, each time anew.
func (w *world) ready(c *clock, name string) (proof func() map[string]any) {
	w.t.Helper()
	token, code := w.begun(c, name)
	status(w.t, w.browser().call("POST", "/operator/v1/set-up/confirmation", map[string]any{"token": token, "code": code()}), http.StatusNoContent)
	return func() map[string]any {
		return map[string]any{"email": strings.ToLower(name) + "@example.com", "password": password, "code": code()}
	}
}

// operator makes one and signs it in, with what it returns.
func (w *world) operator(c *clock, name string) (*client, map[string]any) {
	w.t.Helper()
	in, o := w.ready(c, name)(), w.browser()
	status(w.t, o.call("POST", "/operator/v1/session", in), http.StatusOK)
	return o, in
}

func TestOperators(t *testing.T) {
	t.Parallel()
	c := new(clock)
	w := newWorld(t, settings{now: c.now})
	ada, acme := w.signUp("ada@example.com", "acme")
	w.verified(acme)
	d := w.desk(c.now)
	grace, proof := d.operator(c, "Grace")

	t.Run("SEC-50: no operation is on the customers' listener, nor the reverse", func(t *testing.T) {
		w.t, d.t = t, t
		eachOperatorOperation(t, func(o operation) {
			for _, method := range []string{o.method, "GET", "POST"} {
				if a := ada.call(method, operatorPath(o), nil); a.status != http.StatusNotFound {
					t.Errorf("%s %s answers customers %d: %s", method, o.path, a.status, a.text)
				}
			}
		})
		eachOperation(t, func(o operation) {
			if a := grace.call(o.method, address(o.path, acme.at("account", "id"), "acme"), o.body); a.status != http.StatusNotFound && a.status != http.StatusMethodNotAllowed {
				t.Errorf("%s answers operators %d: %s", o.id, a.status, a.text)
			}
		})
	})

	t.Run("operations take an operator, of a session or a token with the scope", func(t *testing.T) {
		w.t, d.t = t, t
		sessions := ada.http.Jar.(*cookiejar.Jar)
		customer := &client{w: d, http: &http.Client{Jar: sessions}} // a customer's session
		customerToken := &client{w: d, http: http.DefaultClient, token: ada.program("", nil).token}
		var tokens []*client
		for _, scope := range tenants.OperatorScopes {
			made := status(t, grace.call("POST", "/operator/v1/tokens", map[string]any{"name": string(scope), "scopes": []tenants.Scope{scope}, "expires_in_days": 1}), http.StatusCreated)
			tokens = append(tokens, &client{w: d, http: http.DefaultClient, token: made.at("secret")})
		}
		eachOperatorOperation(t, func(o operation) {
			path := operatorPath(o)
			for name, nobody := range map[string]*client{"nobody": d.browser(), "a customer": customer, "a customer's token": customerToken} {
				a := nobody.call(o.method, path, o.body)
				if refused := a.status == http.StatusUnauthorized && a.at("code") != "wrong_credentials"; refused == (o.Callers == tenants.Anybody && nobody.token == "") {
					t.Errorf("%s answers %s %d: %s", o.id, name, a.status, a.text)
				}
			}
			if o.Callers == tenants.Anybody {
				return
			}
			for i, token := range tokens {
				a := token.call(o.method, path, o.body)
				code := ""
				switch {
				case o.Callers == tenants.SignedIn:
					code = "session_required"
				case o.Scope != "" && o.Scope != tenants.OperatorScopes[i]:
					code = "insufficient_scope"
				}
				if refused := a.status == http.StatusForbidden; refused != (code != "") || refused && a.at("code") != code {
					t.Errorf("%s with %s: %d %s", o.id, tenants.OperatorScopes[i], a.status, a.text)
				}
			}
		})
	})

	t.Run("signing in takes address, password and code, each code once", func(t *testing.T) {
		w.t, d.t = t, t
		want(t, d.browser().call("POST", "/operator/v1/session", proof), http.StatusUnauthorized, "wrong_credentials") // its code was used
		first := d.browser().call("POST", "/operator/v1/session", map[string]any{"email": "none@example.com", "password": password, "code": "123456"})
		for name, v := range map[string]string{"email": "ada@example.com", "password": "wrong-wrong-wrong", "code": "000000"} {
			in := map[string]any{"email": proof["email"], "password": password, "code": proof["code"]}
			in[name] = v
			a := d.browser().call("POST", "/operator/v1/session", in)
			want(t, a, http.StatusUnauthorized, "wrong_credentials")
			if a.at("detail") != first.at("detail") {
				t.Errorf("a wrong %s is told: %s", name, a.text)
			}
		}
		want(t, w.browser().call("POST", "/v1/session", map[string]any{"email": proof["email"], "password": password}), http.StatusUnauthorized, "wrong_credentials")
		var last answer
		for range 12 {
			if last = d.browser().call("POST", "/operator/v1/session", proof); last.status == http.StatusTooManyRequests {
				break
			}
		}
		want(t, last, http.StatusTooManyRequests, "rate_limited")
		if n := w.count("audit_events WHERE chain = 'operators' AND action = 'session.locked' AND actor = 'nobody'"); n != 1 {
			t.Errorf("%d notes of the lock-out", n)
		}
		w.exec("DELETE FROM attempts")
	})

	t.Run("changes are in both logs, of the customer without the operator's particulars", func(t *testing.T) {
		w.t, d.t = t, t
		account := acme.at("account", "id")
		status(t, grace.call("POST", "/operator/v1/tenants/acme/resume", operatorBodies["resumeAnyTenant"]), http.StatusOK)
		for _, o := range []struct{ id, method, path, action string }{
			{"putOperatorLimit", "PUT", "/operator/v1/tenants/acme/limits/max_hubs", "limit.overridden"},
			{"deleteOperatorLimit", "DELETE", "/operator/v1/tenants/acme/limits/max_hubs?reason=test", "limit.reset"},
			{"suspendAnyTenant", "POST", "/operator/v1/tenants/acme/suspend", "tenant.suspended"},
			{"resumeAnyTenant", "POST", "/operator/v1/tenants/acme/resume", "tenant.resumed"},
			{"createOperatorToken", "POST", "/operator/v1/tokens", "operator_token.created"},
			{"drainEdge", "POST", "/operator/v1/edges/one/drain", "edge.drained"},
			{"undrainEdge", "POST", "/operator/v1/edges/one/undrain", "edge.undrained"},
		} {
			if a := grace.call(o.method, o.path, operatorBodies[o.id], "X-Request-Id", "op-"+o.id, "User-Agent", "desk/1"); a.status >= 300 {
				t.Fatalf("%s answered %d: %s", o.id, a.status, a.text)
			}
			events := w.audited("op-" + o.id)
			ofTenant := strings.Contains(o.path, "/tenants/")
			if len(events) != 1 && !ofTenant || len(events) != 2 && ofTenant {
				t.Fatalf("%s left %+v", o.id, events)
			}
			for _, e := range events {
				own := e.Chain == tenants.OperatorChain
				if e.Actor != "operator" || e.ActorName != "Grace" || e.Action != o.action || own != (e.IP != "") || own != (e.UserAgent != "") || own != (value(e.ActorID) != "") || !own && e.Chain != "account:"+account {
					t.Errorf("%s left %+v", o.id, e)
				}
				if strings.Contains(e.Whole, "grace@example.com") {
					t.Errorf("%s shows the operator's address: %s", o.id, e.Whole)
				}
				if reason := strings.Contains(value(e.After)+value(e.Before), `"reason":"test"`); !reason && o.id != "createOperatorToken" {
					t.Errorf("%s says no reason: %+v", o.id, e)
				}
			}
		}
		verified := status(t, grace.call("GET", "/operator/v1/audit/verification", nil), http.StatusOK)
		if verified.body["intact"] != true {
			t.Errorf("the operators' chain: %s", verified.text)
		}
		list := status(t, grace.call("GET", "/operator/v1/audit?action=tenant&tenant="+acme.at("tenant", "id"), nil), http.StatusOK)
		if n := len(list.body["events"].([]any)); n < 2 {
			t.Errorf("%d events of the tenant", n)
		}
	})

	t.Run("a suspension can't be got round by its account", func(t *testing.T) {
		w.t, d.t = t, t
		want(t, grace.call("POST", "/operator/v1/tenants/acme/suspend", map[string]any{}), http.StatusBadRequest, "invalid")
		a := status(t, grace.call("POST", "/operator/v1/tenants/acme/suspend", map[string]any{"reason": "Spam."}), http.StatusOK)
		if a.at("suspended_by") != "operator" || a.at("suspended_reason") != "Spam." {
			t.Errorf("suspended: %s", a.text)
		}
		shown := status(t, ada.call("GET", "/v1/tenants/acme", nil), http.StatusOK)
		if shown.at("suspended_by") != "operator" || shown.at("suspended_reason") != "Spam." {
			t.Errorf("the customer sees %s", shown.text)
		}
		for _, request := range []struct {
			method, path string
			body         any
		}{{"POST", "/v1/tenants/acme/resume", nil}, {"DELETE", "/v1/tenants/acme", nil}, {"POST", "/v1/tenants", map[string]any{"name": "Another"}}} {
			want(t, ada.call(request.method, request.path, request.body), http.StatusForbidden, "set_by_operator")
		}
		status(t, grace.call("POST", "/operator/v1/tenants/acme/resume", map[string]any{"reason": "Solved."}), http.StatusOK)
		status(t, ada.call("POST", "/v1/tenants", map[string]any{"name": "Another"}), http.StatusCreated)
		want(t, grace.call("POST", "/operator/v1/tenants/none/suspend", map[string]any{"reason": "x"}), http.StatusNotFound, "not_found")
	})

	t.Run("limits in force and where each comes from", func(t *testing.T) {
		w.t, d.t = t, t
		until := c.now().Add(time.Hour).UTC().Format(time.RFC3339)
		status(t, ada.call("PUT", "/v1/tenants/acme/limits/max_hubs", map[string]any{"max": 5}), http.StatusOK)
		status(t, grace.call("PUT", "/operator/v1/tenants/acme/limits/max_connections", map[string]any{"max": 40000, "reason": "Launch day.", "expires_at": until}), http.StatusOK)
		a := status(t, grace.call("GET", "/operator/v1/tenants/acme", nil), http.StatusOK)
		sources := make(map[string]map[string]any)
		for _, l := range a.body["limits"].([]any) {
			sources[l.(map[string]any)["limit"].(string)] = l.(map[string]any)
		}
		if l := sources["max_connections"]; l["source"] != "operator" || l["max"] != 40000.0 || l["reason"] != "Launch day." || l["expires_at"] != until {
			t.Errorf("max_connections: %v", l)
		}
		if sources["max_hubs"]["source"] != "account" || sources["messages_per_second"]["source"] != "plan" {
			t.Errorf("max_hubs: %v, messages_per_second: %v", sources["max_hubs"], sources["messages_per_second"])
		}
		want(t, ada.call("DELETE", "/v1/tenants/acme/limits/max_connections", nil), http.StatusForbidden, "set_by_operator")
		for _, bad := range []map[string]any{{"reason": "x"}, {"max": 2147483647, "reason": "x"}, {"max": 5}, {"max": 5, "reason": "x", "expires_at": "2001-01-01T00:00:00Z"}} {
			want(t, grace.call("PUT", "/operator/v1/tenants/acme/limits/max_connections", bad), http.StatusBadRequest, "invalid")
		}
		status(t, grace.call("DELETE", "/operator/v1/tenants/acme/limits/max_connections?reason=Over", nil), http.StatusNoContent)
		want(t, grace.call("DELETE", "/operator/v1/tenants/acme/limits/none?reason=Over", nil), http.StatusNotFound, "not_found")
	})

	t.Run("accounts and tenants are found", func(t *testing.T) {
		w.t, d.t = t, t
		for _, query := range []string{"", "?search=ACM", "?search=ada@", "?search=" + acme.at("account", "id"), "?search=acme&limit=1"} {
			for _, list := range []string{"tenants", "accounts"} {
				if list == "accounts" && strings.Contains(strings.ToLower(query), "acm") {
					continue // the account's name is the person's
				}
				a := status(t, grace.call("GET", "/operator/v1/"+list+query, nil), http.StatusOK)
				if len(a.body[list].([]any)) == 0 {
					t.Errorf("%s%s: %s", list, query, a.text)
				}
			}
		}
		if a := grace.call("GET", "/operator/v1/tenants?search=%25", nil); len(a.body["tenants"].([]any)) != 0 {
			t.Errorf("a sign of patterns finds %s", a.text)
		}
		seen, next := 0, "?limit=1"
		for next != "" {
			a := status(t, grace.call("GET", "/operator/v1/tenants"+next, nil), http.StatusOK)
			seen += len(a.body["tenants"].([]any))
			if cursor := a.at("next_cursor"); cursor == "" {
				next = ""
			} else {
				next = "?limit=1&cursor=" + cursor
			}
		}
		if seen != w.count("tenants WHERE status <> 'deleted'") {
			t.Errorf("%d tenants were listed", seen)
		}
		want(t, grace.call("GET", "/operator/v1/tenants?cursor=x", nil), http.StatusBadRequest, "invalid")
	})

	t.Run("edges are listed, drained and used again", func(t *testing.T) {
		w.t, d.t = t, t
		a := status(t, grace.call("GET", "/operator/v1/edges", nil), http.StatusOK)
		all := a.body["edges"].([]any)
		if one, two := all[0].(map[string]any), all[1].(map[string]any); one["connections"] != 3.0 || one["drained"] != false || two["reachable"] != false || two["version"] != nil {
			t.Errorf("edges: %s", a.text)
		}
		want(t, grace.call("POST", "/operator/v1/edges/one/drain", map[string]any{"reason": "Kernel."}), http.StatusConflict, "last_ready_edge")
		if a := status(t, grace.call("POST", "/operator/v1/edges/one/drain", map[string]any{"reason": "Kernel.", "force": true}), http.StatusOK); a.body["drained"] != true || a.body["ready"] != false {
			t.Errorf("drained: %s", a.text)
		}
		if a := status(t, grace.call("POST", "/operator/v1/edges/one/undrain", map[string]any{"reason": "Done."}), http.StatusOK); a.body["drained"] != false {
			t.Errorf("used again: %s", a.text)
		}
		want(t, grace.call("POST", "/operator/v1/edges/two/drain", map[string]any{"reason": "Kernel."}), http.StatusServiceUnavailable, "edge_unreachable")
		want(t, grace.call("POST", "/operator/v1/edges/none/drain", map[string]any{"reason": "Kernel."}), http.StatusNotFound, "not_found")
	})

	t.Run("edges drained at one moment leave one that is ready", func(t *testing.T) {
		w.t, d.t = t, t
		fleet := newReadyEdges("a", "b", "c")
		drain, err := adminapi.NewOperators(adminapi.OperatorsConfig{
			Tenants: w.service, Billing: billing.NewService(billingstore.New(w.pool), nil), Sessions: tenantstore.NewOperatorSessions(w.pool), Edges: fleet, Dev: true,
			Logger: slog.New(slog.NewJSONHandler(w.logs, nil)), Now: c.now,
		})
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(drain)
		defer server.Close()
		statuses := make(chan int, 3)
		for _, run := range []string{"a", "b", "c"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/operator/v1/edges/"+run+"/drain", strings.NewReader(`{"reason":"Kernel."}`))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			go func() {
				res, err := grace.http.Do(req)
				if err != nil {
					t.Error(err)
					statuses <- 0
					return
				}
				res.Body.Close()
				statuses <- res.StatusCode
			}()
		}
		counts := make(map[int]int)
		for range 3 {
			counts[<-statuses]++
		}
		if counts[http.StatusOK] != 2 || counts[http.StatusConflict] != 1 || fleet.ready() != 1 {
			t.Errorf("statuses %v, %d edges are ready", counts, fleet.ready())
		}
	})

	t.Run("a token made twice with one key is one", func(t *testing.T) {
		w.t, d.t = t, t
		in := operatorBodies["createOperatorToken"]
		first := status(t, grace.call("POST", "/operator/v1/tokens", in, "Idempotency-Key", "k1"), http.StatusCreated)
		again := status(t, grace.call("POST", "/operator/v1/tokens", in, "Idempotency-Key", "k1"), http.StatusCreated)
		if first.text != again.text || again.header.Get("Idempotent-Replay") != "true" {
			t.Errorf("made %s, then %s", first.text, again.text)
		}
		token := &client{w: d, http: http.DefaultClient, token: first.at("secret")}
		status(t, token.call("GET", "/operator/v1/edges", nil), http.StatusOK)
		status(t, grace.call("DELETE", "/operator/v1/tokens/"+first.at("token", "id"), nil), http.StatusNoContent)
		want(t, token.call("GET", "/operator/v1/edges", nil), http.StatusUnauthorized, "invalid_token")
	})

	t.Run("who is removed or reset is out at once", func(t *testing.T) {
		w.t, d.t = t, t
		alan, _ := d.operator(c, "Alan")
		made := status(t, alan.call("POST", "/operator/v1/tokens", operatorBodies["createOperatorToken"]), http.StatusCreated)
		token := &client{w: d, http: http.DefaultClient, token: made.at("secret")}
		if _, _, err := w.service.ResetOperator(scope.System(t.Context(), scope.Operator), "ALAN@example.com"); err != nil {
			t.Fatal(err)
		}
		for _, c := range []*client{alan, token} {
			if a := c.call("GET", "/operator/v1/edges", nil); a.status != http.StatusUnauthorized {
				t.Errorf("who was reset gets %d", a.status)
			}
		}
		if err := w.service.RemoveOperator(scope.System(t.Context(), scope.Operator), "grace@example.com"); err != nil {
			t.Fatal(err)
		}
		want(t, grace.call("GET", "/operator/v1/edges", nil), http.StatusUnauthorized, "unauthenticated")
		status(t, grace.call("DELETE", "/operator/v1/session", nil), http.StatusNoContent)
	})
	w.t = t
	if strings.Contains(w.logs.String(), `"level":"ERROR"`) {
		t.Error("something was logged as our error")
	}
}

// What both documents have is the same in both.
func TestOperatorSpec_shares_what_it_has_of_the_customers(t *testing.T) {
	t.Parallel()
	read := func(name string) openapi3.Components {
		doc, err := openapi3.NewLoader().LoadFromFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return *doc.Components
	}
	customers, operators := read("openapi.yaml"), read("operatorapi/openapi.yaml")
	same := func(kind string, a, b any) {
		left, right := asJSON(t, a), asJSON(t, b)
		shared := 0
		for name, v := range right {
			if of, ok := left[name]; ok {
				if shared++; !reflect.DeepEqual(of, v) {
					t.Errorf("%s %s differs from that of customers", kind, name)
				}
			}
		}
		if shared < 5 {
			t.Errorf("%d %s are shared", shared, kind)
		}
	}
	same("schema", customers.Schemas, operators.Schemas)
	same("parameter", customers.Parameters, operators.Parameters)
	same("response", customers.Responses, operators.Responses)
	for name, s := range operators.Schemas {
		checkSchema(t, name, s.Value)
	}
}

func asJSON(t *testing.T, v any) (all map[string]any) {
	t.Helper()
	text, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}
