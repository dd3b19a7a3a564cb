// Command limitspage writes the table of limits into docs/limits.md, between its
// markers, from the table that enforces them.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/signalbox/signalbox/tenants"
)

const (
	begin = "<!-- Made by make gen from tenants/limitrows.go. -->\n\n"
	end   = "\n<!-- End of what make gen makes. -->"
)

func main() {
	page := flag.String("page", "docs/limits.md", "the page to read")
	folder := flag.String("o", "docs", "where limits.md goes")
	flag.Parse()
	if err := write(*page, *folder); err != nil {
		fmt.Fprintln(os.Stderr, "limitspage:", err)
		os.Exit(1)
	}
}

func write(page, folder string) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(text), begin)
	_, tail, ended := strings.Cut(rest, end)
	if !ok || !ended {
		return errors.New(page + " has no markers for the table")
	}
	return os.WriteFile(filepath.Join(folder, "limits.md"), []byte(head+begin+tenants.LimitsTable()+end+tail), 0o644) //nolint:gosec // documentation
}
