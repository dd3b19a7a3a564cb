package transport

import (
	"bytes"
	"strings"
	"testing"
)

// eventSource is what a browser makes of a stream: "Interpreting an event
// stream" of the HTML standard. It returns the data of each event.
func eventSource(stream []byte) (events []string, strange []string) {
	// CRLF, CR and LF all end a line; what isn't UTF-8 is replaced, line by line
	// or at once, which is the same.
	text := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(stream))
	var data strings.Builder
	for {
		line, rest, ended := strings.Cut(text, "\n")
		if !ended {
			return events, strange // an event that hasn't ended isn't dispatched
		}
		text = rest
		if line == "" {
			if data.Len() > 0 {
				events = append(events, strings.TrimSuffix(data.String(), "\n"))
				data.Reset()
			}
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		if field != "data" {
			strange = append(strange, line)
			continue
		}
		data.WriteString(strings.TrimPrefix(value, " "))
		data.WriteByte('\n')
	}
}

// FuzzSSEEscape: whatever a payload holds, a client sees one event with just
// that payload (line ends as LF, which is all that an event stream can carry),
// and the event before and the one after it are as they were.
func FuzzSSEEscape(f *testing.F) {
	for _, seed := range []string{
		"{\"type\":6}\x1e", "", " ", "  two spaces", ":", "data: x", "\n", "\r", "\r\n", "\n\r", "\n\n", "\r\r\n\n",
		"a\nb", "a\r\nb", "a\rb", "a\n", "\na", "a\n\ndata: b", "a\r\r: comment", "a\nevent: close\nid: 1\nretry: 0",
		"\ufeffdata: x", "a\u2028b\u2029c\u0085d", "\x00", "\xff\xfe\n\xff", strings.Repeat("\n", 100),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		given := bytes.Clone(payload)
		stream := appendEvent(nil, []byte("before"))
		stream = appendEvent(stream, payload)
		stream = appendEvent(stream, []byte("after"))
		if !bytes.Equal(given, payload) {
			t.Fatal("the payload was changed")
		}
		events, strange := eventSource(stream)
		if len(strange) > 0 {
			t.Fatalf("there are other fields than data: %q", strange)
		}
		if len(events) != 3 || events[0] != "before" || events[2] != "after" {
			t.Fatalf("events are %q", events)
		}
		want := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(payload))
		if events[1] != want {
			t.Errorf("the client sees %q, want %q", events[1], want)
		}
		if most := 10 + len(payload) + 8*(1+bytes.Count(payload, []byte("\n"))+bytes.Count(payload, []byte("\r"))); len(appendEvent(nil, payload)) > most {
			t.Errorf("%d bytes became %d, more than %d", len(payload), len(appendEvent(nil, payload)), most)
		}
	})
}
