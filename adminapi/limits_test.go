package adminapi_test

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/signalbox/signalbox/internal/fleet"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/directory"
)

// One short of each limit, a hundred at once, or as many as it takes, want the last place: one gets it.
func TestSEC_47_limits_hold_for_a_hundred_at_once(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	ada, acme := w.signUp("ada@example.com", "acme")
	w.verified(acme)
	account, tenant, user := acme.at("account", "id"), acme.at("tenant", "id"), acme.at("user", "id")
	number := func(n int) string { return fmt.Sprintf("n%03d", n) }
	invitation := func(n int) string { return fmt.Sprintf("the link of invitation %d, which is no secret", n) }
	for _, row := range []struct {
		name, code string
		fill       func() // makes all but one of what there may be
		ask        func(n int) answer
		also       string // another refusal that is to be
		many       int    // 0 = 100
	}{
		{name: "tenants", code: "max_tenants",
			fill: func() {
				status(t, ada.call("POST", "/v1/tenants", map[string]any{"name": "Second"}), http.StatusCreated)
			},
			ask: func(n int) answer {
				return ada.call("POST", "/v1/tenants", map[string]any{"name": "Tenant " + number(n)})
			}},
		{name: "accounts", code: "max_accounts", many: 40,
			fill: func() {
				for range 3 {
					status(t, ada.call("POST", "/v1/accounts", map[string]any{"name": "Mine"}), http.StatusCreated)
				}
			},
			ask: func(int) answer { return ada.call("POST", "/v1/accounts", map[string]any{"name": "Mine"}) }},
		{name: "keys", code: "overlap_running", fill: func() {},
			ask: func(int) answer {
				return ada.call("POST", "/v1/tenants/acme/keys/primary/regenerate", map[string]any{"overlap_seconds": 3600})
			}},
		{name: "hubs", code: "max_hubs",
			fill: func() {
				w.exec("INSERT INTO hubs (tenant_id, name, settings) SELECT $1, 'h' || n, '{}' FROM generate_series(1, 18) n", tenant)
			},
			ask: func(n int) answer { return ada.call("PUT", "/v1/tenants/acme/hubs/"+number(n), map[string]any{}) }},
		{name: "domains", code: "max_domains", many: 40,
			fill: func() {
				w.exec("INSERT INTO tenant_domains (tenant_id, id, domain, token, created_at) SELECT $1, 'd' || n, n || '.example.com', 'x', now() FROM generate_series(1, 19) n", tenant)
			},
			ask: func(n int) answer {
				return ada.call("POST", "/v1/tenants/acme/domains", map[string]any{"domain": number(n) + ".example.org"})
			}},
		{name: "issuers", code: "max_issuers", many: 40,
			fill: func() {
				w.exec("INSERT INTO token_issuers (tenant_id, id, issuer, settings) SELECT $1, 'i' || n, 'https://' || n || '.example.com', '{}' FROM generate_series(1, 4) n", tenant)
			},
			ask: func(n int) answer {
				return ada.call("POST", "/v1/tenants/acme/issuers", map[string]any{"issuer": "https://" + number(n) + ".example.org", "jwks_url": "https://id.example.com/keys"})
			}},
		{name: "revocations", code: "max_revocations", many: 40,
			fill: func() {
				w.exec(`INSERT INTO token_revocations (tenant_id, id, kind, value, issued_before, expires_at)
					SELECT $1, 'r' || n, 'user', 'u' || n, now(), now() + interval '1 hour' FROM generate_series(1, 1999) n`, tenant)
			},
			ask: func(n int) answer {
				return ada.call("POST", "/v1/tenants/acme/revocations", map[string]any{"kind": "user", "value": number(n)})
			}},
		{name: "personal tokens", code: "max_api_tokens", many: 40,
			fill: func() {
				w.exec("INSERT INTO api_tokens (id, account_id, user_id, name, token_hash, hint) SELECT 'p' || n, $1, $2, 'x', sha256(('p' || n)::bytea), 'x' FROM generate_series(1, 19) n", account, user)
			},
			ask: func(n int) answer {
				return ada.call("POST", "/v1/api-tokens", map[string]any{"name": number(n), "account_id": account})
			}},
		{name: "service tokens", code: "max_api_tokens", many: 40,
			fill: func() {
				w.exec("INSERT INTO users (id, email, email_key, password_hash, kind) SELECT 's' || n, '', 's' || n, '', 'service' FROM generate_series(1, 49) n")
				w.exec("INSERT INTO members (account_id, user_id, role) SELECT $1, 's' || n, 'viewer' FROM generate_series(1, 49) n", account)
				w.exec("INSERT INTO api_tokens (id, account_id, user_id, name, token_hash, hint, kind) SELECT 's' || n, $1, 's' || n, 'x', sha256(('s' || n)::bytea), 'x', 'service' FROM generate_series(1, 49) n", account)
			},
			ask: func(n int) answer {
				return ada.call("POST", "/v1/accounts/"+account+"/api-tokens", map[string]any{"name": number(n), "role": "viewer"})
			}},
		{name: "invitations", code: "max_invitations", many: 40, also: "rate_limited", // which bounds the mails of an hour
			fill: func() {
				w.exec(`INSERT INTO invitations (id, account_id, email, email_key, role, token_hash, invited_by, inviter, created_at, sent_at, expires_at)
					SELECT 'v' || n, $1, n || '@example.org', n || '@example.org', 'viewer', sha256(('v' || n)::bytea), '', $2, now(), now(), now() + interval '1 day' FROM generate_series(1, 49) n`, account, user)
			},
			ask: func(n int) answer {
				return ada.call("POST", "/v1/accounts/"+account+"/invitations", map[string]any{"email": number(n) + "@example.net", "role": "viewer"})
			}},
		{name: "members", code: "max_members", also: "unavailable", // each hashes a password, a few at a time
			fill: func() {
				w.exec("INSERT INTO users (id, email, email_key, password_hash) SELECT 'u' || n, n || '@example.com', n || '@example.com', '' FROM generate_series(1, 998) n")
				w.exec("INSERT INTO members (account_id, user_id, role) SELECT $1, 'u' || n, 'viewer' FROM generate_series(1, 998) n", account)
				for n := range 100 {
					hash := sha256.Sum256([]byte(invitation(n)))
					w.exec(`INSERT INTO invitations (id, account_id, email, email_key, role, token_hash, invited_by, inviter, created_at, sent_at, expires_at)
						VALUES ($1, $2, $3, $3, 'viewer', $4, '', $5, now(), now(), now() + interval '1 day')`, "a"+number(n), account, number(n)+"@joins.example", hash[:], user)
				}
			},
			ask: func(n int) answer {
				// Each from an address of its own: attempts are bounded by address, too.
				r := httptest.NewRequest("POST", "/v1/invitations/acceptance", strings.NewReader(fmt.Sprintf(`{"token":%q,"password":%q}`, invitation(n), password)))
				r.RemoteAddr = fmt.Sprintf("198.51.100.%d:1", n)
				r.Header.Set("Content-Type", "application/json")
				rec := httptest.NewRecorder()
				w.handler.ServeHTTP(rec, r)
				a := answer{status: rec.Code, header: rec.Header(), text: rec.Body.String()}
				_ = json.Unmarshal(rec.Body.Bytes(), &a.body)
				return a
			}},
	} {
		row.fill()
		var made, full atomic.Int64
		var all sync.WaitGroup
		for n := range cmp.Or(row.many, 100) {
			all.Go(func() {
				switch a := row.ask(n); {
				case a.status < http.StatusMultipleChoices:
					made.Add(1)
				case row.also == "" || a.at("code") != row.also:
					full.Add(1)
					want(t, a, http.StatusConflict, row.code)
				}
			})
		}
		all.Wait()
		if n := made.Load(); n != 1 {
			t.Errorf("%s: %d were made, want the last one that may be", row.name, n)
		}
		least := int64(cmp.Or(row.many, 100) - 1)
		if row.also != "" {
			least = 1 // how many the other refusal leaves depends on how they meet
		}
		if n := full.Load(); n < least {
			t.Errorf("%s: only %d came to the limit", row.name, n)
		}
	}
}

