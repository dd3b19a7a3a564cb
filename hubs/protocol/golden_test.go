package protocol_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// golden tells what each file of testdata holds, by its name. Arguments, item
// and result are those of the JSON file; they are compared after transcoding.
var golden = map[string]protocol.Message{
	"invocation_no_answer": {Type: protocol.Invocation, Target: "send", Arguments: rawJSON(`[42,"hello"]`), ArgumentCount: 2},
	"invocation_with_id":   {Type: protocol.Invocation, InvocationID: "7", Target: "send", Arguments: rawJSON(`[]`)},
	"invocation_headers": {
		Type: protocol.Invocation, InvocationID: "8", Target: "send", Arguments: rawJSON(`[1]`), ArgumentCount: 1,
		Headers: []protocol.Header{{Name: "traceparent", Value: "00-01"}, {Name: "x-länge", Value: "ü\n"}},
	},
	"invocation_streams": {
		Type: protocol.Invocation, InvocationID: "9", Target: "upload", Arguments: rawJSON(`["a"]`), ArgumentCount: 1,
		StreamIDs: []string{"10", "11"},
	},
	"invocation_values": {
		Type: protocol.Invocation, Target: "everything", ArgumentCount: 30,
		Arguments: rawJSON(`[null,true,false,0,127,128,255,256,65536,4294967296,9007199254740991,` +
			`-1,-32,-33,-129,-32769,-2147483649,1.5,-0.1,1e+300,` +
			`"","text","äöü€😀","quote\" slash\\ \r\n` + "\u2028" + `\u0000","` +
			strings.Repeat("x", 32) + `","` + strings.Repeat("y", 300) + `",` +
			`[],[1,[2,[3]]],{},{"a":1,"nested":{"list":["b"]}}]`),
	},
	"invocation_array16": {
		Type: protocol.Invocation, Target: "list", ArgumentCount: 1,
		Arguments: rawJSON(`[[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19]]`),
	},
	"invocation_binary_and_time": {
		Type: protocol.Invocation, Target: "types", ArgumentCount: 4,
		Arguments: rawJSON(`["AAH+/w==","2026-11-22T20:30:15.25Z","1970-01-01T00:00:00Z","1969-12-31T23:59:59.999Z"]`),
	},
	"stream_item_headers": {
		Type: protocol.StreamItem, InvocationID: "10", Item: rawJSON(`"a"`), Headers: []protocol.Header{{Name: "n", Value: "v"}},
	},
	"completion_headers": {
		Type: protocol.Completion, InvocationID: "7", Result: rawJSON(`"a"`), Headers: []protocol.Header{{Name: "n", Value: "v"}},
	},
	"stream_invocation_headers": {
		Type: protocol.StreamInvocation, InvocationID: "12", Target: "counter", Arguments: rawJSON(`[1]`), ArgumentCount: 1,
		Headers: []protocol.Header{{Name: "n", Value: "v"}},
	},
	"cancel_invocation_headers": {Type: protocol.CancelInvocation, InvocationID: "12", Headers: []protocol.Header{{Name: "n", Value: "v"}}},
	"stream_item":               {Type: protocol.StreamItem, InvocationID: "10", Item: rawJSON(`{"n":1}`)},
	"stream_item_null":          {Type: protocol.StreamItem, InvocationID: "10", Item: rawJSON(`null`)},
	"completion_result":         {Type: protocol.Completion, InvocationID: "7", Result: rawJSON(`[1,2]`)},
	"completion_null":           {Type: protocol.Completion, InvocationID: "7", Result: rawJSON(`null`)},
	"completion_void":           {Type: protocol.Completion, InvocationID: "7"},
	"completion_error":          {Type: protocol.Completion, InvocationID: "7", Error: `it "failed"`, HasError: true},
	"stream_invocation": {
		Type: protocol.StreamInvocation, InvocationID: "12", Target: "counter",
		Arguments: rawJSON(`[10,500]`), ArgumentCount: 2,
	},
	"stream_invocation_streams": {
		Type: protocol.StreamInvocation, InvocationID: "13", Target: "echo", Arguments: rawJSON(`[]`), StreamIDs: []string{"14"},
	},
	"cancel_invocation": {Type: protocol.CancelInvocation, InvocationID: "12"},
	"ping":              {Type: protocol.Ping},
	"close":             {Type: protocol.Close},
	"close_client":      {Type: protocol.Close},
	"close_error":       {Type: protocol.Close, Error: "bye", HasError: true},
	"close_reconnect":   {Type: protocol.Close, Error: "bye", HasError: true, AllowReconnect: true},
	"close_come_back":   {Type: protocol.Close, AllowReconnect: true},
	"ack":               {Type: protocol.Ack, SequenceID: 5},
	"ack_large":         {Type: protocol.Ack, SequenceID: 70000},
	"sequence":          {Type: protocol.Sequence, SequenceID: 200},
}

