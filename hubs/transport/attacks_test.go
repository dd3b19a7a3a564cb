package transport_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/transport"
)

const ping = "{\"type\":6}\x1e"

// call is an invocation that nothing answers, in JSON.
func call(target string) string {
	return fmt.Sprintf("{\"type\":1,\"target\":%q,\"arguments\":[]}\x1e", target)
}

// rawSocket is a WebSocket whose frames the test makes itself.
type rawSocket struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

// raw opens a connection and does the hub's handshake in the given protocol.
func (s *site) raw(hubProtocol string) *rawSocket {
	s.t.Helper()
	return s.rawWith(s.negotiate("").ConnectionToken, hubProtocol, 1)
}

// rawWith is raw for a connection that has been negotiated.
func (s *site) rawWith(token, hubProtocol string, version int) *rawSocket {
	s.t.Helper()
	u, err := url.Parse(s.url)
	if err != nil {
		s.t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(wait)); err != nil {
		s.t.Fatal(err)
	}
	r := &rawSocket{t: s.t, conn: conn, in: bufio.NewReader(conn)}
	r.write(fmt.Appendf(nil, "GET %s?id=%s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n", u.Path, token, u.Host))
	resp, err := http.ReadResponse(r.in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		s.t.Fatalf("upgrade: %v, %v", resp, err)
	}
	r.write(masked(0x81, []byte(`{"protocol":"`+hubProtocol+fmt.Sprintf("\",\"version\":%d}\x1e", version))))
	if _, b, err := r.frame(); err != nil || string(b) != "{}\x1e" {
		s.t.Fatalf("handshake: %q, %v", b, err)
	}
	return r
}

// masked is a frame with a mask of zeros; first holds FIN, RSV and opcode.
func masked(first byte, payload []byte) []byte {
	switch n := len(payload); {
	case n < 126:
		return append([]byte{first, 0x80 | byte(n), 0, 0, 0, 0}, payload...)
	case n < 1<<16:
		return append(append(binary.BigEndian.AppendUint16([]byte{first, 0x80 | 126}, uint16(n)), 0, 0, 0, 0), payload...)
	default:
		return append(append(binary.BigEndian.AppendUint64([]byte{first, 0x80 | 127}, uint64(n)), 0, 0, 0, 0), payload...)
	}
}

// write doesn't mind that the server has hung up: reading shows why.
func (r *rawSocket) write(b []byte) { _, _ = r.conn.Write(b) }

// frame reads a frame of the server, all of which are short.
func (r *rawSocket) frame() (opcode byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(r.in, head[:]); err != nil {
		return 0, nil, err
	}
	n := int(head[1])
	if n == 126 {
		var long [2]byte
		if _, err := io.ReadFull(r.in, long[:]); err != nil {
			return 0, nil, err
		}
		n = int(binary.BigEndian.Uint16(long[:]))
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(r.in, payload)
	return head[0] & 0xf, payload, err
}

// closed reads to the end and returns the status of the close frame, 0 without
// one, and what came before.
func (r *rawSocket) closed() (status int, before []byte) {
	r.t.Helper()
	for {
		opcode, b, err := r.frame()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			r.t.Fatalf("the connection is still open: %v", err)
		case err != nil:
			return 0, before
		case opcode == 8:
			if len(b) < 2 {
				return 0, before
			}
			return int(binary.BigEndian.Uint16(b)), before
		}
		before = append(before, b...)
	}
}

