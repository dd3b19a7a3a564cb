package postgres_test

import (
	"log/slog"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/internal/testenv"
	"github.com/signalbox/signalbox/migrations"
)

func TestMigrate_by_three_processes_at_once(t *testing.T) {
	t.Parallel()
	url := testenv.EmptyPostgres(t)
	logger := slog.New(slog.DiscardHandler)
	var processes errgroup.Group
	for range 3 {
		processes.Go(func() error { return postgres.Migrate(t.Context(), url, migrations.Files, logger) })
	}
	if err := processes.Wait(); err != nil {
		t.Fatal(err)
	}

	pool, err := postgres.Open(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var plans, versions, jobs int
	if err := pool.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM plans), (SELECT count(DISTINCT version_id) FROM goose_db_version WHERE version_id > 0), (SELECT count(*) FROM river_job)").Scan(&plans, &versions, &jobs); err != nil {
		t.Fatal(err)
	}
	files, err := migrations.Files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	if plans != 3 || versions != len(files) {
		t.Errorf("%d plans, %d versions; want each of the %d migrations applied once", plans, versions, len(files))
	}
	var locks int
	if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())").Scan(&locks); err != nil {
		t.Fatal(err)
	}
	if locks != 0 {
		t.Errorf("%d advisory locks are still held", locks)
	}
}
