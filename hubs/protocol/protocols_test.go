package protocol_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/signalbox/signalbox/hubs/protocol"
)

func TestByName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"json", "JSON", "messagepack", "MessagePack"} {
		p, ok := protocol.ByName(name)
		if !ok || p.Name() != strings.ToLower(name) {
			t.Errorf("ByName(%q) = %v, %v", name, p, ok)
		}
	}
	for _, name := range []string{"", "blazorpack", "json "} {
		if p, ok := protocol.ByName(name); ok {
			t.Errorf("ByName(%q) = %v", name, p)
		}
	}
}

func TestIsVersionSupported(t *testing.T) {
	t.Parallel()
	for version, want := range map[int]bool{-1: false, 0: false, 1: true, 2: true, 3: false} {
		if got := protocol.IsVersionSupported(version); got != want {
			t.Errorf("IsVersionSupported(%d) = %v", version, got)
		}
	}
}

func TestOversized(t *testing.T) {
	t.Parallel()
	json, messagePack := protocol.NewJSON(), protocol.NewMessagePack()
	for _, row := range []struct {
		name  string
		p     protocol.Protocol
		data  string
		limit int
		want  bool
	}{
		{"json_at_the_limit", json, `{"type":6}` + "\x1e", 10, false},
		{"json_above_the_limit", json, `{"type":6} ` + "\x1e", 10, true},
		{"json_incomplete_at_the_limit", json, `{"type":6}`, 10, false},
		{"json_incomplete_above_the_limit", json, `{"type":6} `, 10, true},
		{"E-06_json_only_the_first_message_counts", json, strings.Repeat(`{"type":6}`+"\x1e", 100), 10, false},
		{"messagepack_at_the_limit", messagePack, "\x02\x91\x06", 2, false},
		{"messagepack_above_the_limit", messagePack, "\x03\x91\x06\x00", 2, true},
		{"messagepack_declared_above_the_limit", messagePack, "\xff\xff\xff\xff\x07", 1 << 20, true},
		{"messagepack_prefix_incomplete", messagePack, "\xff\xff", 2, false},
		{"E-06_messagepack_only_the_first_message_counts", messagePack, strings.Repeat("\x02\x91\x06", 100), 2, false},
	} {
		if got := protocol.Oversized(row.p, []byte(row.data), row.limit); got != row.want {
			t.Errorf("%s: %v", row.name, got)
		}
	}
}

// parseAll reads data as a connection does, in pieces of the given sizes (the
// last size again for all that is left), and keeps what it reads.
func parseAll(p protocol.Protocol, data []byte, sizes ...int) (messages []*protocol.Message, err error) {
	var waiting []byte
	var m protocol.Message
	for len(data) > 0 {
		size := min(max(sizes[0], 1), len(data))
		if len(sizes) > 1 {
			sizes = sizes[1:]
		}
		waiting = append(slices.Clone(waiting), data[:size]...)
		data = data[size:]
		for len(waiting) > 0 {
			n, err := p.Parse(waiting, &m)
			if err != nil {
				return messages, err
			}
			if n == 0 {
				break
			}
			messages = append(messages, m.Clone())
			clear(waiting[:n]) // a clone borrows nothing
			waiting = waiting[n:]
		}
	}
	return messages, nil
}

func appendAll(tb testing.TB, p protocol.Protocol, messages []*protocol.Message) (data []byte) {
	tb.Helper()
	for _, m := range messages {
		var err error
		if data, err = p.Append(data, m); err != nil {
			tb.Fatal(err)
		}
	}
	return data
}

