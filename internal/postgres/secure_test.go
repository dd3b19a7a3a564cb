package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/internal/scope"
	"github.com/signalbox/signalbox/internal/testenv"
	"github.com/signalbox/signalbox/migrations"
)

// forbidden is what statements end with that lack a right, or write rows that their
// scope doesn't have.
const forbidden = "42501"

// values are for columns of tables that only take some: a literal by table and column.
// All others get a value by their type.
var values = map[string]string{
	"accounts.plan": "'free'", "tenants.status": "'active'", "members.role": "'viewer'", "invitations.role": "'viewer'",
	"access_keys.slot": "'primary'", "token_revocations.kind": "'user'", "usage_ledger.kind": "'usage'", "limit_overrides.value": "1",
	"budgets.action": "'notify'", "budget_notices.meter": "'messages'", "account_plans.plan": "'free'", "audit_events.actor": "'user'",
	"usage_gauges.edge_run": "'edge'",
}

// numbered are columns that a trigger fills.
var numbered = map[string][]string{"audit_events": {"number", "previous", "hash"}}

// side is one of two accounts with a user and a tenant.
type side struct{ account, tenant, user string }

var ours, theirs = side{"A1", "T1", "U1"}, side{"A2", "T2", "U2"}

// column is one that an inserted row has to have.
type column struct{ Name, Type string }

// guarded is a table with rows of accounts.
type guarded struct {
	name       string
	columns    []column
	owner      string // the column that says whose a row is
	appendOnly bool
}

// of is what the owner's column has for a side.
func (g guarded) of(s side) string {
	switch g.owner {
	case "account_id", "id":
		return s.account
	case "user_id":
		return s.user
	case "chain":
		return "account:" + s.account
	}
	return s.tenant
}

// insert makes the statement for a row of a side; salt makes it another one.
func (g guarded) insert(s side, salt string) string {
	var names, row []string
	for _, c := range g.columns {
		literal, given := values[g.name+"."+c.Name]
		switch {
		case c.Name == g.owner:
			literal = "'" + g.of(s) + "'"
		case given:
		case c.Name == "account_id":
			literal = "'" + s.account + "'"
		case c.Name == "tenant_id":
			literal = "'" + s.tenant + "'"
		case c.Name == "user_id":
			literal = "'" + s.user + "'"
		case strings.HasPrefix(c.Type, "timestamp"):
			literal = "now()"
		default:
			literal = map[string]string{
				"text": "'" + s.account + salt + "'", "bytea": "'" + s.account + salt + "'::bytea", "jsonb": "'{}'", "json": "'{}'", "date": "current_date",
				"ARRAY": "'{}'", "boolean": "false", "integer": "1", "bigint": "1",
			}[c.Type]
		}
		names, row = append(names, pgx.Identifier{c.Name}.Sanitize()), append(row, literal)
	}
	return "INSERT INTO " + g.name + " (" + strings.Join(names, ", ") + ") VALUES (" + strings.Join(row, ", ") + ")"
}

