package embedded

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMajorVersion_of_usual_paths(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]int{
		"/usr/lib/postgresql/15/bin":                           15,
		"/usr/lib/postgresql/9.6/bin":                          9,
		"/opt/homebrew/opt/postgresql@17/bin":                  17,
		"/usr/pgsql-16/bin":                                    16,
		"/Applications/Postgres.app/Contents/Versions/18/bin":  18,
		"/Applications/Postgres.app/Contents/Versions/new/bin": 0,
		"/usr/local/bin":                                       0,
	} {
		if got := majorVersion(path); got != want {
			t.Errorf("majorVersion(%s) = %d, want %d", path, got, want)
		}
	}
}

func TestFindPostgres_takes_PG_BIN_first_and_says_what_is_missing(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"initdb", "postgres"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PG_BIN", dir)
	if got, err := findPostgres(""); err != nil || got != dir {
		t.Errorf("findPostgres = %q, %v; want PG_BIN", got, err)
	}
	if _, err := packagedPostgres(t.TempDir()); err == nil || !strings.Contains(err.Error(), "apt-get install postgresql") {
		t.Errorf("error = %v, want what to install", err)
	}
}

func TestLinkLibraries_stay_in_their_package(t *testing.T) {
	t.Parallel()
	write := func(list string) string {
		native := t.TempDir()
		if err := os.MkdirAll(filepath.Join(native, "lib"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(native, "lib", "libx.so.1.2"), []byte("code"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(native, "pg-symlinks.json"), []byte(list), 0o600); err != nil {
			t.Fatal(err)
		}
		return native
	}
	native := write(`[{"source":"native/lib/libx.so.1.2","target":"native/lib/libx.so.1"}]`)
	for range 2 { // the second time they are there
		if err := linkLibraries(native); err != nil {
			t.Fatal(err)
		}
	}
	if content, err := os.ReadFile(filepath.Join(native, "lib", "libx.so.1")); err != nil || string(content) != "code" {
		t.Errorf("through the link: %q, %v", content, err)
	}
	for _, list := range []string{
		`[{"source":"native/lib/libx.so.1.2","target":"native/../../evil"}]`,
		`[{"source":"/etc/passwd","target":"native/lib/libx.so.1"}]`,
		`{`,
	} {
		if err := linkLibraries(write(list)); err == nil {
			t.Errorf("list %s was accepted", list)
		}
	}
}

func TestReaches_needs_every_directory_above(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	private, open := filepath.Join(root, "private"), filepath.Join(root, "private", "open")
	if err := os.MkdirAll(open, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(private, 0o700); err != nil {
		t.Fatal(err)
	}
	stranger := unprivileged{uid: nobody, gid: nobody}
	if stranger.reaches(open) {
		t.Error("a stranger reaches what lies in a private directory")
	}
	if !stranger.reaches("/usr") || !(unprivileged{}).reaches(open) {
		t.Error("a public directory, or one's own, is not reached")
	}
}

func TestCopyTree_keeps_modes(t *testing.T) {
	t.Parallel()
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	if err := os.MkdirAll(filepath.Join(from, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(from, "bin", "postgres"), []byte("program"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := copyTree(from, to); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(to, "bin", "postgres"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("copied program: %v, %v; want mode 0700", info, err)
	}
}
