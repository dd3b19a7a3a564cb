package protocol_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// allocated returns how many bytes f allocates. Nothing else may run meanwhile.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// allocationSlack is what a message may cost beside its own size: an error, the
// pooled decoder of jsontext, the runtime's own work.
const allocationSlack = 64 << 10

func FuzzHandshake(f *testing.F) {
	for _, name := range []string{"json_1", "messagepack_2"} {
		data, err := os.ReadFile(filepath.Join("testdata", "handshake", name+".golden"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(append(data, `{"type":6}`+"\x1e"...))
	}
	for _, seed := range []string{"{}\x1e", `{"error":"e"}` + "\x1e", "[]\x1e", "\x1e", `{"type":1}` + "\x1e", `{"protocol":"\ud83d","version":1}` + "\x1e"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var req protocol.HandshakeRequest
		var n int
		var err error
		if cost := allocated(func() { req, n, err = protocol.ParseHandshakeRequest(data) }); cost > 4*uint64(len(data))+allocationSlack {
			t.Fatalf("a handshake of %d bytes allocated %d", len(data), cost)
		}
		text, m, responseErr := protocol.ParseHandshakeResponse(data)
		end := bytes.IndexByte(data, 0x1E) + 1
		if err == nil && n > 0 {
			if n != end {
				t.Fatalf("took %d of %d bytes", n, end)
			}
			again, _, err := protocol.ParseHandshakeRequest(protocol.AppendHandshakeRequest(nil, req))
			if err != nil || again != req {
				t.Fatalf("wrote %+v, read %+v, err %v", req, again, err)
			}
		}
		if responseErr == nil && m > 0 {
			again, _, err := protocol.ParseHandshakeResponse(protocol.AppendHandshakeResponse(nil, text))
			if err != nil || again != text {
				t.Fatalf("wrote %q, read %q, err %v", text, again, err)
			}
		}
		// However it is cut, no part is taken for the whole.
		for cut := range min(end, protocol.MaxHandshakeBytes) {
			if _, n, err := protocol.ParseHandshakeRequest(data[:cut]); n != 0 || err != nil {
				t.Fatalf("of the first %d bytes took %d, err %v", cut, n, err)
			}
		}
	})
}

func FuzzJSONHubMessage(f *testing.F) {
	for _, data := range goldenFiles(f, protocol.NewJSON()) {
		f.Add(data[:len(data)-1])
	}
	for _, seed := range []string{
		``, `null`, `{"type":1e0}`, `{"type":1,"type":6}`, `{"type":6}{`, `{"type":1,"target":"\u0000","arguments":[1.0e+5,-0,"\ud83d"]}`,
		`{"type":1,"target":"t","arguments":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`, "\xEF\xBB\xBF{}",
	} {
		f.Add([]byte(seed))
	}
	p := protocol.NewJSON()
	f.Fuzz(func(t *testing.T, record []byte) {
		if bytes.IndexByte(record, 0x1E) >= 0 {
			return
		}
		valid := json.Valid(record) && utf8.Valid(record)
		checked := protocol.Raw{Encoding: protocol.JSON, Bytes: record}.Check() == nil
		if want := valid && jsonDepth(record) < protocol.MaxDepth; checked != want {
			t.Fatalf("Check says %v, encoding/json says %v", checked, want)
		}

		var m protocol.Message
		n, err := p.Parse(append(slices.Clone(record), 0x1E), &m)
		if err == nil && n != len(record)+1 {
			t.Fatalf("took %d of %d bytes", n, len(record)+1)
		}
		want, sure := referenceParse(record)
		switch {
		case err == nil && !valid:
			t.Fatal("accepted what encoding/json refuses")
		case err == nil && sure && want == nil:
			t.Fatal("accepted what the reference refuses")
		case err != nil && sure && want != nil:
			t.Fatalf("refused what the reference accepts: %v", err)
		case err != nil:
			return
		case sure:
			if diff := cmp.Diff(want, &m, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("(-reference +parsed):\n%s", diff)
			}
		}
		checkRoundTrip(t, p, &m)
	})
}

// checkRoundTrip writes m and reads it again.
func checkRoundTrip(t *testing.T, p protocol.Protocol, m *protocol.Message) {
	t.Helper()
	if m.BindingError != "" || m.Type < protocol.Invocation || m.Type > protocol.Sequence {
		return // not messages that anybody writes
	}
	data, err := p.Append(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	var again, third protocol.Message
	if n, err := p.Parse(data, &again); err != nil || n != len(data) {
		t.Fatalf("of what was written took %d of %d bytes, err %v: %q", n, len(data), err, data)
	}
	second, err := p.Append(nil, &again)
	if err != nil || !bytes.Equal(data, second) {
		t.Fatalf("wrote %q, then %q, err %v", data, second, err)
	}
	if bytes.ContainsAny(data, "\r\n") && p.Encoding() == protocol.JSON {
		t.Fatalf("a record spans lines: %q", data)
	}
	_, _ = p.Parse(data, &third)
	if diff := cmp.Diff(again, third); diff != "" {
		t.Fatal(diff)
	}
}

// referenceParse reads a record with encoding/json. It is not sure where
// encoding/json can't tell: names given twice, surrogates without a partner.
func referenceParse(record []byte) (m *protocol.Message, sure bool) {
	if !json.Valid(record) || !utf8.Valid(record) {
		return nil, true
	}
	var properties map[string]json.RawMessage
	if json.Unmarshal(record, &properties) != nil || properties == nil || jsonDepth(record) > protocol.MaxDepth {
		return nil, true
	}
	names := 0
	for d := json.NewDecoder(bytes.NewReader(record)); ; {
		token, err := d.Token()
		if err != nil {
			break
		}
		if token == json.Delim('{') {
			continue
		}
		if _, ok := token.(string); ok {
			names++
			var skipped json.RawMessage
			if d.Decode(&skipped) != nil {
				break
			}
		}
	}
	if names != len(properties) || names > protocol.MaxProperties || bytes.Contains(bytes.ToLower(record), []byte(`\ud`)) {
		return nil, false
	}
	m = &protocol.Message{}
	var number int32
	var sequence int64
	var headers map[string]json.RawMessage
	for name, into := range map[string]any{
		"type": &number, "invocationId": &m.InvocationID, "target": &m.Target, "error": &m.Error,
		"allowReconnect": &m.AllowReconnect, "sequenceId": &sequence, "streamIds": &m.StreamIDs, "headers": &headers,
	} {
		value, ok := properties[name]
		if !ok {
			continue
		}
		if string(value) == "null" || json.Unmarshal(value, into) != nil {
			return nil, true
		}
	}
	if len(headers) > 0 || bytes.Contains(properties["streamIds"], []byte("null")) || bytes.Contains(properties["headers"], []byte(`"`)) {
		return nil, false // order, doubles and nulls in them are beyond a map
	}
	_, m.HasError = properties["error"]
	m.SequenceID = sequence
	m.Item = protocol.Raw{Bytes: properties["item"]}
	m.Result = protocol.Raw{Bytes: properties["result"]}
	if value, ok := properties["arguments"]; ok {
		var elements []json.RawMessage
		if json.Unmarshal(value, &elements) != nil || elements == nil {
			return nil, true
		}
		m.Arguments = protocol.Raw{Bytes: value}
		m.ArgumentCount = len(elements)
	}
	if _, ok := properties["type"]; !ok {
		return nil, true
	}
	if number >= math.MinInt8 && number <= math.MaxInt8 {
		m.Type = protocol.Type(number)
	}
	_, hasSequence := properties["sequenceId"]
	ok := len(m.InvocationID) <= protocol.MaxInvocationIDBytes && len(m.Target) <= protocol.MaxTargetBytes &&
		len(m.StreamIDs) <= protocol.MaxStreamIDs && m.ArgumentCount <= protocol.MaxArguments &&
		!slices.ContainsFunc(m.StreamIDs, func(id string) bool { return len(id) > protocol.MaxInvocationIDBytes })
	switch m.Type {
	case protocol.Invocation, protocol.StreamInvocation:
		ok = ok && m.Target != "" && m.Arguments.Present() && (m.Type == protocol.Invocation || m.InvocationID != "")
	case protocol.StreamItem:
		ok = ok && m.InvocationID != "" && m.Item.Present()
	case protocol.Completion:
		ok = ok && m.InvocationID != "" && !(m.HasError && m.Result.Present())
	case protocol.CancelInvocation:
		ok = ok && m.InvocationID != ""
	case protocol.Ack, protocol.Sequence:
		ok = ok && hasSequence
	}
	if !ok {
		return nil, true
	}
	return m, true
}

// jsonDepth is how deep valid JSON nests.
func jsonDepth(b []byte) (deepest int) {
	depth := 0
	for d := json.NewDecoder(bytes.NewReader(b)); ; {
		token, err := d.Token()
		if err != nil {
			return deepest
		}
		switch token {
		case json.Delim('['), json.Delim('{'):
			depth++
			deepest = max(deepest, depth)
		case json.Delim(']'), json.Delim('}'):
			depth--
		}
	}
}

func FuzzMessagePackHubMessage(f *testing.F) {
	for _, data := range goldenFiles(f, protocol.NewMessagePack()) {
		f.Add(data)
	}
	for _, payload := range []string{
		"", "\x01", "\xdd\x7f\xff\xff\xff", "\xdd\x00\xff\xff\xff", "\xdf\x00\xff\xff\xff", "\xc6\x0f\xff\xff\xff",
		"\x96\x01\x80\xc0\xa1t" + strings.Repeat("\x91", 4096), "\x96\x01\x80\xc0\xa1t" + strings.Repeat("\xdc\xff\xff", 1000),
		"\x96\x01\x81\xa1k\xa1v\xa17\xa1t\x93\xc0\xd6\xff\x00\x00\x00\x00\x82\x01\x02\xc3\x03\x91\xa18\x00",
	} {
		f.Add(framed(payload))
	}
	f.Add([]byte("\xff\xff\xff\xff\x0f"))
	p := protocol.NewMessagePack()
	f.Fuzz(func(t *testing.T, data []byte) {
		var m protocol.Message
		var n int
		var err error
		if cost := allocated(func() { n, err = p.Parse(data, &m) }); cost > 4*uint64(len(data))+allocationSlack {
			t.Fatalf("Parse of %d bytes allocated %d", len(data), cost)
		}
		var broken *protocol.Error
		if err != nil && (n != 0 || !errors.As(err, &broken)) {
			t.Fatalf("took %d, err %v", n, err)
		}
		if err != nil || n == 0 {
			return
		}
		for _, r := range []protocol.Raw{m.Arguments, m.Item, m.Result} {
			if r.Present() && r.Check() != nil {
				t.Fatalf("Parse returned %q, which Check refuses", r.Bytes)
			}
		}
		count := 0
		for range protocol.Elements(m.Arguments) {
			count++
		}
		if count != m.ArgumentCount {
			t.Fatalf("counted %d arguments, there are %d", m.ArgumentCount, count)
		}
		checkRoundTrip(t, p, &m)
	})
}

// FuzzVarintFramer reads an arbitrary stream whole and in arbitrary pieces.
func FuzzVarintFramer(f *testing.F) {
	for _, p := range []protocol.Protocol{protocol.NewJSON(), protocol.NewMessagePack()} {
		var stream []byte
		for _, data := range goldenFiles(f, p) {
			stream = append(stream, data...)
		}
		f.Add(p.Name() == "json", stream, []byte{1, 0, 200, 7})
	}
	f.Add(false, []byte("\x80\x80\x80\x80\x80"), []byte{1})
	f.Add(false, []byte("\x02\x91\x06\xff\xff\xff\xff\x07\x91"), []byte{4})
	f.Fuzz(func(t *testing.T, text bool, stream, pieces []byte) {
		p := protocol.NewMessagePack()
		if text {
			p = protocol.NewJSON()
		}
		sizes := []int{}
		for _, size := range pieces {
			sizes = append(sizes, int(size))
		}
		want, wantErr := parseAll(p, stream, len(stream))
		got, err := parseAll(p, stream, append(sizes, 64)...)
		if diff := cmp.Diff(want, got); diff != "" || !reflect.DeepEqual(wantErr, err) {
			t.Fatalf("whole: %v, in pieces: %v (-whole +pieces):\n%s", wantErr, err, diff)
		}
	})
}

func FuzzTranscode(f *testing.F) {
	for _, seed := range []string{
		`[1,-1,1.5,1e300,18446744073709551616,-0]`, `{"a":{"b":[null,true,"\ud83d\ude00\u0000"]}}`, `"\ud83d"`, `{"a":1,"a":2}`,
		strings.Repeat("[", 63) + strings.Repeat("]", 63), "\x92\x01\xa1a", "\x81\x01\xc4\x02ab", "\xd6\xff\x00\x00\x00\x01", "\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
		"\x82\xa2aa\x01", "\xdd\x7f\xff\xff\xff",
	} {
		f.Add([]byte(seed))
	}
	for _, data := range goldenFiles(f, protocol.NewMessagePack()) {
		var m protocol.Message
		if _, err := protocol.NewMessagePack().Parse(data, &m); err != nil {
			f.Fatal(err)
		}
		f.Add(m.Arguments.Bytes)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var broken *protocol.Error
		limit := 64*uint64(len(data)) + allocationSlack // append doubles, jsontext keeps the names

		source := protocol.Raw{Encoding: protocol.JSON, Bytes: data}
		var packed []byte
		var err error
		if cost := allocated(func() { packed, err = protocol.AppendMessagePack(nil, source) }); cost > limit {
			t.Fatalf("transcoding %d bytes allocated %d", len(data), cost)
		}
		if err != nil && !errors.As(err, &broken) {
			t.Fatal(err)
		}
		if err == nil {
			raw := protocol.Raw{Encoding: protocol.MessagePack, Bytes: packed}
			if source.Check() != nil || raw.Check() != nil || len(packed) > 3*len(data) {
				t.Fatalf("%q became %q", data, packed)
			}
			back, err := protocol.AppendJSON(nil, raw)
			if errors.As(err, &broken) && bytes.Contains(data, []byte(`\u`)) {
				return // names that differ in broken surrogates only have become equal
			}
			if err != nil || !sameJSON(data, back) {
				t.Fatalf("%q came back as %q, err %v", data, back, err)
			}
		}

		var text []byte
		source.Encoding = protocol.MessagePack
		if cost := allocated(func() { text, err = protocol.AppendJSON(nil, source) }); cost > limit {
			t.Fatalf("transcoding %d bytes allocated %d", len(data), cost)
		}
		if err != nil {
			if !errors.As(err, &broken) {
				t.Fatal(err)
			}
			return
		}
		raw := protocol.Raw{Encoding: protocol.JSON, Bytes: text}
		if source.Check() != nil || raw.Check() != nil || !json.Valid(text) || len(text) > 6*len(data)+2 {
			t.Fatalf("%q became %q", data, text)
		}
		back, err := protocol.AppendMessagePack(nil, raw)
		if err != nil {
			t.Fatalf("%q became %q, which does not come back: %v", data, text, err)
		}
		again, err := protocol.AppendJSON(nil, protocol.Raw{Encoding: protocol.MessagePack, Bytes: back})
		if err != nil || !sameJSON(text, again) {
			t.Fatalf("%q came back as %q, err %v", text, again, err)
		}
	})
}

// sameJSON compares by value: what doesn't fit in 64 bits of an integer is a float64.
func sameJSON(a, b []byte) bool {
	var x, y any
	for into, data := range map[*any][]byte{&x: a, &y: b} {
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		if d.Decode(into) != nil {
			return false
		}
	}
	return sameValue(x, y)
}

// sameValue does in linear time what cmp.Equal does in 2^depth.
func sameValue(x, y any) bool {
	switch x := x.(type) {
	case []any:
		y, ok := y.([]any)
		return ok && slices.EqualFunc(x, y, sameValue)
	case map[string]any:
		y, ok := y.(map[string]any)
		return ok && maps.EqualFunc(x, y, sameValue)
	case json.Number:
		y, ok := y.(json.Number)
		return ok && (x == y || numberValue(x) == numberValue(y))
	default:
		return x == y
	}
}

func numberValue(n json.Number) any {
	if i, err := strconv.ParseInt(n.String(), 10, 64); err == nil {
		return i
	}
	if u, err := strconv.ParseUint(n.String(), 10, 64); err == nil {
		return u
	}
	f, err := n.Float64()
	if err != nil {
		return err.Error()
	}
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return int64(f) // 1.0 is written as 1
	}
	return f
}