// guardedTables reads the catalogue, not what the migrator says of itself.
func guardedTables(t *testing.T, owner *pgxpool.Pool) (all []guarded) {
	t.Helper()
	rows, _ := owner.Query(t.Context(), `
		SELECT c.relname, c.relrowsecurity AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polroles = ARRAY['signalbox_app'::regrole::oid]),
			EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'account_id'),
			NOT has_table_privilege('signalbox_app', c.oid, 'UPDATE') AND NOT has_table_privilege('signalbox_app', c.oid, 'DELETE')
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND (c.relname IN ('accounts', 'audit_chains') OR EXISTS (
			SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname IN ('account_id', 'tenant_id') AND NOT a.attisdropped))
		ORDER BY c.relname`)
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct {
		Name                        string
		Locked, Account, AppendOnly bool
	}])
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if !f.Locked {
			t.Errorf("%s has rows of accounts and no policy: postgres.Migrate gives it one when its migration is in migrations, and its rule in internal/postgres/secure.go when the column alone doesn't say whose a row is", f.Name)
			continue
		}
		g := guarded{name: f.Name, owner: "tenant_id", appendOnly: f.AppendOnly}
		switch {
		case f.Name == "accounts":
			g.owner = "id"
		case f.Name == "idempotent_requests":
			g.owner = "user_id"
		case strings.HasPrefix(f.Name, "audit_"):
			g.owner = "chain"
		case f.Account:
			g.owner = "account_id"
		}
		rows, _ := owner.Query(t.Context(), `SELECT column_name, data_type FROM information_schema.columns
			WHERE table_schema = 'public' AND table_name = $1 AND is_identity = 'NO' AND column_name <> ALL($2)
				AND (is_nullable = 'NO' AND column_default IS NULL OR column_name = $3 OR table_name || '.' || column_name = ANY($4)) ORDER BY ordinal_position`,
			f.Name, append([]string{}, numbered[f.Name]...), g.owner, given())
		if g.columns, err = pgx.CollectRows(rows, pgx.RowToStructByPos[column]); err != nil {
			t.Fatal(err)
		}
		all = append(all, g)
	}
	return all
}

func given() (names []string) {
	for name := range values {
		names = append(names, name)
	}
	return names
}

// wall is a database with rows of two accounts in every table that has any.
type wall struct {
	*testing.T
	owner  *pgxpool.Pool // a superuser, whom no policy binds
	stores postgres.Scoped
	tables []guarded
}

func newWall(t *testing.T) *wall {
	t.Helper()
	pool, err := postgres.Open(t.Context(), testenv.Postgres(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	w := &wall{T: t, owner: pool, stores: postgres.Scoped{Pool: pool}}
	if w.tables = guardedTables(t, pool); len(w.tables) < 30 {
		t.Errorf("the catalogue has %d tables with rows of accounts; look at how they are found", len(w.tables))
	}
	first := []string{"accounts", "tenants"} // which others reference
	slices.SortStableFunc(w.tables, func(a, b guarded) int {
		return slices.Index(first, b.name) - slices.Index(first, a.name)
	})
	w.must("INSERT INTO usage_edges (edge_run, sequence, seen_at) VALUES ('edge', 1, now())")
	for _, s := range []side{ours, theirs} {
		w.must("INSERT INTO users (id, email, email_key, password_hash) VALUES ($1, $1, $1, '')", s.user)
		w.must("INSERT INTO accounts (id, name, plan) VALUES ($1, 'x', 'free')", s.account)
		w.must("INSERT INTO tenants (id, account_id, slug, name, status) VALUES ($1, $2, lower($1), 'x', 'active')", s.tenant, s.account)
		for _, g := range w.tables {
			if slices.Contains(first, g.name) {
				continue
			}
			if _, err := pool.Exec(t.Context(), g.insert(s, "")+" ON CONFLICT DO NOTHING"); err != nil {
				t.Fatalf("no row could be made in %s: give values in this test a literal for the column that needs one: %v", g.name, err)
			}
		}
	}
	return w
}

func (w *wall) must(sql string, args ...any) {
	w.Helper()
	if _, err := w.owner.Exec(w.Context(), sql, args...); err != nil {
		w.Fatal(err)
	}
}

// seen counts the rows of a table that a scope shows, and those of one side of them.
func (w *wall) seen(ctx context.Context, g guarded, s side) (all, of int) {
	w.Helper()
	if err := w.stores.QueryRow(ctx, "SELECT count(*), count(*) FILTER (WHERE "+g.owner+" = $1) FROM "+g.name, g.of(s)).Scan(&all, &of); err != nil {
		w.Errorf("%s: %v", g.name, err)
	}
	return all, of
}

// try runs a statement and takes it back; it returns how many rows it touched, or the
// code of its error.
func (w *wall) try(ctx context.Context, sql string) (rows int64, code string) {
	w.Helper()
	undone := errors.New("undone")
	err := postgres.InTx(ctx, w.stores, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sql)
		if rows = tag.RowsAffected(); err != nil {
			return err
		}
		return undone
	})
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return rows, e.Code
	}
	if !errors.Is(err, undone) {
		w.Errorf("%s: %v", sql, err)
	}
	return rows, ""
}

