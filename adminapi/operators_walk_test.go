package adminapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/adminapi"
	"github.com/signalbox/signalbox/tenants"
)

// operatorStage is what operators' requests are made on.
type operatorStage struct {
	t      *testing.T
	w      *world // the operators' listener
	c      *clock
	grace  *client
	number int
	// account is the customer's.
	account string
}

// newOperatorStage returns a stage with an operator, Grace, and the world of its customers,
// whose account has the tenant acme.
func newOperatorStage(t *testing.T) (*world, *operatorStage) {
	t.Helper()
	c := new(clock)
	w := newWorld(t, settings{now: c.now})
	_, acme := w.signUp("ada@example.com", "acme")
	w.verified(acme)
	d := w.desk(c.now)
	grace, _ := d.operator(c, "Grace")
	return w, &operatorStage{t: t, w: d, c: c, grace: grace, account: acme.at("account", "id")}
}

// name is of somebody new.
func (s *operatorStage) name() string {
	s.number++
	return fmt.Sprint("Operator", s.number)
}

// operatorChanges has a successful request for each operation of operators that takes
// more than a name and a body that are always the same.
var operatorChanges = map[string]func(s *operatorStage) change{
	"setUpOperator": func(s *operatorStage) change {
		return change{c: s.w.browser(), body: map[string]any{"token": s.w.invited(s.name()), "password": password}}
	},
	"confirmOperator": func(s *operatorStage) change {
		token, code := s.w.begun(s.c, s.name())
		return change{c: s.w.browser(), body: map[string]any{"token": token, "code": code()}}
	},
	"signInOperator": func(s *operatorStage) change {
		return change{c: s.w.browser(), body: s.w.ready(s.c, s.name())()}
	},
	"signOutOperator": func(s *operatorStage) change {
		c, _ := s.w.operator(s.c, s.name())
		return change{c: c}
	},
	"deleteOperatorToken": func(s *operatorStage) change {
		made := status(s.t, s.grace.call("POST", "/operator/v1/tokens", operatorBodies["createOperatorToken"]), http.StatusCreated)
		return change{path: "/operator/v1/tokens/" + made.at("token", "id")}
	},
	"resumeAnyTenant": func(s *operatorStage) change {
		status(s.t, s.grace.call("POST", "/operator/v1/tenants/acme/suspend", operatorBodies["suspendAnyTenant"]), http.StatusOK)
		return change{}
	},
	"deleteOperatorLimit": func(s *operatorStage) change {
		status(s.t, s.grace.call("PUT", "/operator/v1/tenants/acme/limits/max_hubs", operatorBodies["putOperatorLimit"]), http.StatusOK)
		return change{}
	},
}

// request is the good request of an operation as the walk sends it.
func (s *operatorStage) request(t *testing.T, o operation) (*caller, attack) {
	t.Helper()
	s.t, s.w.t = t, t
	how := change{body: o.body}
	if make, ok := operatorChanges[o.id]; ok {
		if how = make(s); how.body == nil {
			how.body = o.body
		}
	}
	if how.c == nil {
		how.c = s.grace
	}
	if how.path == "" {
		how.path = operatorPath(o)
	}
	return how.c.caller(t), requestOf(t, o, how.path, how.body)
}

// SEC-28: the walk of TestContract through the operators' document.
func TestContract_of_operators(t *testing.T) {
	t.Parallel()
	said, c := &statements{seen: make(map[string]bool)}, new(clock)
	w := newWorld(t, settings{tracer: said, now: c.now})
	ada, acme := w.signUp("ada@example.com", "acme")
	w.verified(acme)
	d := w.desk(c.now)
	grace, _ := d.operator(c, "Grace")
	scoped := status(t, grace.call("POST", "/operator/v1/tokens", map[string]any{"name": "Scoped", "scopes": []tenants.Scope{tenants.OperatorScopes[0]}, "expires_in_days": 1}), http.StatusCreated)
	sessions := ada.http.Jar.(*cookiejar.Jar)
	others := []*caller{
		{w: d, name: "nobody"}, {w: d, name: "scoped", token: scoped.at("secret")},
		(&client{w: d, http: &http.Client{Jar: sessions}}).caller(t),
	}
	others[2].name = "customer"
	spec, err := adminapi.OperatorSpec()
	if err != nil {
		t.Fatal(err)
	}
	s := &operatorStage{w: d, c: c, grace: grace}
	k := &walk{w: d, spec: spec, good: s.request, session: "/operator/v1/session", ends: []string{"signOutOperator"}, others: others}
	eachOperatorOperation(t, func(o operation) {
		t.Run(o.id, func(t *testing.T) {
			d.t, w.t = t, t
			w.exec("DELETE FROM attempts")
			w.exec("DELETE FROM operator_tokens WHERE name = 'CI'")
			c.ahead.Add(int64(time.Minute)) // so many requests are taken in one
			k.try(t, o)
		})
	})
	d.t, w.t = t, t
	if strings.Contains(w.logs.String(), `"level":"ERROR"`) {
		t.Errorf("bad input was logged as our error")
	}
	said.check(t, "grace@example.com", acme.at("account", "id"), acme.at("tenant", "id"))
	t.Logf("%d requests", k.sent)
}

