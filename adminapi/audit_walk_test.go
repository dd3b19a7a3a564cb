package adminapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pquerna/otp/totp"

	"github.com/signalbox/signalbox/internal/scope"
	"github.com/signalbox/signalbox/tenants"
)

// stage is what changes are made on.
type stage struct {
	t                     *testing.T
	w                     *world
	ada                   *client
	account, tenant, user string
	people                int
	bob                   *client // somebody with an own user, once one is needed
	bobID                 string
	codes                 []any // recovery codes of who has a second factor
	guardedBy             *client
	guardedEmail          string
}

// change is a request that changes something, and what its audit must have.
type change struct {
	c       *client
	path    string // "" = the operation's, for the stage's account and tenant
	body    any
	actor   string // "" = user
	subject string // "" = any
	has     string // of "before" and "after", those that are there
}

// person signs a new user up, with an address that is confirmed.
func (s *stage) person() (c *client, email, id string) {
	s.people++
	email = fmt.Sprintf("p%d@example.com", s.people)
	c, a := s.w.signUp(email, fmt.Sprintf("p%d-app", s.people))
	s.w.verified(a)
	return c, email, a.at("user", "id")
}

// made calls what makes a thing and returns the answer.
func (s *stage) made(c *client, method, path string, body any) answer {
	s.t.Helper()
	a := c.call(method, path, body)
	if a.status >= 300 {
		s.t.Fatalf("%s %s answered %d: %s", method, path, a.status, a.text)
	}
	return a
}

// somebody is a person whose user stays usable.
func (s *stage) somebody() (c *client, id string) {
	if s.bob == nil {
		s.bob, _, s.bobID = s.person()
	}
	return s.bob, s.bobID
}

// known makes a user that nobody is signed in as.
func (s *stage) known() (email, id string) {
	s.people++
	email, id = fmt.Sprintf("k%d@example.com", s.people), fmt.Sprintf("K%d", s.people)
	s.w.exec("INSERT INTO users (id, email, email_key, password_hash, email_verified_at) VALUES ($1, $2, $2, '', now())", id, email)
	return email, id
}

// guarded returns somebody with a second factor, and a recovery code.
func (s *stage) guarded() (c *client, email, code string) {
	if s.guardedBy == nil {
		s.guardedBy, s.guardedEmail, _ = s.person()
		setup := s.made(s.guardedBy, "POST", "/v1/user/second-factor", map[string]any{"password": password})
		now, err := totp.GenerateCode(setup.at("secret"), time.Now())
		if err != nil {
			s.t.Fatal(err)
		}
		on := s.made(s.guardedBy, "POST", "/v1/user/second-factor/confirmation", map[string]any{"code": now})
		s.codes = on.body["recovery_codes"].([]any)
	}
	code = s.codes[0].(string)
	s.codes = s.codes[1:]
	return s.guardedBy, s.guardedEmail, code
}

func (s *stage) of(path string) string { return "/v1/accounts/" + s.account + path }

func (s *stage) invited() (email, id, token string) {
	s.people++
	email = fmt.Sprintf("i%d@example.com", s.people)
	a := s.made(s.ada, "POST", s.of("/invitations"), map[string]any{"email": email, "role": "viewer"})
	_, token = s.w.mailTo(email)
	return email, a.at("id"), token
}

func (s *stage) join(id string) {
	s.w.exec("INSERT INTO members (account_id, user_id, role) VALUES ($1, $2, 'viewer')", s.account, id)
}

