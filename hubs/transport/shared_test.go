package transport_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
)

// Messages to many are framed once and written beside the library's own frames:
// clients get them whole and in order, and their pings are answered between them.
func TestShared_messages_and_pongs_are_whole(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	const messages, pings = 300, 120 // below the limit of pings
	clients := []*rawSocket{s.raw("json"), s.raw("json"), s.raw("messagepack")}
	want := make(chan []string, 1)
	go func() {
		var frames []string
		for i := range messages {
			frames = append(frames, s.publish(fmt.Sprintf("message %d %s", i, strings.Repeat("x", i))))
		}
		want <- frames
	}()
	payload := bytes.Repeat([]byte("ping"), 31) // 124 bytes
	for _, c := range clients {
		go func() {
			for range pings {
				c.write(masked(0x89, payload))
			}
		}()
	}
	all := <-want
	for i, c := range clients {
		kind, expected := byte(1), strings.Join(all, "")
		if i == 2 {
			kind, expected = 2, ""
		}
		var got []byte
		pongs, count := 0, 0
		for pongs < pings || count < messages {
			opcode, b, err := c.frame()
			switch {
			case err != nil:
				t.Fatalf("client %d, after %d messages and %d pongs: %v", i, count, pongs, err)
			case opcode == 10 && bytes.Equal(b, payload):
				pongs++
			case opcode == kind:
				got = append(got, b...)
				if count = bytes.Count(got, []byte{0x1e}); i == 2 {
					count = bytes.Count(got, []byte("message "))
				}
			default:
				t.Fatalf("client %d got a frame %d of %d bytes: %.40q", i, opcode, len(b), b)
			}
		}
		if expected != "" && string(got) != expected {
			t.Errorf("client %d got %d bytes that aren't the %d published ones", i, len(got), len(expected))
		}
	}
}

// Nothing follows the close frame with which a client's is answered.
func TestShared_nothing_follows_the_close_frame(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	for range 20 {
		c := s.raw("json")
		published := make(chan struct{})
		go func() {
			defer close(published)
			for i := range 50 {
				s.publish(fmt.Sprint(i))
				if i == 20 {
					c.write(masked(0x88, []byte{3, 232})) // 1000
				}
			}
		}()
		ended := false
		for {
			opcode, b, err := c.frame()
			if err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, net.ErrClosed) {
					t.Fatal(err)
				}
				break
			}
			if ended {
				t.Fatalf("a frame %d of %d bytes follows the close frame", opcode, len(b))
			}
			ended = opcode == 8
		}
		<-published
	}
}
