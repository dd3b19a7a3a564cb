// Program table writes docs/conformance.md: every behaviour of the catalogue with
// the tests that show it, found by their names, or the reason why it is otherwise
// here; and docs/security-tests.md: every attack of the security catalogue with
// the tests that make it. It is run in the root of the repository, by make gen.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	out := flag.String("o", "docs", "the folder to write to")
	flag.Parse()
	if err := run(".", *out); err != nil {
		fmt.Fprintln(os.Stderr, "conformance table:", err)
		os.Exit(1)
	}
}

func run(root, out string) error {
	docs, err := documents(root)
	if err != nil {
		return err
	}
	for name, doc := range docs {
		if err := os.WriteFile(filepath.Join(out, name), doc, 0o644); err != nil { //nolint:gosec // documents for everybody
			return err
		}
	}
	return nil
}

// documents makes the tables of the repository at root, by the name of the file.
func documents(root string) (map[string][]byte, error) {
	c, err := readCatalogue(root)
	if err != nil {
		return nil, err
	}
	rows, err := readAttacks(root)
	if err != nil {
		return nil, err
	}
	found, err := scan(root)
	if err != nil {
		return nil, err
	}
	conformance, err := c.render(found)
	if err != nil {
		return nil, err
	}
	security, err := renderAttacks(rows, found)
	return map[string][]byte{"conformance.md": conformance, "security-tests.md": security}, err
}