// changes has a successful request for each operation that changes something.
var changes = map[string]func(s *stage) change{
	"signUp": func(s *stage) change {
		return change{c: s.w.browser(), body: map[string]any{"email": "new@example.com", "password": password}, has: "after"}
	},
	"signIn": func(s *stage) change {
		return change{c: s.w.browser(), body: map[string]any{"email": "ada@example.com", "password": password}, subject: s.user}
	},
	"finishSignIn": func(s *stage) change {
		_, email, code := s.guarded()
		c := s.w.browser()
		s.made(c, "POST", "/v1/session", map[string]any{"email": email, "password": password})
		return change{c: c, body: map[string]any{"code": code}}
	},
	"signOut": func(s *stage) change {
		c, _ := s.w.signIn("ada@example.com", password)
		return change{c: c}
	},
	"endSession": func(s *stage) change {
		c, a := s.w.signIn("ada@example.com", password)
		return change{c: c, path: "/v1/sessions/" + a.at("id"), subject: a.at("id")}
	},
	"endOtherSessions": func(s *stage) change {
		c, _ := s.w.signIn("ada@example.com", password)
		defer func() { s.ada = c }()
		return change{c: c, has: "after"}
	},
	"verifyEmail": func(s *stage) change {
		c, _ := s.w.signUp("unverified@example.com", "unverified")
		_, token := s.w.mailTo("unverified@example.com")
		return change{c: c, body: map[string]any{"token": token}, has: "after"}
	},
	"resendVerification": func(s *stage) change {
		c, _ := s.w.signUp("unverified2@example.com", "unverified2")
		return change{c: c, has: "after"}
	},
	"requestPasswordReset": func(s *stage) change {
		email, id := s.known()
		return change{c: s.w.browser(), body: map[string]any{"email": email}, actor: "nobody", subject: id}
	},
	"resetPassword": func(s *stage) change {
		email, id := s.known()
		s.made(s.w.browser(), "POST", "/v1/password-reset", map[string]any{"email": email})
		_, token := s.w.mailTo(email)
		return change{c: s.w.browser(), body: map[string]any{"token": token, "password": password + "2"}, subject: id, has: "after"}
	},
	"changePassword": func(s *stage) change {
		c, id := s.somebody()
		return change{c: c, body: map[string]any{"current_password": password, "new_password": password}, subject: id, has: "after"}
	},
	"changeEmail": func(s *stage) change {
		c, id := s.somebody()
		return change{c: c, body: map[string]any{"email": "else@example.com", "password": password}, subject: id, has: "after"}
	},
	"beginSecondFactor": func(s *stage) change {
		c, _ := s.somebody()
		return change{c: c, body: map[string]any{"password": password}}
	},
	"confirmSecondFactor": func(s *stage) change {
		c, _ := s.somebody()
		setup := s.made(c, "POST", "/v1/user/second-factor", map[string]any{"password": password})
		code, err := totp.GenerateCode(setup.at("secret"), time.Now())
		if err != nil {
			s.t.Fatal(err)
		}
		return change{c: c, body: map[string]any{"code": code}}
	},
	"renewRecoveryCodes": func(s *stage) change {
		s.guardedBy = nil // another one: the factor was removed
		c, _, code := s.guarded()
		return change{c: c, body: map[string]any{"password": password, "code": code}}
	},
	"removeSecondFactor": func(s *stage) change {
		c, _, code := s.guarded()
		return change{c: c, body: map[string]any{"password": password, "code": code}}
	},
	"unlinkIdentity": func(s *stage) change {
		s.w.exec("INSERT INTO identities (id, user_id, issuer, subject, email, created_at) VALUES ('I1', $1, 'https://id.example.com', 'x', 'ada@example.com', now())", s.user)
		return change{path: "/v1/user/identities/I1", subject: "I1", has: "before"}
	},
	"createAccount": func(s *stage) change { return change{body: map[string]any{"name": "Another"}, has: "after"} },
	"updateAccount": func(s *stage) change { return change{body: map[string]any{"name": "Other"}, has: "before after"} },
	"leaveAccount": func(s *stage) change {
		c, id := s.somebody()
		s.join(id)
		return change{c: c, subject: id, has: "before"}
	},
	"updateMember": func(s *stage) change {
		_, id := s.known()
		s.join(id)
		return change{path: s.of("/members/" + id), body: map[string]any{"role": "developer"}, subject: id, has: "before after"}
	},
	"removeMember": func(s *stage) change {
		_, id := s.known()
		s.join(id)
		return change{path: s.of("/members/" + id), subject: id, has: "before"}
	},
	"createInvitation": func(s *stage) change {
		return change{body: map[string]any{"email": "invited@example.com", "role": "viewer"}, has: "after"}
	},
	"resendInvitation": func(s *stage) change {
		_, id, _ := s.invited()
		return change{path: s.of("/invitations/" + id + "/resend"), subject: id, has: "after"}
	},
	"revokeInvitation": func(s *stage) change {
		_, id, _ := s.invited()
		return change{path: s.of("/invitations/" + id), subject: id, has: "before"}
	},
	"acceptInvitation": func(s *stage) change {
		_, _, token := s.invited()
		return change{c: s.w.browser(), body: map[string]any{"token": token, "password": password}, has: "after"}
	},
	"createApiToken": func(s *stage) change {
		return change{body: map[string]any{"name": "CI", "account_id": s.account}, has: "after"}
	},
	"deleteApiToken": func(s *stage) change {
		a := s.made(s.ada, "POST", "/v1/api-tokens", map[string]any{"name": "CI", "account_id": s.account})
		return change{path: "/v1/api-tokens/" + a.at("api_token", "id"), subject: a.at("api_token", "id"), has: "before"}
	},
	"createServiceToken": func(s *stage) change {
		return change{body: map[string]any{"name": "CI", "role": "viewer"}, has: "after"}
	},
	"deleteAccountToken": func(s *stage) change {
		a := s.made(s.ada, "POST", s.of("/api-tokens"), map[string]any{"name": "CI", "role": "viewer"})
		return change{path: s.of("/api-tokens/" + a.at("api_token", "id")), subject: a.at("api_token", "id"), has: "before"}
	},
	"putBudget": func(s *stage) change {
		return change{body: map[string]any{"action": "notify", "messages": 1000}, has: "before after"}
	},
	"putPlan": func(s *stage) change {
		return change{body: map[string]any{"plan": "free", "effective": "period_end"}, has: "before after"}
	},
	"createTenant": func(s *stage) change {
		return change{body: map[string]any{"name": "Another", "slug": "another", "account_id": s.account}, subject: "another", has: "after"}
	},
	"updateTenant": func(s *stage) change {
		return change{body: map[string]any{"name": "Renamed"}, subject: "Renamed", has: "before after"}
	},
	"deleteTenant": func(s *stage) change {
		s.made(s.ada, "POST", "/v1/tenants", map[string]any{"name": "Doomed", "slug": "doomed", "account_id": s.account})
		return change{path: "/v1/tenants/doomed", subject: "doomed", has: "before"}
	},
	"suspendTenant": func(s *stage) change { return change{has: "before after"} },
	"resumeTenant": func(s *stage) change {
		s.made(s.ada, "POST", "/v1/tenants/acme/suspend", nil)
		return change{has: "before after"}
	},
	"createDomain": func(s *stage) change {
		return change{body: map[string]any{"domain": "rt.example.com"}, subject: "rt.example.com", has: "after"}
	},
	"deleteDomain": func(s *stage) change {
		a := s.made(s.ada, "POST", "/v1/tenants/acme/domains", map[string]any{"domain": "gone.example.com"})
		return change{path: "/v1/tenants/acme/domains/" + a.at("id"), has: "before"}
	},
	"putLimit": func(s *stage) change {
		s.made(s.ada, "PUT", "/v1/tenants/acme/limits/max_connections", map[string]any{"max": 11})
		return change{body: map[string]any{"max": 10}, subject: "max_connections", has: "before after"}
	},
	"deleteLimit": func(s *stage) change {
		s.made(s.ada, "PUT", "/v1/tenants/acme/limits/max_hubs", map[string]any{"max": 11})
		return change{path: "/v1/tenants/acme/limits/max_hubs", subject: "max_hubs", has: "before"}
	},
	"regenerateKey": func(s *stage) change { return change{body: map[string]any{}, subject: "primary", has: "before after"} },
	"endFormerKey": func(s *stage) change {
		s.made(s.ada, "POST", "/v1/tenants/acme/keys/secondary/regenerate", map[string]any{"overlap_seconds": 600})
		return change{path: "/v1/tenants/acme/keys/secondary/former", subject: "secondary", has: "before"}
	},
	"rotateWebhookSecret": func(s *stage) change {
		s.made(s.ada, "POST", "/v1/tenants/acme/webhook-secrets/rotate", map[string]any{})
		return change{body: map[string]any{}, has: "before after"}
	},
	"createIssuer": func(s *stage) change { return change{body: issuerBody, has: "after"} },
	"replaceIssuer": func(s *stage) change {
		a := s.made(s.ada, "POST", "/v1/tenants/acme/issuers", map[string]any{"issuer": "second", "jwks_url": "https://id.example.com/keys"})
		return change{path: "/v1/tenants/acme/issuers/" + a.at("id"), body: map[string]any{"issuer": "third", "jwks_url": "https://id.example.com/keys"}, subject: a.at("id"), has: "before after"}
	},
	"deleteIssuer": func(s *stage) change {
		a := s.made(s.ada, "POST", "/v1/tenants/acme/issuers", map[string]any{"issuer": "fourth", "jwks_url": "https://id.example.com/keys"})
		return change{path: "/v1/tenants/acme/issuers/" + a.at("id"), subject: a.at("id"), has: "before"}
	},
	"createRevocation": func(s *stage) change {
		return change{body: map[string]any{"kind": "user", "value": "ann"}, subject: "user:ann", has: "after"}
	},
	"deleteRevocation": func(s *stage) change {
		a := s.made(s.ada, "POST", "/v1/tenants/acme/revocations", map[string]any{"kind": "user", "value": "bob"})
		return change{path: "/v1/tenants/acme/revocations/" + a.at("id"), subject: a.at("id"), has: "before"}
	},
	"putHub": func(*stage) change {
		return change{path: "/v1/tenants/acme/hubs/fresh", body: map[string]any{}, subject: "fresh", has: "after"}
	},
	"patchHub": func(*stage) change {
		return change{body: map[string]any{"handler": "broadcast"}, subject: "chat", has: "before after"}
	},
	"deleteHub": func(s *stage) change {
		s.made(s.ada, "PUT", "/v1/tenants/acme/hubs/doomed", map[string]any{})
		return change{path: "/v1/tenants/acme/hubs/doomed", subject: "doomed", has: "before"}
	},
	"returnHub": func(s *stage) change {
		s.made(s.ada, "PATCH", "/v1/tenants/acme/hubs/chat", map[string]any{"client_timeout_seconds": 77})
		return change{subject: "chat", has: "before after"}
	},
	"replayUpstreamDelivery": func(s *stage) change {
		s.w.upstreams.deliveries = map[tenants.ID][]tenants.Delivery{tenants.ID(s.tenant): {{ID: "2-0", Hub: "chat", Category: "messages", Event: "Send", Outcome: tenants.Failed, Attempt: 1, Mode: tenants.UpstreamNative, Request: tenants.DeliveryContent{Body: []byte("{}"), Bytes: 2}}}}
		return change{path: "/v1/tenants/acme/upstream-deliveries/2-0/replay", subject: "2-0"}
	},
}

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
