package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// policy is the name of the policies that secure makes; its number changes with what
// they say, so that they are made again.
const policy = "signalbox_scope_2"

// What policies say. Sub-selects without columns of the row are looked up once for a
// statement, not for each row. Settings that were never set are NULL, and ” once they
// have been: both see nothing.
const (
	bySystem   = `(SELECT coalesce(current_setting('signalbox.system', true), '') <> '')`
	accountSet = `(SELECT string_to_array(nullif(current_setting('signalbox.accounts', true), ''), ','))::text[]`
	byUser     = `user_id = (SELECT nullif(current_setting('signalbox.user', true), ''))`
	// A user's own chain of the audit log, or one of the accounts.
	byChain = `chain = (SELECT 'user:' || nullif(current_setting('signalbox.user', true), '')) OR chain = ANY ((SELECT
		string_to_array('account:' || replace(nullif(current_setting('signalbox.accounts', true), ''), ',', ',account:'), ','))::text[])`
	byAccount = `account_id = ANY (` + accountSet + `)`
	// The condition is that of tenants once more, by itself, so that its index is used.
	byTenant = `tenant_id = ANY (ARRAY(SELECT id FROM tenants WHERE account_id = ANY (` + accountSet + `)))`
)

// own are tables whose rows aren't seen by account_id, or else tenant_id, alone; by is
// the column that says whose they are.
var own = map[string]struct{ by, seen, written string }{
	"accounts": {by: "id", seen: `id = ANY (` + accountSet + `)`},
	// A user's answers are nobody else's in the account.
	"idempotent_requests": {by: "user_id", seen: byUser},
	"audit_events":        {by: "chain", seen: byChain, written: `(account_id IS NULL OR ` + byAccount + `) AND (` + byChain + `)`},
	"audit_chains":        {by: "chain", seen: byChain},
}

// appendOnly are tables to which Role adds rows and changes none. So are those with a
// trigger whose name ends with _append_only.
var appendOnly = []string{"account_plans", "audit_chains", "audit_events", "usage_ledger"}

// readOnly are those of them that a trigger writes with the rights of the owner.
var readOnly = []string{"audit_chains"}

// makeRole makes Role and lets the present user become it. Users of managed databases,
// which are no superusers, may do that where they have CREATEROLE.
func makeRole(ctx context.Context, conn *pgx.Conn) error {
	var user string
	var there, may bool
	err := conn.QueryRow(ctx, `SELECT current_user, r.oid IS NOT NULL,
			(SELECT rolsuper FROM pg_roles WHERE rolname = current_user) OR r.oid IS NOT NULL AND pg_has_role(r.oid, CASE
				WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)
		FROM (SELECT 1) one LEFT JOIN pg_roles r ON r.rolname = $1`, Role).Scan(&user, &there, &may)
	if err != nil {
		return fmt.Errorf("look up role %s: %w", Role, err)
	}
	var statements []string
	if !there {
		// Roles are of the whole server: another database's migration may be faster.
		statements = append(statements, `DO $$ BEGIN CREATE ROLE `+Role+` NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$`)
	}
	if !may {
		statements = append(statements, `GRANT `+Role+` TO CURRENT_USER`)
	}
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("the database's user %s can't make the role %s, or may not become it; have an administrator say CREATE ROLE %s NOLOGIN; GRANT %s TO %s: %w", user, Role, Role, Role, user, err)
		}
	}
	return nil
}

// table is what the catalogue says of a table with rows of accounts.
type table struct {
	name            string
	account, locked bool // it has account_id; it has the policy, enabled
}

// secure puts every table that has account_id or tenant_id, and those of own, under a
// policy for Role: rows are seen, changed and added by whoever has the scope of their
// account, and by the service itself where it says why. The owner isn't bound: it is who
// migrates, and what an api of a version before runs as, which knows no scope and goes on
// beside this one. It gives Role what it needs. What is so already isn't touched.
func secure(ctx context.Context, conn *pgx.Conn) error {
	tables, err := scopedTables(ctx, conn)
	if err != nil {
		return err
	}
	for _, t := range tables {
		if t.locked {
			continue
		}
		if err := protect(ctx, conn, t); err != nil {
			return fmt.Errorf("put %s under its policy: %w", t.name, err)
		}
	}
	return grant(ctx, conn)
}

