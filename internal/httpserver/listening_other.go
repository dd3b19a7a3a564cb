//go:build !linux

package httpserver

import "net"

// listening returns how to listen.
func listening() *net.ListenConfig { return new(net.ListenConfig) }
