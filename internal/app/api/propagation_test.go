package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/testenv"
	"github.com/signalbox/signalbox/tenants"
)

// TestChange_is_in_force_on_three_edges_and_live_connections makes 121 changes of seven
// kinds and waits for each on every edge and on a live connection of each. It says how
// long they took, from the request to the api on; the promise is one second, which nine
// of ten have to keep: a machine that stands still meanwhile is no fault of theirs.
func TestChange_is_in_force_on_three_edges_and_live_connections(t *testing.T) {
	t.Parallel()
	f := startPlane(t, 3, func(*Config) {})
	if _, err := f.api.app.core.pool.Exec(t.Context(), "UPDATE accounts SET plan = 'scale'"); err != nil {
		t.Fatal(err)
	}
	made := f.want(http.StatusOK, "POST", "/v1/tenants/acme/keys/primary/regenerate", nil)
	key := tenants.DocKey{ID: at(made, "id"), Secret: at(made, "secret")}
	made = f.want(http.StatusOK, "POST", "/v1/tenants/acme/keys/secondary/regenerate", nil)
	second := tenants.DocKey{ID: at(made, "id"), Secret: at(made, "secret")}
	everywhere := func(status int, token, host, origin string) {
		t.Helper()
		var all sync.WaitGroup
		for e := range f.edges {
			all.Go(func() {
				eventually(t, func() string {
					if got, body := f.negotiate(e, token, host, origin); got != status {
						return fmt.Sprintf("edge %d answers %d %s, want %d", e, got, body, status)
					}
					return ""
				})
			})
		}
		all.Wait()
	}
	everywhere(http.StatusOK, f.token(second, "x"), "", "")
	connect := func(k tenants.DocKey, user string) (all []*client) {
		for e := range f.edges {
			all = append(all, f.connect(e, f.token(k, user)))
		}
		return all
	}
	closed := func(all []*client) {
		t.Helper()
		for _, k := range all {
			k.closed()
		}
	}
	const domain = "rt.example.com"
	added := f.want(http.StatusCreated, "POST", "/v1/tenants/acme/domains", map[string]any{"domain": domain})
	f.dns.set("_signalbox."+domain, at(added, "record", "value"))

	var took []time.Duration
	timed := func(change, inForce func()) {
		began := time.Now()
		change()
		inForce()
		took = append(took, time.Since(began))
	}
	hub := func(settings map[string]any) func() {
		return func() { f.want(http.StatusOK, "PATCH", "/v1/tenants/acme/hubs/chat", settings) }
	}
	stay := connect(key, "stay")
	for i := range 20 {
		// What clients may do, on live connections.
		group := fmt.Sprintf("room-%d", i)
		timed(hub(map[string]any{"client_permissions": []string{"joinGroup:" + group}}), func() {
			for _, k := range stay {
				eventually(t, func() string { return k.call("$joinGroup", group) })
			}
		})
		// Which pages may connect.
		origin := fmt.Sprintf("https://%d.example.com", i)
		timed(hub(map[string]any{"allowed_origins": []string{origin}}), func() { everywhere(http.StatusOK, f.token(key, "x"), "", origin) })
		// A user's tokens and connections.
		user := fmt.Sprintf("user-%d", i)
		gone, shown := connect(key, user), f.token(key, user) // one that is made later is good
		timed(func() {
			f.want(http.StatusCreated, "POST", "/v1/tenants/acme/revocations", map[string]any{"kind": "user", "value": user})
		}, func() {
			closed(gone)
			everywhere(http.StatusUnauthorized, shown, "", "")
		})
		// A key, with what it has signed.
		signed := connect(second, "signed")
		was := second
		timed(func() {
			made := f.want(http.StatusOK, "POST", "/v1/tenants/acme/keys/secondary/regenerate", nil)
			second = tenants.DocKey{ID: at(made, "id"), Secret: at(made, "secret")}
		}, func() {
			closed(signed)
			everywhere(http.StatusUnauthorized, f.token(was, "x"), "", "")
			everywhere(http.StatusOK, f.token(second, "x"), "", "")
		})
		// How much a message may hold.
		message := fmt.Sprintf(`{"target":"m","arguments":[%q]}`, strings.Repeat("x", 2000))
		size, status := 1024, http.StatusRequestEntityTooLarge
		if i%2 == 1 {
			size, status = 4096, http.StatusAccepted
		}
		timed(func() {
			f.want(http.StatusOK, "PUT", "/v1/tenants/acme/limits/max_message_bytes", map[string]any{"max": size})
		}, func() {
			for e := range f.edges {
				eventually(t, func() string {
					if got := f.rest(e, "POST", "chat/users/nobody", key.Secret, message); got != status {
						return fmt.Sprintf("edge %d answers a message of 2,000 bytes with %d, want %d", e, got, status)
					}
					return ""
				})
			}
		})
		// A domain, there and away again.
		token := f.token(key, "x")
		if i%2 == 0 {
			timed(func() {
				f.want(http.StatusOK, "POST", "/v1/tenants/acme/domains/"+at(added, "id")+"/verify", nil)
			}, func() { everywhere(http.StatusOK, token, domain, "") })
			continue
		}
		timed(func() {
			f.want(http.StatusNoContent, "DELETE", "/v1/tenants/acme/domains/"+at(added, "id"), nil)
		}, func() { everywhere(http.StatusUnauthorized, token, domain, "") })
		added = f.want(http.StatusCreated, "POST", "/v1/tenants/acme/domains", map[string]any{"domain": domain})
		f.dns.set("_signalbox."+domain, at(added, "record", "value"))
	}
	closedAll := make(chan struct{})
	go func() { closed(stay); close(closedAll) }()
	timed(func() { f.want(http.StatusOK, "POST", "/v1/tenants/acme/suspend", nil) }, func() { <-closedAll })
	slices.Sort(took)
	t.Logf("%d changes on three edges and live connections: p50 %s, p99 %s, max %s", len(took), took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
	if len(took) != 121 {
		t.Errorf("%d changes were made, want 121", len(took))
	}
	if most := took[len(took)*9/10]; most > time.Second {
		t.Errorf("a tenth of the changes took %s and more, want a second at most", most)
	}
}

// F-11: with the control plane and Postgres gone, a fresh edge starts and serves
// everybody from Redis, and edges that were there go on.
func TestF_11_a_fresh_edge_starts_without_the_control_plane(t *testing.T) {
	t.Parallel()
	database, through := newLink(t, testenv.EmptyPostgres(t))
	f := startPlane(t, 1, func(c *Config) { c.DatabaseURL = through })
	f.want(http.StatusCreated, "POST", "/v1/tenants", map[string]any{"name": "Cold", "slug": "cold"}) // which no edge has seen
	live := f.connect(0, f.token(f.key, "ann"))
	database.cut()
	if status, answer := f.call("GET", "/v1/tenants", nil); status != http.StatusServiceUnavailable {
		t.Errorf("without Postgres the api answers %d: %v", status, answer)
	}
	if status, answer := f.call("PATCH", "/v1/tenants/acme", map[string]any{"name": "New"}); status != http.StatusServiceUnavailable {
		t.Errorf("without Postgres a change is answered with %d: %v", status, answer)
	}
	database.mend() // so that the api ends at once
	if err := f.api.stop(); err != nil {
		t.Error(err)
	}
	database.cut()
	fresh := f.startEdge()
	began := time.Now()
	for e := range f.edges {
		k := f.connect(e, f.token(f.key, "bob"))
		if refused := k.call("$joinGroup", "demo"); refused != "" {
			t.Errorf("edge %d: %s", e, refused)
		}
		if status := f.rest(e, "POST", "chat", f.key.Secret, `{"target":"hello","arguments":["world"]}`); status != http.StatusAccepted {
			t.Errorf("edge %d answers a publish with %d", e, status)
		}
	}
	for {
		if got := live.next(); got.ended {
			t.Fatal("a live connection ended")
		} else if got.Target == "hello" {
			break
		}
	}
	t.Logf("connect, publish and deliver on an old and a fresh edge took %s", time.Since(began))
	res, err := http.Post("http://"+fresh.Addr()+"/t/cold/api/v1/hubs/chat", "application/json", nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a tenant that no edge has seen is answered with %d, want 401: it is known", res.StatusCode)
	}
}

// F-12: a change that waits for a lock is given up, with nothing half done, and is
// made once the lock is gone; edges don't notice.
func TestF_12_a_locked_table_stops_changes_alone(t *testing.T) {
	t.Parallel()
	f := startPlane(t, 1, func(*Config) {})
	live := f.connect(0, f.token(f.key, "ann"))
	conn, err := pgx.Connect(t.Context(), f.config.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "LOCK TABLE hub_versions IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	change := map[string]any{"client_permissions": []string{"joinGroup:other"}}
	if status, answer := f.call("PATCH", "/v1/tenants/acme/hubs/chat", change); status != http.StatusServiceUnavailable {
		t.Errorf("while the table is locked the change is answered with %d: %v", status, answer)
	}
	if refused := live.call("$joinGroup", "demo"); refused != "" {
		t.Errorf("what was allowed is not any more: %s", refused)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.want(http.StatusOK, "PATCH", "/v1/tenants/acme/hubs/chat", change)
	eventually(t, func() string { return live.call("$joinGroup", "other") })
	versions := f.want(http.StatusOK, "GET", "/v1/tenants/acme/hubs/chat/versions", nil)["versions"].([]any)
	if len(versions) != 2 {
		t.Errorf("%d versions are there, want that of the beginning and one more: %v", len(versions), versions)
	}
}

// F-30: what the database has and can't be is told and goes nowhere: edges keep what
// they have, also when Redis has lost its documents meanwhile.
func TestF_30_edges_keep_the_last_good_document(t *testing.T) {
	t.Parallel()
	f := startPlane(t, 1, func(*Config) {})
	live := f.connect(0, f.token(f.key, "ann"))
	ctx, pool, id := t.Context(), f.api.app.core.pool, tenants.ID(f.tenant)
	sql := func(statements ...string) {
		t.Helper()
		for _, s := range statements {
			if _, err := pool.Exec(ctx, s); err != nil {
				t.Fatal(err)
			}
		}
	}
	sql("CREATE TABLE good_plans AS SELECT id, limits FROM plans", "CREATE TABLE good_hubs AS SELECT tenant_id, name, settings FROM hubs")
	before := openDocument(t, f.redis, f.tenant)
	for name, poison := range map[string]string{
		"limits of the wrong type":   `UPDATE plans SET limits = '{"max_connections": "many"}'`,
		"limits that are negative":   `UPDATE plans SET limits = '{"max_message_bytes": -1}'`,
		"limits that are no object":  `UPDATE plans SET limits = '[]'`,
		"hub settings of wrong type": `UPDATE hubs SET settings = '{"keep_alive_seconds": {}}'`,
		"hub settings that can't be": `UPDATE hubs SET settings = '{"handler": "nobody", "keep_alive_seconds": -5}'`,
		"hub settings that are huge": `UPDATE hubs SET settings = jsonb_build_object('allowed_origins', jsonb_build_array('https://' || repeat('a', 2000000)))`,
	} {
		sql(poison, "UPDATE tenants SET revision = revision + 1")
		if err := f.api.app.documents.publish(ctx, id); err == nil {
			t.Errorf("%s: the document was published", name)
		}
		if err := f.redis.Del(ctx, redisclient.DocumentsGeneration).Err(); err != nil {
			t.Fatal(err)
		}
		if err := f.api.app.documents.publisher.PublishAll(ctx, f.api.app.documents.all(ctx)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if after := openDocument(t, f.redis, f.tenant); after == nil || after.Revision != before.Revision {
			t.Errorf("%s: the document is %+v, want that of revision %d", name, after, before.Revision)
		}
		if refused := live.call("$joinGroup", "demo"); refused != "" {
			t.Errorf("%s: a live connection: %s", name, refused)
		}
		f.connect(0, f.token(f.key, "bob"))
		sql("UPDATE plans p SET limits = g.limits FROM good_plans g WHERE g.id = p.id", "UPDATE hubs h SET settings = g.settings FROM good_hubs g WHERE g.tenant_id = h.tenant_id AND g.name = h.name")
	}
	if err := f.api.app.documents.publish(ctx, id); err != nil {
		t.Error(err)
	}
	if after := openDocument(t, f.redis, f.tenant); after == nil || after.Revision <= before.Revision {
		t.Errorf("once all is well the document is %+v", after)
	}
	res, err := http.Get("http://" + f.api.app.servers[1].Addr() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	metrics, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(metrics), "signalbox_documents_unpublished") {
		t.Error("no metric counts what was not published")
	}
}
