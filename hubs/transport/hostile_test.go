package transport_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// killers are frames with MessagePack that promise more than they have, by name.
func killers() map[string]string {
	// sized is a message with its length before it.
	sized := func(message string) string {
		return string(binary.AppendUvarint(nil, uint64(len(message)))) + message
	}
	const nested = "\x96\x01\x80\xc0\xa1x" // an invocation of x, up to its arguments
	frames := map[string]string{
		"a size beyond 2^31":                 "\xff\xff\xff\xff\x0f",
		"a size in 6 bytes":                  "\x80\x80\x80\x80\x80\x01",
		"a size beyond the message limit":    "\xff\xff\x7f" + nested,
		"a message of 2^31 items":            sized("\xdd\x7f\xff\xff\xff"),
		"headers of 2^31 pairs":              sized("\x96\x01\xdf\x7f\xff\xff\xff"),
		"an argument of 2^31 items":          sized(nested + "\x91\xdd\x7f\xff\xff\xff\x90"),
		"an argument of 2^31 pairs":          sized(nested + "\x91\xdf\x7f\xff\xff\xff\x90"),
		"an argument of 256 MiB":             sized(nested + "\x91\xc6\x0f\xff\xff\xff\x90"),
		"an extension of 4 GiB":              sized(nested + "\x91\xc9\xff\xff\xff\xff\x01\x90"),
		"65 levels":                          sized(nested + strings.Repeat("\x91", 65) + "\xc0\x90"),
		"heads of arrays in each other":      sized(nested + strings.Repeat("\xdc\xff\xff", 10000)),
		"a target that is a number":          sized("\x96\x01\x80\xc0\x01\x90\x90"),
		"a type that is a fraction":          sized("\x96\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00\x80\xc0\xa1x\x90\x90"),
		"a message that is no array":         sized("\xc0"),
		"an empty message":                   "\x00",
		"a good message, then a killer":      sized("\x91\x06") + sized("\xdd\x7f\xff\xff\xff"),
		"the same killer a thousand times":   strings.Repeat(sized("\xdd\x7f\xff\xff\xff"), 1000),
		"more stream ids than bytes":         sized(nested + "\x90\xdd\x7f\xff\xff\xff"),
		"a text of 4 GiB as target":          sized("\x96\x01\x80\xc0\xdb\xff\xff\xff\xff"),
		"a header name that is no text":      sized("\x96\x01\x81\x01\xa1v\xc0\xa1x\x90\x90"),
		"a size in 5 bytes that goes on":     "\x80\x80\x80\x80\x80",
		"a size beyond the frame":            string(rune(len(nested)+3)) + nested + "\x90\x90" + sized("\x91\x06"),
		"a map of 2^31 pairs for a message":  sized("\xdf\x7f\xff\xff\xff"),
		"bytes of 256 MiB for a message":     sized("\xc6\x0f\xff\xff\xff"),
		"bytes of 256 MiB for a target":      sized("\x96\x01\x80\xc0\xc6\x0f\xff\xff\xff\x90\x90"),
		"maps in each other as keys":         sized(nested + "\x91" + strings.Repeat("\x81", 65) + "\xc0\xc0\x90"),
		"bytes behind the message":           sized("\x91\x06\x00"),
		"less than no headers":               sized("\x96\x01\xff\xc0\xa1x\x90\x90"),
		"less than no headers, in 8 bytes":   sized("\x96\x01\xd3\xff\xff\xff\xff\xff\xff\xff\xff\xc0\xa1x\x90\x90"),
		"a size of headers for no headers":   sized("\x96\x01\x8f\xc0\xa1x\x90\x90"),
		"an argument that promises too many": sized(nested + "\x91\xdc\xff\xff\xc0\x90"),
	}
	// Extensions of every type, where there may be none.
	for typ := 1; typ < 256; typ++ {
		frames[fmt.Sprintf("an extension of type %d for a target", typ)] = sized("\x96\x01\x80\xc0\xc7\x01" + string([]byte{byte(typ)}) + "x\x90\x90")
	}
	return frames
}

// SEC-22: each ends its connection and touches no other.
func TestSEC_22_killer_frames(t *testing.T) {
	t.Parallel()
	for name, frame := range killers() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, nil)
			neighbour, _ := s.connected("")
			r := s.raw("messagepack")
			before := s.hub.Connections()
			go r.write(masked(0x82, []byte(frame)))
			status, last := r.closed()
			if status != int(websocket.StatusNormalClosure) && status != int(websocket.StatusMessageTooBig) {
				t.Errorf("closed with %d", status)
			}
			if !bytes.Contains(last, []byte("\x07")) || !bytes.Contains(last, []byte("Connection closed with an error.")) {
				t.Errorf("the last words are %q, want a Close message", last)
			}
			neighbour.expect(s.publish("still here"))
			r.conn.Close()
			until(t, "the end of the connection", func() bool { return s.hub.Connections() == before-1 })
			other, _ := s.connected("")
			other.expect(s.publish("and so are others"))
		})
	}
}

