package api

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// link is a TCP connection to a server that can be cut and mended.
type link struct {
	target   string
	listener net.Listener

	mu    sync.Mutex
	down  bool
	conns []net.Conn
}

// newLink returns a link to the server of a URL, and the URL through it.
func newLink(t *testing.T, through string) (*link, string) {
	t.Helper()
	u, err := url.Parse(through)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{target: u.Host, listener: listener}
	go l.accept()
	t.Cleanup(func() {
		listener.Close()
		l.cut()
	})
	u.Host = listener.Addr().String()
	return l, u.String()
}

func (l *link) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.mu.Lock()
		far, err := net.Dial("tcp", l.target)
		if l.down || err != nil {
			near.Close()
			if far != nil {
				far.Close()
			}
			l.mu.Unlock()
			continue
		}
		l.conns = append(l.conns, near, far)
		l.mu.Unlock()
		for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
			go func() {
				_, _ = io.Copy(way[0], way[1])
				way[0].Close()
			}()
		}
	}
}

func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = true
	for _, c := range l.conns {
		c.Close()
	}
	l.conns = nil
}

func (l *link) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = false
}
