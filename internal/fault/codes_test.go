package fault_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
)

const root = "../.."

// codeInSource finds codes where the project writes them: in WithCode, in
// constants that are called code, Code, Refused or Kind something, in the table of
// limits, and in tables by the name of a constraint.
var codeInSource = regexp.MustCompile(`WithCode\("([^"]+)"\)|(?m)^\s*"\w+":\s*\{"([a-z_]+)", "|(?m)^\s*(?:code|Code|Refused)[A-Z]\w*\s*=\s*"([A-Za-z._]+)"|fault\.Kind\s*=\s*"([a-z_]+)"|\bCode: "([a-z_]+)"|(?m)^\t[A-Z]\w*\s+Kind\s*=\s*"([a-z_]+)" +//`)

// TestCodes_are_all_explained: every code in the sources is in the table, and
// nothing else is.
func TestCodes_are_all_explained(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, c := range fault.Codes() {
		if known[c.Code] {
			t.Errorf("%s is explained twice", c.Code)
		}
		known[c.Code] = true
		if c.Meaning == "" || c.Remedy == "" || strings.ContainsAny(c.Meaning, "|\n") {
			t.Errorf("%s is not explained", c.Code)
		}
	}
	used := map[string]bool{}
	for _, folder := range []string{"hubs", "internal", "tenants", "adminapi", "billing"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && path == filepath.Join(root, "internal", "app", "cli") {
				return fs.SkipDir // a client: what it says of itself is no answer of the service
			}
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			source, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, m := range codeInSource.FindAllSubmatch(source, -1) {
				code := string(bytes.Join(m[1:], nil))
				used[code] = true
				if !known[code] {
					t.Errorf("%s: the code %s is not in internal/fault/codes.go: add it and run go run ./internal/fault/pages", path, code)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for code := range known {
		if !used[code] {
			t.Errorf("nothing has the code %s", code)
		}
	}
}

// TestPages_are_fresh: docs/errors is what make gen makes.
func TestPages_are_fresh(t *testing.T) {
	t.Parallel()
	want := map[string][]byte{"README.md": fault.Index()}
	for _, c := range fault.Codes() {
		want[c.Code+".md"] = c.Page(tenants.LimitOfCode(c.Code))
	}
	folder := filepath.Join(root, "docs", "errors")
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		page, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(page, want[e.Name()]) {
			t.Errorf("docs/errors/%s is stale: run make gen", e.Name())
		}
	}
	for name := range want {
		if !slices.Contains(names, name) {
			t.Errorf("docs/errors/%s is missing: run make gen", name)
		}
	}
}
