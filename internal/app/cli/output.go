package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// The formats of --output.
const (
	formatTable = "table"
	formatJSON  = "json"
)

// column is one of a table of T.
type column[T any] struct {
	head string
	text func(T) string
}

// list prints things: their ids, a JSON array of them as the API has them, or a table.
func list[T any](p *program, things []T, id func(T) string, columns ...column[T]) error {
	out := &listing[T]{p: p, id: id, columns: columns}
	if err := out.add(things); err != nil {
		return err
	}
	return out.end()
}

// listing is a list of which one page after the other is printed, as it comes.
type listing[T any] struct {
	p       *program
	id      func(T) string
	columns []column[T]
	begun   bool // the head of the table, or the array's bracket, is printed
	count   int
}

// add prints a page.
func (l *listing[T]) add(things []T) error {
	defer func() { l.begun = true }()
	switch {
	case l.p.flags.quiet:
		for _, t := range things {
			if err := l.p.line(l.id(t)); err != nil {
				return err
			}
		}
		return nil
	case l.p.flags.output == formatJSON:
		return l.elements(things)
	}
	w := tabwriter.NewWriter(l.p.Out, 0, 0, 2, ' ', 0)
	if !l.begun {
		heads := make([]string, len(l.columns))
		for i, c := range l.columns {
			heads[i] = c.head
		}
		_, _ = fmt.Fprintln(w, strings.Join(heads, "\t")) // Flush tells
	}
	for _, t := range things {
		cells := make([]string, len(l.columns))
		for i, c := range l.columns {
			cells[i] = cell(c.text(t))
		}
		_, _ = fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}

// elements prints a page of an array, which end closes: one that breaks off is none.
func (l *listing[T]) elements(things []T) error {
	var b bytes.Buffer
	if !l.begun {
		b.WriteString("[")
	}
	for _, t := range things {
		if l.count > 0 {
			b.WriteString(",")
		}
		l.count++
		b.WriteString("\n  ")
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("  ", "  ")
		if err := e.Encode(t); err != nil {
			return err
		}
		b.Truncate(b.Len() - 1) // the line's end
	}
	_, err := l.p.Out.Write(b.Bytes())
	return err
}

// end ends the list.
func (l *listing[T]) end() error {
	if l.p.flags.quiet || l.p.flags.output != formatJSON {
		return nil
	}
	return l.p.line("\n]")
}

// field is one of a thing that is shown; one without a value is left out.
type field struct{ name, value string }

// show prints one thing: what a script wants of it, JSON as the API has it, or its
// fields.
func (p *program) show(thing any, quiet string, fields ...field) error {
	switch {
	case p.flags.quiet:
		return p.line(quiet)
	case p.flags.output == formatJSON:
		return p.json(thing)
	}
	w := tabwriter.NewWriter(p.Out, 0, 0, 2, ' ', 0)
	for _, f := range fields {
		if f.value != "" {
			_, _ = fmt.Fprintf(w, "%s\t%s\n", f.name, cell(f.value)) // Flush tells
		}
	}
	return w.Flush()
}

// done says that something was done that has no result; JSON gets an empty object.
func (p *program) done(format string, args ...any) error {
	switch {
	case p.flags.quiet:
		return nil
	case p.flags.output == formatJSON:
		return p.line("{}")
	}
	return p.line(fmt.Sprintf(format, args...))
}

func (p *program) json(v any) error {
	e := json.NewEncoder(p.Out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (p *program) line(s string) error {
	_, err := fmt.Fprintln(p.Out, s)
	return err
}

// cell keeps what others have named from breaking lines, columns and terminals.
func cell(s string) string {
	if s == "" {
		return "-"
	}
	return printable(s)
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}

// value returns what v points to, or the zero value.
func value[T any](v *T) T {
	if v == nil {
		var zero T
		return zero
	}
	return *v
}

// filled returns nil for the zero value.
func filled[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// moment shows a time in UTC, to the second.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

func moments(t *time.Time) string { return moment(value(t)) }

func number[T int | int32 | int64](n T) string { return strconv.FormatInt(int64(n), 10) }

func numbers(n *int64) string {
	if n == nil {
		return ""
	}
	return number(*n)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func joined[T ~string](all []T) string {
	texts := make([]string, len(all))
	for i, s := range all {
		texts[i] = string(s)
	}
	return strings.Join(texts, ", ")
}
