package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// attackPrefix is what the ids of the security catalogue begin with.
const attackPrefix = "SEC-"

var attackID = regexp.MustCompile(`^SEC-[0-9]{2}$`)

// attack is one row of the security catalogue.
type attack struct{ id, text, answer string }

// shownAlways are the attacks on what every client reaches: without a test for
// one of them there is no table.
var shownAlways = []string{
	"08", "09", "10", "11", "12", "13", "14", "19", "20", "21", "22", "23", "24", "25", "26", "27", "33", "34", "35", "45",
}

// readAttacks reads lines of an id, a tab, an attack, a tab and the answer.
func readAttacks(root string) ([]attack, error) {
	path := filepath.Join(root, "e2e", "conformance", "security.tsv")
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var rows []attack
	for i, line := range strings.Split(strings.TrimRight(string(b), "\n"), "\n") {
		cells := strings.Split(line, "\t")
		if len(cells) != 3 || !attackID.MatchString(cells[0]) || slices.ContainsFunc(rows, func(r attack) bool { return r.id >= cells[0] }) {
			return nil, fmt.Errorf("%s:%d: a line is an id, in order, a tab, an attack, a tab and the answer", path, i+1)
		}
		rows = append(rows, attack{cells[0], cells[1], cells[2]})
	}
	return rows, nil
}

const securityPreface = `<!-- Made by make gen from e2e/conformance/security.tsv and the names of tests. -->

# Attacks and their tests

What somebody may try, what happens then, and the tests that try it. Each also
looks after the neighbours of whoever is attacked, where there may be any. A test
shows an answer when it names the id. Limits are in [limits.md](limits.md).

| id | attack | answer | tried by |
|---|---|---|---|
`

// renderAttacks writes the table of those that are tried.
func renderAttacks(rows []attack, found map[string][]shown) ([]byte, error) {
	var doc bytes.Buffer
	var errs []error
	doc.WriteString(securityPreface)
	unknown := maps.Clone(found)
	for _, r := range rows {
		delete(unknown, r.id)
		cell := tests(found[r.id])
		switch {
		case cell != "":
			fmt.Fprintf(&doc, "| %s | %s | %s | %s |\n", r.id, escape(r.text), escape(r.answer), cell)
		case slices.Contains(shownAlways, strings.TrimPrefix(r.id, attackPrefix)):
			errs = append(errs, fmt.Errorf("no test names %s", r.id))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(unknown)) {
		if strings.HasPrefix(name, attackPrefix) {
			errs = append(errs, fmt.Errorf("tests name %s, which e2e/conformance/security.tsv doesn't have", name))
		}
	}
	return doc.Bytes(), errors.Join(errs...)
}
