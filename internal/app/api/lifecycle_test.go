package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// contents is what Redis has, by key.
func contents(t *testing.T, client redis.UniversalClient) map[string]string {
	t.Helper()
	ctx, all := t.Context(), make(map[string]string)
	keys := client.Scan(ctx, 0, "*", 1000).Iterator()
	for keys.Next(ctx) {
		key := keys.Val()
		var value any
		var err error
		switch kind := client.Type(ctx, key).Val(); kind {
		case "string":
			value, err = client.Get(ctx, key).Result()
		case "hash":
			value, err = client.HGetAll(ctx, key).Result()
		case "set":
			value, err = client.SMembers(ctx, key).Result()
		case "zset":
			value, err = client.ZRange(ctx, key, 0, -1).Result()
		case "stream":
			value, err = client.XRange(ctx, key, "-", "+").Result()
		case "none": // it went meanwhile
		default:
			t.Fatalf("%s is a %s: read it", key, kind)
		}
		if err != nil && !strings.Contains(err.Error(), "nil") {
			t.Fatal(err)
		}
		all[key] = fmt.Sprint(value)
	}
	if err := keys.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// traces lists where Redis has a text, in the names of keys and in what they hold.
func traces(t *testing.T, client redis.UniversalClient, text string) (found []string) {
	t.Helper()
	for key, value := range contents(t, client) {
		if strings.Contains(key+value, text) {
			found = append(found, key)
		}
	}
	slices.Sort(found)
	return found
}

// kinds are the keys without what differs by tenant, hub, edge, user and connection.
func kinds(keys []string) (all []string) {
	for _, k := range keys {
		parts := strings.SplitN(k, "}:", 2)
		kind := strings.SplitN(parts[len(parts)-1], ":", 2)[0]
		if !slices.Contains(all, kind) {
			all = append(all, kind)
		}
	}
	return all
}

// TestSEC_18_a_deleted_tenant_leaves_nothing: messages, history, groups, presence, owners,
// idempotency, limits and delivery log are gone from Redis, connections are closed,
// and whoever takes the name next gets nothing of it.
func TestSEC_18_a_deleted_tenant_leaves_nothing(t *testing.T) {
	t.Parallel()
	f := startPlane(t, 3, func(c *Config) {
		c.purge = usualPurge
		c.purge.settled, c.purge.last = 7*time.Second, 8*time.Second // nobody waits for 15 minutes
	})
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	t.Cleanup(hook.Close)
	f.want(http.StatusOK, "PATCH", "/v1/tenants/acme/hubs/chat", map[string]any{
		"upstream": map[string]any{"rules": []any{map[string]any{"url": hook.URL + "/{event}"}}}, "history": map[string]any{"group_index": true},
	})
	var live []*client
	for e := range f.edges {
		k := f.connect(e, f.token(f.key, fmt.Sprintf("user-%d", e)))
		live = append(live, k)
		for _, call := range [][]any{{"$joinGroup", "demo"}, {"$setPresence", "demo", "here"}, {"$sendToGroup", "demo", "hello", []any{"world"}}} {
			if refused := k.call(call[0].(string), call[1:]...); refused != "" {
				t.Fatalf("%v: %s", call, refused)
			}
		}
		if status := f.rest(e, "POST", "other", f.key.Secret, `{"target":"hello","arguments":["world"]}`); status != http.StatusAccepted {
			t.Fatalf("publishing answered %d", status)
		}
	}
	if status := f.rest(0, "PUT", "chat/users/user-9/groups/demo", f.key.Secret, ""); status >= 300 {
		t.Fatalf("adding a user to a group answered %d", status)
	}
	eventually(t, func() string {
		have := kinds(traces(t, f.redis, f.tenant))
		for _, kind := range []string{"stream", "head", "idem", "present", "ugroups", "owner", "deliveries", "index", "connections", "memberships"} {
			if !slices.Contains(have, kind) {
				return "nothing of the kind " + kind + " is there to be purged: " + fmt.Sprint(have)
			}
		}
		return ""
	})
	old, account := f.token(f.key, "user-0"), at(f.want(http.StatusOK, "GET", "/v1/tenants/acme", nil), "account_id")

	began := time.Now()
	f.want(http.StatusNoContent, "DELETE", "/v1/tenants/acme", nil)
	for _, k := range live {
		if reason := k.closed(); reason != "Connection closed with an error." && !strings.Contains(reason, "The tenant was deleted.") {
			t.Errorf("closed with %q", reason)
		}
	}
	t.Logf("the connections were closed after %s", time.Since(began))
	tombstone := []string{redisclient.Document(tenants.ID(f.tenant))}
	eventually(t, func() string {
		if left := traces(t, f.redis, f.tenant); !slices.Equal(left, tombstone) {
			return fmt.Sprint("Redis still has ", left)
		}
		return ""
	})
	gone := time.Since(began)
	t.Logf("Redis had nothing more of it after %s", gone)
	if gone > time.Minute {
		t.Errorf("it took %s, want a minute at most", gone)
	}
	if doc := openDocument(t, f.redis, f.tenant); doc == nil || doc.Status != tenants.Deleted || len(doc.Keys) != 0 {
		t.Errorf("the tombstone is %+v", doc)
	}
	var usage int64
	if err := f.api.app.core.pool.QueryRow(t.Context(), "SELECT sum(accepted) FROM usage_minutes WHERE tenant_id = $1", f.tenant).Scan(&usage); err != nil || usage < 4 {
		t.Errorf("the ledger has %d accepted messages, %v; want all of them", usage, err)
	}

	// The name again, by somebody else.
	jar, _ := cookiejar.New(nil)
	f.browser = &http.Client{Jar: jar}
	f.want(http.StatusCreated, "POST", "/v1/signup", map[string]any{"email": "eve@example.com", "password": "correct horse", "tenant_slug": "eves"})
	answer := f.want(http.StatusCreated, "POST", "/v1/tenants", map[string]any{"name": "Acme", "slug": "acme"})
	if at(answer, "tenant", "id") == f.tenant || account == "" || at(answer, "tenant", "account_id") == account {
		t.Errorf("an id was used again, or the account is the former one, %s: %v", account, answer)
	}
	fresh := tenants.DocKey{ID: at(answer, "key", "id"), Secret: at(answer, "key", "secret")}
	for e := range f.edges {
		if status, _ := f.negotiate(e, old, "", ""); status != http.StatusUnauthorized {
			t.Errorf("edge %d answers an old token with %d", e, status)
		}
		if status := f.rest(e, "POST", "other", f.key.Secret, `{"target":"hello","arguments":["world"]}`); status != http.StatusUnauthorized {
			t.Errorf("edge %d answers the old key with %d", e, status)
		}
		k := f.connect(e, f.token(fresh, "user-0"))
		k.write(`{"type":4,"invocationId":"h","target":"$history","arguments":[{"group":"demo"}]}`)
		if got := k.next(); got.Type != 3 || got.Error != "" {
			t.Errorf("the history of the new tenant begins with %+v, want its end", got)
		}
	}
	// Looks go on until nothing can come any more.
	eventually(t, func() string {
		var waiting int
		err := f.api.app.core.pool.QueryRow(t.Context(), "SELECT count(*) FROM river_job WHERE kind = 'purge_tenant' AND finalized_at IS NULL").Scan(&waiting)
		if err != nil || waiting > 0 {
			return fmt.Sprintf("%d looks are to come, %v", waiting, err)
		}
		return ""
	})
	if left := traces(t, f.redis, f.tenant); !slices.Equal(left, tombstone) {
		t.Errorf("at the end Redis has %v", left)
	}
}

func TestSEC_18_a_suspended_tenant_is_not_served(t *testing.T) {
	t.Parallel()
	f := startPlane(t, 2, func(*Config) {})
	token := f.token(f.key, "ann")
	live := []*client{f.connect(0, token), f.connect(1, token)}
	began := time.Now()
	if a := f.want(http.StatusOK, "POST", "/v1/tenants/acme/suspend", nil); at(a, "status") != "suspended" || at(a, "suspended_at") == "" {
		t.Errorf("suspending answered %v", a)
	}
	for _, k := range live {
		if reason := k.closed(); !strings.Contains(reason, "The tenant is suspended.") {
			t.Errorf("closed with %q", reason)
		}
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the connections were closed after %s, want 10 s at most", took)
	}
	for e := range f.edges {
		if status, body := f.negotiate(e, token, "", ""); status != http.StatusForbidden || !strings.Contains(body, "suspended") {
			t.Errorf("edge %d answers a client with %d %s", e, status, body)
		}
		if status := f.rest(e, "POST", "chat", f.key.Secret, `{"target":"hello","arguments":[]}`); status != http.StatusForbidden {
			t.Errorf("edge %d answers a backend with %d", e, status)
		}
	}
	f.want(http.StatusOK, "POST", "/v1/tenants/acme/suspend", nil) // once more changes nothing
	if a := f.want(http.StatusOK, "POST", "/v1/tenants/acme/resume", nil); at(a, "status") != "active" || at(a, "suspended_at") != "" {
		t.Errorf("resuming answered %v", a)
	}
	for e := range f.edges {
		eventually(t, func() string {
			if status, body := f.negotiate(e, token, "", ""); status != http.StatusOK {
				return fmt.Sprintf("edge %d answers %d %s", e, status, body)
			}
			return ""
		})
	}
}

// What shows a tenant's figures live is closed when the API token or the session is gone
// that was given it, and the same user's other ones are not.
func TestLive_figures_end_with_what_they_were_got_with(t *testing.T) {
	t.Parallel()
	f := startPlane(t, 1, func(*Config) {})
	account := at(f.want(http.StatusOK, "GET", "/v1/tenants/acme", nil), "account_id")
	// watch connects to the hub console with what a browser or API token is given.
	watch := func(own *plane, bearer string) *client {
		own.t.Helper()
		req, err := http.NewRequestWithContext(own.t.Context(), http.MethodPost, f.api.url+"/v1/tenants/acme/live", nil)
		if err != nil {
			own.t.Fatal(err)
		}
		if bearer != "" {
			req.Header.Set("Authorization", "Bearer "+bearer)
		}
		res, err := own.browser.Do(req)
		if err != nil {
			own.t.Fatal(err)
		}
		defer res.Body.Close()
		var live struct{ Token string }
		if err := json.NewDecoder(res.Body).Decode(&live); err != nil || live.Token == "" {
			own.t.Fatalf("live figures answered %d, %v", res.StatusCode, err)
		}
		eventually(own.t, func() string {
			if status, body := own.negotiateAt(0, "/t/"+tenants.SystemSlug+"/client/negotiate?hub=console", live.Token, "", ""); status != http.StatusOK {
				return fmt.Sprintf("the console's hub answers %d %s", status, body)
			}
			return ""
		})
		return own.connectTo(0, tenants.SystemSlug, "console", live.Token)
	}
	ends := func(t *testing.T, k *client) {
		t.Helper()
		if reason := k.closed(); !strings.Contains(reason, "revoked") {
			t.Errorf("closed with %q", reason)
		}
	}
	signIn := func(t *testing.T) *plane {
		t.Helper()
		own := *f
		jar, _ := cookiejar.New(nil)
		own.t, own.browser = t, &http.Client{Jar: jar}
		own.want(http.StatusOK, "POST", "/v1/session", map[string]any{"email": "ada@example.com", "password": "correct horse"})
		return &own
	}
	first := watch(f, "")
	lives := func(t *testing.T) { // nothing has closed it before the answer comes
		t.Helper()
		if first.call("$nothing", 0) == "" {
			t.Error("an unknown method has no error")
		}
	}
	for name, row := range map[string]struct {
		at string
		in map[string]any
	}{
		"a personal token": {"/v1/api-tokens", map[string]any{"name": "watch"}},
		"a service token":  {"/v1/accounts/" + account + "/api-tokens", map[string]any{"name": "watch", "role": "viewer"}},
	} {
		t.Run(name, func(t *testing.T) {
			own := *f
			own.t, own.browser = t, http.DefaultClient
			made := f.want(http.StatusCreated, "POST", row.at, row.in)
			k := watch(&own, at(made, "secret"))
			f.want(http.StatusNoContent, "DELETE", row.at+"/"+at(made, "api_token", "id"), nil)
			ends(t, k)
			lives(t)
		})
	}
	for name, end := range map[string]func(own *plane){
		"a session that signs out": func(own *plane) { own.want(http.StatusNoContent, "DELETE", "/v1/session", nil) },
		"a session that another ends": func(own *plane) {
			f.want(http.StatusNoContent, "DELETE", "/v1/sessions/"+at(own.want(http.StatusOK, "GET", "/v1/session", nil), "id"), nil)
		},
		"all other sessions": func(*plane) { f.want(http.StatusNoContent, "DELETE", "/v1/sessions", nil) },
		"a browser that signs in anew": func(own *plane) {
			own.want(http.StatusOK, "POST", "/v1/session", map[string]any{"email": "ada@example.com", "password": "correct horse"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			own := signIn(t)
			k := watch(own, "")
			end(own)
			ends(t, k)
			lives(t)
		})
	}
	// A new password gives the session that sets it another id: its console asks anew.
	second := watch(signIn(t), "")
	f.want(http.StatusNoContent, "PUT", "/v1/user/password", map[string]any{"current_password": "correct horse", "new_password": "battery staple"})
	ends(t, second)
	ends(t, first)
}

func TestDomain_is_served_once_its_record_is_there(t *testing.T) {
	t.Parallel()
	f := startPlane(t, 2, func(*Config) {})
	const domain = "rt.example.com"
	token := f.token(f.key, "ann")
	serves := func(status int) {
		t.Helper()
		for e := range f.edges {
			eventually(t, func() string {
				if got, body := f.negotiate(e, token, domain, ""); got != status {
					return fmt.Sprintf("edge %d answers %d %s", e, got, body)
				}
				return ""
			})
		}
	}
	serves(http.StatusUnauthorized)
	made := f.want(http.StatusCreated, "POST", "/v1/tenants/acme/domains", map[string]any{"domain": "RT.Example.com."})
	if at(made, "domain") != domain || at(made, "record", "type") != "TXT" || at(made, "record", "name") != "_signalbox."+domain {
		t.Errorf("adding answered %v", made)
	}
	verify := "/v1/tenants/acme/domains/" + at(made, "id") + "/verify"
	if a := f.want(http.StatusConflict, "POST", verify, nil); at(a, "code") != "domain_unverified" || !strings.Contains(at(a, "detail"), "There is no TXT record _signalbox."+domain) {
		t.Errorf("without a record: %v", a)
	}
	f.dns.set("_signalbox."+domain, "signalbox-verification=of-somebody-else")
	if a := f.want(http.StatusConflict, "POST", verify, nil); !strings.Contains(at(a, "detail"), "another value") {
		t.Errorf("with another's record: %v", a)
	}
	f.dns.fail(true)
	if a := f.want(http.StatusServiceUnavailable, "POST", verify, nil); at(a, "code") != "dns_unavailable" {
		t.Errorf("without DNS: %v", a)
	}
	f.dns.fail(false)
	serves(http.StatusUnauthorized)

	f.dns.set("_signalbox."+domain, at(made, "record", "value"))
	if a := f.want(http.StatusOK, "POST", verify, nil); a["verified"] != true {
		t.Errorf("with the record: %v", a)
	}
	serves(http.StatusOK)
	if got, _ := f.negotiate(0, token, "other.example.com", ""); got != http.StatusUnauthorized {
		t.Errorf("a neighbour of the domain is answered with %d", got)
	}

	// Another account's tenant with a record of its own can't take it away while acme's is
	// there.
	jar, _ := cookiejar.New(nil)
	ada, eve := f.browser, &http.Client{Jar: jar}
	f.browser = eve
	f.want(http.StatusCreated, "POST", "/v1/signup", map[string]any{"email": "eve@example.com", "password": "correct horse", "tenant_slug": "eves"})
	f.want(http.StatusCreated, "POST", "/v1/tenants", map[string]any{"name": "Rival", "slug": "rival"})
	theirs := f.want(http.StatusCreated, "POST", "/v1/tenants/rival/domains", map[string]any{"domain": domain})
	f.dns.set("_signalbox."+domain, at(theirs, "record", "value"), at(made, "record", "value"))
	if a := f.want(http.StatusConflict, "POST", "/v1/tenants/rival/domains/"+at(theirs, "id")+"/verify", nil); at(a, "code") != "domain_taken" {
		t.Errorf("a rival's verification: %v", a)
	}
	serves(http.StatusOK)

	// Once acme's is gone, whoever has the DNS has given it to the other one.
	f.dns.set("_signalbox."+domain, at(theirs, "record", "value"))
	if a := f.want(http.StatusOK, "POST", "/v1/tenants/rival/domains/"+at(theirs, "id")+"/verify", nil); a["verified"] != true {
		t.Errorf("once acme's record is gone: %v", a)
	}
	serves(http.StatusUnauthorized) // the token is acme's
	for tenant, want := range map[string]bool{"acme": false, "rival": true} {
		if f.browser = ada; want {
			f.browser = eve
		}
		shown := f.want(http.StatusOK, "GET", "/v1/tenants/"+tenant, nil)
		domains := f.want(http.StatusOK, "GET", "/v1/tenants/"+tenant+"/domains", nil)["domains"].([]any)
		if len(domains) != 1 || domains[0].(map[string]any)["verified"] != want || slices.Contains(shown["hosts"].([]any), any(domain)) != want {
			t.Errorf("%s has %v and the hosts %v, want verified %t", tenant, domains, shown["hosts"], want)
		}
		var lost, verified int
		err := f.api.app.core.pool.QueryRow(t.Context(), "SELECT count(*) FILTER (WHERE action = 'domain.lost'), count(*) FILTER (WHERE action = 'domain.verified') FROM audit_events WHERE tenant_id = $1", at(shown, "id")).Scan(&lost, &verified)
		if err != nil || verified != 1 || (lost == 1) == want {
			t.Errorf("the audit of %s has %d losses and %d verifications, %v", tenant, lost, verified, err)
		}
	}
	// And back in the same way; removed, it is nobody's.
	f.browser = ada
	f.dns.set("_signalbox."+domain, at(made, "record", "value"))
	if a := f.want(http.StatusOK, "POST", verify, nil); a["verified"] != true {
		t.Errorf("with acme's record once more: %v", a)
	}
	serves(http.StatusOK)
	f.want(http.StatusNoContent, "DELETE", "/v1/tenants/acme/domains/"+at(made, "id"), nil)
	serves(http.StatusUnauthorized)
}

// TestSEC_16_rotation_under_traffic: with an overlap, no request and no connection of the
// former key is refused until it ends; ended, all of them are.
func TestSEC_16_rotation_under_traffic(t *testing.T) {
	t.Parallel()
	f := startPlane(t, 3, func(*Config) {})
	token := f.token(f.key, "ann")
	var live []*client
	for e := range f.edges {
		live = append(live, f.connect(e, token))
	}
	publish := func(e int, key string) int {
		return f.rest(e, "POST", "chat/users/nobody", key, `{"target":"tick","arguments":[]}`)
	}
	traffic, stop := context.WithCancel(t.Context())
	refused := make(chan int)
	go func() {
		denied := 0
		for e := 0; traffic.Err() == nil; e = (e + 1) % len(f.edges) {
			if status := publish(e, f.key.Secret); status == http.StatusUnauthorized || status == http.StatusForbidden {
				denied++
			}
		}
		refused <- denied
	}()
	made := f.want(http.StatusOK, "POST", "/v1/tenants/acme/keys/primary/regenerate", map[string]any{"overlap_seconds": 3600})
	fresh := tenants.DocKey{ID: at(made, "id"), Secret: at(made, "secret")}
	for e := range f.edges {
		eventually(t, func() string {
			if status := publish(e, fresh.Secret); status == http.StatusUnauthorized {
				return fmt.Sprintf("edge %d answers the new key with %d", e, status)
			}
			return ""
		})
		live = append(live, f.connect(e, token))
	}
	stop()
	if denied := <-refused; denied > 0 {
		t.Errorf("%d publishes with the former key were refused", denied)
	}
	for _, k := range live {
		if refusal := k.call("$joinGroup", "demo"); refusal != "" {
			t.Errorf("a connection of the former key: %s", refusal)
		}
	}
	if a := f.want(http.StatusConflict, "POST", "/v1/tenants/acme/keys/primary/regenerate", map[string]any{"overlap_seconds": 60}); at(a, "code") != "overlap_running" {
		t.Errorf("regenerating once more: %v", a)
	}
	var former map[string]any
	eventually(t, func() string {
		for _, k := range f.want(http.StatusOK, "GET", "/v1/tenants/acme/keys", nil)["keys"].([]any) {
			k := k.(map[string]any)
			if k["id"] == f.key.ID {
				former = k
			}
			if (k["id"] == f.key.ID || k["id"] == fresh.ID) && k["last_used_at"] == nil {
				return fmt.Sprint("the use isn't told: ", k)
			}
		}
		return ""
	})
	if former["expires_at"] == nil || former["slot"] != "primary" {
		t.Errorf("the former key is shown as %v", former)
	}

	f.want(http.StatusNoContent, "DELETE", "/v1/tenants/acme/keys/primary/former", nil)
	for _, k := range live {
		if reason := k.closed(); !strings.Contains(reason, "access key") {
			t.Errorf("closed with %q", reason)
		}
	}
	for e := range f.edges {
		if status := publish(e, f.key.Secret); status != http.StatusUnauthorized {
			t.Errorf("edge %d answers the former key with %d", e, status)
		}
		if status := publish(e, fresh.Secret); status == http.StatusUnauthorized {
			t.Errorf("edge %d answers the present key with %d", e, status)
		}
	}

	// An overlap ends by itself on every edge, on live connections too.
	var last []*client
	ending := f.token(fresh, "ann")
	for e := range f.edges {
		last = append(last, f.connect(e, ending))
	}
	regenerated := time.Now()
	f.want(http.StatusOK, "POST", "/v1/tenants/acme/keys/primary/regenerate", map[string]any{"overlap_seconds": 1})
	for _, k := range last {
		if reason := k.closed(); !strings.Contains(reason, "access key") {
			t.Errorf("closed with %q", reason)
		}
	}
	for e := range f.edges {
		eventually(t, func() string {
			if status := publish(e, fresh.Secret); status != http.StatusUnauthorized {
				return fmt.Sprintf("edge %d answers a key whose overlap is over with %d", e, status)
			}
			return ""
		})
		if status, _ := f.negotiate(e, ending, "", ""); status != http.StatusUnauthorized {
			t.Errorf("edge %d answers its token with %d", e, status)
		}
	}
	if late := time.Since(regenerated) - time.Second; late > 5*time.Second {
		t.Errorf("the former key died %s after its time, want 5 s at most", late)
	}
	rows, _ := f.api.app.core.pool.Query(t.Context(), "SELECT action || ' ' || subject FROM audit_events WHERE tenant_id = $1 AND action LIKE 'key.%' AND ip <> '' AND request_id <> '' ORDER BY id", f.tenant)
	audited, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if want := []string{"key.regenerated primary", "key.overlap_ended primary", "key.regenerated primary"}; err != nil || !slices.Equal(audited, want) {
		t.Errorf("the audit has %v, %v, want %v", audited, err, want)
	}
	var verified bytes.Buffer
	if err := VerifyAudit(t.Context(), f.config, &verified, slog.New(slog.DiscardHandler)); err != nil || !strings.Contains(verified.String(), "account:") || !strings.Contains(verified.String(), "intact") {
		t.Errorf("the operator's verification says %q, %v", verified.String(), err)
	}
}
