package tenantstore_test

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/internal/testenv"
	"github.com/signalbox/signalbox/migrations"
)

// TestMarks_of_operators_from_before_there_were_any runs the migration that finds them
// on what api seed and the people of an account have written.
func TestMarks_of_operators_from_before_there_were_any(t *testing.T) {
	t.Parallel()
	pool, err := postgres.Open(everywhere(t), testenv.Postgres(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	names, err := fs.Glob(migrations.Files, "*_operators_marks.sql")
	if err != nil || len(names) != 1 {
		t.Fatalf("%v, %v", names, err)
	}
	migration, err := fs.ReadFile(migrations.Files, names[0])
	if err != nil {
		t.Fatal(err)
	}
	_, up, _ := strings.Cut(string(migration), "-- +goose Up")
	for _, sql := range []string{`
		INSERT INTO accounts (id, name, plan) VALUES ('A', 'A', 'free');
		INSERT INTO tenants (id, account_id, slug, name, status) VALUES
			('own', 'A', 'own', 'Own', 'suspended'), ('feigned', 'A', 'feigned', 'Feigned', 'suspended'), ('silent', 'A', 'silent', 'Silent', 'suspended'), ('seeded', 'A', 'seeded', 'Seeded', 'suspended'), ('active', 'A', 'active', 'Active', 'active');
		INSERT INTO limit_overrides (tenant_id, code, value) VALUES ('active', 'max_connections', 5), ('active', 'max_hubs', 5), ('own', 'max_hubs', 5);
		INSERT INTO audit_events (account_id, tenant_id, actor, action, subject, request_id, ip, chain) VALUES
			('A', 'active', 'user', 'limit.overridden', 'max_hubs', 'r', '', 'account:A'),
			('A', 'seeded', 'user', 'tenant.suspended', 'seeded', 'r', '', 'account:A'), ('A', 'seeded', 'system', 'tenant.suspended', 'seeded', 'seed', '', 'account:A'),
			('A', 'feigned', 'user', 'tenant.suspended', 'feigned', 'seed', '192.0.2.1', 'account:A'),
			('A', 'own', 'system', 'tenant.suspended', 'own', 'seed', '', 'account:A'), ('A', 'own', 'user', 'tenant.suspended', 'own', 'r', '', 'account:A')`, up} {
		if _, err := pool.Exec(everywhere(t), sql); err != nil {
			t.Fatal(err)
		}
	}
	rows, _ := pool.Query(everywhere(t), `
		SELECT tenant_id || ' ' || code || ' ' || set_by FROM limit_overrides UNION ALL
		SELECT id || ' suspended ' || suspended_by FROM tenants WHERE account_id = 'A' ORDER BY 1`)
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	want := "active max_connections operator, active max_hubs account, active suspended account, feigned suspended account, own max_hubs operator, own suspended account, seeded suspended operator, silent suspended operator"
	if text := strings.Join(got, ", "); text != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}
