package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/signalbox/signalbox/tenants"
)

var (
	limitName = regexp.MustCompile("`([a-z_]+)`")
	// linked finds the tests that a cell names: a link to the file, then the name of
	// the function.
	linked = regexp.MustCompile(`\[([^\]]+)\]\(\.\./([^)]+)\): (\w+)`)
)

// TestLimits_are_shown_by_tests_that_exist: every limit is in the table of limits.md that
// says what shows them, and the tests it names are there.
func TestLimits_are_shown_by_tests_that_exist(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(root, "docs", "limits.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## What shows them\n")
	section, _, _ = strings.Cut(section, "\n## ")
	names := make(map[string]bool)
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if !strings.HasPrefix(line, "|") || len(cells) < 4 || strings.HasPrefix(line, "| a limit of") {
			continue
		}
		for _, m := range limitName.FindAllStringSubmatch(cells[1], -1) {
			names[m[1]] = true
			if _, ok := tenants.Row(m[1]); !ok && !strings.HasPrefix(strings.TrimSpace(cells[1]), "–") {
				t.Errorf("%s is no limit: %s", m[1], line)
			}
		}
		shown := linked.FindAllStringSubmatch(cells[3], -1)
		if len(shown) == 0 || len(shown) != strings.Count(cells[3], ";")+1 {
			t.Errorf("not all of what shows it is a link and a test: %s", line)
		}
		for _, m := range shown {
			if m[1] != m[2] {
				t.Errorf("%s leads to %s", m[1], m[2])
			}
			if tests := testsOf(t, filepath.Join(root, m[2])); !slices.Contains(tests, m[3]) {
				t.Errorf("%s has no test %s", m[1], m[3])
			}
		}
	}
	for _, r := range tenants.Rows() {
		if !names[r.Name] {
			t.Errorf("%s isn't in the table of what shows limits", r.Name)
		}
	}
}

// testsOf are the functions of a file of tests.
func testsOf(t *testing.T, path string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Error(err)
		return nil
	}
	var names []string
	for _, decl := range file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
			names = append(names, f.Name.Name)
		}
	}
	return names
}
