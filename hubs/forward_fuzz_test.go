package hubs_test

import (
	"bytes"
	"testing"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// What a hub server says reaches its client as it is, pings and numbers aside,
// however it is cut; what is no hub message ends that connection and harms nobody.
func FuzzForward(f *testing.F) {
	f.Add(true, byte(1), []byte(show+ping+result))
	f.Add(true, byte(7), []byte(show+"{\"type\":7}\x1e"+show))
	f.Add(true, byte(3), []byte("{\"type\":1,\x1e"))
	f.Add(false, byte(2), []byte("\x0a\x95\x01\x80\xc0\xa4show\x90\x02\x91\x06"))
	f.Add(false, byte(1), []byte("\xff\xff\xff\xff\x07\x91"))
	f.Fuzz(func(t *testing.T, json bool, size byte, data []byte) {
		proto := protocol.NewMessagePack()
		if json {
			proto = protocol.NewJSON()
		}
		// The same bytes in one piece say what is to come.
		var want []byte
		broken := false
		for rest := data; len(rest) > 0 && !broken; {
			var m protocol.Message
			n, err := proto.Parse(rest, &m)
			if n == 0 || err != nil {
				broken = err != nil || protocol.Oversized(proto, rest, 16<<20)
				break
			}
			switch m.Type {
			case protocol.Ping, protocol.Ack, protocol.Sequence:
			default:
				want = append(want, rest[:n]...)
			}
			rest, broken = rest[n:], m.Type == protocol.Close
		}
		p := newProxy()
		s := newServer(t, hubs.Config{Handle: p.handle})
		c := dial(t, s, proto, "u", "c")
		session := p.next(t)
		for rest := data; len(rest) > 0; {
			n := min(int(size)+1, len(rest))
			session.conn.Forward(hubs.Position{}, rest[:n])
			rest = rest[n:]
		}
		if !broken {
			session.conn.Discard()
			session.conn.Forward(hubs.Position{}, mustFrame(proto, &protocol.Message{Type: protocol.Close}))
		}
		_ = c.serveReturned()
		c.mu.Lock()
		defer c.mu.Unlock()
		got := c.out
		if !bytes.HasPrefix(withoutPings(proto, got), want) {
			t.Errorf("the client got %q, want it to begin with %q", got, want)
		}
	})
}

func mustFrame(p protocol.Protocol, m *protocol.Message) []byte {
	frame, err := p.Append(nil, m)
	if err != nil {
		panic(err)
	}
	return frame
}

// withoutPings takes the pings out, which are written when nothing else waits.
func withoutPings(p protocol.Protocol, data []byte) []byte {
	var kept []byte
	for len(data) > 0 {
		var m protocol.Message
		n, err := p.Parse(data, &m)
		if n == 0 || err != nil {
			break
		}
		if m.Type != protocol.Ping {
			kept = append(kept, data[:n]...)
		}
		data = data[n:]
	}
	return kept
}
