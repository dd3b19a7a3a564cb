package tenantstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/internal/scope"
	"github.com/signalbox/signalbox/tenants/tenantstore"
)

// statement keeps the last statement that was sent behind its scope.
type statement struct{ last *pgx.QueuedQuery }

func (*statement) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

func (*statement) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (s *statement) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	s.last = data.Batch.QueuedQueries[len(data.Batch.QueuedQueries)-1]
	return ctx
}

func (*statement) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

func (*statement) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// Statements by which requests begin find their rows by indexes, under the policies of
// the database too: whatever the policies keep back from an index reads a whole table.
func TestStatements_find_their_rows_by_indexes(t *testing.T) {
	t.Parallel()
	_, owner, _ := newStore(t)
	said := new(statement)
	pool, err := postgres.Open(t.Context(), owner.Config().ConnString(), said)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	s, scoped := tenantstore.New(pool, new(queue)), postgres.Scoped{Pool: pool}
	ctx := scope.ForUser(t.Context(), "U", "")
	for name, ask := range map[string]func() error{
		"by host":        func() error { _, err := s.TenantByHost(ctx, "one.example"); return err },
		"by slug":        func() error { _, err := s.TenantBySlug(ctx, "one"); return err },
		"by id":          func() error { _, err := s.Tenant(ctx, "T1"); return err },
		"of a member":    func() error { _, err := s.TenantOf(ctx, "U", "", "one"); return err },
		"of all members": func() error { _, err := s.TenantsOf(ctx, "U", ""); return err },
		"accounts":       func() error { _, err := s.Memberships(ctx, "U"); return err },
		"limits":         func() error { _, _, err := s.Limits(ctx, "T1", time.Now()); return err },
		"hubs":           func() error { _, err := s.Hubs(ctx, "T1"); return err },
		"keys":           func() error { _, err := s.Keys(ctx, "T1", time.Now()); return err },
	} {
		said.last = nil
		if _ = ask(); said.last == nil { // there is no such user, so nothing is found
			t.Fatalf("%s: no statement was sent", name)
		}
		sql, args := said.last.SQL, said.last.Arguments
		undone := errors.New("undone")
		err := postgres.InTx(ctx, scoped, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "SET LOCAL enable_seqscan = off"); err != nil { // the tables of a test are small
				return err
			}
			rows, _ := tx.Query(ctx, "EXPLAIN "+sql, args...)
			plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				return err
			}
			// An index without a condition is a whole table in its order.
			for i, line := range plan {
				looked := strings.Contains(line, "Scan using") || strings.Contains(line, "Index Scan on")
				if strings.Contains(line, "Seq Scan") || looked && (i+1 == len(plan) || !strings.Contains(plan[i+1], "Index Cond:")) {
					t.Errorf("%s reads a whole table:\n%s\n%s", name, sql, strings.Join(plan, "\n"))
					break
				}
			}
			return undone
		})
		if !errors.Is(err, undone) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
