package transport

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// The cases of the Autobahn test suite for servers (families 1 to 7, 9 and 10), by
// their numbers: what is sent and what has to come back are the suite's. The suite
// asks an echo server, so the WebSocket is one here, without a hub. Families 12 and
// 13 are about compression, which is never agreed to.
//
// One answer differs on purpose: a message of more than 1,024 frames is closed with
// 1008, in 9.3.1 to 9.3.3 and 9.4.1 to 9.4.3.

// echo serves WebSockets that send each message back.
func echo(t *testing.T) (address string) {
	t.Helper()
	h := &Handler{opt: Options{BodyTimeout: 10 * time.Second}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := h.upgrade(&request{w: w, r: r})
		if err != nil {
			return
		}
		defer ws.free()
		for ws.Wait() == nil {
			message, err := readMessage(ws)
			if err != nil {
				return
			}
			if ws.format = websocket.MessageBinary; ws.isText {
				ws.format = websocket.MessageText
			}
			if ws.Write(message) != nil {
				return
			}
		}
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// readMessage reads to the end of a message that Wait has found.
func readMessage(ws *webSocket) (message []byte, err error) {
	buf := make([]byte, 32<<10)
	for {
		n, err := ws.Read(buf)
		if err != nil {
			return nil, err
		}
		message = append(message, buf[:n]...)
		if ws.message == nil {
			return message, nil
		}
	}
}

// sent is what a case sends: whole writes, cut into pieces of chop bytes unless
// that is 0.
type sent struct {
	bytes []byte
	chop  int
	await string // a frame that must have come before the next is sent
}

// wire is a client's frame; first is its first byte.
func wire(first byte, payload string) []byte {
	mask := [4]byte{0x5a, 0xa5, 0x3c, 0xc3}
	n := len(payload)
	b := []byte{first}
	switch {
	case n < 126:
		b = append(b, bitMask|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, bitMask|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, bitMask|127), uint64(n))
	}
	b = append(b, mask[:]...)
	for i := range n {
		b = append(b, payload[i]^mask[i%4])
	}
	return b
}

// testCase is one case: what is sent, what comes back, and how it ends: with the
// status that the server closes with, or 0 when the client ends it.
type testCase struct {
	id     string
	sent   []sent
	back   []string // opcode and payload
	status int
}

const (
	bitFin  = 0x80 // of a frame's first byte
	bitMask = 0x80 // of its second

	text1, binary1    = 0x81, 0x82 // whole messages
	textN, binaryN    = 0x01, 0x02 // their first frames
	more, last        = 0x00, 0x80
	pingF, pongF, bye = 0x89, 0x8a, 0x88
)

func frame(opcode byte, payload string) string { return string(rune(opcode)) + payload }

// run sends the case and compares.
func (c *testCase) run(t *testing.T, address string) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	in := bufio.NewReader(conn)
	_, _ = conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"))
	if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %v, %v", resp, err)
	}
	seen := make(chan string, len(c.back)+10)
	writing := make(chan struct{})
	go func() {
		defer close(writing)
		for _, s := range c.sent {
			chop := s.chop
			if chop == 0 {
				chop = max(len(s.bytes), 1)
			}
			for part := range slices.Chunk(s.bytes, chop) {
				if _, err := conn.Write(part); err != nil {
					return // closed meanwhile: what came says why
				}
			}
			for s.await != "" {
				if got, ok := <-seen; !ok || got == s.await {
					break
				}
			}
		}
		if c.status == 0 {
			_, _ = conn.Write(wire(bye, "\x03\xe8"))
		}
	}()
	var back []string
	status := -1
	for status < 0 {
		opcode, payload, err := serverFrame(in)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			t.Fatalf("the server doesn't close; it sent %.200q", back)
		case err != nil:
			status = 1006
		case opcode == opClose && len(payload) < 2:
			status = 1005
		case opcode == opClose:
			status = int(binary.BigEndian.Uint16([]byte(payload)))
		default:
			back = append(back, frame(opcode, payload))
			select {
			case seen <- frame(opcode, payload):
			default:
			}
		}
	}
	close(seen)
	_ = conn.(*net.TCPConn).CloseWrite() // the server needn't wait for more
	if _, err := in.ReadByte(); err == nil {
		t.Error("something comes behind the close frame")
	}
	conn.Close()
	<-writing
	want := c.status
	if want == 0 {
		want = 1000
	}
	if status != want || !slices.Equal(back, c.back) {
		t.Errorf("closed with %d after %d frames %.300q, want %d after %d %.300q", status, len(back), back, want, len(c.back), c.back)
	}
}

