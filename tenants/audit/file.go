package audit

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxLine bounds a line of an export, in bytes: events are far smaller.
const maxLine = 4 << 20

// Header is the first line of an export as JSON Lines.
type Header struct {
	Format string `json:"signalbox_audit"` // Format
	Chain  string `json:"chain"`
	// Filtered exports leave events out.
	Filtered bool `json:"filtered"`
	// Number and Hash are the head of the chain when the export began.
	Number int64  `json:"head_number"`
	Hash   string `json:"head_hash"`
	// After and AfterHash are the event behind which the export begins, in a part that
	// isn't the first.
	After     int64  `json:"after,omitempty"`
	AfterHash string `json:"after_hash,omitempty"`
}

// footer is the last line, so that a file that was cut off is known as such.
type footer struct {
	End bool `json:"end"`
	// More tells that the chain goes on, in another file.
	More   bool  `json:"more,omitempty"`
	Events int64 `json:"events"`
}

// line is an event as JSON, but for before and after, which stay the bytes that they
// are.
type line struct {
	Number    int64           `json:"number"`
	At        string          `json:"at"`
	Chain     string          `json:"chain"`
	Actor     Actor           `json:"actor"`
	ActorID   string          `json:"actor_id,omitempty"`
	TokenID   string          `json:"token_id,omitempty"`
	ActorName string          `json:"actor_name,omitempty"`
	Account   string          `json:"account_id,omitempty"`
	Tenant    string          `json:"tenant_id,omitempty"`
	Action    string          `json:"action"`
	Subject   string          `json:"subject,omitempty"`
	RequestID string          `json:"request_id,omitempty"`
	IP        string          `json:"ip,omitempty"`
	UserAgent string          `json:"user_agent,omitempty"`
	Previous  string          `json:"previous"`
	Hash      string          `json:"hash"`
	Before    json.RawMessage `json:"before,omitempty"`
	After     json.RawMessage `json:"after,omitempty"`
}

// JSONLines writes an export as JSON Lines: a header, a line for each event, an end.
type JSONLines struct {
	w      io.Writer
	events int64
}

// NewJSONLines writes the header.
func NewJSONLines(w io.Writer, h Header) (*JSONLines, error) {
	h.Format = Format
	return &JSONLines{w: w}, writeLine(w, h)
}

// Event writes an event.
func (j *JSONLines) Event(e *Event) error {
	j.events++
	text, err := plainJSON(line{
		Number: e.Number, At: e.At.UTC().Format(TimeForm), Chain: e.Chain, Actor: e.Actor, ActorID: e.ActorID, TokenID: e.TokenID, ActorName: e.ActorName,
		Account: e.Account, Tenant: e.Tenant, Action: e.Action, Subject: e.Subject, RequestID: e.RequestID, IP: e.IP, UserAgent: e.UserAgent,
		Previous: e.Previous.String(), Hash: e.Hash.String(),
	})
	if err != nil {
		return err
	}
	text = text[:len(text)-1] // the brace
	for _, part := range []struct {
		name string
		raw  json.RawMessage
	}{{"before", e.Before}, {"after", e.After}} {
		if len(part.raw) > 0 {
			text = append(text, `,"`+part.name+`":`...)
			text = append(text, part.raw...)
		}
	}
	_, err = j.w.Write(append(text, "}\n"...))
	return err
}

// End writes the last line; more = the chain goes on.
func (j *JSONLines) End(more bool) error {
	return writeLine(j.w, footer{End: true, More: more, Events: j.events})
}

func writeLine(w io.Writer, v any) error {
	text, err := plainJSON(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(text, '\n'))
	return err
}

// plainJSON is json.Marshal that leaves <, > and & as they are.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode audit: %w", err)
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// columns are those of an export as CSV.
var columns = []string{
	"number", "at", "chain", "actor", "actor_id", "token_id", "actor_name", "account_id", "tenant_id", "action", "subject", "request_id", "ip", "user_agent",
	"before", "after", "previous", "hash",
}