// SEC-11: guesses at connection tokens are answered alike, and not for long; who
// has a token is served from the same address.
func TestSEC_11_guesses(t *testing.T) {
	t.Parallel()
	counted := new(refusalMeter)
	s := newSite(t, func(s *setup) { s.options.Refused = counted.request })
	neighbour, _ := s.connected("ada")
	refused := 0
	for i := range 1000 {
		guess := fmt.Sprintf("%0172d", i)
		a := s.do([]string{"GET", "POST", "DELETE"}[i%3], "", "?id="+guess, "", as("eve"))
		if want := 404; i < 20 && a.status != want || a.status != 404 && (a.status != 429 || a.header.Get("Retry-After") == "") {
			t.Fatalf("guess %d is answered %d %q", i, a.status, a.body)
		}
		if i == 999 && a.status != 429 {
			t.Errorf("the last guess is answered %d", a.status)
		}
		if a.status == 429 {
			refused++
		}
	}
	if n := counted.of(transport.RefusedGuesses); n != refused {
		t.Errorf("%d of %d refusals are counted", n, refused)
	}
	neighbour.expect(s.publish("still here"))
	other, _ := s.connected("ada")
	other.expect(s.publish("and so are others"))
}

// SEC-21: compression is never agreed to, so that nothing is inflated.
func TestSEC_21_no_compression(t *testing.T) {
	t.Parallel()
	for name, offer := range map[string]string{
		"the usual offer":         "permessage-deflate; client_max_window_bits",
		"odd window bits":         "permessage-deflate; server_max_window_bits=99; client_max_window_bits=0",
		"a hundred offers":        strings.TrimSuffix(strings.Repeat("permessage-deflate; server_max_window_bits=8, ", 100), ", "),
		"an extension of nobody":  "x-inflate",
		"an offer that is broken": `permessage-deflate; =;;"`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, nil)
			neighbour, _ := s.connected("")
			u, err := url.Parse(s.url)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := net.Dial("tcp", u.Host)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(wait))
			r := &rawSocket{t: t, conn: conn, in: bufio.NewReader(conn)}
			r.write(fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
				"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Extensions: %s\r\n\r\n", u.Path, u.Host, offer))
			resp, err := http.ReadResponse(r.in, nil)
			if err != nil || resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-WebSocket-Extensions") != "" {
				t.Fatalf("upgrade: %v, %v", resp, err)
			}
			r.write(masked(0xc1, []byte("\xaa\x56\x2a\x28\xca\x2f\xc9\x4f\xce\xcf\x51\xb2\x52\x4a\x2c\x28\xc8\x49\x55\x02\x00")))
			if status, before := r.closed(); status != 1002 || len(before) > 0 {
				t.Errorf("a compressed message: closed with %d after %q", status, before)
			}
			neighbour.expect(s.publish("still here"))
		})
	}
}

// frameSite is a site whose refusals are counted and whose messages must be
// complete soon.
func frameSite(t *testing.T, messageTimeout time.Duration) (*site, *refusalMeter) {
	counted := new(refusalMeter)
	return newSite(t, func(s *setup) {
		s.config.Meter = counted
		s.options.BodyTimeout = messageTimeout
	}), counted
}