// serverFrame reads a frame, which a server sends whole and without a mask.
func serverFrame(in *bufio.Reader) (opcode byte, payload string, err error) {
	var head [10]byte
	if _, err := io.ReadFull(in, head[:2]); err != nil {
		return 0, "", err
	}
	n := uint64(head[1])
	switch {
	case head[0]&0xf0 != bitFin || n > 127:
		return 0, "", fmt.Errorf("the server's frame begins with % x", head[:2])
	case n == 126:
		_, err = io.ReadFull(in, head[2:4])
		n = uint64(binary.BigEndian.Uint16(head[2:]))
	case n == 127:
		_, err = io.ReadFull(in, head[2:10])
		n = binary.BigEndian.Uint64(head[2:])
	}
	if err != nil {
		return 0, "", err
	}
	b := make([]byte, n)
	_, err = io.ReadFull(in, b)
	return head[0] & 0xf, string(b), err
}

func TestAutobahnCases(t *testing.T) {
	t.Parallel()
	address := echo(t)
	var cases []testCase
	add := func(id string, status int, back []string, all ...sent) {
		cases = append(cases, testCase{id: id, sent: all, back: back, status: status})
	}
	one := func(frames ...[]byte) sent { return sent{bytes: slices.Concat(frames...)} }
	each := func(chop int, frames ...[]byte) sent { return sent{bytes: slices.Concat(frames...), chop: chop} }
	apart := func(frames ...[]byte) (all []sent) {
		for _, f := range frames {
			all = append(all, sent{bytes: f})
		}
		return all
	}
	none := []string(nil)

	// 1: framing.
	for i, first := range []byte{text1, binary1} {
		for j, n := range []int{0, 125, 126, 127, 128, 65535, 65536, 65536} {
			payload, chop := strings.Repeat("*", n), 0
			if j == 7 {
				chop = 997
			}
			back := []string{frame(first&0xf, payload)}
			add(fmt.Sprintf("1.%d.%d", i+1, j+1), 0, back, each(chop, wire(first, payload)))
		}
	}

	// 2: pings and pongs.
	p125 := strings.Repeat("\xfe", 125)
	add("2.1", 0, []string{frame(opPong, "")}, one(wire(pingF, "")))
	add("2.2", 0, []string{frame(opPong, "Hello, world!")}, one(wire(pingF, "Hello, world!")))
	add("2.3", 0, []string{frame(opPong, "\x00\xff\xfe\xfd\xfc\xfb\x00\xff")}, one(wire(pingF, "\x00\xff\xfe\xfd\xfc\xfb\x00\xff")))
	add("2.4", 0, []string{frame(opPong, p125)}, one(wire(pingF, p125)))
	add("2.5", 1002, none, one(wire(pingF, p125+"\xfe")))
	add("2.6", 0, []string{frame(opPong, p125)}, each(1, wire(pingF, p125)))
	add("2.7", 0, none, one(wire(pongF, "")))
	add("2.8", 0, none, one(wire(pongF, "unsolicited pong payload")))
	add("2.9", 0, []string{frame(opPong, "ping payload")}, one(wire(pongF, "unsolicited pong payload"), wire(pingF, "ping payload")))
	var pings [][]byte
	var pongs []string
	for i := range 10 {
		pings, pongs = append(pings, wire(pingF, fmt.Sprint("payload-", i))), append(pongs, frame(opPong, fmt.Sprint("payload-", i)))
	}
	add("2.10", 0, pongs, one(pings...))
	add("2.11", 0, pongs, each(1, pings...))

	// 3: reserved bits.
	hello := "Hello, world!"
	first := []string{frame(opText, hello)}
	add("3.1", 1002, none, one(wire(text1|0x40, hello)))
	add("3.2", 1002, first, one(wire(text1, hello), wire(text1|0x20, hello), wire(pingF, "")))
	add("3.3", 1002, first, apart(wire(text1, hello), wire(text1|0x30, hello), wire(pingF, ""))...)
	add("3.4", 1002, first, each(1, wire(text1, hello), wire(text1|0x40, hello), wire(pingF, "")))
	add("3.5", 1002, none, one(wire(binary1|0x50, "\x00\xff\xfe\xfd\xfc\xfb\x00\xff")))
	add("3.6", 1002, none, one(wire(pingF|0x60, hello)))
	add("3.7", 1002, none, one(wire(bye|0x70, "\x03\xe8")))

	// 4: reserved opcodes.
	for i, op := range []byte{3, 11} {
		op |= bitFin
		id := fmt.Sprintf("4.%d.", i+1)
		add(id+"1", 1002, none, one(wire(op, "")))
		add(id+"2", 1002, none, one(wire(op+1, "reserved opcode payload")))
		add(id+"3", 1002, first, one(wire(text1, hello), wire(op+2, ""), wire(pingF, "")))
		add(id+"4", 1002, first, one(wire(text1, hello), wire(op+3, hello), wire(pingF, "")))
		add(id+"5", 1002, first, each(1, wire(text1, hello), wire(op+4, hello), wire(pingF, "")))
	}

	// 5: fragments.
	f1, f2 := wire(textN, "fragment1"), wire(last, "fragment2")
	both := []string{frame(opText, "fragment1fragment2")}
	between := []string{frame(opPong, "ping payload"), both[0]}
	add("5.1", 1002, none, one(wire(pingF&0x7f, "fragment1"), f2))
	add("5.2", 1002, none, one(wire(pongF&0x7f, "fragment1"), f2))
	add("5.3", 0, both, apart(f1, f2)...)
	add("5.4", 0, both, one(f1, f2))
	add("5.5", 0, both, each(1, f1, f2))
	add("5.6", 0, between, apart(f1, wire(pingF, "ping payload"), f2)...)
	add("5.7", 0, between, one(f1, wire(pingF, "ping payload"), f2))
	add("5.8", 0, between, each(1, f1, wire(pingF, "ping payload"), f2))
	for i, fin := range []byte{last, more} {
		orphan := wire(fin, "non-continuation payload")
		add(fmt.Sprint("5.", 9+3*i), 1002, none, apart(orphan, wire(text1, hello))...)
		add(fmt.Sprint("5.", 10+3*i), 1002, none, one(orphan, wire(text1, hello)))
		add(fmt.Sprint("5.", 11+3*i), 1002, none, each(1, orphan, wire(text1, hello)))
	}
	add("5.15", 1002, both, one(f1, f2, wire(more, "fragment3"), wire(text1, "fragment4")))
	add("5.16", 1002, none, one(wire(more, "fragment1"), wire(text1, "fragment2"), wire(more, "fragment3"), wire(text1, "fragment4")))
	add("5.17", 1002, none, one(wire(last, "fragment1"), wire(text1, "fragment2"), wire(last, "fragment3"), wire(text1, "fragment4")))
	add("5.18", 1002, none, one(f1, wire(text1, "fragment2")))
	five := []string{frame(opPong, "pongme 1!"), frame(opPong, "pongme 2!"), frame(opText, "fragment1fragment2fragment3fragment4fragment5")}
	for i, await := range []string{five[0], ""} {
		add(fmt.Sprint("5.", 19+i), 0, five,
			sent{bytes: slices.Concat(f1, wire(more, "fragment2"), wire(pingF, "pongme 1!")), await: await},
			one(wire(more, "fragment3"), wire(more, "fragment4"), wire(pingF, "pongme 2!"), wire(last, "fragment5")))
	}

	// 6: UTF-8.
	add("6.1.1", 0, []string{frame(opText, "")}, one(wire(text1, "")))
	add("6.1.2", 0, []string{frame(opText, "")}, one(wire(textN, ""), wire(more, ""), wire(last, "")))
	add("6.1.3", 0, []string{frame(opText, "middle frame payload")}, one(wire(textN, ""), wire(more, "middle frame payload"), wire(last, "")))
	octets := func(payload string) (frames [][]byte) {
		for i := range len(payload) {
			first := byte(more)
			switch i {
			case 0:
				first = textN
			case len(payload) - 1:
				first = last
			}
			frames = append(frames, wire(first, payload[i:i+1]))
		}
		return frames
	}
	good := "Hello-\u00b5@\u00df\u00f6\u00e4\u00fc\u00e0\u00e1-UTF-8!!"
	add("6.2.1", 0, []string{frame(opText, good)}, one(wire(text1, good)))
	add("6.2.2", 0, []string{frame(opText, good)}, one(wire(textN, good[:12]), wire(last, good[12:])))
	add("6.2.3", 0, []string{frame(opText, good)}, one(octets(good)...))
	kosme := "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"
	add("6.2.4", 0, []string{frame(opText, kosme)}, one(octets(kosme)...))
	bad := kosme + "\xed\xa0\x80" + "edited"
	add("6.3.1", 1007, none, one(wire(text1, bad)))
	add("6.3.2", 1007, none, one(octets(bad)...))
	// Fail fast: the message isn't complete, and never will be.
	add("6.4.1", 1007, none, one(wire(textN, kosme), wire(more, "\xf4\x90\x80\x80")))
	add("6.4.2", 1007, none, one(wire(textN, kosme+"\xf4"), wire(more, "\x90")))
	// Nothing is said of a part of a frame; its time ends it, which the suite takes for
	// not strict, and not for wrong.
	add("6.4.3", 1008, none, one(wire(text1, kosme+"\xf4\x90\x80\x80edited")[:6+len(kosme)+4]))
	add("6.4.4", 1008, none, one(wire(text1, kosme+"\xf4\x90\x80\x80edited")[:6+len(kosme)+2]))
	for family, sequences := range utf8Families() {
		for i, s := range sequences {
			id := fmt.Sprintf("6.%d.%d", family+5, i+1)
			if s.valid {
				add(id, 0, []string{frame(opText, s.text)}, one(wire(text1, s.text)))
			} else {
				add(id, 1007, none, one(wire(text1, s.text)))
			}
		}
	}

	// 7: closing.
	status := func(code uint16, reason string) []byte {
		return wire(bye, string(binary.BigEndian.AppendUint16(nil, code))+reason)
	}
	add("7.1.1", 0, []string{frame(opText, "Hello World!")}, one(wire(text1, "Hello World!")))
	add("7.1.2", 1000, none, one(status(1000, ""), status(1000, "")))
	add("7.1.3", 1000, none, one(status(1000, ""), wire(pingF, "")))
	add("7.1.4", 1000, none, one(status(1000, ""), wire(text1, "Hello World!")))
	add("7.1.5", 1000, none, one(f1, status(1000, ""), f2))
	long := strings.Repeat("BAsd7&jh23", 26*1000)
	add("7.1.6", 1000, []string{frame(opText, long), frame(opText, "Hello World!")},
		one(wire(text1, long), wire(text1, "Hello World!"), status(1000, ""), wire(pingF, "")))
	add("7.3.1", 1005, none, one(wire(bye, "")))
	add("7.3.2", 1002, none, one(wire(bye, "a")))
	add("7.3.3", 1000, none, one(status(1000, "")))
	add("7.3.4", 1000, none, one(status(1000, "Hello World!")))
	add("7.3.5", 1000, none, one(status(1000, strings.Repeat("*", 123))))
	add("7.3.6", 1002, none, one(status(1000, strings.Repeat("*", 124))))
	add("7.5.1", 1007, none, one(status(1000, bad)))
	for i, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		add(fmt.Sprint("7.7.", i+1), int(code), none, one(status(code, "")))
	}
	for i, code := range []uint16{0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999} {
		add(fmt.Sprint("7.9.", i+1), 1002, none, one(status(code, "")))
	}
	for i, code := range []uint16{5000, 65535} {
		add(fmt.Sprint("7.13.", i+1), 1002, none, one(status(code, "")))
	}

	// 9: large messages, in one frame, in many, and in small pieces.
	for i, first := range []byte{text1, binary1} {
		for j, n := range []int{64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20, 16 << 20} {
			payload := strings.Repeat("*", n)
			add(fmt.Sprintf("9.%d.%d", i+1, j+1), 0, []string{frame(first&0xf, payload)}, one(wire(first, payload)))
		}
		for j, n := range []int{64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20} {
			const size = 4 << 20
			payload := strings.Repeat("*", size)
			var frames [][]byte
			for at := 0; at < size; at += n {
				kind := byte(more)
				if at == 0 {
					kind = first &^ bitFin
				}
				if at+n == size {
					kind |= bitFin
				}
				frames = append(frames, wire(kind, payload[at:at+n]))
			}
			id, back := fmt.Sprintf("9.%d.%d", i+3, j+1), []string{frame(first&0xf, payload)}
			if len(frames) > maxFragments {
				add(id, 1008, none, one(frames...))
			} else {
				add(id, 0, back, one(frames...))
			}
		}
		for j, chop := range []int{64, 128, 256, 512, 1024, 2048} {
			payload := strings.Repeat("*", 1<<20)
			add(fmt.Sprintf("9.%d.%d", i+5, j+1), 0, []string{frame(first&0xf, payload)}, each(chop, wire(first, payload)))
		}
		for j, n := range []int{0, 16, 64, 256, 1024, 4096} {
			if n == 0 {
				continue // a flood of empty messages, which TestFloods sends
			}
			payload := strings.Repeat("*", n)
			add(fmt.Sprintf("9.%d.%d", i+7, j+1), 0, slices.Repeat([]string{frame(first&0xf, payload)}, 1000), one(bytes.Repeat(wire(first, payload), 1000)))
		}
	}

	// 10: fragments of a size that no power of two is a multiple of.
	payload := strings.Repeat("*", 65536)
	var frames [][]byte
	for at := 0; at < len(payload); at += 1300 {
		kind := byte(more)
		if at == 0 {
			kind = textN
		}
		if at+1300 >= len(payload) {
			kind |= bitFin
		}
		frames = append(frames, wire(kind, payload[at:min(at+1300, len(payload))]))
	}
	add("10.1.1", 0, []string{frame(opText, payload)}, one(frames...))

	for _, c := range cases {
		t.Run(c.id, func(t *testing.T) {
			t.Parallel()
			c.run(t, address)
		})
	}
}