// CSV writes an export as CSV, with a line of names. Spreadsheets take no cell of it
// for a formula: one that begins like a formula, or with an apostrophe, has an
// apostrophe before it, which Verify takes away again.
type CSV struct{ w *csv.Writer }

// NewCSV writes the names of the columns.
func NewCSV(w io.Writer) (*CSV, error) {
	c := &CSV{w: csv.NewWriter(w)}
	return c, c.w.Write(columns)
}

// Event writes an event.
func (c *CSV) Event(e *Event) error {
	cells := []string{
		strconv.FormatInt(e.Number, 10), e.At.UTC().Format(TimeForm), e.Chain, string(e.Actor), e.ActorID, e.TokenID, e.ActorName, e.Account, e.Tenant, e.Action,
		e.Subject, e.RequestID, e.IP, e.UserAgent, string(e.Before), string(e.After), e.Previous.String(), e.Hash.String(),
	}
	for i, cell := range cells {
		if cell != "" && strings.ContainsRune(guarded, rune(cell[0])) {
			cells[i] = "'" + cell
		}
	}
	return c.w.Write(cells)
}

// guarded are the first characters of cells that get an apostrophe.
const guarded = "=+-@\t\r'"

// End writes what is left. The file has no place to say that more follow.
func (c *CSV) End(bool) error {
	c.w.Flush()
	return c.w.Error()
}

// Options say what a file is compared with.
type Options struct {
	// Gaps lets events be missing. The header of JSON Lines says so by itself.
	Gaps bool
	// Kept are heads that were noted before, which must be in the chain.
	Kept []Head
	// From is what comes before the first event of a part, as the part before ended; the
	// zero value = what the header says, or the beginning of the chain.
	From Head
}

// Report says what was verified.
type Report struct {
	Chain  string
	Events int64
	Head   Head // the last event
	// Filtered tells that events may be missing.
	Filtered bool
	// Whole tells that the file has its end. CSV has none: whether lines are missing
	// there at the end, a kept head alone tells.
	Whole bool
	// From is the event behind which the file begins; the zero value = it has the first.
	From Head
	// More tells that the chain goes on in another file.
	More bool
}

// Verify reads an export, as JSON Lines or CSV, and verifies each event and, unless
// some may be missing, that they follow each other from the first one on. The error
// is a *Break where events are not what they were.
func Verify(r io.Reader, o Options) (Report, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	first, err := buffered.Peek(1)
	if err != nil {
		return Report{}, errors.New("the file is empty")
	}
	if first[0] == '{' {
		return verifyLines(buffered, o)
	}
	return verifyCSV(buffered, o)
}

func verifyLines(r *bufio.Reader, o Options) (Report, error) {
	text, err := readLine(r)
	if err != nil {
		return Report{}, err
	}
	var h Header
	if err := json.Unmarshal(text, &h); err != nil || h.Format != Format {
		return Report{}, fmt.Errorf("the first line is not the header of an export of the form %s", Format)
	}
	c := Chain{Gaps: o.Gaps || h.Filtered, Kept: o.Kept, From: o.From}
	if o.From == (Head{}) && h.After > 0 {
		hash, ok := ParseHash(h.AfterHash)
		if !ok {
			return Report{}, errors.New("the header has no hash of the event before the first")
		}
		c.From = Head{h.After, hash}
	}
	report := func(whole bool) Report {
		return Report{Chain: h.Chain, Events: c.Events(), Head: c.Head(), Filtered: c.Gaps, Whole: whole, From: c.From}
	}
	if !c.Gaps {
		if hash, ok := ParseHash(h.Hash); ok {
			c.Kept = append(slices.Clone(c.Kept), Head{h.Number, hash})
		}
	}
	for {
		text, err := readLine(r)
		if errors.Is(err, io.EOF) {
			return report(false), errors.New("the file was cut off: its last line is missing")
		}
		if err != nil {
			return report(false), err
		}
		var end footer
		if json.Unmarshal(text, &end) == nil && end.End {
			if end.Events != c.Events() {
				return report(false), &Break{c.Head().Number + 1, fmt.Sprintf("of %d events in the file %d are there", end.Events, c.Events())}
			}
			if end.More {
				part := report(true)
				part.More = true
				return part, nil
			}
			return report(true), c.End()
		}
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return report(false), fmt.Errorf("the line behind event %d is not one of an export: %w", c.Head().Number, err)
		}
		e, err := l.event()
		if err != nil {
			return report(false), err
		}
		if e.Chain != h.Chain {
			return report(false), &Break{e.Number, fmt.Sprintf("is one of another chain, %q", e.Chain)}
		}
		if err := c.Add(&e); err != nil {
			return report(false), err
		}
	}
}