// What operators change that can be read takes If-Match, as customers' changes do:
// see TestIfMatch_on_every_operation.
func TestIfMatch_on_every_operation_of_operators(t *testing.T) {
	t.Parallel()
	w, s := newOperatorStage(t)
	grace := s.grace
	spec, err := adminapi.OperatorSpec()
	if err != nil {
		t.Fatal(err)
	}
	eachOperatorOperation(t, func(o operation) {
		op := spec.Paths.Find(o.path).GetOperation(o.method)
		takes := op.Parameters.GetByInAndName("header", "If-Match") != nil
		if updates := o.method == "PUT" || o.method == "PATCH"; updates && !takes {
			t.Errorf("%s changes what nobody can read: add a GET to its path", o.id)
		}
		by, good := s.request(t, o)
		before := w.state()
		good.header = [2]string{"If-Match", `"stale"`}
		a := by.do(t, good)
		switch {
		case takes && (a.status != http.StatusPreconditionFailed || a.header.Get("ETag") == ""):
			t.Errorf("%s answered %d: %s", o.id, a.status, a.text)
		case !takes && (a.status != http.StatusBadRequest || fmt.Sprint(a.errorFields()) != "[If-Match]"):
			t.Errorf("%s passes over If-Match: %d %s", o.id, a.status, a.text)
		}
		if changed := differences(before, w.state()); len(changed) > 0 {
			t.Errorf("%s changed something: %v", o.id, changed)
		}
		if takes { // the change itself looks, too: else the log has it
			good.header[1] = "*"
			by.do(t, good)
		}
	})
	limit := "/operator/v1/tenants/acme/limits/max_hubs"
	seen := status(t, grace.call("GET", limit, nil), http.StatusOK).header.Get("ETag")
	set := status(t, grace.call("PUT", limit, map[string]any{"max": 8, "reason": "Other."}, "If-Match", seen), http.StatusOK)
	want(t, grace.call("PUT", limit, operatorBodies["putOperatorLimit"], "If-Match", seen), http.StatusPreconditionFailed, "changed")
	want(t, grace.call("DELETE", limit+"?reason=test", nil, "If-Match", seen), http.StatusPreconditionFailed, "changed")
	status(t, grace.call("DELETE", limit+"?reason=test", nil, "If-Match", set.header.Get("ETag")), http.StatusNoContent)
	want(t, grace.call("GET", "/operator/v1/tenants/acme/limits/none", nil), http.StatusNotFound, "not_found")
	if strings.Contains(w.logs.String(), `"level":"ERROR"`) {
		t.Errorf("a condition was not looked at within the change: %s", w.logs.String())
	}
}

// operatorEvents are the actions that the log has of what operators change, and what of
// the thing.
var operatorEvents = map[string]struct{ action, has string }{
	"setUpOperator":       {"operator.set_up_begun", ""},
	"confirmOperator":     {"operator.set_up", ""},
	"signInOperator":      {"session.created", ""},
	"signOutOperator":     {"session.ended", ""},
	"createOperatorToken": {"operator_token.created", "after"},
	"deleteOperatorToken": {"operator_token.deleted", "before"},
	"putOperatorLimit":    {"limit.overridden", "after"},
	"deleteOperatorLimit": {"limit.reset", "before after"},
	"suspendAnyTenant":    {"tenant.suspended", "before after"},
	"resumeAnyTenant":     {"tenant.resumed", "before after"},
	"drainEdge":           {"edge.drained", "before after"},
	"undrainEdge":         {"edge.undrained", "before after"},
}

