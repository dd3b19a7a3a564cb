package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/internal/embedded"
)

// apiKills is how often F-13 kills the api, each time in the middle of five requests.
const apiKills = 50

// change is a request of F-13: made, cut off, and made again.
type change struct {
	what, method, path, body string
	status                   int // of success
	header                   []string
}

// changesOf are the requests of one round; those that make something have a key.
func changesOf(seed uint64, account, session string, round int) []change {
	once := func(what string) []string {
		return []string{"Idempotency-Key", fmt.Sprintf("chaos-%d-%d-%s", seed, round, what)}
	}
	slug := madeSlug(round)
	plan := fmt.Sprintf(`{"plan":%q,"effective":"period_end"}`, []string{"pro", planOfOthers}[round%2])
	return []change{
		{"make a tenant", http.MethodPost, "/v1/tenants", fmt.Sprintf(`{"slug":%q,"name":%q}`, slug, slug), http.StatusCreated, once("tenant")},
		{"replace a key", http.MethodPost, "/v1/tenants/" + tenantA + "/keys/secondary/regenerate", `{}`, http.StatusOK, once("key")},
		{"change a hub", http.MethodPatch, "/v1/tenants/" + tenantB + "/hubs/" + hubName, fmt.Sprintf(`{"keep_alive_seconds":%d}`, 10+round%5), http.StatusOK, nil},
		{"override a limit", http.MethodPut, "/v1/tenants/" + tenantB + "/limits/max_hubs", fmt.Sprintf(`{"max":%d}`, 100+round), http.StatusOK, nil},
		{"change the plan", http.MethodPut, "/v1/accounts/" + account + "/plan", plan, http.StatusOK, []string{"Cookie", session}},
	}
}

func madeSlug(round int) string { return fmt.Sprintf("made-%d", round) }

var apiKilled = &row{
	id: "F-13", fault: "the api is killed in the middle of requests", setting: setting{sticky: true},
	injected: fmt.Sprintf("%d times: SIGKILL 0 to 50 ms after five requests began at once: make a tenant, replace an access key (both with an Idempotency-Key), change a hub, override a limit, change the plan from the period's end on (every other time: take that back); then the same requests again. "+
		"Statements are computed when they are read: they are no request that could be cut off", apiKills),
	expected: "no half tenant: each has keys and an audit entry, none is there twice; each key was replaced once for each Idempotency-Key, with an audit entry of its own; each repeat is answered as the first request would have been; a change of the plan is taken back once, and none remains; what is committed is in force on the edges within 5 s",
	run: func(t *trial) error {
		if err := t.warm(); err != nil {
			return err
		}
		account, err := t.w.account(t)
		if err != nil {
			return err
		}
		session, err := t.w.signIn(t, planOfOthers)
		if err != nil {
			return err
		}
		var problems []string
		cut, secret := 0, ""
		for round := range apiKills {
			all := changesOf(t.seed, account, session, round)
			answered := make([]bool, len(all))
			var asking sync.WaitGroup
			for i, c := range all {
				asking.Go(func() {
					ctx, cancel := context.WithTimeout(t, 5*time.Second)
					defer cancel()
					status, _, err := t.w.ask(ctx, c.method, c.path, c.body, c.header...)
					answered[i] = err == nil && status == c.status
				})
			}
			err := t.pass(time.Duration(t.random.IntN(50)) * time.Millisecond)
			if err := t.w.api.kill(); err != nil {
				return err
			}
			asking.Wait()
			for _, whole := range answered {
				if !whole {
					cut++
				}
			}
			if err != nil {
				return err
			}
			if err := t.w.api.start(); err != nil {
				return err
			}
			if _, err := t.w.api.awaitReady(t, 30*time.Second); err != nil {
				return err
			}
			for _, c := range all {
				status, text, err := t.w.ask(t, c.method, c.path, c.body, c.header...)
				if err != nil || status != c.status {
					problems = append(problems, fmt.Sprintf("%s, round %d: %d %.120s %v", c.what, round, status, text, err))
				}
				if c.what == "replace a key" {
					var key struct{ Secret string }
					_ = json.Unmarshal(text, &key) // without it no edge takes it below
					secret = key.Secret
				}
			}
		}
		repeated := time.Now()
		a := t.w.tenant(tenantA)
		inForce := await(t, 5*time.Second, "the last key to be in force on every edge", func() bool {
			for i := range t.w.edges {
				r := t.w.rest(i, a)
				r.token = secret
				if r.status(t, http.MethodHead, "/connections/none") != http.StatusNotFound {
					return false
				}
			}
			return true
		})
		took := time.Since(repeated)
		found, err := t.w.changesFound(t)
		if err != nil {
			return err
		}
		known, told, unknown := t.madeKnown()
		problems = append(problems, unknown...)
		if err := t.tail(); err != nil {
			return err
		}
		if err := t.conclude(); err != nil {
			return err
		}
		t.dataPlane(t.began, t.over)
		t.check(cut > apiKills/2, "requests that were cut off", fmt.Sprintf("%d of %d", cut, 5*apiKills), "many")
		t.zero("repeats that were not answered", len(problems), strings.Join(problems, "; "))
		t.check(found.made == apiKills && found.slugs == apiKills, "tenants made", fmt.Sprintf("%d, %d slugs", found.made, found.slugs), fmt.Sprint(apiKills))
		t.check(found.keyless == 0, "of them, without keys", fmt.Sprint(found.keyless), "0")
		t.check(found.madeAudited == apiKills && found.madeSubjects == apiKills, "audit entries of them", fmt.Sprintf("%d of %d tenants", found.madeAudited, found.madeSubjects), "one each")
		t.check(found.keysAudited == apiKills && found.keysReplaced == apiKills, "audit entries of the key, different keys in them", fmt.Sprintf("%d, %d", found.keysAudited, found.keysReplaced), fmt.Sprintf("%d, one for each Idempotency-Key", apiKills))
		t.check(found.currentAudited, "the key in force is that of the last audit entry", fmt.Sprint(found.currentAudited), "true")
		status, hub, err := t.w.ask(t, http.MethodGet, "/v1/tenants/"+tenantB+"/hubs/"+hubName, "")
		keepAlive := fmt.Sprintf(`"keep_alive_seconds":%d`, 10+(apiKills-1)%5)
		t.check(err == nil && status == http.StatusOK && strings.Contains(strings.ReplaceAll(string(hub), ": ", ":"), keepAlive), "the hub in the end", fmt.Sprintf("%d %.200s", status, hub), keepAlive)
		t.check(found.override == 100+apiKills-1, "the limit in the end", fmt.Sprint(found.override), fmt.Sprint(100+apiKills-1))
		t.check(found.withdrawn == apiKills/2 && found.changed == 0 && found.toCome == 0, "changes of the plan that were taken back, made, to come", fmt.Sprintf("%d, %d, %d", found.withdrawn, found.changed, found.toCome), fmt.Sprintf("%d, 0, 0", apiKills/2))
		t.check(inForce == nil, "the last key is in force on every edge", errText(inForce), "within 5 s")
		t.within("after", took, 5*time.Second)
		t.check(known == apiKills, "tenants made that an edge serves", fmt.Sprint(known), fmt.Sprint(apiKills))
		t.within("all of them are known to the edges", told, 5*time.Second)
		return nil
	},
}

