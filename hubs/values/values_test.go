package values_test

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tinylib/msgp/msgp"

	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/values"
)

// level has text methods, as ids of many libraries have.
type level [2]byte

func (l level) MarshalText() ([]byte, error) { return []byte{'L', l[0], l[1]}, nil }
func (l *level) UnmarshalText(b []byte) error {
	copy(l[:], bytes.TrimPrefix(b, []byte("L")))
	return nil
}

type order struct {
	Base
	Title  string         `json:"title"`
	Note   string         `json:"note,omitempty"`
	At     time.Time      `json:"at"`
	Until  time.Time      `json:"until,omitzero"`
	Sign   []byte         `json:"sign"`
	Parts  []part         `json:"parts"`
	Counts map[string]int `json:"counts"`
	Next   *order         `json:"next"`
	Level  level          `json:"level"`
	Hidden string         `json:"-"`
	Plain  float32
}

type Base struct {
	Kind string `json:"kind"`
}

type part struct {
	Weight float64 `json:"weight"`
	Tags   [2]string
}

var at = time.Date(2026, 11, 22, 21, 30, 0, 123456789, time.UTC)

// TestValues_survive_both_notations covers I-09, I-10, M-08 and M-09.
func TestValues_survive_both_notations(t *testing.T) {
	t.Parallel()
	note := "n"
	for name, v := range map[string]any{
		"bool": true, "text": "grüß \"Gott\" \U0001F600\n", "empty": "",
		"int8": int8(-128), "int16": int16(math.MinInt16), "int32": int32(math.MinInt32), "int64": int64(math.MinInt64), "int": 42, "nine_digits": -123456789,
		"uint8": uint8(255), "uint16": uint16(65535), "uint32": uint32(math.MaxUint32), "uint64": uint64(math.MaxUint64),
		"float32": float32(1.5), "float64": 0.1, "bytes": []byte{0, 255, 10}, "array_of_bytes": [3]byte{1, 2, 3},
		"time": at, "old_time": time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC),
		"ints": []int{1, -2, 300000}, "map": map[string]float64{"a": 1, "b": .5}, "int_keys": map[int]string{-1: "x", 7: "y"},
		"text_methods": level{'a', 'b'}, "pointer": &note,
		"struct": order{
			Base: Base{Kind: "k"}, Title: "t", At: at, Sign: []byte("s"),
			Parts: []part{{1, [2]string{"x", "y"}}, {}}, Counts: map[string]int{"z": 1},
			Next: &order{At: at, Sign: []byte{}, Parts: []part{}, Counts: map[string]int{}}, Level: level{'x', 'y'}, Plain: 2.5,
		},
		"raw_json": json.RawMessage(`{"a":[1,2]}`),
	} {
		for _, e := range []protocol.Encoding{protocol.JSON, protocol.MessagePack} {
			raw, err := values.Encode(e, v)
			if err != nil {
				t.Errorf("%s in %d: %v", name, e, err)
				continue
			}
			if err := raw.Check(); err != nil {
				t.Errorf("%s in %d: %q: %v", name, e, raw.Bytes, err)
			}
			got := reflect.New(reflect.TypeOf(v))
			if err := values.Decode(raw, got.Interface()); err != nil {
				t.Errorf("%s in %d: %v", name, e, err)
			} else if diff := cmp.Diff(v, got.Elem().Interface()); diff != "" {
				t.Errorf("%s in %d:\n%s", name, e, diff)
			}
		}
	}
}

// TestPortable_arguments_are_the_same_in_JSON covers M-11.
func TestPortable_arguments_are_the_same_in_JSON(t *testing.T) {
	t.Parallel()
	for _, args := range [][]any{
		nil, {"a", 1, nil, true}, {[]byte{1, 2, 3}, at}, {order{At: at, Counts: map[string]int{"b": 2, "a": 1}}},
		{json.RawMessage(`12345678901234567890.123`)}, {float32(0.1), 1e300, uint64(math.MaxUint64)}, {map[string]any{"t": at}},
	} {
		r, err := values.Portable(args...)
		if err != nil {
			t.Fatal(err)
		}
		got, err := protocol.AppendJSON(nil, r)
		if err != nil {
			t.Fatal(err)
		}
		want, err := values.Arguments(protocol.JSON, args...)
		if err != nil {
			t.Fatal(err)
		}
		var g, w any
		if json.Unmarshal(got, &g) != nil || json.Unmarshal(want.Bytes, &w) != nil || !reflect.DeepEqual(g, w) {
			t.Errorf("got %s, want %s", got, want.Bytes)
		}
		if strings.Contains(string(want.Bytes), "890.123") && string(got) != string(want.Bytes) {
			t.Errorf("a number lost digits: %s", got)
		}
	}
}