// TestWebSocketFrames has the families of cases of the Autobahn test suite for
// servers that can be told from outside a server which doesn't echo: framing (1),
// pings (2), reserved bits (3), opcodes (4), fragmentation (5), UTF-8 (6), closing
// (7) and limits (9). Compression (12, 13) is not offered. They are given as bytes,
// since no client sends them.
func TestWebSocketFrames(t *testing.T) {
	t.Parallel()
	crumbs := func(crumb []byte) []byte {
		return append(masked(0x01, []byte(" ")), bytes.Repeat(crumb, 3000)...)
	}
	long := func(length uint64) []byte { return binary.BigEndian.AppendUint64([]byte{0x81, 0xff}, length) }
	closing := func(code uint16, reason string) []byte {
		return masked(0x88, append(binary.BigEndian.AppendUint16(nil, code), reason...))
	}
	for _, row := range []struct {
		name   string
		frames []byte
		status int    // 0: the socket ends without a status
		code   string // what is counted
	}{
		{"an unmasked frame", append([]byte{0x81, byte(len(ping))}, ping...), 1002, hubs.RefusedProtocol},
		{"RSV1 without an extension", masked(0xc1, []byte(ping)), 1002, hubs.RefusedProtocol},
		{"RSV2", masked(0xa1, []byte(ping)), 1002, hubs.RefusedProtocol},
		{"RSV3 on a ping", masked(0x99, nil), 1002, hubs.RefusedProtocol},
		{"all reserved bits on a close frame", masked(0xf8, []byte("\x03\xe8")), 1002, hubs.RefusedProtocol},
		{"opcode 3", masked(0x83, []byte(ping)), 1002, hubs.RefusedProtocol},
		{"opcode 7", masked(0x87, nil), 1002, hubs.RefusedProtocol},
		{"opcode 11", masked(0x8b, nil), 1002, hubs.RefusedProtocol},
		{"opcode 15", masked(0x8f, []byte(ping)), 1002, hubs.RefusedProtocol},
		{"a ping of 126 bytes", masked(0x89, make([]byte, 126)), 1002, hubs.RefusedProtocol},
		{"a pong of 126 bytes", masked(0x8a, make([]byte, 126)), 1002, hubs.RefusedProtocol},
		{"a close frame of 126 bytes", masked(0x88, make([]byte, 126)), 1002, hubs.RefusedProtocol},
		{"a ping in fragments", masked(0x09, nil), 1002, hubs.RefusedProtocol},
		{"a close frame in fragments", masked(0x08, []byte("\x03\xe8")), 1002, hubs.RefusedProtocol},
		{"a continuation of nothing", masked(0x80, []byte(ping)), 1002, hubs.RefusedProtocol},
		{"a continuation behind a whole message", append(masked(0x81, []byte(ping)), masked(0x80, []byte(ping))...), 1002, hubs.RefusedProtocol},
		{"a new message inside another", append(masked(0x01, []byte("{")), masked(0x81, []byte(ping))...), 1002, hubs.RefusedProtocol},
		{"a length of 2^63", append(long(1<<63), 0, 0, 0, 0), 1002, hubs.RefusedProtocol},
		{"a length of 2^64-1", append(long(1<<64-1), 0, 0, 0, 0), 1002, hubs.RefusedProtocol},
		{"text that is not UTF-8", masked(0x81, []byte("\xce\xba\xed\xa0\x80")), 1007, hubs.RefusedProtocol},
		{"text that ends inside a rune", masked(0x81, []byte("\xf0\x9f\x98")), 1007, hubs.RefusedProtocol},
		{"text that is not UTF-8 in its second frame", append(masked(0x01, []byte("\xf0\x9f")), masked(0x80, []byte("x"))...), 1007, hubs.RefusedProtocol},
		{"a long text with a bad end", masked(0x81, append(bytes.Repeat([]byte("\u00e9"), 3000), 0xff)), 1007, hubs.RefusedProtocol},
		{"a close code of one byte", masked(0x88, []byte{3}), 1002, ""},
		{"close code 0", closing(0, ""), 1002, ""},
		{"close code 999", closing(999, ""), 1002, ""},
		{"close code 1004", closing(1004, ""), 1002, ""},
		{"close code 1005", closing(1005, ""), 1002, ""},
		{"close code 1006", closing(1006, ""), 1002, ""},
		{"close code 1015", closing(1015, ""), 1002, ""},
		{"close code 2000", closing(2000, ""), 1002, ""},
		{"close code 5000", closing(5000, ""), 1002, ""},
		{"a close reason that is not UTF-8", closing(1000, "\xed\xa0"), 1007, hubs.RefusedProtocol},
		{"a close reason that is not UTF-8, under a mask", []byte("\x88\x85\x03\xe8\x00\x00\x00\x00wp\xff"), 1007, hubs.RefusedProtocol},
		{"a close reason beyond ASCII", closing(1000, "tsch\u00fc\u00df"), 1000, ""},
		{"close code 1000", closing(1000, "bye"), 1000, ""},
		{"close code 3000", closing(3000, "bye"), 3000, ""},
		{"close code 4999", closing(4999, ""), 4999, ""},
		{"a close frame without a code", masked(0x88, nil), 0, ""},
		{"a close frame, then nonsense", append(closing(1000, ""), 0xff, 0xff, 0xff), 1000, ""},
		{"continuations of 1 byte for ever", crumbs(masked(0x00, []byte(" "))), 1008, hubs.RefusedFlood},
		{"continuations of 0 bytes for ever", crumbs(masked(0x00, nil)), 1008, hubs.RefusedFlood},
		{"a hub message beyond the limit", masked(0x81, bytes.Repeat([]byte(" "), 40_000)), 1009, hubs.RefusedTooLarge},
		{"a frame of 2^62 bytes that never ends", append(append(long(1<<62), 0, 0, 0, 0), bytes.Repeat([]byte(" "), 70_000)...), 1009, hubs.RefusedTooLarge},
	} {
		t.Run("SEC-20 "+row.name, func(t *testing.T) {
			t.Parallel()
			s, counted := frameSite(t, 0)
			neighbour, _ := s.connected("")
			r := s.raw("json")
			go r.write(row.frames)
			if status, before := r.closed(); status != row.status {
				t.Errorf("closed with %d, want %d; before that %q", status, row.status, before)
			}
			r.conn.Close()
			neighbour.expect(s.publish("still here"))
			until(t, "the end of the connection", func() bool { return s.hub.Connections() == 1 })
			until(t, row.code+" to be counted", func() bool { return row.code == "" || counted.of(row.code) == 1 })
		})
	}
	t.Run("SEC-20 a message that isn't complete in time", func(t *testing.T) {
		t.Parallel()
		s, counted := frameSite(t, 50*time.Millisecond)
		r := s.raw("json")
		r.write(masked(0x01, []byte("{")))
		if status, _ := r.closed(); status != 1008 {
			t.Errorf("closed with %d, want 1008", status)
		}
		r.conn.Close()
		until(t, "the count", func() bool { return counted.of(hubs.RefusedTimeout) == 1 })
	})
	t.Run("SEC-20 stateful reconnect brings no connection back that broke the rules", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, func(s *setup) { s.endpoint.StatefulReconnect = true })
		n := parse[negotiation](t, s.do("POST", "/negotiate", "?negotiateVersion=1&useStatefulReconnect=true", "", nil).body)
		r := s.rawWith(n.ConnectionToken, "json", 2)
		r.write(masked(0xc1, []byte(ping)))
		if status, _ := r.closed(); status != 1002 {
			t.Errorf("closed with %d, want 1002", status)
		}
		r.conn.Close()
		until(t, "its id to be unknown", func() bool {
			return s.do("GET", "", "?id="+n.ConnectionToken, "", header{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
				"Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg=="}).status == http.StatusNotFound
		})
	})
	for name, row := range map[string]struct{ sent, want []byte }{
		"pings come back as pongs, in the middle of a message too": {
			slices.Concat(masked(0x01, []byte(call("a")[:5])), masked(0x89, []byte("x")), masked(0x80, []byte(call("a")[5:]))), []byte("\x8a\x01x"),
		},
		"an empty ping":              {masked(0x89, nil), []byte("\x8a\x00")},
		"a ping of 125 bytes":        {masked(0x89, bytes.Repeat([]byte("p"), 125)), append([]byte("\x8a\x7d"), bytes.Repeat([]byte("p"), 125)...)},
		"pongs for nobody":           {masked(0x8a, []byte("x")), nil},
		"an empty message":           {masked(0x81, nil), nil},
		"JSON in a binary message":   {masked(0x82, []byte(ping)), nil},
		"a rune over three frames":   {slices.Concat(masked(0x01, []byte(call("\u00e9")[:21])), masked(0x00, []byte(call("\u00e9")[21:22])), masked(0x80, []byte(call("\u00e9")[22:]))), nil},
		"a length in a longer form":  {append([]byte{0x81, 0xfe, 0, byte(len(ping)), 0, 0, 0, 0}, ping...), nil},
		"frames of 0 bytes, bounded": {append(append(masked(0x01, nil), bytes.Repeat(masked(0x00, nil), 1000)...), masked(0x80, []byte(ping))...), nil},
	} {
		t.Run("SEC-20 "+name+" are fine", func(t *testing.T) {
			t.Parallel()
			s, counted := frameSite(t, 0)
			r := s.raw("json")
			for part := range slices.Chunk(row.sent, 7) { // heads are torn apart, too
				r.write(part)
			}
			if len(row.want) > 0 {
				got := make([]byte, len(row.want))
				if _, err := io.ReadFull(r.in, got); err != nil || !bytes.Equal(got, row.want) {
					t.Errorf("got %q, %v, want %q", got, err, row.want)
				}
			}
			r.write(masked(0x81, []byte("{\"type\":1,\"invocationId\":\"7\",\"target\":\"last\",\"arguments\":[]}\x1e")))
			if _, b, err := r.frame(); err != nil || !bytes.Contains(b, []byte(`"invocationId":"7"`)) {
				t.Errorf("then got %q, %v; counted %v", b, err, counted)
			}
		})
	}
	t.Run("SEC-20 MessagePack in a text message is served where it is UTF-8, as by ASP.NET Core", func(t *testing.T) {
		t.Parallel()
		s, _ := frameSite(t, 0)
		r := s.raw("messagepack")
		r.write(masked(0x81, []byte("\x02\x91\x06")))
		if status, _ := r.closed(); status != 1007 {
			t.Errorf("closed with %d, want 1007: 0x91 begins no rune", status)
		}
	})
}