// readLine returns io.EOF when nothing is left.
func readLine(r *bufio.Reader) ([]byte, error) {
	var text []byte
	for {
		part, prefix, err := r.ReadLine()
		if err != nil {
			return nil, err
		}
		if text = append(text, part...); len(text) > maxLine {
			return nil, fmt.Errorf("a line is longer than %d bytes", maxLine)
		}
		if !prefix {
			return text, nil
		}
	}
}

func (l *line) event() (Event, error) {
	e := Event{
		Chain: l.Chain, Number: l.Number, Actor: l.Actor, ActorID: l.ActorID, TokenID: l.TokenID, ActorName: l.ActorName, Account: l.Account, Tenant: l.Tenant,
		Action: l.Action, Subject: l.Subject, RequestID: l.RequestID, IP: l.IP, UserAgent: l.UserAgent, Before: l.Before, After: l.After,
	}
	var err error
	if e.At, err = time.Parse(TimeForm, l.At); err != nil {
		return e, fmt.Errorf("event %d has no time: %w", l.Number, err)
	}
	var ok, okToo bool
	e.Previous, ok = ParseHash(l.Previous)
	e.Hash, okToo = ParseHash(l.Hash)
	if !ok || !okToo {
		return e, fmt.Errorf("event %d has no hash", l.Number)
	}
	return e, nil
}

func verifyCSV(r io.Reader, o Options) (Report, error) {
	rows := csv.NewReader(r)
	names, err := rows.Read()
	if err != nil || !slices.Equal(names, columns) {
		return Report{}, fmt.Errorf("the first line must be %s", strings.Join(columns, ","))
	}
	c := Chain{Gaps: o.Gaps, Kept: o.Kept, From: o.From}
	report := func() Report {
		return Report{Chain: c.name, Events: c.Events(), Head: c.Head(), Filtered: c.Gaps, From: c.From}
	}
	for {
		cells, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return report(), c.End()
		}
		if err != nil {
			return report(), fmt.Errorf("the row behind event %d can't be read: %w", c.Head().Number, err)
		}
		for i, cell := range cells {
			cells[i] = strings.TrimPrefix(cell, "'")
		}
		number, err := strconv.ParseInt(cells[0], 10, 64)
		if err != nil {
			return report(), fmt.Errorf("the row behind event %d has no number", c.Head().Number)
		}
		l := line{
			Number: number, At: cells[1], Chain: cells[2], Actor: Actor(cells[3]), ActorID: cells[4], TokenID: cells[5], ActorName: cells[6], Account: cells[7],
			Tenant: cells[8], Action: cells[9], Subject: cells[10], RequestID: cells[11], IP: cells[12], UserAgent: cells[13], Previous: cells[16], Hash: cells[17],
		}
		if cells[14] != "" {
			l.Before = json.RawMessage(cells[14])
		}
		if cells[15] != "" {
			l.After = json.RawMessage(cells[15])
		}
		e, err := l.event()
		if err != nil {
			return report(), err
		}
		if err := c.Add(&e); err != nil {
			return report(), err
		}
	}
}
