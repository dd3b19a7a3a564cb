package tenantstore_test

import (
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/internal/testenv"
	"github.com/signalbox/signalbox/migrations"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/audit"
	"github.com/signalbox/signalbox/tenants/tenantstore"
)

// verify verifies a chain as it is in the database.
func verify(t *testing.T, s *tenantstore.Store, chain string) (events int64, err error) {
	t.Helper()
	head, err := s.AuditHead(everywhere(t), chain)
	if err != nil {
		t.Fatal(err)
	}
	all, err := s.AuditEvents(everywhere(t), chain, tenants.AuditFilter{}, 0, false, math.MaxInt32)
	if err != nil {
		t.Fatal(err)
	}
	c := audit.Chain{Kept: []audit.Head{head}}
	for i := range all {
		if err := c.Add(&all[i]); err != nil {
			return c.Events(), err
		}
	}
	return c.Events(), c.End()
}

// odd are entries whose text is easily changed on its way.
func odd() []tenants.Audit {
	caller := tenants.Caller{User: "U1", RequestID: "r", IP: "2001:db8::1", UserAgent: "Ünïcode/1 <\"'&,\\>"}
	return []tenants.Audit{
		{Caller: caller, Account: "A", Tenant: "T1", Action: "hub.put", Subject: "é😀", Before: map[string]any{"b": 1.50, "a": "<&>\u2028\x00"}, After: []int{}},
		{Caller: tenants.Caller{System: true}, Account: "A", Action: "x", After: map[string]any{}},
		{Caller: tenants.Caller{Operator: &tenants.Operator{ID: "O", Name: "Grace"}}, Account: "A", Action: "x"},
		{Caller: tenants.Caller{User: "U1", TokenID: "none"}, Account: "A", Action: "x"},
		{Caller: caller, Action: "session.refused", Unproved: true},
		{Action: "session.refused"},
	}
}

func TestAudit_is_a_chain_that_the_database_and_the_program_agree_on(t *testing.T) {
	t.Parallel()
	s, pool, _ := newStore(t)
	for _, a := range odd() {
		if err := s.Audit(everywhere(t), a); err != nil {
			t.Fatal(err)
		}
	}
	for chain, want := range map[string]int64{"account:A": 4, "user:U1": 1, tenants.Audit{}.Chain(): 1, "account:none": 0} {
		if events, err := verify(t, s, chain); err != nil || events != want {
			t.Errorf("%s: %d events, %v; want %d", chain, events, err, want)
		}
	}
	for _, sql := range []string{"UPDATE audit_events SET ip = 'x'", "DELETE FROM audit_events", "TRUNCATE audit_events"} {
		if _, err := pool.Exec(everywhere(t), sql); err == nil {
			t.Errorf("%s was taken", sql)
		}
	}
	// The place in the chain is not the writer's to say.
	if _, err := pool.Exec(everywhere(t), `INSERT INTO audit_events (chain, number, previous, hash, created_at, actor, action, subject, request_id, ip)
		VALUES ('account:A', 99, 'p', 'h', '2001-01-01', 'user', 'x', '', '', '')`); err != nil {
		t.Fatal(err)
	}
	if events, err := verify(t, s, "account:A"); err != nil || events != 5 {
		t.Errorf("%d events, %v", events, err)
	}
}

func TestAudit_chain_has_no_gap_whoever_writes_and_fails(t *testing.T) {
	t.Parallel()
	s, _, _ := newStore(t)
	const writers, each = 8, 10
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for n := range each {
				err := s.InTx(everywhere(t), func(tx tenants.Store) error {
					// In the other order as others: chains are locked in one all the same.
					accounts := []tenants.AccountID{"A", "B"}
					for i := range accounts {
						a := tenants.Audit{Caller: tenants.Caller{User: "U"}, Account: accounts[(i+w)%2], Action: "x", Subject: fmt.Sprint(w, n)}
						if err := tx.Audit(everywhere(t), a); err != nil {
							return err
						}
					}
					failed := tx.InTx(everywhere(t), func(tx tenants.Store) error {
						return fmt.Errorf("undone: %w", tx.Audit(everywhere(t), tenants.Audit{Account: "A", Action: "never"}))
					})
					if n%3 == 0 {
						return failed
					}
					return nil
				})
				if (err != nil) != (n%3 == 0) {
					t.Errorf("writer %d, %d: %v", w, n, err)
				}
			}
		})
	}
	all.Wait()
	for _, chain := range []string{"account:A", "account:B"} {
		if events, err := verify(t, s, chain); err != nil || events != writers*6 {
			t.Errorf("%s: %d events, %v; want %d", chain, events, err, writers*6)
		}
	}
}

