package transport

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
)

// A socket that is lost in the middle of a message is no breach of the rules: the
// client may come back.
func TestWebSocket_lost_inside_a_message(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		mask     byte   // all four of it
		payload  string // what arrives of it, masked
		length   uint16 // that it was to have
		read     int    // bytes at a time
		violated bool
	}{
		{"a piece that is masked to no text", 0xff, "abc", 100, 64, false},
		{"between two reads, inside a letter", 0, "abc\xc3", 100, 4, false},
		{"between two reads", 0, "abcd", 100, 4, false},
		{"behind a whole message that is no text", 0, "abc\xc3", 4, 4, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			upgraded := make(chan *webSocket, 1)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				h := &Handler{opt: Options{BodyTimeout: time.Minute}}
				ws, err := h.upgrade(&request{w: w, r: r})
				if err != nil {
					t.Error(err)
				}
				upgraded <- ws
			}))
			defer server.Close()
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("upgrade: %v, %v", res, err)
			}
			ws := <-upgraded
			ws.resumable = true
			defer ws.free()
			frame := binary.BigEndian.AppendUint16([]byte{0x81, 0x80 | 126}, test.length)
			frame = append(frame, test.mask, test.mask, test.mask, test.mask)
			for _, b := range []byte(test.payload) {
				frame = append(frame, b^test.mask)
			}
			if _, err := conn.Write(frame); err != nil {
				t.Fatal(err)
			}
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			for err == nil {
				if err = ws.Wait(); err == nil {
					_, err = ws.Read(make([]byte, test.read))
				}
			}
			var broken *hubs.Violation
			if errors.Is(err, io.EOF) || errors.As(err, &broken) != test.violated {
				t.Errorf("the socket ended with %v", err)
			}
		})
	}
}