// SEC-20, SEC-22: what half a message costs: no more than twice the limit of one.
// It is alone, since it measures the heap.
func TestSEC_20_memory_of_messages_that_do_not_end(t *testing.T) {
	const clients, limit = 100, 32 << 10
	s, counted := frameSite(t, time.Minute)
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	sockets := make([]*rawSocket, clients)
	for i := range sockets {
		sockets[i] = s.raw("json")
	}
	read, before := counted.received.Load(), heap()
	head := append(binary.BigEndian.AppendUint64([]byte{0x81, 0xff}, 1<<62), 0, 0, 0, 0)
	for _, r := range sockets {
		r.write(head)
		r.write(bytes.Repeat([]byte(" "), limit-1))
	}
	// The rest of it waits inside a read.
	until(t, "the messages", func() bool { return counted.received.Load()-read >= clients*limit/2 })
	if grown := heap() - before; grown > clients*(2*limit+8<<10) {
		t.Errorf("%d bytes for each connection", grown/clients)
	}
}

// SEC-25: what is free of content is bounded, far beyond what clients send.
func TestFloods(t *testing.T) {
	t.Parallel()
	const burst, strays = 250, 100_000
	many := func(record string, n int) []byte {
		return bytes.Repeat(masked(0x81, []byte(strings.Repeat(record+"\x1e", 100))), n/100)
	}
	for _, row := range []struct {
		name  string
		fine  []byte // as much as may come at once
		flood []byte
		text  string // of the Close message
	}{
		{"hub pings", many(`{"type":6}`, burst-50), many(`{"type":6}`, 20*burst), "message_flood: more than 50 messages without content a second, at last one of type 6. Connect again and send less."},
		{"acks without stateful reconnect", many(`{"type":8,"sequenceId":1}`, burst-50), many(`{"type":8,"sequenceId":1}`, 20*burst), "message_flood: more than 50 messages without content a second, at last one of type 8. Connect again and send less."},
		{"messages of an unknown type", many(`{"type":77}`, burst-50), many(`{"type":77}`, 20*burst), "message_flood: more than 50 messages without content a second, at last one of type 77. Connect again and send less."},
		{"completions for nobody", many(`{"type":3,"invocationId":"9"}`, strays-100), many(`{"type":3,"invocationId":"9"}`, 3*strays), "message_flood: more than 5000 messages that belong to no stream or invocation a second, at last one of type 3. Connect again and send less."},
		{"items for nobody", many(`{"type":2,"invocationId":"9","item":1}`, strays-100), many(`{"type":2,"invocationId":"9","item":1}`, 3*strays), "message_flood: more than 5000 messages that belong to no stream or invocation a second, at last one of type 2. Connect again and send less."},
		{"WebSocket pings", bytes.Repeat(masked(0x89, nil), burst-50), bytes.Repeat(masked(0x89, nil), 20*burst), ""},
		{"WebSocket pongs", bytes.Repeat(masked(0x8a, nil), burst-50), bytes.Repeat(masked(0x8a, nil), 20*burst), ""},
		{"empty WebSocket messages", bytes.Repeat(masked(0x81, nil), burst-50), bytes.Repeat(masked(0x81, nil), 20*burst), ""},
	} {
		t.Run("SEC-25 "+row.name, func(t *testing.T) {
			t.Parallel()
			s, counted := frameSite(t, 0)
			neighbour, _ := s.connected("")

			r := s.raw("json")
			r.write(row.fine)
			r.write(masked(0x81, []byte("{\"type\":1,\"invocationId\":\"7\",\"target\":\"last\",\"arguments\":[]}\x1e")))
			for {
				if _, b, err := r.frame(); err != nil {
					t.Fatalf("closed within the limit: %v; counted %v", err, counted)
				} else if bytes.Contains(b, []byte(`"invocationId":"7"`)) {
					break
				}
			}
			go r.write(row.flood)
			status, last := r.closed()
			if status != 1008 {
				t.Errorf("closed with %d, want 1008", status)
			}
			if row.text != "" && !bytes.Contains(last, []byte(row.text)) {
				t.Errorf("the last words are %q, want %q", last[max(0, len(last)-300):], row.text)
			}
			r.conn.Close()
			neighbour.expect(s.publish("still here"))
			until(t, "the end of the connection", func() bool { return s.hub.Connections() == 1 })
			until(t, "the count", func() bool { return counted.of(hubs.RefusedFlood) == 1 })
		})
	}
}