// SEC-44: whoever owns the database changes what is there behind its triggers.
func TestAudit_shows_what_was_tampered_with_SEC_44(t *testing.T) {
	t.Parallel()
	s, pool, _ := newStore(t)
	for n := range 6 {
		if err := s.Audit(everywhere(t), tenants.Audit{Caller: tenants.Caller{User: "U"}, Account: "A", Action: "x", Subject: fmt.Sprint(n), After: map[string]any{"n": n}}); err != nil {
			t.Fatal(err)
		}
	}
	noted, err := s.AuditHead(everywhere(t), "account:A")
	if err != nil {
		t.Fatal(err)
	}
	const shift = `ALTER TABLE audit_events DROP CONSTRAINT audit_events_place; `
	const copyOf = `INSERT INTO audit_events (chain, number, previous, hash, created_at, actor, action, subject, request_id, ip)
		SELECT chain, 4, previous, hash, created_at, actor, action, subject, request_id, ip FROM audit_events WHERE number = 3`
	// The whole chain from an event on, with hashes that fit and a head that fits.
	const forge = `DO $$ DECLARE e audit_events; p bytea := decode(repeat('00', 32), 'hex'); n bigint := 0;
		BEGIN FOR e IN SELECT * FROM audit_events WHERE chain = 'account:A' ORDER BY number LOOP
			n := n + 1; e.number := n; e.previous := p; p := audit_event_hash(e);
			UPDATE audit_events SET number = n, previous = e.previous, hash = p WHERE id = e.id;
		END LOOP; UPDATE audit_chains SET number = n, hash = p WHERE chain = 'account:A'; END $$`
	for name, row := range map[string]struct {
		sql    string
		broken int64
		noted  bool // found by a head that was noted outside alone
	}{
		"changed":                   {"UPDATE audit_events SET ip = 'x' WHERE number = 3", 3, false},
		"its content changed":       {`UPDATE audit_events SET after = '{"n":7}' WHERE number = 3`, 3, false},
		"its time changed":          {"UPDATE audit_events SET created_at = created_at + interval '1 microsecond' WHERE number = 3", 3, false},
		"changed with its hash":     {"UPDATE audit_events SET ip = 'x' WHERE number = 3; UPDATE audit_events e SET hash = audit_event_hash(e) WHERE number = 3", 4, false},
		"deleted in the middle":     {"DELETE FROM audit_events WHERE number = 3", 3, false},
		"the first deleted":         {"DELETE FROM audit_events WHERE number = 1", 1, false},
		"the tail deleted":          {"DELETE FROM audit_events WHERE number > 4", 5, false},
		"all deleted":               {"DELETE FROM audit_events", 1, false},
		"two changed places":        {shift + "UPDATE audit_events SET number = 7 - number WHERE number IN (3, 4)", 3, false},
		"one put in":                {shift + "UPDATE audit_events SET number = number + 1 WHERE number > 3; " + copyOf, 4, false},
		"moved to another account":  {"UPDATE audit_events SET chain = 'account:B' WHERE number = 3", 3, false},
		"the head put back":         {"DELETE FROM audit_events WHERE number > 4; UPDATE audit_chains SET number = 4, hash = (SELECT hash FROM audit_events WHERE number = 4)", 5, true},
		"all written anew":          {"UPDATE audit_events SET ip = 'x' WHERE number = 3;" + forge, 6, true},
		"one deleted, written anew": {shift + "DELETE FROM audit_events WHERE number = 3;" + forge, 6, true},
	} {
		t.Run(name, func(t *testing.T) {
			tx, err := pool.Begin(everywhere(t))
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback(everywhere(t)) //nolint:errcheck // all of it is undone
			if _, err := tx.Exec(everywhere(t), "ALTER TABLE audit_events DISABLE TRIGGER ALL; "+row.sql); err != nil {
				t.Fatal(err)
			}
			within := postgres.Within(everywhere(t), tx)
			check := func(kept ...audit.Head) error {
				head, err := s.AuditHead(within, "account:A")
				if err != nil {
					t.Fatal(err)
				}
				all, err := s.AuditEvents(within, "account:A", tenants.AuditFilter{}, 0, false, math.MaxInt32)
				if err != nil {
					t.Fatal(err)
				}
				c := audit.Chain{Kept: append(kept, head)}
				for i := range all {
					if err := c.Add(&all[i]); err != nil {
						return err
					}
				}
				return c.End()
			}
			found, _ := check(noted).(*audit.Break) //nolint:errorlint // made above
			if found == nil || found.Number != row.broken {
				t.Errorf("found %v, want a break at %d", found, row.broken)
			}
			if err := check(); (err == nil) != row.noted {
				t.Errorf("without a noted head: %v", err)
			}
		})
	}
	if err := s.Audit(everywhere(t), tenants.Audit{Account: "A", Action: "x"}); err != nil {
		t.Fatal(err)
	}
	if events, err := verify(t, s, "account:A"); err != nil || events != 7 {
		t.Errorf("%d events, %v", events, err)
	}
}

