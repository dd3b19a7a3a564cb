package httpserver

import (
	"net"
	"syscall"
)

// The keep-alive of TCP as package net sets it.
const (
	keepAliveSeconds = 15 // of rest before the first probe, and between probes
	keepAliveProbes  = 9
)

// listening returns how to listen. Connections inherit the keep-alive of their listener:
// set by package net, it would take four system calls for each of them.
func listening() *net.ListenConfig {
	return &net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		set := func(fd, level, option, value int) {
			if err := syscall.SetsockoptInt(fd, level, option, value); failed == nil {
				failed = err
			}
		}
		if err := c.Control(func(fd uintptr) {
			set(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1)
			set(int(fd), syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, keepAliveSeconds)
			set(int(fd), syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, keepAliveSeconds)
			set(int(fd), syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, keepAliveProbes)
		}); err != nil {
			return err
		}
		return failed
	}}
}
