package adminapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/internal/scope"
	"github.com/signalbox/signalbox/tenants"
)

// What changes nothing that is kept, though it isn't a GET, or is tried elsewhere.
var unaudited = map[string]string{
	"createClientToken":    "mints a token, as backends do by themselves; nothing of it is kept",
	"createRestToken":      "the same",
	"createLiveConnection": "the same",
	"checkPermission":      "reads",
	"lookUpInvitation":     "reads",
	"beginOidc":            "the answer of the provider is what is noted: internal/app/api",
	"linkIdentity":         "the same",
	"confirmSignUp":        "takes a service that confirms first: TestSignUp_that_is_confirmed_first_tells_nothing",
	"verifyDomain":         "takes a DNS server: internal/app/api",
}

// row is an event as it is kept.
type row struct {
	Chain, Actor, ActorName, Action, Subject, IP, UserAgent, Whole string
	ActorID, Tenant, Before, After                                 *string
}

func (w *world) audited(request string) []row {
	w.t.Helper()
	rows, _ := w.pool.Query(w.t.Context(), `SELECT chain, actor, actor_name, action, subject, ip, user_agent, e::text, actor_id, tenant_id, before::text, after::text
		FROM audit_events e WHERE request_id = $1 ORDER BY id`, request)
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// secrets are the texts in an answer that nobody shall see again.
func secrets(v any) (all []string) {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			if text, ok := inner.(string); ok && (name == "secret" || name == "token" || name == "uri" || name == "connection_string" || name == "code" || strings.Contains(name, "password")) {
				all = append(all, text)
				continue
			}
			if name == "recovery_codes" {
				for _, code := range inner.([]any) {
					all = append(all, code.(string))
				}
				continue
			}
			all = append(all, secrets(inner)...)
		}
	case []any:
		for _, inner := range v {
			all = append(all, secrets(inner)...)
		}
	}
	return all
}

