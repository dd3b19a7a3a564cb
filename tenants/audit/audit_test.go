package audit_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/tenants/audit"
)

// chain makes n events that follow each other; texts are such that spreadsheets and
// parsers like to change.
func chain(n int) []audit.Event {
	var all []audit.Event
	previous := audit.Genesis
	for i := range n {
		e := audit.Event{
			Chain: "account:A", Number: int64(i + 1), At: time.Date(2026, 1, 2, 3, 4, 5, i*1000, time.UTC), Actor: audit.User, ActorID: "U", ActorName: "=ada@example.com",
			Account: "A", Tenant: "T", Action: "hub.put", Subject: []string{"chat", "@chat", "'chat", "-1", "é\"<b>,"}[i%5], RequestID: "r", IP: "::1", UserAgent: "+x, \"y\"",
			After: json.RawMessage(`{"b": 1,  "a":"<&>"}`), Previous: previous,
		}
		e.Hash = e.Sum()
		previous = e.Hash
		all = append(all, e)
	}
	return all
}

func export(t *testing.T, asCSV, filtered bool, events []audit.Event, head audit.Head) []byte {
	t.Helper()
	var b bytes.Buffer
	var out interface {
		Event(e *audit.Event) error
		End(more bool) error
	}
	var err error
	if asCSV {
		out, err = audit.NewCSV(&b)
	} else {
		out, err = audit.NewJSONLines(&b, audit.Header{Chain: "account:A", Filtered: filtered, Number: head.Number, Hash: head.Hash.String()})
	}
	for i := range events {
		err = errors.Join(err, out.Event(&events[i]))
	}
	if err = errors.Join(err, out.End(false)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func headOf(events []audit.Event) audit.Head {
	last := events[len(events)-1]
	return audit.Head{Number: last.Number, Hash: last.Hash}
}

func TestSum_is_that_of_the_documented_bytes(t *testing.T) {
	t.Parallel()
	e := chain(1)[0]
	text := "17:signalbox-audit-1,9:account:A,1:1,27:2026-01-02T03:04:05.000000Z,4:user,1:U,0:,16:=ada@example.com,1:A,1:T,7:hub.put,4:chat,1:r,3:::1,7:+x, \"y\",0:,20:" +
		`{"b": 1,  "a":"<&>"}` + ",64:" + strings.Repeat("0", 64) + ","
	if sum := sha256.Sum256([]byte(text)); e.Sum().String() != hex.EncodeToString(sum[:]) {
		t.Errorf("the sum is %s, want that of %s", e.Sum(), text)
	}
}

func TestVerify_takes_what_was_exported(t *testing.T) {
	t.Parallel()
	all := chain(12)
	for _, asCSV := range []bool{false, true} {
		report, err := audit.Verify(bytes.NewReader(export(t, asCSV, false, all, headOf(all))), audit.Options{Kept: []audit.Head{headOf(all[:7])}})
		if err != nil || report.Events != 12 || report.Head != headOf(all) || report.Chain != "account:A" || report.Whole == asCSV || report.Filtered {
			t.Errorf("CSV %t: %+v, %v", asCSV, report, err)
		}
		some := []audit.Event{all[2], all[3], all[8]}
		report, err = audit.Verify(bytes.NewReader(export(t, asCSV, true, some, headOf(all))), audit.Options{Gaps: asCSV})
		if err != nil || report.Events != 3 || !report.Filtered {
			t.Errorf("filtered, CSV %t: %+v, %v", asCSV, report, err)
		}
	}
}

// What somebody may do to a chain who can write to where it is kept, but doesn't make
// all hashes behind it anew; and who does, but can't change a head that was noted.
func TestVerify_finds_what_was_tampered_with(t *testing.T) {
	t.Parallel()
	whole := chain(9)
	forged := func(events []audit.Event) []audit.Event { // with hashes that fit
		previous := audit.Genesis
		for i := range events {
			events[i].Number, events[i].Previous = int64(i+1), previous
			events[i].Hash = events[i].Sum()
			previous = events[i].Hash
		}
		return events
	}
	for name, row := range map[string]struct {
		tamper func(events []audit.Event) []audit.Event
		broken int64
		noted  bool // found by a noted head alone
	}{
		"a field changed":           {func(e []audit.Event) []audit.Event { e[3].IP = "::2"; return e }, 4, false},
		"a time changed":            {func(e []audit.Event) []audit.Event { e[3].At = e[3].At.Add(time.Microsecond); return e }, 4, false},
		"a space in JSON":           {func(e []audit.Event) []audit.Event { e[3].After = json.RawMessage(`{"b":1,"a":"<&>"}`); return e }, 4, false},
		"a field and its hash":      {func(e []audit.Event) []audit.Event { e[3].IP = "::2"; e[3].Hash = e[3].Sum(); return e }, 5, false},
		"bytes moved to the next":   {func(e []audit.Event) []audit.Event { e[3].ActorID, e[3].TokenID = "", "U"; return e }, 4, false},
		"one left out":              {func(e []audit.Event) []audit.Event { return slices.Delete(e, 3, 4) }, 4, false},
		"the first left out":        {func(e []audit.Event) []audit.Event { return e[1:] }, 1, false},
		"one put in":                {func(e []audit.Event) []audit.Event { return slices.Insert(e, 3, e[2]) }, 3, false},
		"two changed places":        {func(e []audit.Event) []audit.Event { e[3], e[4] = e[4], e[3]; return e }, 4, false},
		"another chain's":           {func(e []audit.Event) []audit.Event { e[3].Chain = "account:B"; e[3].Hash = e[3].Sum(); return e }, 4, false},
		"the tail left out":         {func(e []audit.Event) []audit.Event { return e[:6] }, 7, true},
		"all written anew":          {func(e []audit.Event) []audit.Event { e[3].IP = "::2"; return forged(e) }, 8, true},
		"one left out, written on":  {func(e []audit.Event) []audit.Event { return forged(slices.Delete(e, 3, 4)) }, 8, true},
		"nothing left of the chain": {func([]audit.Event) []audit.Event { return nil }, 1, true},
	} {
		for _, asCSV := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, CSV %t", name, asCSV), func(t *testing.T) {
				t.Parallel()
				events := row.tamper(slices.Clone(whole))
				head := audit.Head{}
				if len(events) > 0 {
					head = headOf(events) // the header is forged, too
				}
				file := export(t, asCSV, false, events, head)
				_, err := audit.Verify(bytes.NewReader(file), audit.Options{Kept: []audit.Head{headOf(whole[:8])}})
				if b, ok := errors.AsType[*audit.Break](err); !ok || b.Number != row.broken {
					t.Errorf("found %v, want a break at %d", err, row.broken)
				}
				if _, err := audit.Verify(bytes.NewReader(file), audit.Options{}); (err == nil) != row.noted {
					t.Errorf("without a noted head: %v", err)
				}
			})
		}
	}
}