// What a query forgets to say, the database says: without any condition, statements of
// whoever is of one account see, change and delete that account's rows, and add no
// others. Without a scope there are none. Every table is looked at.
func TestRows_of_another_account_are_not_there(t *testing.T) {
	t.Parallel()
	w := newWall(t)
	for name, ctx := range map[string]context.Context{
		"a member":           scope.ForUser(t.Context(), ours.user, ""),
		"an API token":       scope.ForUser(t.Context(), ours.user, ours.account),
		"nobody":             t.Context(),
		"a token of another": scope.ForUser(t.Context(), ours.user, theirs.account),
	} {
		inside := strings.HasSuffix(name, "member") || name == "an API token"
		for _, g := range w.tables {
			all, mine := w.seen(ctx, g, ours)
			switch {
			case g.name == "members" && name == "a token of another": // one's own is seen
			case g.name == "idempotent_requests" && !inside && name != "nobody": // those are the user's
			case inside && (mine < 1 || all != mine), !inside && all != 0:
				t.Errorf("%s sees %d rows of %s, %d of them its own", name, all, g.name, mine)
			}
			if !inside {
				continue
			}
			changed, code := w.try(ctx, "UPDATE "+g.name+" SET "+g.owner+" = "+g.owner)
			if g.appendOnly && code != forbidden || !g.appendOnly && (code != "" || changed != int64(mine)) {
				t.Errorf("%s changes %d rows of %s, %q, and %d are its own", name, changed, g.name, code, mine)
			}
			if deleted, code := w.try(ctx, "DELETE FROM "+g.name+" WHERE "+g.owner+" = '"+g.of(theirs)+"'"); deleted != 0 || g.appendOnly && code != forbidden {
				t.Errorf("%s deletes %d rows of another in %s, %q", name, deleted, g.name, code)
			}
			if _, code := w.try(ctx, g.insert(theirs, "-new")); code != forbidden {
				t.Errorf("%s adds a row of another to %s: %q", name, g.name, code)
			}
			if _, code := w.try(ctx, "UPDATE "+g.name+" SET "+g.owner+" = '"+g.of(theirs)+"'"); code != forbidden {
				t.Errorf("%s gives its rows of %s to another: %q", name, g.name, code)
			}
		}
	}
	for _, p := range scope.Purposes {
		for _, g := range w.tables {
			if all, mine := w.seen(scope.System(t.Context(), p), g, ours); mine < 1 || all <= mine {
				t.Errorf("for %s the service sees %d rows of %s, %d of them of one account", p, all, g.name, mine)
			}
		}
	}
}

// The role of the stores can't take its lock away, and has no more rights than it needs.
func TestRole_has_few_rights(t *testing.T) {
	t.Parallel()
	w := newWall(t)
	ctx := scope.System(t.Context(), scope.Jobs)
	for _, sql := range []string{
		"ALTER TABLE tenants DISABLE ROW LEVEL SECURITY", "ALTER TABLE tenants NO FORCE ROW LEVEL SECURITY", "DROP POLICY signalbox_scope_2 ON tenants",
		"CREATE TABLE mine (id int)", "TRUNCATE usage_minutes", "SELECT * FROM goose_db_version", "CREATE ROLE another", "ALTER TABLE usage_ledger DISABLE TRIGGER ALL",
		"UPDATE usage_ledger SET accepted = 0", "DELETE FROM usage_ledger", "UPDATE audit_events SET ip = ''", "DELETE FROM audit_events", "DELETE FROM account_plans",
		"INSERT INTO audit_chains (chain, number, hash) VALUES ('account:A1', 9, '')", "UPDATE audit_chains SET number = 1",
		"SET LOCAL row_security = off; SELECT 1",
	} {
		if _, code := w.try(ctx, sql); code != forbidden && !strings.HasPrefix(sql, "SET LOCAL") {
			t.Errorf("%s: %q, want a refusal", sql, code)
		}
	}
	var bypasses bool
	if err := w.owner.QueryRow(t.Context(), "SELECT rolsuper OR rolbypassrls OR rolcanlogin OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = $1", postgres.Role).Scan(&bypasses); err != nil || bypasses {
		t.Errorf("the role can do more than it should: %v", err)
	}
	// A filter that is off sees nothing more: it ends the statement.
	err := postgres.InTx(t.Context(), w.stores, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "SET LOCAL row_security = off"); err != nil {
			return err
		}
		_, err := tx.Exec(t.Context(), "SELECT * FROM tenants")
		return err
	})
	if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != forbidden {
		t.Errorf("without row security: %v", err)
	}
}