// SEC-22: what a frame makes the parser allocate is bounded by what it has, not by
// what it says. Nothing else runs meanwhile.
func TestSEC_22_killer_frames_allocate_little(t *testing.T) {
	const anError = 512 // bytes, with its text
	p := protocol.NewMessagePack()
	for name, frame := range killers() {
		least := uint64(math.MaxUint64)
		for range 5 {
			data, m := []byte(frame), protocol.Message{}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for {
				n, err := p.Parse(data, &m)
				if err != nil || n == 0 {
					break
				}
				data = data[n:]
			}
			runtime.ReadMemStats(&after)
			least = min(least, after.TotalAlloc-before.TotalAlloc)
		}
		if most := 4*uint64(len(frame)) + anError; least > most {
			t.Errorf("%s: %d bytes allocate %d, want at most %d", name, len(frame), least, most)
		}
	}
}

// SEC-22: MessagePack that looks odd and is fine, as in ASP.NET Core.
func TestSEC_22_frames_that_are_fine(t *testing.T) {
	t.Parallel()
	const nested = "\x96\x01\x80\xc0\xa1x"
	var extensions strings.Builder
	for typ := range 64 {
		extensions.WriteString("\xc7\x01" + string([]byte{byte(typ * 4)}) + "x")
	}
	for name, message := range map[string]string{
		"17 items":                 "\xdc\x00\x11\x01\x80\xc0\xa1x\x90\x90" + strings.Repeat("\xc0", 11),
		"keys of any kind":         nested + "\x91\x85\x01\x01\xc0\x02\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00\x03\x91\x01\x04\x81\x01\x01\x05\x90",
		"extensions as arguments":  nested + "\xdc\x00\x40" + extensions.String() + "\x90",
		"a size that is too long":  "",
		"no stream ids are needed": "\x95\x01\x80\xc0\xa1x\x90",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			handled := newRecorder()
			s := newSite(t, func(s *setup) { s.config.Dispatcher = handled })
			r := s.raw("messagepack")
			frame := string(binary.AppendUvarint(nil, uint64(len(message)))) + message
			if message == "" {
				message = nested + "\x90\x90"
				frame = string([]byte{byte(len(message)) | 0x80, 0x80, 0x80, 0x80, 0}) + message
			}
			r.write(masked(0x82, []byte(frame)))
			select {
			case got := <-handled.targets:
				if got != "x" {
					t.Errorf("handled %q", got)
				}
			case err := <-handled.disconnected:
				t.Errorf("closed: %v", err)
			}
		})
	}
}

// hostileJSON is a row of TestSEC_23_hostile_JSON.
type hostileJSON struct {
	name, sent string
	handled    string // the targets that the hub sees
	lives      bool
}

// limit is that of the hub's messages: the default, or more for what wouldn't get
// past it.
func (h *hostileJSON) limit() int {
	if len(h.sent) > 1<<20 {
		return 16 << 20
	}
	return 0
}