// SEC-44: every operation of operators that changes something leaves one event in their
// chain, with who did what to what, from where; and what is of a tenant one in its
// account's, without the operator's particulars.
func TestAudit_of_every_change_of_operators_SEC_44(t *testing.T) {
	t.Parallel()
	w, s := newOperatorStage(t)
	d, grace := s.w, s.grace
	eachOperatorOperation(t, func(o operation) {
		event, changes := operatorEvents[o.id]
		if changes != (o.method != http.MethodGet) {
			t.Errorf("%s: say what its event has, where it changes something", o.id)
		}
		if o.method == http.MethodGet {
			return
		}
		t.Run(o.id, func(t *testing.T) {
			d.t, w.t, s.t = t, t, t
			how := change{}
			if make, ok := operatorChanges[o.id]; ok {
				how = make(s)
			}
			if how.body == nil {
				how.body = o.body
			}
			if how.c == nil {
				how.c = grace
			}
			if how.path == "" {
				how.path = operatorPath(o)
			}
			request := "walk-" + o.id
			a := how.c.call(o.method, how.path, how.body, "X-Request-Id", request, "User-Agent", "walk/1")
			if a.status >= http.StatusMultipleChoices {
				t.Fatalf("answered %d: %s", a.status, a.text)
			}
			events := w.audited(request)
			ofTenant := strings.Contains(o.path, "{tenant}")
			if len(events) != 1 && !ofTenant || len(events) != 2 && ofTenant {
				t.Fatalf("left %+v", events)
			}
			var sent map[string]any
			if text, err := json.Marshal(how.body); err == nil {
				_ = json.Unmarshal(text, &sent)
			}
			for _, e := range events {
				own := e.Chain == tenants.OperatorChain
				if !own && (!ofTenant || e.Chain != "account:"+s.account) {
					t.Errorf("it is in the chain %s", e.Chain)
				}
				if e.Action != event.action || e.Subject == "" || ofTenant != (value(e.Tenant) != "") {
					t.Errorf("left %+v, want %s", e, event.action)
				}
				name := "Grace"
				if how.c != grace {
					name = fmt.Sprint("Operator", s.number)
				}
				if e.Actor != "operator" || e.ActorName != name || own != (value(e.ActorID) != "") || own != (e.IP == "127.0.0.1") || own != (e.UserAgent == "walk/1") {
					t.Errorf("by %+v, want %s", e, name)
				}
				if (e.Before != nil) != strings.Contains(event.has, "before") || (e.After != nil) != strings.Contains(event.has, "after") {
					t.Errorf("before %v, after %v; want %s", value(e.Before), value(e.After), event.has)
				}
				for _, secret := range append(append(secrets(a.body), secrets(sent)...), "@example.com") {
					if strings.Contains(e.Whole, secret) {
						t.Errorf("the event has %q: %s", secret, e.Whole)
					}
				}
			}
		})
	})
	if err := w.service.VerifyAllAudits(t.Context(), func(chain string, v tenants.AuditVerification) error {
		if v.Broken != nil {
			return fmt.Errorf("%s: %w", chain, v.Broken)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// Lists of operators have pages as those of customers have, and what they make takes a key:
// see TestPages_of_every_list and TestIdempotencyKey_on_every_operation.
func TestPages_and_keys_on_every_operation_of_operators(t *testing.T) {
	t.Parallel()
	w, s := newOperatorStage(t)
	w.exec("UPDATE accounts SET plan = 'scale'")
	grace := s.grace
	n := 0
	customer := func() {
		n++
		w.signUp(fmt.Sprintf("%c%d@example.com", "bz"[n%2], n), fmt.Sprintf("%c-tenant-%d", "bz"[n%2], n))
	}
	grow := map[string]func(){
		"listAllAccounts": customer,
		"listAllTenants":  customer,
		"listOperatorTokens": func() {
			n++
			status(t, grace.call("POST", "/operator/v1/tokens", map[string]any{"name": fmt.Sprint(n), "scopes": tenants.OperatorScopes, "expires_in_days": 1}), http.StatusCreated)
		},
		"listOperatorAudit": func() {
			status(t, grace.call("POST", "/operator/v1/edges/one/undrain", operatorBodies["undrainEdge"]), http.StatusOK)
		},
	}
	unpaged := map[string]string{
		"getOperatorSession": "one thing",
		"getAnyTenant":       "one thing, with as many limits as there are",
		"listEdges":          "as many as serve",
	}
	spec, err := adminapi.OperatorSpec()
	if err != nil {
		t.Fatal(err)
	}
	eachOperatorOperation(t, func(o operation) {
		op := spec.Paths.Find(o.path).GetOperation(o.method)
		takes := op.Parameters.GetByInAndName("header", keyHeader) != nil
		if creates := o.method == "POST" && op.Responses.Value("201") != nil && o.Callers != tenants.Anybody; creates != takes {
			t.Errorf("%s creates something: %t; takes a key: %t", o.id, creates, takes)
		}
		if o.Callers != tenants.Anybody {
			by, good := s.request(t, o)
			good.header = [2]string{keyHeader, "key-of-" + o.id}
			first := by.do(t, good)
			switch {
			case !takes && (first.status != http.StatusBadRequest || fmt.Sprint(first.errorFields()) != "["+keyHeader+"]"):
				t.Errorf("%s passes over a key: %d %s", o.id, first.status, first.text)
			case takes:
				if second := by.do(t, good); first.status != http.StatusCreated || second.text != first.text || second.header.Get("Idempotent-Replay") != "true" {
					t.Errorf("%s answered %d %s, and the repeat %d %s", o.id, first.status, first.text, second.status, second.text)
				}
			}
		}
		name, paged := pagedOperation(op)
		if o.method == "GET" && name != "" && !paged && unpaged[o.id] == "" {
			t.Errorf("%s answers a list without pages: give it cursor, limit and next_cursor", o.id)
		}
		if !paged {
			return
		}
		add := grow[o.id]
		if add == nil {
			t.Errorf("%s has pages, and this test doesn't know how to make one more thing of its list", o.id)
			return
		}
		refusesPages(t, grace, o.id, o.path)
		walkPages(t, grace, o.id, o.path, name, add, true)
	})
}