func scopedTables(ctx context.Context, conn *pgx.Conn) ([]table, error) {
	var names, columns []string
	for name, rule := range own {
		names, columns = append(names, name), append(columns, rule.by)
	}
	// A table of own whose column isn't there yet is of a version before.
	rows, _ := conn.Query(ctx, `
		SELECT c.relname, bool_or(a.attname = 'account_id'),
			c.relrowsecurity AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = $1)
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
		GROUP BY c.oid
		HAVING CASE WHEN c.relname = ANY($2) THEN bool_or((c.relname, a.attname) IN (SELECT * FROM unnest($2::text[], $3::text[])))
			ELSE bool_or(a.attname IN ('account_id', 'tenant_id')) END
		ORDER BY c.relname`, policy, names, columns) // its error comes with the rows
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t table, err error) {
		err = row.Scan(&t.name, &t.account, &t.locked)
		return t, err
	})
	if err != nil {
		return nil, fmt.Errorf("list tables of accounts: %w", err)
	}
	return all, nil
}

// protect puts a table under the policy, in the place of a former one.
func protect(ctx context.Context, conn *pgx.Conn, t table) error {
	rule := own[t.name]
	if rule.seen == "" {
		rule.seen = byTenant
		if t.account {
			rule.seen = byAccount
		}
	}
	if rule.written == "" {
		rule.written = rule.seen
	}
	name := pgx.Identifier{t.name}.Sanitize()
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		rows, _ := tx.Query(ctx, `SELECT polname FROM pg_policy WHERE polrelid = $1::regclass AND polname LIKE 'signalbox\_scope\_%'`, name)
		former, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		statements := []string{"ALTER TABLE " + name + " ENABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY"}
		for _, p := range former {
			statements = append(statements, "DROP POLICY "+pgx.Identifier{p}.Sanitize()+" ON "+name)
		}
		statements = append(statements, "CREATE POLICY "+policy+" ON "+name+" TO "+Role+" USING ("+bySystem+" OR "+rule.seen+") WITH CHECK ("+bySystem+" OR "+rule.written+")")
		if t.name == "members" {
			// Who is a member sees it, and changes it no more than other rows.
			statements[len(statements)-1] = "CREATE POLICY " + policy + " ON " + name + " TO " + Role + " USING (" + bySystem + " OR " + byAccount + ")"
			statements = append(statements, "CREATE POLICY "+policy+"_own ON "+name+" FOR SELECT TO "+Role+" USING ("+byUser+")")
		}
		for _, sql := range statements {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
}

// grant gives Role what stores need: all but changing what is append-only, and nothing
// of how the schema came to be.
func grant(ctx context.Context, conn *pgx.Conn) error {
	var missing bool
	const closed = `(c.relname = ANY($2) OR EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname LIKE '%\_append\_only'))`
	const tables = ` FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND c.relname NOT IN ('goose_db_version')`
	err := conn.QueryRow(ctx, `SELECT NOT has_schema_privilege($1, current_schema(), 'USAGE') OR EXISTS (
			SELECT`+tables+` AND (NOT has_table_privilege($1, c.oid, 'SELECT') OR has_table_privilege($1, c.oid, 'INSERT') = (c.relname = ANY($3))
				OR has_table_privilege($1, c.oid, 'UPDATE') = `+closed+` OR has_table_privilege($1, c.oid, 'DELETE') = `+closed+`)
		) OR EXISTS (
			SELECT FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND CASE WHEN c.relkind = 'S' THEN NOT has_sequence_privilege($1, c.oid, 'USAGE') ELSE false END)`,
		Role, appendOnly, readOnly).Scan(&missing)
	if err != nil {
		return fmt.Errorf("look up rights of %s: %w", Role, err)
	}
	if !missing {
		return nil
	}
	rows, _ := conn.Query(ctx, `SELECT c.relname`+tables+` AND `+strings.ReplaceAll(closed, "$2", "$1"), appendOnly) // its error comes with the rows
	kept, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return fmt.Errorf("list append-only tables: %w", err)
	}
	var schema string
	if err := conn.QueryRow(ctx, "SELECT quote_ident(current_schema())").Scan(&schema); err != nil {
		return fmt.Errorf("read schema: %w", err)
	}
	statements := []string{
		"GRANT USAGE ON SCHEMA " + schema + " TO " + Role,
		"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA " + schema + " TO " + Role,
		"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA " + schema + " TO " + Role,
		"REVOKE ALL ON goose_db_version FROM " + Role,
	}
	for _, name := range kept {
		statements = append(statements, "REVOKE UPDATE, DELETE, TRUNCATE ON "+pgx.Identifier{name}.Sanitize()+" FROM "+Role)
	}
	for _, name := range kept {
		if slices.Contains(readOnly, name) {
			statements = append(statements, "REVOKE INSERT ON "+pgx.Identifier{name}.Sanitize()+" FROM "+Role)
		}
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, sql := range statements {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return fmt.Errorf("give %s its rights: %w", Role, err)
			}
		}
		return nil
	})
}
