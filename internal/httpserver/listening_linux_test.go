package httpserver

import (
	"net"
	"syscall"
	"testing"
)

// Connections have the keep-alive that package net would have given them.
func TestListening_connections_are_kept_alive(t *testing.T) {
	t.Parallel()
	var got [2][4]int
	for i, config := range []*net.ListenConfig{listening(), {}} {
		l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		raw, err := conn.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) {
			for n, option := range [][2]int{
				{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE}, {syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE},
				{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL}, {syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT},
			} {
				if got[i][n], err = syscall.GetsockoptInt(int(fd), option[0], option[1]); err != nil {
					t.Error(err)
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if got[0] != got[1] || got[0][0] == 0 {
		t.Errorf("keep-alive %v, package net's is %v", got[0], got[1])
	}
}