// SEC-25: what one WebSocket message may hold, in one frame or in many.
func TestSEC_25_hub_messages_in_one_frame(t *testing.T) {
	t.Parallel()
	const most = 1000
	last := "{\"type\":1,\"invocationId\":\"7\",\"target\":\"last\",\"arguments\":[]}\x1e"
	t.Run("a thousand, and a thousand in the next, are fine", func(t *testing.T) {
		t.Parallel()
		s, counted := frameSite(t, 0)
		r := s.raw("json")
		r.write(masked(0x81, []byte(strings.Repeat(call("a"), most))))
		r.write(masked(0x81, []byte(strings.Repeat(call("a"), most-1)+last)))
		if _, b, err := r.frame(); err != nil || !bytes.Contains(b, []byte(`"invocationId":"7"`)) {
			t.Errorf("got %q, %v; counted %v", b, err, counted)
		}
	})
	t.Run("items of a stream don't count", func(t *testing.T) {
		t.Parallel()
		s, counted := frameSite(t, 0)
		r := s.raw("json")
		r.write(masked(0x81, []byte(strings.Repeat("{\"type\":2,\"invocationId\":\"1\",\"item\":1}\x1e", 3*most)+last)))
		if _, b, err := r.frame(); err != nil || !bytes.Contains(b, []byte(`"invocationId":"7"`)) {
			t.Errorf("got %q, %v; counted %v", b, err, counted)
		}
	})
	for name, sent := range map[string][]byte{
		"one more":                    masked(0x81, []byte(strings.Repeat(call("a"), most+1))),
		"one more, torn into frames":  append(masked(0x01, []byte(strings.Repeat(call("a"), most))), masked(0x80, []byte(call("a")))...),
		"one more than an option has": masked(0x81, []byte(strings.Repeat(call("a"), 4))),
	} {
		t.Run(name+" ends the connection", func(t *testing.T) {
			t.Parallel()
			counted, limit, handled := new(refusalMeter), most, newRecorder()
			s := newSite(t, func(s *setup) {
				s.config.Meter, s.config.Dispatcher = counted, handled
				if strings.Contains(name, "option") {
					limit = 3
				}
				s.config.Options.MaximumMessagesPerFrame = limit
			})
			neighbour := s.raw("json")
			r := s.raw("json")
			go r.write(sent)
			status, last := r.closed()
			want := fmt.Sprintf(`{"type":7,"error":"message_flood: more than %d hub messages in one WebSocket message. Connect again and send them in several."}`, limit)
			if status != 1008 || !strings.HasPrefix(string(last), want) {
				t.Errorf("closed with %d after %q, want 1008 and %q", status, last, want)
			}
			r.conn.Close()
			frame := s.publish("still here")
			if _, b, err := neighbour.frame(); err != nil || string(b) != frame {
				t.Errorf("the neighbour got %q, %v", b, err)
			}
			<-handled.disconnected
			if n := len(handled.targets); n != limit {
				t.Errorf("%d messages were handled, want the %d before it", n, limit)
			}
			if n := counted.of(hubs.RefusedFlood); n != 1 {
				t.Errorf("counted %v, want it once", counted)
			}
		})
	}
}

