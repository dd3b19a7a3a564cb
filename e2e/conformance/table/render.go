package main

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
)

const preface = `<!-- Made by make gen from e2e/conformance/catalogue.tsv, deviations.tsv and the names of tests. -->

# Conformance

What a client of ASP.NET Core SignalR can observe of its server, and the tests
that show the same of this one. A test shows a behaviour when it names the id.
Those in ` + "`e2e/conformance`" + ` use the official JavaScript client in Node and
Chromium, or plain requests and sockets, against a hub made with the package
` + "`hubs`" + `; what differs by transport or protocol they show over all of them.

`

// render writes the table.
func (c *catalogue) render(found map[string][]shown) ([]byte, error) {
	if names := c.unknown(found); len(names) > 0 {
		return nil, fmt.Errorf("tests name ids that the catalogue doesn't have: %s (first: %v)", strings.Join(names, ", "), found[names[0]][0])
	}
	tested, open := 0, 0
	var tables bytes.Buffer
	area := byte(0)
	for _, r := range c.rows {
		if r.id[0] != area {
			area = r.id[0]
			fmt.Fprintf(&tables, "\n## %s\n\n| id | behaviour | shown by |\n|---|---|---|\n", areas[area])
		}
		cell := tests(found[r.id])
		if cell != "" {
			tested++
		}
		if reason, differs := c.deviations[r.id]; differs {
			cell = strings.TrimPrefix(cell+"<br>**Deviation:** "+escape(reason), "<br>")
		} else if cell == "" {
			open++
			cell = "open"
		}
		fmt.Fprintf(&tables, "| %s | %s | %s |\n", r.id, escape(r.text), cell)
	}
	var doc bytes.Buffer
	doc.WriteString(preface)
	fmt.Fprintf(&doc, "Of %d behaviours %d are shown by tests, %d deviate and %d are open.\n", len(c.rows), tested, len(c.deviations), open)
	doc.Write(tables.Bytes())
	return doc.Bytes(), nil
}

// tests lists tests by file.
func tests(all []shown) string {
	all = slices.SortedStableFunc(slices.Values(all), func(a, b shown) int { return cmp.Compare(a.file, b.file) })
	var b strings.Builder
	last := ""
	for _, s := range all {
		switch {
		case s.file == last:
			b.WriteString("; ")
		case last != "":
			b.WriteString("<br>")
			fallthrough
		default:
			fmt.Fprintf(&b, "[%s](../%s): ", s.file, s.file)
			last = s.file
		}
		b.WriteString(escape(s.title))
	}
	return b.String()
}

// escape keeps text from ending a cell or becoming markup.
var escape = strings.NewReplacer("|", `\|`, "<", "&lt;", "\n", " ", "*", `\*`, "_", `\_`).Replace