func TestVerify_of_files_that_are_not_whole(t *testing.T) {
	t.Parallel()
	all := chain(5)
	lines := bytes.SplitAfter(export(t, false, false, all, headOf(all)), []byte("\n"))
	for name, file := range map[string][]byte{
		"nothing":               nil,
		"no header":             bytes.Join(lines[1:], nil),
		"no end":                bytes.Join(lines[:len(lines)-2], nil),
		"an event less":         bytes.Join(slices.Delete(slices.Clone(lines), 5, 6), nil),
		"no JSON":               []byte("{\n"),
		"no columns":            []byte("a,b\n1,2\n"),
		"half a row":            []byte(strings.Split(string(export(t, true, false, all, audit.Head{})), "\n")[0] + "\n1,2\n"),
		"a line without an end": []byte(`{"signalbox_audit":"` + strings.Repeat("x", 5<<20)),
	} {
		if report, err := audit.Verify(bytes.NewReader(file), audit.Options{}); err == nil {
			t.Errorf("%s was taken: %+v", name, report)
		}
	}
	// As filtered: what was left out at the end is known by the count.
	cut := bytes.Join(slices.Delete(slices.Clone(lines), 5, 6), nil)
	if _, err := audit.Verify(bytes.NewReader(cut), audit.Options{Gaps: true}); err == nil {
		t.Error("fewer events than the file says were taken")
	}
}

func TestCSV_has_no_formula(t *testing.T) {
	t.Parallel()
	for line := range strings.SplitSeq(string(export(t, true, false, chain(10), audit.Head{})), "\n") {
		for cell := range strings.SplitSeq(line, ",") {
			if cell = strings.Trim(cell, `"`); cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
				t.Errorf("a cell is %s in %s", cell, line)
			}
		}
	}
}

func FuzzVerify(f *testing.F) {
	f.Add([]byte(`{"signalbox_audit":"signalbox-audit-1","chain":"account:A","filtered":false,"head_number":0,"head_hash":""}` + "\n" + `{"end":true,"events":0}`))
	f.Add([]byte("number,at\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		if report, err := audit.Verify(bytes.NewReader(file), audit.Options{}); err == nil && report.Events > 0 && report.Head.Number != report.Events {
			t.Errorf("%d events end at %d", report.Events, report.Head.Number)
		}
	})
}
