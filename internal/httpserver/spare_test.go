package httpserver

import (
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// TestSpare: without room nothing is accepted, what waits is accepted when there is
// some, and Close ends the wait.
func TestSpare(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open atomic.Int64
	l := spareOf(inner, 10, func() int { return int(open.Load()) })
	accepted := make(chan error)
	accept := func() {
		conn, err := l.Accept()
		if err == nil {
			conn.Close()
		}
		accepted <- err
	}
	dial := func() {
		t.Helper()
		conn, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
	dial()
	go accept()
	if err := <-accepted; err != nil {
		t.Fatal(err)
	}
	l.known = l.most
	open.Store(10)
	dial()
	go accept()
	select {
	case err := <-accepted:
		t.Fatalf("accepted without room: %v", err)
	case <-time.After(3 * sparePause):
	}
	open.Store(9)
	if err := <-accepted; err != nil {
		t.Errorf("not accepted though there is room: %v", err)
	}
	l.known = l.most
	open.Store(10)
	go accept()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-accepted; err == nil {
		t.Error("accepted after the close")
	}
}