// SEC-26: a body that comes byte by byte is given up, without a trace in the
// connection that it was for.
func TestSEC_26_slow_bodies(t *testing.T) {
	t.Parallel()
	counted := new(refusalMeter)
	s := newSite(t, func(s *setup) {
		s.options.BodyTimeout = 100 * time.Millisecond
		s.options.Refused = counted.request
	})
	neighbour, _ := s.connected("")
	n := s.negotiate("")
	events := s.events("?id="+n.ConnectionToken, nil)
	query := "?id=" + n.ConnectionToken
	s.do("POST", "", query, handshake, nil).want(t, 200, "")
	events.expect("{}\x1e")

	u, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(wait))
	if _, err := fmt.Fprintf(conn, "POST %s%s HTTP/1.1\r\nHost: %s\r\nContent-Length: 1000\r\n\r\n{", u.Path, query, u.Host); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("the slow body is answered %v, %v", resp, err)
	}
	if n := counted.of(transport.RefusedSlowBody); n != 1 {
		t.Errorf("counted %v, want it once", counted)
	}
	s.do("POST", "", query, call("m"), nil).want(t, 200, "")
	frame := s.publish("still here")
	events.expect(frame)
	neighbour.expect(frame)
}

// SEC-26: a reader of Server-Sent Events that takes a byte a second is closed for
// what waits for it, within the time of a write, and nobody else waits for it.
func TestSEC_26_slow_event_readers(t *testing.T) {
	t.Parallel()
	counted := new(refusalMeter)
	s := newSite(t, func(s *setup) { s.config.Meter = counted })
	neighbour, _ := s.connected("")
	n := s.negotiate("")
	u, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10) })
	}}
	conn, err := dialer.DialContext(t.Context(), "tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "GET %s?id=%s HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\n\r\n", u.Path, n.ConnectionToken, u.Host); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	read := make(chan struct{})
	go func() {
		defer close(read)
		second := time.NewTicker(time.Second)
		defer second.Stop()
		for {
			select {
			case <-second.C:
				_, _ = conn.Read(make([]byte, 1))
			case <-ended:
				return
			}
		}
	}()
	// Once: a second handshake would be the end of it.
	until(t, "the stream to be open", func() bool {
		return s.do("POST", "", "?id="+n.ConnectionToken, handshake, nil).status == http.StatusOK
	})
	until(t, "the handshake to be read", func() bool { return s.hub.Connections() == 2 })
	// More than its queue and the buffers of its socket hold.
	began := time.Now()
	large := strings.Repeat("x", 256<<10)
	for counted.of(hubs.RefusedSlowConsumer) == 0 {
		if time.Since(began) > wait {
			t.Fatal("no slow consumer was counted")
		}
		neighbour.expect(s.publish(large))
	}
	for deadline := time.Now().Add(3 * wait); s.hub.Connections() != 1; {
		if time.Now().After(deadline) {
			t.Fatal("the connection is still there")
		}
		neighbour.expect(s.publish("still here"))
		time.Sleep(10 * time.Millisecond)
	}
	close(ended)
	<-read
}