// upTo are the migrations before the one with that name.
func upTo(t *testing.T, name string) fs.FS {
	t.Helper()
	files, err := migrations.Files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	some := make(fstest.MapFS)
	for _, f := range files {
		if f.Name() >= name {
			break
		}
		text, err := migrations.Files.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		some[f.Name()] = &fstest.MapFile{Data: text}
	}
	return some
}

// formerAudit is how the version before chains writes an event.
const formerAudit = `
	INSERT INTO audit_events (account_id, tenant_id, user_id, token_id, action, subject, request_id, ip, before, after)
	VALUES (nullif($1, ''), nullif($2, ''), nullif($3, ''), nullif($4, ''), $5, $6, $7, $8, $9, $10)`

// former are events of that version, and what they are in a chain.
var former = []struct {
	account, user, token, action, request, ip string
	chain                                     string
	actor                                     audit.Actor
}{
	{"A", "U", "", "hub.put", "r", "::1", "account:A", audit.User},
	{"A", "U", "K", "hub.put", "r", "::1", "account:A", audit.APIToken},
	{"A", "", "", "tenant.purged", "system", "", "account:A", audit.System},
	{"A", "", "", "tenant.suspended", "seed", "", "account:A", audit.System},
	{"A", "U", "", "tenant.suspended", "seed", "::1", "account:A", audit.User},
	{"", "U", "", "session.created", "r", "::1", "user:U", audit.User},
	{"", "U", "", "session.refused", "r", "::1", "user:U", audit.Nobody},
	{"", "U", "", "session.locked", "r", "::1", "user:U", audit.Nobody},
	{"", "U", "", "second_factor.refused", "r", "::1", "user:U", audit.Nobody},
	{"", "U", "", "password.reset_requested", "r", "::1", "user:U", audit.Nobody},
	{"", "", "", "session.refused", "r", "::1", "service", audit.Nobody},
}

// writeFormer writes them, in the order in which they are.
func writeFormer(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	for _, e := range former {
		if _, err := pool.Exec(everywhere(t), formerAudit, e.account, "T", e.user, e.token, e.action, "ü", e.request, e.ip, map[string]any{"n": 1.5, "text": "ü\"<"}, nil); err != nil {
			t.Fatalf("%s: %v", e.action, err)
		}
	}
}

// checkFormer compares the ends of the chains with them, and verifies the chains.
func checkFormer(t *testing.T, s *tenantstore.Store) {
	t.Helper()
	want := make(map[string][]string)
	for _, e := range former {
		want[e.chain] = append(want[e.chain], fmt.Sprint(e.action, " ", e.actor, " ", e.user))
	}
	for chain, want := range want {
		if _, err := verify(t, s, chain); err != nil {
			t.Errorf("%s: %v", chain, err)
		}
		events, err := s.AuditEvents(everywhere(t), chain, tenants.AuditFilter{}, 0, true, len(want))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range slices.Backward(events) {
			got = append(got, fmt.Sprint(e.Action, " ", e.Actor, " ", e.ActorID))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s ends with %q, want %q", chain, got, want)
		}
	}
}

