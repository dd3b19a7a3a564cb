package protocol_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/signalbox/signalbox/hubs/protocol"
)

func TestRawCheck(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		raw  protocol.Raw
		ok   bool
	}{
		{"json_value", rawJSON(" {\"a\":[1,\"x\"]}\n"), true},
		{"json_nothing", rawJSON(""), false},
		{"json_white_space", rawJSON("  "), false},
		{"json_two_values", rawJSON("1 2"), false},
		{"json_cut_off", rawJSON(`{"a":`), false},
		{"json_invalid_utf8", rawJSON("\"\xff\""), false},
		{"json_depth_63", rawJSON(strings.Repeat("[", 63) + strings.Repeat("]", 63)), true},
		{"json_depth_64", rawJSON(strings.Repeat("[", 64) + strings.Repeat("]", 64)), false},
		{"messagepack_value", rawMP("\x81\xa1a\x92\x01\xa1x"), true},
		{"messagepack_nothing", rawMP(""), false},
		{"messagepack_two_values", rawMP("\x01\x02"), false},
		{"messagepack_cut_off", rawMP("\x92\x01"), false},
		{"messagepack_depth_63", rawMP(strings.Repeat("\x91", 62) + "\x90"), true},
		{"messagepack_depth_64", rawMP(strings.Repeat("\x91", 63) + "\x90"), false},
	} {
		if err := row.raw.Check(); (err == nil) != row.ok {
			t.Errorf("%s: err = %v", row.name, err)
		}
	}
}

func TestCountArguments(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		raw     protocol.Raw
		count   int
		message string
	}{
		{"json_none", rawJSON(" [ ] "), 0, ""},
		{"json_three", rawJSON(`[1,[2,3],{"a":[4]}]`), 3, ""},
		{"json_64", rawJSON("[" + list(64, "0") + "]"), 64, ""},
		{"json_65", rawJSON("[" + list(65, "0") + "]"), 0, "The message has more than 64 arguments."},
		{"json_object", rawJSON(`{}`), 0, "Expected 'arguments' to be of type Array."},
		{"json_broken", rawJSON(`[1,]`), 0, "Error reading JSON."},
		{"messagepack_none", rawMP("\x90"), 0, ""},
		{"messagepack_two", rawMP("\x92\x01\x92\x02\x03"), 2, ""},
		{"messagepack_65", rawMP("\xdc\x00\x41" + strings.Repeat("\x01", 65)), 0, "The message has more than 64 arguments."},
		{"messagepack_map", rawMP("\x80"), 0, "Expected 'arguments' to be of type Array."},
		{"messagepack_broken", rawMP("\x92\x01"), 0, "Error reading MessagePack."},
	} {
		count, err := protocol.CountArguments(row.raw)
		if row.message != "" {
			wantError(t, err, row.message)
		} else if err != nil || count != row.count {
			t.Errorf("%s: %d, err %v", row.name, count, err)
		}
	}
}

func TestElements(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		raw  protocol.Raw
		want []string
	}{
		{"json", rawJSON(` [ 1 , "]" , [ 2 ] , { "a" : 3 } ] `), []string{`1`, `"]"`, `[ 2 ]`, `{ "a" : 3 }`}},
		{"json_empty", rawJSON(`[ ]`), nil},
		{"json_no_array", rawJSON(`{"a":1}`), nil},
		{"json_absent", protocol.Raw{}, nil},
		{"messagepack", rawMP("\x93\x01\x92\x02\x03\xa1x"), []string{"\x01", "\x92\x02\x03", "\xa1x"}},
		{"messagepack_empty", rawMP("\x90"), nil},
		{"messagepack_no_array", rawMP("\x81\x01\x02"), nil},
		{"messagepack_cut_off", rawMP("\x92\x01"), nil},
		{"messagepack_absent", protocol.Raw{Encoding: protocol.MessagePack}, nil},
	} {
		var got []string
		for element := range protocol.Elements(row.raw) {
			if element.Encoding != row.raw.Encoding {
				t.Errorf("%s: encoding %d", row.name, element.Encoding)
			}
			got = append(got, string(element.Bytes))
		}
		if !slices.Equal(got, row.want) {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
		for range protocol.Elements(row.raw) {
			break // must not go on
		}
	}
}

func TestNewArguments(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name     string
		encoding protocol.Encoding
		values   []protocol.Raw
		want     string
	}{
		{"json_none", protocol.JSON, nil, "[]"},
		{"json_mixed", protocol.JSON, []protocol.Raw{rawJSON(`{"a":1}`), rawMP("\x92\x01\xa1x")}, `[{"a":1},[1,"x"]]`},
		{"messagepack_none", protocol.MessagePack, nil, "\x90"},
		{"messagepack_mixed", protocol.MessagePack, []protocol.Raw{rawJSON(`{"a":1}`), rawMP("\x92\x01\xa1x")}, "\x92\x81\xa1a\x01\x92\x01\xa1x"},
	} {
		got, err := protocol.NewArguments(row.encoding, row.values...)
		if err != nil || got.Encoding != row.encoding || string(got.Bytes) != row.want {
			t.Errorf("%s: %q, err %v", row.name, got.Bytes, err)
		}
	}
	_, err := protocol.NewArguments(protocol.JSON, make([]protocol.Raw, 65)...)
	wantError(t, err, "The message has more than 64 arguments.")
	_, err = protocol.NewArguments(protocol.JSON, rawMP("\xd4\x05a"))
	wantError(t, err, "A MessagePack extension can't be written as JSON.")
}

func TestRawCloneBorrowsNothing(t *testing.T) {
	t.Parallel()
	b := []byte("[1]")
	c := protocol.Raw{Encoding: protocol.JSON, Bytes: b}.Clone()
	clear(b)
	if string(c.Bytes) != "[1]" || c.Encoding != protocol.JSON {
		t.Errorf("clone is %q", c.Bytes)
	}
	if (protocol.Raw{}).Clone().Present() {
		t.Error("the clone of an absent value is present")
	}
}
