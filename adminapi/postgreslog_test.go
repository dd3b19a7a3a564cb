package adminapi_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/internal/testenv"
	"github.com/signalbox/signalbox/migrations"
)

// postgresLog is what a Postgres writes down of itself: every statement, apart from what
// is bound to it, and every error with its code.
type postgresLog string

// loggedPostgres starts a Postgres with such a log, and returns a migrated database in it.
func loggedPostgres(t *testing.T) (url string, written postgresLog) {
	t.Helper()
	url, dir := testenv.StartPostgres(t)
	if err := postgres.Migrate(t.Context(), url, migrations.Files, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for _, sql := range []string{"ALTER SYSTEM SET log_statement = 'all'", "ALTER SYSTEM SET log_line_prefix = '%e '", "SELECT pg_reload_conf()"} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	return url, postgresLog(filepath.Join(dir, "postgres.log"))
}

// What a message of the log begins with; its further lines begin with a tab.
var loggedLine = regexp.MustCompile(`^([0-9A-Z]{5}) ([A-Z]+):  `)

// check fails the test when a statement or an error has one of words in it, outside of
// what was bound, when nothing was bound that has one, and when Postgres couldn't read a
// statement or what was bound to it.
func (l postgresLog) check(t *testing.T, words ...string) {
	t.Helper()
	whole, err := os.ReadFile(string(l))
	if err != nil {
		t.Fatal(err)
	}
	var kind string
	statements, bound := 0, 0
	for line := range strings.Lines(string(whole)) {
		if m := loggedLine.FindStringSubmatch(line); m != nil {
			if kind = m[2]; kind == "LOG" {
				statements++
			}
			// Data that isn't of its type, and statements that aren't SQL or name nothing.
			if class := m[1][:2]; kind == "ERROR" && (class == "22" || class == "42") {
				t.Errorf("Postgres couldn't read what it got: %s", line)
			}
		} else if !strings.HasPrefix(line, "\t") {
			kind = ""
		}
		for _, word := range words {
			switch {
			case !strings.Contains(line, word):
			case kind == "DETAIL":
				bound++
			case kind != "":
				t.Errorf("the log has %q outside of what was bound: %s", word, line)
			}
		}
	}
	if statements < 1000 || bound == 0 {
		t.Errorf("the log has %d statements, and %d times something hostile was bound", statements, bound)
	}
}
