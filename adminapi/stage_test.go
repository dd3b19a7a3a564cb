package adminapi_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/signalbox/signalbox/tenants"
)

// stage is what changes are made on.
type stage struct {
	t                     *testing.T
	w                     *world
	ada                   *client
	account, tenant, user string
	number                int     // of the last thing that was made
	bob                   *client // somebody with an own user, once one is needed
	bobID                 string
	codes                 []any // recovery codes of who has a second factor
	guardedBy             *client
	guardedEmail          string
	records               records
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
	email = fmt.Sprintf("p%d@example.com", s.next())
	c, a := s.w.signUp(email, fmt.Sprintf("p%d-app", s.number))
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
	email, id = fmt.Sprintf("k%d@example.com", s.next()), fmt.Sprintf("K%d", s.number)
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

// next is a number for what is made, so that changes can be made more than once.
func (s *stage) next() int {
	s.number++
	return s.number
}

func (s *stage) issuer() map[string]any {
	return map[string]any{"issuer": fmt.Sprint("issuer ", s.next()), "jwks_url": "https://id.example.com/keys"}
}

func (s *stage) of(path string) string { return "/v1/accounts/" + s.account + path }

func (s *stage) invited() (email, id, token string) {
	email = fmt.Sprintf("i%d@example.com", s.next())
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
		return change{c: s.w.browser(), body: map[string]any{"email": fmt.Sprintf("new%d@example.com", s.next()), "password": password}, has: "after"}
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
		email := fmt.Sprintf("u%d@example.com", s.next())
		c, _ := s.w.signUp(email, fmt.Sprintf("u%d-app", s.number))
		_, token := s.w.mailTo(email)
		return change{c: c, body: map[string]any{"token": token}, has: "after"}
	},
	"resendVerification": func(s *stage) change {
		c, _ := s.w.signUp(fmt.Sprintf("u%d@example.com", s.next()), fmt.Sprintf("u%d-app", s.number))
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
		return change{c: c, body: map[string]any{"email": fmt.Sprintf("else%d@example.com", s.next()), "password": password}, subject: id, has: "after"}
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
		id := fmt.Sprintf("I%d", s.next())
		s.w.exec("INSERT INTO identities (id, user_id, issuer, subject, email, created_at) VALUES ($2, $1, 'https://id.example.com', $2, '', now())", s.user, id)
		return change{path: "/v1/user/identities/" + id, subject: id, has: "before"}
	},
	"createAccount": func(s *stage) change {
		c, _ := s.somebody()
		return change{c: c, body: map[string]any{"name": "Another"}, has: "after"}
	},
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
		return change{body: map[string]any{"email": fmt.Sprintf("invited%d@example.com", s.next()), "role": "viewer"}, has: "after"}
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
		slug := fmt.Sprintf("another%d", s.next())
		return change{body: map[string]any{"name": "Another", "slug": slug, "account_id": s.account}, subject: slug, has: "after"}
	},
	"updateTenant": func(s *stage) change {
		name := fmt.Sprintf("Renamed %d", s.next())
		return change{body: map[string]any{"name": name}, subject: name, has: "before after"}
	},
	"deleteTenant": func(s *stage) change {
		slug := fmt.Sprintf("doomed%d", s.next())
		s.made(s.ada, "POST", "/v1/tenants", map[string]any{"name": "Doomed", "slug": slug, "account_id": s.account})
		return change{path: "/v1/tenants/" + slug, subject: slug, has: "before"}
	},
	"suspendTenant": func(s *stage) change { return change{has: "before after"} },
	"resumeTenant": func(s *stage) change {
		s.made(s.ada, "POST", "/v1/tenants/acme/suspend", nil)
		return change{has: "before after"}
	},
	"createDomain": func(s *stage) change {
		domain := fmt.Sprintf("rt%d.example.com", s.next())
		return change{body: map[string]any{"domain": domain}, subject: domain, has: "after"}
	},
	"deleteDomain": func(s *stage) change {
		a := s.made(s.ada, "POST", "/v1/tenants/acme/domains", map[string]any{"domain": fmt.Sprintf("gone%d.example.com", s.next())})
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
	"createIssuer": func(s *stage) change { return change{body: s.issuer(), has: "after"} },
	"replaceIssuer": func(s *stage) change {
		a := s.made(s.ada, "POST", "/v1/tenants/acme/issuers", s.issuer())
		return change{path: "/v1/tenants/acme/issuers/" + a.at("id"), body: s.issuer(), subject: a.at("id"), has: "before after"}
	},
	"deleteIssuer": func(s *stage) change {
		a := s.made(s.ada, "POST", "/v1/tenants/acme/issuers", s.issuer())
		return change{path: "/v1/tenants/acme/issuers/" + a.at("id"), subject: a.at("id"), has: "before"}
	},
	"createRevocation": func(s *stage) change {
		return change{body: map[string]any{"kind": "user", "value": "ann"}, subject: "user:ann", has: "after"}
	},
	"deleteRevocation": func(s *stage) change {
		a := s.made(s.ada, "POST", "/v1/tenants/acme/revocations", map[string]any{"kind": "user", "value": "bob"})
		return change{path: "/v1/tenants/acme/revocations/" + a.at("id"), subject: a.at("id"), has: "before"}
	},
	"putHub": func(s *stage) change {
		hub := fmt.Sprintf("fresh%d", s.next())
		return change{path: "/v1/tenants/acme/hubs/" + hub, body: map[string]any{}, subject: hub, has: "after"}
	},
	"patchHub": func(*stage) change {
		return change{body: map[string]any{"handler": "broadcast"}, subject: "chat", has: "before after"}
	},
	"deleteHub": func(s *stage) change {
		hub := fmt.Sprintf("doomed%d", s.next())
		s.made(s.ada, "PUT", "/v1/tenants/acme/hubs/"+hub, map[string]any{})
		return change{path: "/v1/tenants/acme/hubs/" + hub, subject: hub, has: "before"}
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

// asked has a successful request for each operation that changes nothing and takes more
// than the names that address fills in.
var asked = map[string]func(s *stage) change{
	"getMember": func(s *stage) change { return change{path: s.of("/members/" + s.user)} },
	"getIssuer": func(s *stage) change {
		return change{path: "/v1/tenants/acme/issuers/" + s.made(s.ada, "POST", "/v1/tenants/acme/issuers", s.issuer()).at("id")}
	},
	"lookUpInvitation": func(s *stage) change {
		_, _, token := s.invited()
		return change{c: s.w.browser(), body: map[string]any{"token": token}}
	},
	"verifyDomain": func(s *stage) change {
		made := s.made(s.ada, "POST", "/v1/tenants/acme/domains", map[string]any{"domain": fmt.Sprintf("shown%d.example.com", s.next())})
		s.records[made.at("record", "name")+"."] = made.at("record", "value")
		return change{path: "/v1/tenants/acme/domains/" + made.at("id") + "/verify"}
	},
}

// records are TXT records by their names.
type records map[string]string

// LookupTXT implements tenants.Resolver.
func (r records) LookupTXT(_ context.Context, name string) ([]string, error) {
	if value, ok := r[name]; ok {
		return []string{value}, nil
	}
	return nil, &net.DNSError{Name: name, IsNotFound: true}
}

// good returns a request to an operation that succeeds, each time with new things to
// change, and who makes it.
func (s *stage) good(o operation) change {
	how := change{body: o.body}
	if make, ok := changes[o.id]; ok {
		how = make(s)
	} else if make, ok := asked[o.id]; ok {
		how = make(s)
	}
	if how.c == nil {
		how.c = s.ada
	}
	if how.path == "" {
		how.path = o.at(s.account, s.tenant)
	}
	return how
}

// renew puts back what the last operation may have taken from the stage: its user's
// session, passwords, the plan, the tenant's state, and what bounds how much is made.
func (s *stage) renew(t *testing.T) {
	t.Helper()
	s.t, s.w.t = t, t
	s.w.exec("DELETE FROM attempts")
	s.w.exec("UPDATE users SET password_hash = (SELECT password_hash FROM users WHERE email_key = 'mallory@example.com') WHERE password_hash <> ''")
	s.w.exec("UPDATE accounts SET plan = 'scale', next_plan = NULL, next_plan_at = NULL WHERE id = $1", s.account)
	s.w.exec("UPDATE tenants SET status = 'active' WHERE id = $1", s.tenant)
	for _, made := range []string{"tenant_domains", "token_issuers", "token_revocations", "invitations", "hubs WHERE name <> 'chat'", "api_tokens WHERE scopes = '{}' AND name <> 'Deploy'"} {
		s.w.exec("DELETE FROM " + made)
	}
	if s.ada.call("GET", "/v1/session", nil).at("user", "id") != s.user {
		s.ada, _ = s.w.signIn("ada@example.com", password)
	}
}

// request is the good request of an operation as the walk sends it.
func (s *stage) request(t *testing.T, o operation) (*caller, attack) {
	t.Helper()
	s.bob, s.guardedBy = nil, nil // their sessions are those of the request before
	how := s.good(o)
	return how.c.caller(t), requestOf(t, o, how.path, how.body)
}
