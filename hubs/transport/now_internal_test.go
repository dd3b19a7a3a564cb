//go:build unix

package transport

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
)

// A message that finds room for a part goes on before whatever is written next, and
// nothing is mixed into it.
func TestTryWhole_leaves_the_rest_to_the_next(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	raw, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	// The kernel makes no more of them than that.
	if err := errors.Join(raw.(*net.TCPConn).SetWriteBuffer(64<<10), client.(*net.TCPConn).SetReadBuffer(64<<10)); err != nil {
		t.Fatal(err)
	}
	c := &patientConn{Conn: raw}
	if sent, behind, err := c.tryWhole([]byte("first")); !sent || behind || err != nil {
		t.Fatalf("with all the room there is: %v, %v, %v", sent, behind, err)
	}
	large := bytes.Repeat([]byte("0123456789"), 4<<20/10) // more than the kernel takes
	if sent, behind, err := c.tryWhole(large); !sent || !behind || err != nil {
		t.Fatalf("with room for a part: %v, %v, %v", sent, behind, err)
	}
	if sent, behind, err := c.tryWhole([]byte("too early")); sent || behind || err != nil {
		t.Fatalf("before the rest: %v, %v, %v", sent, behind, err)
	}
	got := make(chan []byte, 1)
	go func() {
		all, _ := io.ReadAll(client)
		got <- all
	}()
	if _, err := c.Write([]byte("pong")); err != nil {
		t.Fatal(err)
	}
	if err := c.writeRest(); err != nil {
		t.Fatal(err)
	}
	if sent, behind, err := c.tryWhole([]byte("last")); !sent || behind || err != nil {
		t.Fatalf("behind the rest: %v, %v, %v", sent, behind, err)
	}
	raw.Close()
	want := []byte("first" + string(large) + "pong" + "last")
	if all := <-got; !bytes.Equal(all, want) {
		t.Errorf("%d bytes came, want %d", len(all), len(want))
	}
	if _, _, err := c.tryWhole([]byte("x")); err == nil {
		t.Error("a closed socket took a message")
	}
}