// SEC-23: JSON that is wrong ends the connection behind what was right.
func TestSEC_23_hostile_JSON(t *testing.T) {
	t.Parallel()
	var keys strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&keys, `"k%d":%d,`, i, i)
	}
	var many strings.Builder
	for i := range 150_000 {
		fmt.Fprintf(&many, `"%d":1,`, i)
	}
	for _, row := range []hostileJSON{
		{"depth 65", call("a") + `{"type":1,"target":"b","arguments":` + strings.Repeat("[", 65) + strings.Repeat("]", 65) + "}\x1e", "a", false},
		{"brackets for ever", call("a") + `{"type":1,"target":"b","arguments":` + strings.Repeat("[", 30000) + "\x1e", "a", false},
		{"more keys than the limit of a message", call("a") + `{` + keys.String() + `"x":"` + strings.Repeat("x", 33000) + `"}` + "\x1e", "a", false},
		{"150,000 properties", call("a") + `{` + many.String() + `"type":6}` + "\x1e", "a", false},
		{"150,000 keys in an argument", `{"type":1,"target":"b","arguments":[{` + many.String() + `"x":1}]}` + "\x1e", "b", true},
		{"two types, of which the last counts", `{"type":6,"type":1,"target":"b","arguments":[]}` + "\x1e", "b", true},
		{"two types, of which the last is none", call("a") + `{"type":1,"type":"1","target":"b","arguments":[]}` + "\x1e", "a", false},
		{"half a surrogate pair in a target", call("a") + `{"type":1,"target":"\ud83d","arguments":[]}` + "\x1e", "a", false},
		{"half a surrogate pair in a name", call("a") + `{"type":1,"target":"b","arguments":[],"\udc00":1}` + "\x1e", "a", false},
		{"a separator behind a backslash", call("a") + `{"type":1,"target":"b\` + "\x1e" + `","arguments":[]}` + "\x1e", "a", false},
		{"a type with an exponent", call("a") + `{"type":1e0,"target":"b","arguments":[]}` + "\x1e", "a", false},
		{"a separator inside a text", call("a") + "{\"type\":1,\"target\":\"b\x1ec\",\"arguments\":[]}\x1e", "a", false},
		{"an escaped separator", `{"type":1,"target":"b\u001ec","arguments":[]}` + "\x1e", "b\x1ec", true},
		{"a mark of byte order", call("a") + "\xef\xbb\xbf" + call("b"), "a", false},
		{"NUL in a target", `{"type":1,"target":"\u0000","arguments":[]}` + "\x1e", "\x00", true},
		{"properties in any order", `{"arguments":[],"x":{},"target":"b","type":1}` + "\x1e", "b", true},
		{"one bad among a hundred", strings.Repeat(call("a"), 50) + "{\x1e" + strings.Repeat(call("b"), 49), strings.TrimSpace(strings.Repeat("a ", 50)), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := newRecorder()
			s := newSite(t, func(s *setup) { s.config.Dispatcher, s.config.Options.MaximumReceiveMessageSize = r, row.limit() })
			neighbour, _ := s.connected("")
			ws, _ := s.connected("")
			ws.send(row.sent)
			if row.lives {
				ws.send(call("last"))
				row.handled += " last"
			}
			for _, want := range strings.Split(row.handled, " ") {
				select {
				case got := <-r.targets:
					if got != want {
						t.Fatalf("handled %q, want %q", got, want)
					}
				case <-time.After(wait):
					t.Fatalf("%q was not handled", want)
				}
			}
			if row.lives {
				ws.expect(s.publish("still here"))
				return
			}
			if got, err := ws.read(); err != nil || !strings.HasPrefix(got, `{"type":7,"error":`) {
				t.Errorf("got %q, %v, want a Close message", got, err)
			}
			if got, err := ws.read(); err == nil {
				t.Errorf("got %q after the Close message", got)
			}
			<-r.disconnected
			if len(r.targets) > 0 {
				t.Errorf("%d messages behind the bad one were handled", len(r.targets))
			}
			neighbour.expect(s.publish("still here"))
		})
	}
}

// SEC-23: a message without its separator is none.
func TestSEC_23_a_message_without_an_end(t *testing.T) {
	t.Parallel()
	handled := newRecorder()
	s := newSite(t, func(s *setup) { s.config.Dispatcher = handled })
	neighbour, _ := s.connected("")
	ws, _ := s.connected("")
	ws.send(call("a") + strings.TrimSuffix(call("b"), "\x1e"))
	if got := <-handled.targets; got != "a" {
		t.Errorf("handled %q", got)
	}
	neighbour.expect(s.publish("still here"))
	_ = ws.conn.Close(websocket.StatusNormalClosure, "")
	if err := <-handled.disconnected; err == nil || !strings.Contains(err.Error(), "Connection terminated while reading a message.") {
		t.Errorf("the hub was told %v", err)
	}
	if len(handled.targets) > 0 {
		t.Errorf("handled %q", <-handled.targets)
	}
}

// SEC-24: what belongs to nothing changes nothing.
func TestSEC_24_stray_messages(t *testing.T) {
	t.Parallel()
	for name, stray := range map[string]string{
		"a completion for nobody":     `{"type":3,"invocationId":"99","result":1}`,
		"an item for no stream":       `{"type":2,"invocationId":"99","item":1}`,
		"the cancellation of nothing": `{"type":5,"invocationId":"99"}`,
		"an unknown type":             `{"type":77,"invocationId":"99"}`,
	} {
		t.Run(name+" changes nothing", func(t *testing.T) {
			t.Parallel()
			s := newSite(t, nil)
			ws, _ := s.connected("")
			ws.send(strings.Repeat(stray+"\x1e", 100))
			ws.expect(s.publish("still here"))
		})
	}
}