// TestParseInPieces cuts a stream of every golden message at every offset, and
// into bytes: T-31, M-10.
func TestParseInPieces(t *testing.T) {
	t.Parallel()
	for _, p := range []protocol.Protocol{protocol.NewJSON(), protocol.NewMessagePack()} {
		t.Run(p.Name(), func(t *testing.T) {
			t.Parallel()
			var stream []byte
			files := goldenFiles(t, p)
			for _, data := range files {
				stream = append(stream, data...)
			}
			whole, err := parseAll(p, stream, len(stream))
			if err != nil || len(whole) != len(files) {
				t.Fatalf("read %d of %d messages, err %v", len(whole), len(files), err)
			}
			want := appendAll(t, p, whole)
			check := func(sizes ...int) {
				got, err := parseAll(p, stream, sizes...)
				if err != nil {
					t.Fatalf("pieces %v: %v", sizes, err)
				}
				if !bytes.Equal(appendAll(t, p, got), want) {
					t.Fatalf("pieces %v (-whole +pieces):\n%s", sizes, cmp.Diff(whole, got, cmpopts.EquateEmpty()))
				}
			}
			check(1)
			for cut := 1; cut < len(stream); cut++ {
				check(cut, len(stream))
			}
		})
	}
}

// TestGoodMessagesBeforeABadOne: SEC-23, the good ones are applied.
func TestGoodMessagesBeforeABadOne(t *testing.T) {
	t.Parallel()
	messages, err := parseAll(protocol.NewJSON(), []byte(strings.Repeat(`{"type":6}`+"\x1e", 50)+"{}\x1e"+`{"type":6}`+"\x1e"), 1<<20)
	if len(messages) != 50 {
		t.Errorf("read %d messages", len(messages))
	}
	wantError(t, err, "Missing required property 'type'.")
}

// TestReusedMessageKeepsNothing parses every golden message after every other
// into the same Message.
func TestReusedMessageKeepsNothing(t *testing.T) {
	t.Parallel()
	for _, p := range []protocol.Protocol{protocol.NewJSON(), protocol.NewMessagePack()} {
		files := goldenFiles(t, p)
		for first, before := range files {
			for second, data := range files {
				var reused, fresh protocol.Message
				for m, inputs := range map[*protocol.Message][][]byte{&reused: {before, data}, &fresh: {data}} {
					for _, input := range inputs {
						if _, err := p.Parse(input, m); err != nil {
							t.Fatal(err)
						}
					}
				}
				if diff := cmp.Diff(fresh, reused, cmpopts.EquateEmpty()); diff != "" {
					t.Fatalf("%s: %s after %s (-fresh +reused):\n%s", p.Name(), second, first, diff)
				}
			}
		}
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	for _, p := range []protocol.Protocol{protocol.NewJSON(), protocol.NewMessagePack()} {
		data := goldenFiles(t, p)["invocation_with_id"]
		var m protocol.Message
		allocations := testing.AllocsPerRun(100, func() {
			if _, err := p.Parse(data, &m); err != nil {
				t.Fatal(err)
			}
		})
		if allocations != 0 {
			t.Errorf("%s: Parse into a Message that held the same target and id allocates %v times", p.Name(), allocations)
		}
		allocations = testing.AllocsPerRun(100, func() {
			m = protocol.Message{}
			if _, err := p.Parse(data, &m); err != nil {
				t.Fatal(err)
			}
		})
		if allocations > 2 {
			t.Errorf("%s: Parse into a new Message allocates %v times", p.Name(), allocations)
		}
		dst := make([]byte, 0, 256)
		allocations = testing.AllocsPerRun(100, func() {
			if _, err := p.Append(dst, &m); err != nil {
				t.Fatal(err)
			}
		})
		if allocations != 0 {
			t.Errorf("%s: Append allocates %v times", p.Name(), allocations)
		}
	}
}

func TestAppendLeavesDstOnError(t *testing.T) {
	t.Parallel()
	for p, bad := range map[protocol.Protocol]protocol.Raw{
		protocol.NewJSON():        rawMP("\x91\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"),
		protocol.NewMessagePack(): rawJSON(`[1e999]`),
	} {
		for _, m := range []protocol.Message{
			{Type: protocol.Invocation, Target: "t", Arguments: bad},
			{Type: protocol.StreamItem, InvocationID: "1", Item: bad},
			{Type: protocol.Completion, InvocationID: "1", Result: bad},
		} {
			dst, err := p.Append([]byte("before"), &m)
			if err == nil || !bytes.Equal(dst, []byte("before")) {
				t.Errorf("%s, type %d: %q, err %v", p.Name(), m.Type, dst, err)
			}
		}
	}
}