// fewerElements are the files in which the JavaScript package leaves out
// elements at the end that .NET always writes, and we with it.
var fewerElements = map[string]bool{
	"invocation_no_answer": true, "invocation_with_id": true, "invocation_headers": true, "invocation_values": true,
	"invocation_array16": true, "invocation_binary_and_time": true, "stream_invocation": true, "stream_invocation_headers": true, "close_client": true,
}

func rawJSON(text string) protocol.Raw {
	return protocol.Raw{Encoding: protocol.JSON, Bytes: []byte(text)}
}

func goldenFiles(tb testing.TB, p protocol.Protocol) map[string][]byte {
	tb.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", p.Name(), "*.golden"))
	if err != nil || len(paths) < 20 {
		tb.Fatalf("found %d golden files, err %v", len(paths), err)
	}
	files := make(map[string][]byte, len(paths))
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		files[strings.TrimSuffix(filepath.Base(path), ".golden")] = data
	}
	return files
}

// inJSON is m with its raw values in JSON, whatever they are in.
func inJSON(tb testing.TB, m protocol.Message) protocol.Message {
	tb.Helper()
	for _, r := range []*protocol.Raw{&m.Arguments, &m.Item, &m.Result} {
		if !r.Present() {
			continue
		}
		b, err := protocol.AppendJSON(nil, *r)
		if err != nil {
			tb.Fatal(err)
		}
		*r = protocol.Raw{Encoding: protocol.JSON, Bytes: b}
	}
	return m
}

