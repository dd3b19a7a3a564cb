// Program table writes docs/conformance.md: every behaviour of the catalogue with
// the tests that show it, found by their names, or the reason why it is otherwise
// here. It is run in the root of the repository, by make gen.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	out := flag.String("o", "docs/conformance.md", "the file to write")
	flag.Parse()
	if err := run(".", *out); err != nil {
		fmt.Fprintln(os.Stderr, "conformance table:", err)
		os.Exit(1)
	}
}

func run(root, out string) error {
	doc, err := document(root)
	if err != nil {
		return err
	}
	return os.WriteFile(out, doc, 0o644) //nolint:gosec // a document for everybody
}

// document makes the table of the repository at root.
func document(root string) ([]byte, error) {
	c, err := readCatalogue(root)
	if err != nil {
		return nil, err
	}
	found, err := scan(root)
	if err != nil {
		return nil, err
	}
	return c.render(found)
}