// SEC-44: every operation that changes something leaves one event, with who did what
// to what, from where, and what was there before and after.
func TestAudit_of_every_change_SEC_44(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	ada, acme := w.signUp("ada@example.com", "acme")
	w.verified(acme)
	w.exec("UPDATE accounts SET plan = 'scale'")
	s := &stage{t: t, w: w, ada: ada, account: acme.at("account", "id"), tenant: acme.at("tenant", "id"), user: acme.at("user", "id")}
	eachOperation(t, func(o operation) {
		make, ok := changes[o.id]
		if _, none := unaudited[o.id]; ok == none && o.method != http.MethodGet || ok && o.method == http.MethodGet {
			t.Errorf("%s changes something: say how it is called, or why it leaves no event", o.id)
		}
		if !ok {
			return
		}
		t.Run(o.id, func(t *testing.T) {
			s.t = t
			how := make(s)
			if how.c == nil {
				how.c = s.ada
			}
			if how.path == "" {
				how.path = o.at(s.account, "acme")
			}
			request := "walk-" + o.id
			a := how.c.call(o.method, how.path, how.body, "X-Request-Id", request, "User-Agent", "walk/1")
			if a.status >= 300 {
				t.Fatalf("answered %d: %s", a.status, a.text)
			}
			events := how.c.w.audited(request)
			if len(events) != 1 {
				t.Fatalf("left %d events: %+v", len(events), events)
			}
			e := events[0]
			if actor := how.actor; e.Actor != actor && (actor != "" || e.Actor != "user") {
				t.Errorf("the actor is %s", e.Actor)
			}
			if e.ActorID == nil || (e.Actor == "user") != (e.ActorName != "") || e.IP != "127.0.0.1" || e.UserAgent != "walk/1" || !strings.Contains(e.Action, ".") {
				t.Errorf("left %+v", e)
			}
			if how.subject != "" && e.Subject != how.subject || e.Subject == "" {
				t.Errorf("the subject is %q, want %q", e.Subject, how.subject)
			}
			if (e.Before != nil) != strings.Contains(how.has, "before") || (e.After != nil) != strings.Contains(how.has, "after") {
				t.Errorf("before %v, after %v; want %s", value(e.Before), value(e.After), how.has)
			}
			if strings.Contains(how.has, "before after") && *e.Before == *e.After {
				t.Errorf("before and after are both %s", *e.Before)
			}
			if strings.Contains(o.path, "{tenant}") && value(e.Tenant) == "" || o.ofAccount() && !strings.HasPrefix(e.Chain, "account:") {
				t.Errorf("it is of the tenant %q in the chain %s", value(e.Tenant), e.Chain)
			}
			var sent map[string]any
			if text, err := json.Marshal(how.body); err == nil {
				_ = json.Unmarshal(text, &sent)
			}
			for _, secret := range append(secrets(a.body), secrets(sent)...) {
				if strings.Contains(e.Whole, secret) {
					t.Errorf("the event has the secret %q: %s", secret, e.Whole)
				}
			}
		})
	})
	s.t = t
	s.refusals()
	s.service()
	if err := w.service.VerifyAllAudits(t.Context(), func(chain string, v tenants.AuditVerification) error {
		if v.Broken != nil {
			return fmt.Errorf("%s: %w", chain, v.Broken)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func value(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// refusals are of who fails to prove who it is: they leave an event, too.
func (s *stage) refusals() {
	ada, email, user := s.person()
	_, guardedEmail, _ := s.guarded()
	half, _ := s.w.signIn(guardedEmail, password)
	for name, row := range map[string]struct {
		c                    *client
		method, path         string
		body                 map[string]any
		action, actor, chain string
	}{
		"a wrong password":           {s.w.browser(), "POST", "/v1/session", map[string]any{"email": email, "password": "hunter2-hunter2"}, "session.refused", "nobody", "user:" + user},
		"an unknown address":         {s.w.browser(), "POST", "/v1/session", map[string]any{"email": "none@example.com", "password": "hunter2-hunter2"}, "session.refused", "nobody", tenants.Audit{Caller: tenants.Caller{IP: "127.0.0.1"}}.Chain()},
		"a wrong code":               {half, "POST", "/v1/session/second-factor", map[string]any{"code": "000000"}, "second_factor.refused", "nobody", ""},
		"a wrong password once more": {ada, "PUT", "/v1/user/password", map[string]any{"current_password": "hunter2-hunter2", "new_password": "hunter3-hunter3"}, "password.refused", "user", "user:" + user},
	} {
		request := "refused-" + strings.ReplaceAll(name, " ", "-")
		if a := row.c.call(row.method, row.path, row.body, "X-Request-Id", request); a.status < 400 {
			s.t.Errorf("%s answered %d", name, a.status)
		}
		events := s.w.audited(request)
		if len(events) != 1 || events[0].Action != row.action || events[0].Actor != row.actor || row.chain != "" && events[0].Chain != row.chain || strings.Contains(events[0].Whole, "hunter") {
			s.t.Errorf("%s left %+v", name, events)
		}
	}
}

// service is what the service does by itself: it is in the log as such.
func (s *stage) service() {
	ctx, id := scope.System(s.t.Context(), scope.Jobs), tenants.ID(s.tenant)
	s.w.exec("DELETE FROM limit_overrides")
	s.w.exec("INSERT INTO limit_overrides (tenant_id, code, value, expires_at) VALUES ($1, 'max_hubs', 7, now() - interval '1 second'), ($1, 'max_connections', 7, now() + interval '1 hour')", id)
	sub, err := s.w.service.SubscriptionOf(ctx, tenants.AccountID(s.account))
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = s.w.service.TellBudget(ctx, sub, tenants.MeterMessages, 85*sub.MessagesAllowed/100)
	if err := errors.Join(err, s.w.service.ExpireOverrides(ctx), s.w.service.Purged(ctx, id), s.w.service.Purged(ctx, id)); err != nil {
		s.t.Fatal(err)
	}
	for action, subject := range map[string]string{"limit.override_expired": "max_hubs", "tenant.purged": "acme", "budget.step_reached": "messages"} {
		if n := s.w.count("audit_events WHERE actor = 'system' AND action = $1 AND subject = $2 AND account_id = $3", action, subject, s.account); n != 1 {
			s.t.Errorf("%s is there %d times", action, n)
		}
	}
	if n := s.w.count("limit_overrides WHERE tenant_id = $1", id); n != 1 {
		s.t.Errorf("%d overrides are left", n)
	}
}