// A document that edges don't take could never be published again: no key taken
// back, no tenant deleted.
func TestHubs_together_stay_within_what_a_document_may_have(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	c, acme := w.signUp("ada@example.com", "acme")
	id := tenants.ID(acme.at("tenant", "id"))
	if _, err := w.pool.Exec(t.Context(), "UPDATE accounts SET plan = 'scale'"); err != nil {
		t.Fatal(err)
	}
	origins := make([]string, 50)
	for i := range origins {
		origins[i] = fmt.Sprintf("https://%s%d.example", strings.Repeat("a", 280), i)
	}
	var last answer
	hubs := 0
	for ; hubs < 200; hubs++ {
		last = c.call("PUT", fmt.Sprintf("/v1/tenants/acme/hubs/h%d", hubs), map[string]any{"allowed_origins": origins})
		if last.status != http.StatusCreated {
			break
		}
	}
	want(t, last, http.StatusConflict, "max_hub_bytes")
	want(t, c.call("PATCH", "/v1/tenants/acme/hubs/chat", map[string]any{"allowed_origins": origins}), http.StatusConflict, "max_hub_bytes")
	secrets, err := fleet.New(strings.Repeat("x", fleet.MinSecretLength))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := w.service.Document(t.Context(), id)
	if err != nil || len(doc.Hubs) != hubs+1 {
		t.Fatalf("the document has %d hubs, %v, want %d", len(doc.Hubs), err, hubs+1)
	}
	if _, err := directory.Seal(secrets, &doc); err != nil {
		t.Error(err)
	}
}