func TestGolden(t *testing.T) {
	t.Parallel()
	for _, p := range []protocol.Protocol{protocol.NewJSON(), protocol.NewMessagePack()} {
		for name, data := range goldenFiles(t, p) {
			t.Run(p.Name()+"/"+name, func(t *testing.T) {
				t.Parallel()
				want, ok := golden[name]
				if !ok {
					t.Fatal("no row tells what this file holds")
				}
				var m protocol.Message
				n, err := p.Parse(data, &m)
				if err != nil || n != len(data) {
					t.Fatalf("Parse took %d of %d bytes, err %v", n, len(data), err)
				}
				if diff := cmp.Diff(want, inJSON(t, m), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("parsed (-want +got):\n%s", diff)
				}

				encoded, err := p.Append(nil, &m)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(encoded, data) && !(p.Encoding() == protocol.MessagePack && fewerElements[name]) {
					t.Errorf("encoded again\n got %q\nwant %q", encoded, data)
				}
				var again protocol.Message
				if n, err := p.Parse(encoded, &again); err != nil || n != len(encoded) {
					t.Fatalf("Parse of what was encoded took %d of %d bytes, err %v", n, len(encoded), err)
				}
				if diff := cmp.Diff(m, again, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("after encoding (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestGoldenAcrossProtocols writes what was parsed from one protocol's file in
// the other protocol: it must be what the official package wrote there.
func TestGoldenAcrossProtocols(t *testing.T) {
	t.Parallel()
	protocols := []protocol.Protocol{protocol.NewJSON(), protocol.NewMessagePack()}
	for i, from := range protocols {
		to := protocols[1-i]
		targets := goldenFiles(t, to)
		for name, data := range goldenFiles(t, from) {
			target, ok := targets[name]
			if !ok {
				continue
			}
			t.Run(from.Name()+"_to_"+to.Name()+"/"+name, func(t *testing.T) {
				t.Parallel()
				var m, want protocol.Message
				if _, err := from.Parse(data, &m); err != nil {
					t.Fatal(err)
				}
				got, err := to.Append(nil, &m)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := to.Parse(target, &want); err != nil {
					t.Fatal(err)
				}
				expected, err := to.Append(nil, &want)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, expected) {
					t.Errorf("\n got %q\nwant %q", got, expected)
				}
			})
		}
	}
}

// goldenForms are what messages may look like: every one has a file of each
// protocol that can say it, made by the official packages.
var goldenForms = map[string]struct {
	is       func(protocol.Message) bool
	jsonOnly bool // the official MessagePack package writes no such message
	mpOnly   bool
}{
	"Invocation without answer":             {is: form(protocol.Invocation, func(m protocol.Message) bool { return m.InvocationID == "" })},
	"Invocation with id":                    {is: form(protocol.Invocation, func(m protocol.Message) bool { return m.InvocationID != "" })},
	"Invocation with headers":               {is: form(protocol.Invocation, func(m protocol.Message) bool { return len(m.Headers) > 1 })},
	"Invocation without headers":            {is: form(protocol.Invocation, func(m protocol.Message) bool { return len(m.Headers) == 0 })},
	"Invocation with streams":               {is: form(protocol.Invocation, func(m protocol.Message) bool { return len(m.StreamIDs) > 1 })},
	"Invocation without arguments":          {is: form(protocol.Invocation, func(m protocol.Message) bool { return m.ArgumentCount == 0 })},
	"Invocation with arguments":             {is: form(protocol.Invocation, func(m protocol.Message) bool { return m.ArgumentCount > 15 })},
	"Invocation with bytes and times":       {is: form(protocol.Invocation, func(m protocol.Message) bool { return m.Target == "types" }), mpOnly: true},
	"StreamItem":                            {is: form(protocol.StreamItem, func(m protocol.Message) bool { return string(m.Item.Bytes) != "null" })},
	"StreamItem of nothing":                 {is: form(protocol.StreamItem, func(m protocol.Message) bool { return string(m.Item.Bytes) == "null" })},
	"StreamItem with headers":               {is: form(protocol.StreamItem, withHeaders)},
	"Completion with a value":               {is: form(protocol.Completion, func(m protocol.Message) bool { return m.Result.Present() && string(m.Result.Bytes) != "null" })},
	"Completion with null":                  {is: form(protocol.Completion, func(m protocol.Message) bool { return string(m.Result.Bytes) == "null" })},
	"Completion without a value":            {is: form(protocol.Completion, func(m protocol.Message) bool { return !m.Result.Present() && !m.HasError })},
	"Completion with an error":              {is: form(protocol.Completion, func(m protocol.Message) bool { return m.HasError })},
	"Completion with headers":               {is: form(protocol.Completion, withHeaders)},
	"StreamInvocation":                      {is: form(protocol.StreamInvocation, func(m protocol.Message) bool { return len(m.StreamIDs) == 0 && m.ArgumentCount > 0 })},
	"StreamInvocation with streams":         {is: form(protocol.StreamInvocation, func(m protocol.Message) bool { return len(m.StreamIDs) > 0 })},
	"StreamInvocation with headers":         {is: form(protocol.StreamInvocation, withHeaders)},
	"CancelInvocation":                      {is: form(protocol.CancelInvocation, func(m protocol.Message) bool { return len(m.Headers) == 0 })},
	"CancelInvocation with headers":         {is: form(protocol.CancelInvocation, withHeaders)},
	"Ping":                                  {is: form(protocol.Ping, func(protocol.Message) bool { return true })},
	"Close":                                 {is: form(protocol.Close, func(m protocol.Message) bool { return !m.HasError && !m.AllowReconnect })},
	"Close with an error":                   {is: form(protocol.Close, func(m protocol.Message) bool { return m.HasError && !m.AllowReconnect }), jsonOnly: true},
	"Close with an error, may reconnect":    {is: form(protocol.Close, func(m protocol.Message) bool { return m.HasError && m.AllowReconnect }), jsonOnly: true},
	"Close without an error, may reconnect": {is: form(protocol.Close, func(m protocol.Message) bool { return !m.HasError && m.AllowReconnect }), jsonOnly: true},
	"Ack in a byte":                         {is: form(protocol.Ack, func(m protocol.Message) bool { return m.SequenceID < 128 })},
	"Ack in more bytes":                     {is: form(protocol.Ack, func(m protocol.Message) bool { return m.SequenceID > 65535 })},
	"Sequence":                              {is: form(protocol.Sequence, func(protocol.Message) bool { return true })},
}

func form(kind protocol.Type, is func(protocol.Message) bool) func(protocol.Message) bool {
	return func(m protocol.Message) bool { return m.Type == kind && is(m) }
}

func withHeaders(m protocol.Message) bool { return len(m.Headers) > 0 }

// TestGoldenIsComplete fails when a form of a message has no golden bytes, by what
// the files hold, not by their names.
func TestGoldenIsComplete(t *testing.T) {
	t.Parallel()
	for _, p := range []protocol.Protocol{protocol.NewJSON(), protocol.NewMessagePack()} {
		var messages []protocol.Message
		kinds := map[protocol.Type]bool{}
		for name, data := range goldenFiles(t, p) {
			var m protocol.Message
			if _, err := p.Parse(data, &m); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			m = inJSON(t, m)
			messages = append(messages, m)
			kinds[m.Type] = true
		}
		for kind := protocol.Invocation; kind <= protocol.Sequence; kind++ {
			if !kinds[kind] {
				t.Errorf("%s: no golden bytes of type %d", p.Name(), kind)
			}
		}
		for name, form := range goldenForms {
			if p.Encoding() == protocol.MessagePack && form.jsonOnly || p.Encoding() == protocol.JSON && form.mpOnly {
				continue
			}
			if !slices.ContainsFunc(messages, form.is) {
				t.Errorf("%s: no golden bytes of: %s", p.Name(), name)
			}
		}
	}
}

// TestGoldenHandshakes reads the official requests of both protocols and versions
// and writes them again. Of the responses, which the package only reads, see
// e2e/conformance; it has read those of testdata without complaint when they were made.
func TestGoldenHandshakes(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"json", "messagepack"} {
		for version := protocol.MinVersion; version <= protocol.MaxVersion; version++ {
			data, err := os.ReadFile(filepath.Join("testdata", "handshake", fmt.Sprintf("%s_%d.golden", name, version)))
			if err != nil {
				t.Error(err)
				continue
			}
			want := protocol.HandshakeRequest{Protocol: name, Version: version}
			got, n, err := protocol.ParseHandshakeRequest(data)
			if err != nil || n != len(data) || got != want {
				t.Errorf("%s_%d: %+v, %d of %d bytes, %v", name, version, got, n, len(data), err)
			}
			if again := protocol.AppendHandshakeRequest(nil, want); !bytes.Equal(again, data) {
				t.Errorf("%s_%d: %q, want %q", name, version, again, data)
			}
		}
	}
	for name, text := range map[string]string{"response": "", "response_error": `the "text"`} {
		data, err := os.ReadFile(filepath.Join("testdata", "handshake", name+".golden"))
		if err != nil {
			t.Error(err)
			continue
		}
		if got, n, err := protocol.ParseHandshakeResponse(data); err != nil || n != len(data) || got != text {
			t.Errorf("%s: %q, %d of %d bytes, %v", name, got, n, len(data), err)
		}
		if again := protocol.AppendHandshakeResponse(nil, text); !bytes.Equal(again, data) {
			t.Errorf("%s: %q, want %q", name, again, data)
		}
	}
}