// utf8Sequence is a text, valid or not.
type utf8Sequence struct {
	valid bool
	text  string
}

// utf8Families are the sequences of cases 6.5 to 6.23, after Markus Kuhn's decoder
// stress test.
func utf8Families() [][]utf8Sequence {
	of := func(valid bool, texts ...string) (all []utf8Sequence) {
		for _, s := range texts {
			all = append(all, utf8Sequence{valid, s})
		}
		return all
	}
	word := "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"
	var prefixes, nonCharacters []utf8Sequence
	whole := map[int]bool{2: true, 5: true, 7: true, 9: true, 11: true}
	for i := 1; i <= len(word); i++ {
		prefixes = append(prefixes, utf8Sequence{whole[i], word[:i]})
	}
	nonCharacters = of(true, "\xef\xbf\xbe", "\xef\xbf\xbf")
	for plane := rune(1); plane <= 16; plane++ {
		nonCharacters = append(nonCharacters, of(true, string(plane<<16|0xfffe), string(plane<<16|0xffff))...)
	}
	run := func(from, to byte, between string) string {
		var b strings.Builder
		for c := from; c < to; c++ {
			b.WriteByte(c)
			b.WriteString(between)
		}
		return b.String()
	}
	cut := []string{
		"\xc0", "\xe0\x80", "\xf0\x80\x80", "\xf8\x80\x80\x80", "\xfc\x80\x80\x80\x80",
		"\xdf", "\xef\xbf", "\xf7\xbf\xbf", "\xfb\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf",
	}
	return [][]utf8Sequence{
		of(true, "hello$world", "hello\u00a2world", "hello\u20acworld", "hello\U00024b62world", word),
		prefixes,
		of(true, "\x00", "\u0080", "\u0800", "\U00010000"),
		of(false, "\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80"),
		of(true, "\x7f", "\u07ff", "\uffff", "\U0010ffff"),
		of(false, "\xf7\xbf\xbf\xbf", "\xfb\xbf\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf\xbf"),
		append(of(true, "\ud7ff", "\ue000", "\ufffd", "\U0010ffff"), utf8Sequence{false, "\xf4\x90\x80\x80"}),
		of(false, "\x80", "\xbf", "\x80\xbf", "\x80\xbf\x80", "\x80\xbf\x80\xbf", "\x80\xbf\x80\xbf\x80", "\x80\xbf\x80\xbf\x80\xbf", run(0x80, 0xbf, "")),
		of(false, run(0xc0, 0xdf, " "), run(0xe0, 0xef, " "), run(0xf0, 0xf7, " "), run(0xf8, 0xfb, " "), run(0xfc, 0xfd, " ")),
		of(false, cut...),
		of(false, strings.Join(cut, "")),
		of(false, "\xfe", "\xff", "\xfe\xfe\xff\xff"),
		of(false, "\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xf8\x80\x80\x80\xaf", "\xfc\x80\x80\x80\x80\xaf"),
		of(false, "\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xf8\x87\xbf\xbf\xbf", "\xfc\x83\xbf\xbf\xbf\xbf"),
		of(false, "\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xf8\x80\x80\x80\x80", "\xfc\x80\x80\x80\x80\x80"),
		of(false, "\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xaf\xbf", "\xed\xb0\x80", "\xed\xbe\x80", "\xed\xbf\xbf"),
		of(false, "\xed\xa0\x80\xed\xb0\x80", "\xed\xa0\x80\xed\xbf\xbf", "\xed\xad\xbf\xed\xb0\x80", "\xed\xad\xbf\xed\xbf\xbf",
			"\xed\xae\x80\xed\xb0\x80", "\xed\xae\x80\xed\xbf\xbf", "\xed\xaf\xbf\xed\xb0\x80", "\xed\xaf\xbf\xed\xbf\xbf"),
		nonCharacters,
		of(true, "\ufff9", "\ufffa", "\ufffb", "\ufffc", "\ufffd", "\ufffe", "\uffff"),
	}
}