func TestMigration_chains_what_there_is(t *testing.T) {
	t.Parallel()
	url := testenv.EmptyPostgres(t)
	logger := slog.New(slog.DiscardHandler)
	if err := postgres.Migrate(everywhere(t), url, upTo(t, auditMigration), logger); err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.New(everywhere(t), url)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	const many = 20_000 // one chain has nearly all of them
	if _, err := pool.Exec(everywhere(t), `INSERT INTO audit_events (account_id, tenant_id, user_id, token_id, action, subject, request_id, ip, before, after)
		SELECT CASE WHEN n % 1000 > 0 THEN 'A' ELSE 'A' || n % 3 END, 'T', CASE WHEN n % 4 > 0 THEN 'U' END, CASE WHEN n % 5 = 0 THEN 'K' END, 'x', 'ü' || n, 'r', '::1',
			jsonb_build_object('n', n, 'text', 'ü"<'), CASE WHEN n % 2 = 0 THEN '{}'::jsonb END FROM generate_series(1, $1::int) n`, many); err != nil {
		t.Fatal(err)
	}
	writeFormer(t, pool)
	begun := time.Now()
	if err := postgres.Migrate(everywhere(t), url, migrations.Files, logger); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d events became chains in %s", many, time.Since(begun))
	s := tenantstore.New(pool, new(queue))
	checkFormer(t, s)
	var total int64
	chains, err := s.AuditChains(everywhere(t), "", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, chain := range chains {
		events, err := verify(t, s, chain)
		if err != nil {
			t.Errorf("%s: %v", chain, err)
		}
		total += events
	}
	if want := int64(many + len(former)); total != want || len(chains) != 6 {
		t.Errorf("%d events in the chains %v, want %d in 6", total, chains, want)
	}
	if err := s.Audit(everywhere(t), tenants.Audit{Account: "A1", Action: "x"}); err != nil {
		t.Fatal(err)
	}
	if _, err := verify(t, s, "account:A1"); err != nil {
		t.Error(err)
	}
	t.Run("and finding all chains doesn't read all events", func(t *testing.T) { findsChains(t, s, pool, chains) })
}

// findsChains lists all chains, two at a time, without reading most events, also one that
// has no head and one that has no event.
func findsChains(t *testing.T, s *tenantstore.Store, pool *pgxpool.Pool, chains []string) {
	t.Helper()
	if _, err := pool.Exec(everywhere(t), "ANALYZE audit_events"); err != nil {
		t.Fatal(err)
	}
	tx, err := pool.Begin(everywhere(t))
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(everywhere(t)) //nolint:errcheck // all of it is undone
	if _, err := tx.Exec(everywhere(t), "DELETE FROM audit_chains WHERE chain = 'account:A1'; INSERT INTO audit_chains VALUES ('b', 1, '')"); err != nil {
		t.Fatal(err)
	}
	within := postgres.Within(everywhere(t), tx)
	before := eventsRead(t, tx)
	var found []string
	for after := ""; ; after = found[len(found)-1] {
		page, err := s.AuditChains(within, after, 2)
		if err != nil {
			t.Fatal(err)
		}
		if found = append(found, page...); len(page) < 2 {
			break
		}
	}
	want := slices.Sorted(slices.Values(append([]string{"b"}, chains...)))
	if !slices.Equal(found, want) {
		t.Errorf("found %q, want %q", found, want)
	}
	if read := eventsRead(t, tx) - before; read > 1000 {
		t.Errorf("%d events were read", read)
	}
}

// What is looked for is found without reading the chain.
func TestAudit_filters_read_what_they_find(t *testing.T) {
	t.Parallel()
	s, pool, _ := newStore(t)
	if _, err := pool.Exec(everywhere(t), `INSERT INTO audit_events (chain, actor, actor_id, token_id, actor_name, account_id, tenant_id, action, subject, request_id, ip)
		SELECT 'account:A', 'user', 'U' || rare, 'K' || rare, 'N' || rare, 'A', 'T' || rare, CASE WHEN rare = '' THEN 'many.x' ELSE 'rare_x.done' END, '', '', ''
		FROM (SELECT CASE WHEN n % 1000 = 7 THEN '1' ELSE '' END AS rare FROM generate_series(1, 5000) n) made`); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(everywhere(t), "ANALYZE audit_events"); err != nil {
		t.Fatal(err)
	}
	tx, err := pool.Begin(everywhere(t))
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(everywhere(t)) //nolint:errcheck // it only reads
	within := postgres.Within(everywhere(t), tx)
	for _, f := range []tenants.AuditFilter{{Actor: "U1"}, {Actor: "K1"}, {Actor: "N1"}, {Action: "rare_x.done"}, {Action: "rare_x"}, {Tenant: "T1"}, {Actor: "U1", Action: "rare_x", Tenant: "T1"}} {
		for _, down := range []bool{false, true} {
			before := eventsRead(t, tx)
			found, err := s.AuditEvents(within, "account:A", f, 0, down, 50)
			if err != nil || len(found) != 5 || (found[0].Number == 7) == down {
				t.Errorf("%+v, down %t: %d events, %v", f, down, len(found), err)
			}
			if read := eventsRead(t, tx) - before; read > 100 {
				t.Errorf("%+v, down %t: %d events were read", f, down, read)
			}
		}
	}
	for _, action := range []string{"rare", "rare_", "rare.x", "rareax"} {
		if found, err := s.AuditEvents(within, "account:A", tenants.AuditFilter{Action: action}, 0, false, 50); err != nil || len(found) != 0 {
			t.Errorf("%s finds %d events, %v", action, len(found), err)
		}
	}
}

// eventsRead returns how many events the connection of tx has read, also in transactions
// before: Postgres takes their counts out of the figure once a second at most.
func eventsRead(t *testing.T, tx pgx.Tx) int {
	t.Helper()
	var read int
	if err := tx.QueryRow(everywhere(t), "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'audit_events'").Scan(&read); err != nil {
		t.Fatal(err)
	}
	return read
}

// What waits for the table of events holds everybody up who writes one.
func TestMigration_does_not_wait_for_the_audit_log_without_end(t *testing.T) {
	t.Parallel()
	url := testenv.EmptyPostgres(t)
	logger := slog.New(slog.DiscardHandler)
	if err := postgres.Migrate(everywhere(t), url, upTo(t, auditMigration), logger); err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.New(everywhere(t), url)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	reader, err := pool.Begin(everywhere(t))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Rollback(everywhere(t)) //nolint:errcheck // it only reads
	if _, err := reader.Exec(everywhere(t), "SELECT FROM audit_events"); err != nil {
		t.Fatal(err)
	}
	if err := postgres.Migrate(everywhere(t), url, migrations.Files, logger); !postgres.WaitedTooLong(err) {
		t.Errorf("ended with %v", err)
	}
}

// While a deployment goes on, apis of the version before write beside this one's.
func TestAudit_takes_what_the_version_before_writes(t *testing.T) {
	t.Parallel()
	s, pool, _ := newStore(t)
	for range 2 {
		for _, a := range odd() {
			if err := s.Audit(everywhere(t), a); err != nil {
				t.Fatal(err)
			}
		}
		writeFormer(t, pool)
		checkFormer(t, s)
	}
	var left int
	if err := pool.QueryRow(everywhere(t), "SELECT count(user_id) FROM audit_events").Scan(&left); err != nil || left != 0 {
		t.Errorf("%d events have what is in no hash: %v", left, err)
	}
}

// Who may write events and make temporary tables can't give them a head of its own.
func TestAudit_takes_no_temporary_table_for_the_heads_of_chains(t *testing.T) {
	t.Parallel()
	s, pool, _ := newStore(t)
	conn, err := pool.Acquire(everywhere(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(everywhere(t), `CREATE TEMPORARY TABLE audit_chains (chain text PRIMARY KEY, number bigint NOT NULL, hash bytea NOT NULL);
		GRANT ALL ON pg_temp.audit_chains TO PUBLIC; INSERT INTO pg_temp.audit_chains VALUES ('account:A', 40, 'forged');
		INSERT INTO audit_events (chain, actor, account_id, action, subject, request_id, ip) VALUES ('account:A', 'user', 'A', 'x', '', '', '');
		DROP TABLE pg_temp.audit_chains`); err != nil {
		t.Fatal(err)
	}
	if events, err := verify(t, s, "account:A"); err != nil || events != 1 {
		t.Errorf("%d events, %v", events, err)
	}
}

// auditMigration is the file that makes chains.
const auditMigration = "00023_audit_chain.sql"