// foundChanges is what Postgres holds after F-13's requests.
type foundChanges struct {
	made, slugs, keyless      int
	madeAudited, madeSubjects int
	keysAudited, keysReplaced int
	currentAudited            bool
	override                  int
	// withdrawn are the audit entries of changes of plans that were taken back, changed
	// those of such as were made, toCome those that are still to be made.
	withdrawn, changed, toCome int
}

// account returns the id of the account whose changes are cut off.
func (w *world) account(ctx context.Context) (id string, err error) {
	conn, err := pgx.Connect(ctx, w.postgres.URL(embedded.Database))
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it was read
	return id, conn.QueryRow(ctx, "SELECT account_id FROM tenants WHERE slug = $1", tenantA).Scan(&id)
}

func (w *world) changesFound(ctx context.Context) (f foundChanges, err error) {
	conn, err := pgx.Connect(ctx, w.postgres.URL(embedded.Database))
	if err != nil {
		return f, err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // the end of the row
	for _, q := range []struct {
		sql  string
		into []any
	}{
		{`SELECT count(*), count(DISTINCT slug), count(*) FILTER (WHERE NOT EXISTS (SELECT FROM access_keys k WHERE k.tenant_id = t.id)) FROM tenants t WHERE slug LIKE 'made-%'`, []any{&f.made, &f.slugs, &f.keyless}},
		{`SELECT count(*), count(DISTINCT subject) FROM audit_events WHERE action = 'tenant.created' AND subject LIKE 'made-%'`, []any{&f.madeAudited, &f.madeSubjects}},
		{`SELECT count(*), count(DISTINCT after->>'id') FROM audit_events WHERE action = 'key.regenerated'`, []any{&f.keysAudited, &f.keysReplaced}},
		{`SELECT count(*) = 1 FROM access_keys k WHERE k.slot = 'secondary' AND k.id = (SELECT after->>'id' FROM audit_events WHERE action = 'key.regenerated' ORDER BY id DESC LIMIT 1)`, []any{&f.currentAudited}},
		{`SELECT coalesce(max(o.value), -1) FROM limit_overrides o JOIN tenants t ON t.id = o.tenant_id WHERE t.slug = '` + tenantB + `' AND o.code = 'max_hubs'`, []any{&f.override}},
		{`SELECT count(*) FILTER (WHERE action = 'plan.change_withdrawn'), count(*) FILTER (WHERE action = 'plan.changed'), (SELECT count(*) FROM accounts WHERE next_plan IS NOT NULL) FROM audit_events`, []any{&f.withdrawn, &f.changed, &f.toCome}},
	} {
		if err := conn.QueryRow(ctx, q.sql).Scan(q.into...); err != nil {
			return f, fmt.Errorf("%s: %w", q.sql, err)
		}
	}
	return f, nil
}

// madeKnown asks for a token of each tenant that F-13 made and negotiates with it, and
// returns with how many that could be done, how long all of it took, and what went wrong.
func (t *trial) madeKnown() (known int, took time.Duration, problems []string) {
	began := time.Now()
	for i := range apiKills {
		slug := madeSlug(i)
		status, text, err := t.w.ask(t, http.MethodPost, "/v1/tenants/"+slug+"/client-tokens", fmt.Sprintf(`{"hub":%q}`, hubName))
		var answer struct {
			Token string `json:"token"`
		}
		if err != nil || status != http.StatusCreated || json.Unmarshal(text, &answer) != nil {
			problems = append(problems, fmt.Sprintf("token of %s: %d %.120s %v", slug, status, text, err))
			continue
		}
		if await(t, 5*time.Second, slug, func() bool {
			_, err := negotiate(t, "http://"+t.w.edgeAddrs[i%edgeCount]+"/t/"+slug, hubName, answer.Token, false)
			return err == nil
		}) == nil {
			known++
		}
	}
	return known, time.Since(began), problems
}