func TestAny_takes_what_the_notation_knows(t *testing.T) {
	t.Parallel()
	sent := map[string]any{"t": at, "b": []byte{1}, "n": int64(-1), "u": uint64(math.MaxUint64), "f": 0.5, "l": []any{"x", nil, true}}
	raw, err := values.Encode(protocol.MessagePack, sent)
	if err != nil {
		t.Fatal(err)
	}
	var got any
	if err := values.Decode(raw, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(any(sent), got); diff != "" {
		t.Error(diff)
	}
}

func TestNames_match_in_any_case(t *testing.T) {
	t.Parallel()
	for _, e := range []protocol.Encoding{protocol.JSON, protocol.MessagePack} {
		raw, err := values.Encode(e, map[string]any{"WEIGHT": 2.5, "unknown": []int{1}, "tags": [2]string{"a", "b"}})
		if err != nil {
			t.Fatal(err)
		}
		var got part
		if err := values.Decode(raw, &got); err != nil || got.Weight != 2.5 || got.Tags[1] != "b" {
			t.Errorf("%d: %+v, %v", e, got, err)
		}
	}
}

// TestMismatch_is_an_error covers I-08 and M-07.
func TestMismatch_is_an_error(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ sent, into any }{
		"text_for_int": {"x", new(int)}, "number_for_text": {1, new(string)}, "fraction_for_int": {1.5, new(int)},
		"too_large": {300, new(int8)}, "negative_for_unsigned": {-1, new(uint)}, "object_for_list": {map[string]int{}, new([]int)},
		"list_for_object": {[]int{}, new(part)}, "wrong_length": {[]string{"a"}, new([2]string)}, "bad_element": {[]any{1, "x"}, new([]int)},
		"text_for_bool": {"true", new(bool)}, "no_time": {"yesterday", new(time.Time)}, "bad_field": {map[string]any{"weight": "heavy"}, new(part)},
		"interface": {1, new(interface{ X() })}, "too_large_float": {1e300, new(float32)},
	} {
		for _, e := range []protocol.Encoding{protocol.JSON, protocol.MessagePack} {
			raw, err := values.Encode(e, c.sent)
			if err != nil {
				t.Fatal(err)
			}
			if err := values.Decode(raw, c.into); err == nil {
				t.Errorf("%s in %d: no error", name, e)
			}
		}
	}
}

func TestMessagePack_with_two_equal_names_is_refused(t *testing.T) {
	t.Parallel()
	b := msgp.AppendMapHeader(nil, 2)
	for range 2 {
		b = msgp.AppendFloat64(msgp.AppendString(b, "weight"), 1)
	}
	for _, into := range []any{new(part), new(map[string]float64), new(any)} {
		if err := values.Decode(protocol.Raw{Encoding: protocol.MessagePack, Bytes: b}, into); err == nil {
			t.Errorf("%T: no error", into)
		}
	}
}

func TestUnsendable_values_are_errors(t *testing.T) {
	t.Parallel()
	type loop struct{ Next *loop }
	endless := &loop{}
	endless.Next = endless
	for name, v := range map[string]any{
		"nan": math.NaN(), "infinity": []float64{math.Inf(1)}, "channel": make(chan int), "func": func() {}, "bad_text": "\xff",
		"field": struct{ C chan int }{make(chan int)}, "loop": endless, "duration": time.Second, "complex": 1i, "key": map[part]int{{}: 1},
	} {
		for _, e := range []protocol.Encoding{protocol.JSON, protocol.MessagePack} {
			if _, err := values.Encode(e, v); err == nil {
				t.Errorf("%s in %d: no error", name, e)
			}
		}
	}
}

func TestCheck_says_what_can_not_be_read(t *testing.T) {
	t.Parallel()
	for _, good := range []any{1, "", order{}, &order{}, []any{}, map[string]any{}, at, level{}, json.RawMessage{}, protocol.Raw{}, map[level]int{}} {
		if err := values.Check(reflect.TypeOf(good)); err != nil {
			t.Errorf("%T: %v", good, err)
		}
	}
	for want, bad := range map[string]any{
		"chan int": make(chan int), "func()": func() {}, "complex": 1i, "field C": struct{ C func() }{}, "keys": map[part]int{},
		"time.Duration": time.Second, "by itself": []protocol.Raw{}, "interface": []error{},
	} {
		if err := values.Check(reflect.TypeOf(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%T: %v, want %q", bad, err, want)
		}
	}
}

// decodeCost bounds what decoding may allocate for each byte of a value: an
// element of one byte becomes an any of 16 in a slice that grows by doubling, a
// pair of two becomes an entry of a map, or a struct.
const decodeCost, decodeSlack = 512, 64 << 10

// FuzzDecode holds that no checked value breaks the reader, or makes it allocate
// for what isn't there.
func FuzzDecode(f *testing.F) {
	for _, v := range []any{order{At: at}, []any{1, "x", at, []byte{1}}, map[string]any{"weight": 1}} {
		raw, err := values.Encode(protocol.MessagePack, v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw.Bytes)
	}
	for _, killer := range []string{"\xdd\x7f\xff\xff\xff", "\xdd\x00\xff\xff\xff", "\xdf\x00\xff\xff\xff", "\xc6\x0f\xff\xff\xff", "\x92\xdc\xff\xff\xc0"} {
		f.Add([]byte(killer))
	}
	f.Add([]byte(`[{"id":1e400,"at":"2026-01-01T00:00:00Z"},[[[[]]]],"\u0000"]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, encoding := range []protocol.Encoding{protocol.MessagePack, protocol.JSON} {
			raw := protocol.Raw{Encoding: encoding, Bytes: b}
			if raw.Check() == nil {
				decodeAll(t, raw)
			}
		}
	})
}

// decodeAll decodes a value into everything.
func decodeAll(t *testing.T, raw protocol.Raw) {
	t.Helper()
	for _, into := range []any{new(order), new(any), new([]part), new(map[int]level), new(uint8), new(string), new(time.Time), new(json.RawMessage), new(bool)} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_ = values.Decode(raw, into) // must only not panic
		runtime.ReadMemStats(&after)
		if cost := after.TotalAlloc - before.TotalAlloc; cost > decodeCost*uint64(len(raw.Bytes))+decodeSlack {
			t.Fatalf("%d bytes of encoding %v into %T allocated %d", len(raw.Bytes), raw.Encoding, into, cost)
		}
	}
}