// A scope is of its transaction: a connection takes none along, a savepoint that is
// rolled back leaves the one before, and each statement has that of its own context.
func TestScope_is_of_the_transaction(t *testing.T) {
	t.Parallel()
	w := newWall(t)
	config := w.owner.Config()
	config.MaxConns = 1
	alone, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	stores := postgres.Scoped{Pool: alone}
	system, user, nobody := scope.System(t.Context(), scope.Jobs), scope.ForUser(t.Context(), ours.user, ""), t.Context()
	count := func(db postgres.DB, ctx context.Context) (n int) {
		t.Helper()
		if err := db.QueryRow(ctx, "SELECT count(*) FROM tenants").Scan(&n); err != nil {
			t.Error(err)
		}
		return n
	}
	for _, step := range []struct {
		ctx  context.Context
		want int
	}{{system, 2}, {nobody, 0}, {user, 1}, {nobody, 0}, {system, 2}} {
		if n := count(stores, step.ctx); n != step.want {
			t.Errorf("%d tenants, want %d", n, step.want)
		}
		var left string
		if err := alone.QueryRow(t.Context(), "SELECT concat(current_setting('signalbox.system', true), current_setting('signalbox.user', true), current_setting('signalbox.accounts', true), CASE WHEN current_user = $1 THEN $1 END)", postgres.Role).Scan(&left); err != nil || left != "" {
			t.Errorf("the connection has %q, %v", left, err)
		}
	}
	err = postgres.InTx(user, stores, func(tx pgx.Tx) error {
		if n := count(tx, user); n != 1 {
			t.Errorf("%d tenants in a transaction", n)
		}
		if n := count(tx, system); n != 2 {
			t.Errorf("%d tenants for the service in a user's transaction", n)
		}
		if n := count(tx, user); n != 1 {
			t.Errorf("%d tenants after it", n)
		}
		failed := errors.New("failed")
		if err := postgres.InTx(user, tx, func(savepoint pgx.Tx) error {
			count(savepoint, system)
			return failed
		}); !errors.Is(err, failed) {
			t.Error(err)
		}
		if n := count(tx, user); n != 1 {
			t.Errorf("%d tenants after a savepoint that was rolled back", n)
		}
		var batch pgx.Batch
		batch.Queue("SELECT FROM tenants")
		tag, err := tx.SendBatch(nobody, &batch).Exec()
		if err != nil || tag.RowsAffected() != 0 {
			t.Errorf("a batch of nobody sees %d tenants, %v", tag.RowsAffected(), err)
		}
		return errors.New("the batch isn't closed, so that the transaction ends here")
	})
	if err == nil {
		t.Error("the transaction was committed")
	}
	// One that has just been made is there for whoever makes it.
	err = postgres.InTx(user, stores, func(tx pgx.Tx) error {
		_, err := tx.Exec(scope.With(user, "A3"), "INSERT INTO accounts (id, name, plan) VALUES ('A3', 'x', 'free')")
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// Which tenants an account has is looked up by the index, however many tenants others
// have.
func TestPolicies_use_the_indexes(t *testing.T) {
	t.Parallel()
	w := newWall(t)
	user := scope.ForUser(t.Context(), ours.user, "")
	undone := errors.New("undone")
	err := postgres.InTx(user, w.stores, func(tx pgx.Tx) error {
		if _, err := tx.Exec(user, "SET LOCAL enable_seqscan = off"); err != nil { // the tables of a test are small
			return err
		}
		rows, _ := tx.Query(user, "EXPLAIN SELECT * FROM hubs WHERE tenant_id = $1 AND name = $2", ours.tenant, "x")
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		if text := strings.Join(plan, "\n"); strings.Contains(text, "Seq Scan") || !strings.Contains(text, "tenants_account") {
			t.Errorf("the plan is\n%s", text)
		}
		return undone
	})
	if !errors.Is(err, undone) {
		t.Error(err)
	}
}

// As on a managed server: the database's owner is no superuser. Without the right to
// become the role the migration says what is missing. With it, stores are bound, and an
// api of the version before, which is the owner and has no scope, goes on beside them.
func TestMigrate_as_an_owner_without_rights(t *testing.T) {
	t.Parallel()
	at := testenv.EmptyPostgres(t)
	admin, err := pgx.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Close(context.Background()) })
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	name := "owner_of_" + strings.TrimPrefix(u.Path, "/")
	u.User = url.UserPassword(name, "secret")
	database := pgx.Identifier{strings.TrimPrefix(u.Path, "/")}.Sanitize()
	for _, sql := range []string{
		fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD 'secret'", name), fmt.Sprintf("ALTER DATABASE %s OWNER TO %s", database, name),
	} {
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, sql := range []string{"REASSIGN OWNED BY " + name + " TO CURRENT_USER", "DROP OWNED BY " + name, "DROP ROLE " + name} {
			if _, err := admin.Exec(context.Background(), sql); err != nil {
				t.Error(err)
			}
		}
	})
	migrate := func() error {
		return postgres.Migrate(t.Context(), u.String(), migrations.Files, slog.New(slog.DiscardHandler))
	}
	if err := migrate(); err == nil || !strings.Contains(err.Error(), "CREATE ROLE signalbox_app NOLOGIN; GRANT signalbox_app TO "+name) {
		t.Fatalf("without the right to become the role: %v", err)
	}
	if _, err := admin.Exec(t.Context(), "DO $$ BEGIN CREATE ROLE signalbox_app NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Exec(t.Context(), "GRANT signalbox_app TO "+name); err != nil {
		t.Fatal(err)
	}
	for range 2 { // and once more, with nothing left to do
		if err := migrate(); err != nil {
			t.Fatal(err)
		}
	}
	pool, err := postgres.Open(t.Context(), u.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	stores := postgres.Scoped{Pool: pool}
	if _, err := stores.Exec(scope.ForUser(t.Context(), "U", ""), "INSERT INTO audit_events (chain, actor, actor_id, action, subject, request_id, ip) VALUES ('user:U', 'user', 'U', 'x', 'x', 'x', 'x')"); err != nil {
		t.Error(err)
	}
	for _, sql := range []string{"INSERT INTO accounts (id, name, plan) VALUES ('A', 'x', 'free')", "INSERT INTO tenants (id, account_id, slug, name, status) VALUES ('T', 'A', 't', 'x', 'active')"} {
		if _, err := stores.Exec(scope.System(t.Context(), scope.Seed), sql); err != nil {
			t.Fatal(err)
		}
	}
	if tag, err := pool.Exec(t.Context(), "UPDATE tenants SET name = 'y'"); err != nil || tag.RowsAffected() != 1 {
		t.Errorf("an api of the version before changes %d tenants, %v", tag.RowsAffected(), err)
	}
	if _, err := pool.Exec(t.Context(), "INSERT INTO hubs (tenant_id, name, settings) VALUES ('T', 'x', '{}')"); err != nil {
		t.Errorf("an api of the version before adds a hub: %v", err)
	}
	var seen int
	if err := stores.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM tenants) + (SELECT count(*) FROM hubs)").Scan(&seen); err != nil || seen != 0 {
		t.Errorf("a store without a scope sees %d rows, %v", seen, err)
	}
}
