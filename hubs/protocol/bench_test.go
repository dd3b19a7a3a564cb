package protocol_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// invocation is a broadcast as they are most of the time: one object with an
// argument of 200 bytes.
func invocation(tb testing.TB, p protocol.Protocol) (*protocol.Message, []byte) {
	tb.Helper()
	arguments := rawJSON(`[{"user":"ann","text":"` + strings.Repeat("x", 150) + `","at":1763843415250,"likes":[1,2,3]}]`)
	message := &protocol.Message{Type: protocol.Invocation, Target: "newMessage", Arguments: arguments}
	if p.Encoding() == protocol.MessagePack {
		var err error
		if message.Arguments, err = protocol.NewArguments(protocol.MessagePack, elements(arguments)...); err != nil {
			tb.Fatal(err)
		}
	}
	data, err := p.Append(nil, message)
	if err != nil {
		tb.Fatal(err)
	}
	return message, data
}

func elements(r protocol.Raw) (all []protocol.Raw) {
	for e := range protocol.Elements(r) {
		all = append(all, e)
	}
	return all
}

func BenchmarkParse(b *testing.B) {
	for _, p := range []protocol.Protocol{protocol.NewJSON(), protocol.NewMessagePack()} {
		_, data := invocation(b, p)
		b.Run(p.Name(), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			var m protocol.Message
			for b.Loop() {
				if _, err := p.Parse(data, &m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	// What json_scan.go stands in for.
	_, data := invocation(b, protocol.NewJSON())
	b.Run("json_with_jsontext", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(data)))
		var reader bytes.Reader
		d := jsontext.NewDecoder(&reader)
		for b.Loop() {
			reader.Reset(data[:len(data)-1])
			d.Reset(&reader)
			if _, err := d.ReadToken(); err != nil {
				b.Fatal(err)
			}
			for d.PeekKind() == '"' {
				if _, err := d.ReadToken(); err != nil {
					b.Fatal(err)
				}
				if _, err := d.ReadValue(); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	for _, p := range []protocol.Protocol{protocol.NewJSON(), protocol.NewMessagePack()} {
		message, data := invocation(b, p)
		b.Run(p.Name(), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			dst := make([]byte, 0, 1024)
			for b.Loop() {
				if _, err := p.Append(dst, message); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkTranscode(b *testing.B) {
	for _, p := range []protocol.Protocol{protocol.NewJSON(), protocol.NewMessagePack()} {
		message, _ := invocation(b, p)
		b.Run(fmt.Sprintf("from_%s", p.Name()), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(message.Arguments.Bytes)))
			dst := make([]byte, 0, 1024)
			write := protocol.AppendMessagePack
			if p.Encoding() == protocol.MessagePack {
				write = protocol.AppendJSON
			}
			for b.Loop() {
				if _, err := write(dst, message.Arguments); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
