package tenants

import (
	"fmt"
	"strings"
)

// LimitOfCode says, as Markdown, which limit refuses with a code; "" = none does.
func LimitOfCode(code string) string {
	r, ok := RowOfCode(code)
	if !ok {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "**Limit:** `%s` (%s), counted per %s%s. Free %s, Pro %s, Scale %s %s. At the limit: %s.",
		r.Name, r.Title, r.Scope, r.where(), grouped(r.Free), grouped(r.Pro), grouped(r.Scale), r.Unit, r.At)
	if burst, ok := burstOf[r.Name]; ok {
		n := limitRows[burst]
		fmt.Fprintf(&b, " At once (`%s`): %s, %s, %s.", n.Name, grouped(n.Free), grouped(n.Pro), grouped(n.Scale))
	}
	b.WriteString(" [All limits](../limits.md).")
	return b.String()
}

// where says more of what a limit is counted per.
func (r LimitRow) where() string {
	switch r.Counted() {
	case CountedFleet:
		return ", over all edges"
	case CountedEdge:
		return ", on each edge by itself"
	default:
		return ""
	}
}

// LimitsTable is the table of limits as Markdown.
func LimitsTable() string {
	var b strings.Builder
	b.WriteString("| limit | counted per | kind | Free | Pro | Scale | can be set to | use that is shown | at the limit |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range limitRows {
		at := r.At
		switch {
		case r.Rate != "":
			at = "how much of `" + r.Rate + "` may come at once"
		case r.Code != "":
			at += fmt.Sprintf("; [%s](errors/%s.md)", r.Code, r.Code)
		}
		dry := ", dry run"
		if r.NoDryRun != "" {
			dry = ""
		}
		fmt.Fprintf(&b, "| `%s`: %s | %s | %s | %s | %s | %s | %s to %s%s | %s | %s |\n", r.Name, r.Title, string(r.Scope)+r.where(), r.Kind,
			grouped(r.Free), grouped(r.Pro), grouped(r.Scale), grouped(r.Least), grouped(r.Most), dry, r.Shown(), at)
	}
	return b.String()
}

// grouped writes a number as people read it.
func grouped(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
