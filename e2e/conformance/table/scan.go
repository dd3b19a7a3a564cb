package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// shown is a test that names an id of the catalogue.
type shown struct{ file, title string }

var (
	// ids finds them in text.
	ids = regexp.MustCompile(`(?:^|[^A-Za-z0-9-])([NTHIPGSUCEKLRMA])-([0-9]{2})\b`)
	// named finds them in the name of a function.
	named = regexp.MustCompile(`(?:Test|_)([A-Z])_([0-9]{2})(?:_|$)`)
	// attacks finds the ids of the security catalogue, in functions' names too.
	attacks = regexp.MustCompile(`SEC[-_]([0-9]{2})`)
	// leading are those that a test's name begins with.
	leading = regexp.MustCompile(`^(?:[A-Z]{1,3}-[0-9]{2}[ ,:_]*)+`)
	// titled finds the names of tests in JavaScript.
	titled = regexp.MustCompile("\\b(?:test|it|describe)\\(\\s*(?:\"((?:[^\"\\\\]|\\\\.)*)\"|`((?:[^`\\\\]|\\\\.)*)`)")
	// hole is a value in the name of a test.
	hole = regexp.MustCompile(`\$\{([a-z]+)\}`)
)

// skipped are folders without tests of the project's own.
var skipped = []string{"node_modules", ".git", ".dev", "bin", "dist", "test-results", "testdata"}

// scan finds every test that names an id, by id.
func scan(root string) (map[string][]shown, error) {
	found := make(map[string][]shown)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains(skipped, entry.Name()):
			return filepath.SkipDir
		case entry.IsDir():
			return nil
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		add := func(text, title string) {
			note := func(name string) {
				if s := (shown{filepath.ToSlash(relative), title}); !slices.Contains(found[name], s) {
					found[name] = append(found[name], s)
				}
			}
			for _, m := range ids.FindAllStringSubmatch(text, -1) {
				note(m[1] + "-" + m[2])
			}
			for _, m := range attacks.FindAllStringSubmatch(text, -1) {
				note(attackPrefix + m[1])
			}
		}
		switch {
		case strings.HasSuffix(path, "_test.go"):
			return scanGo(path, add)
		case strings.HasSuffix(path, ".test.mjs"):
			return scanScript(path, add)
		}
		return nil
	})
	return found, err
}

// scanGo finds ids in the names of tests and subtests, and in what is written
// about them.
func scanGo(path string, add func(text, title string)) error {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		name := f.Name.Name
		add(named.ReplaceAllString(name, " $1-$2 "), name)
		if f.Doc != nil {
			add(f.Doc.Text(), name)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			if text, err := strconv.Unquote(lit.Value); err == nil {
				add(text, title(text, name))
			}
			return true
		})
		for _, group := range file.Comments {
			if group.Pos() > f.Pos() && group.End() < f.End() {
				add(group.Text(), name)
			}
		}
	}
	return nil
}

// title is what the name of a subtest says after its ids, or its test's name.
func title(text, test string) string {
	begin := leading.FindString(text)
	if rest := strings.TrimSpace(text[len(begin):]); begin != "" && rest != "" {
		return rest
	}
	return test
}

// scanScript finds ids in the names of tests in JavaScript.
func scanScript(path string, add func(text, title string)) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for _, m := range titled.FindAllStringSubmatch(string(b), -1) {
		text := hole.ReplaceAllString(m[1]+m[2], "$1")
		add(text, title(text, text))
	}
	return nil
}

// unknown are the ids of tests that the catalogue doesn't have.
func (c *catalogue) unknown(found map[string][]shown) []string {
	names := maps.Clone(found)
	for _, r := range c.rows {
		delete(names, r.id)
	}
	maps.DeleteFunc(names, func(name string, _ []shown) bool { return strings.HasPrefix(name, attackPrefix) })
	return slices.Sorted(maps.Keys(names))
}
