// Command pages writes docs/errors, a page for each error code, from the tables of codes
// and of limits.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
)

func main() {
	into := flag.String("o", "docs/errors", "the folder to write to; pages of codes that are gone are removed")
	flag.Parse()
	if err := write(*into); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func write(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(folder, "*.md"))
	if err != nil {
		return err
	}
	for _, page := range old {
		if err := os.Remove(page); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "README.md"), fault.Index(), 0o644); err != nil { //nolint:gosec // pages are for everybody
		return err
	}
	for _, c := range fault.Codes() {
		if err := os.WriteFile(filepath.Join(folder, c.Code+".md"), c.Page(tenants.LimitOfCode(c.Code)), 0o644); err != nil { //nolint:gosec // as above
			return err
		}
	}
	return nil
}
