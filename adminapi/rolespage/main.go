// Command rolespage writes docs/roles.md: who may call which operation of the
// control plane's API, from the table that the API itself goes by.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/signalbox/signalbox/adminapi"
	"github.com/signalbox/signalbox/tenants"
)

func main() {
	folder := flag.String("o", "docs", "where roles.md goes")
	flag.Parse()
	page, err := render()
	if err == nil {
		err = os.WriteFile(filepath.Join(*folder, "roles.md"), page, 0o644) //nolint:gosec // documentation
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "rolespage:", err)
		os.Exit(1)
	}
}

const preface = `<!-- Made by make gen from tenants.Operations and adminapi/openapi.yaml. -->

# Who may do what

The table that the API goes by, and that a test walks: every operation × role × kind
of caller. "own" is what concerns the caller alone: no role is needed. A role counts
in the account concerned, at the time of the request, for a personal API token too;
a service token has a role of its own, never owner. Of others than owners nobody
makes, changes or removes owners. [accounts.md](accounts.md) says the rest.

`

type line struct{ tag, id, text string }

func render() ([]byte, error) {
	spec, err := adminapi.Spec()
	if err != nil {
		return nil, err
	}
	order := make(map[string]int)
	for i, tag := range spec.Tags {
		order[tag.Name] = i
	}
	var lines []line
	for path, item := range spec.Paths.Map() {
		for method, op := range item.Operations() {
			row, ok := tenants.Operations[op.OperationID]
			if !ok {
				return nil, fmt.Errorf("operation %s has no row in tenants.Operations", op.OperationID)
			}
			lines = append(lines, line{op.Tags[0], op.OperationID, fmt.Sprintf("| %s | `%s %s` | %s |\n", op.Summary, method, path, strings.Join(cells(row), " | "))})
		}
	}
	slices.SortFunc(lines, func(a, b line) int {
		if d := order[a.tag] - order[b.tag]; d != 0 {
			return d
		}
		return strings.Compare(a.id, b.id)
	})
	page := bytes.NewBufferString(preface)
	tag := ""
	for _, l := range lines {
		if l.tag != tag {
			tag = l.tag
			fmt.Fprintf(page, "\n## %s\n\n| operation | request | owner | admin | developer | billing | viewer | API tokens |\n|---|---|---|---|---|---|---|---|\n", tag)
		}
		page.WriteString(l.text)
	}
	return page.Bytes(), nil
}

// cells are those of the roles and of the tokens.
func cells(o tenants.Operation) []string {
	var all []string
	for _, role := range tenants.Roles {
		switch {
		case o.Callers == tenants.Anybody:
			all = append(all, "anybody")
		case o.Needs == "":
			all = append(all, "own")
		case role.Allows(o.Needs):
			all = append(all, "yes")
		default:
			all = append(all, "–")
		}
	}
	switch {
	case o.Callers == tenants.SignedIn:
		return append(all, "–")
	case o.Scope != "":
		return append(all, "`"+string(o.Scope)+"`")
	}
	return append(all, "any")
}
