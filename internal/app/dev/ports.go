package dev

import (
	"fmt"
	"net"

	"github.com/signalbox/signalbox/internal/embedded"
)

// The ports that the processes get when they are free; others do as well. All
// lie below the range from which the kernel takes ports for outgoing
// connections.
const (
	firstEdgePort   = 20001
	firstAdminPort  = 20011 // of the api; the edges' follow
	apiInternalPort = 20021
	firstRelayPort  = 20031 // of the edges among themselves
	edgeCount       = 2
)

// ports are the loopback ports of the children, kept over their restarts.
type ports struct {
	apiAdmin, apiInternal int
	edge, edgeAdmin       [edgeCount]int
	edgeInternal          [edgeCount]int
}

// choosePorts takes the usual ports where they are free.
func choosePorts() (p ports, err error) {
	taken := map[int]bool{}
	choose := func(wanted int) int {
		if err != nil {
			return 0
		}
		for port := wanted; ; {
			if !taken[port] && isFree(port) {
				taken[port] = true
				return port
			}
			if port, err = embedded.FreePort(); err != nil {
				return 0
			}
		}
	}
	p.apiAdmin = choose(firstAdminPort)
	p.apiInternal = choose(apiInternalPort)
	for i := range edgeCount {
		p.edge[i] = choose(firstEdgePort + i)
		p.edgeAdmin[i] = choose(firstAdminPort + 1 + i)
		p.edgeInternal[i] = choose(firstRelayPort + i)
	}
	return p, err
}

func isFree(port int) bool {
	l, err := net.Listen("tcp", loopback(port)) //nolint:noctx // a bind on loopback does not block
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// checkFree refuses a port that somebody listens on, by the name of its variable.
func checkFree(name string, port int) error {
	if !isFree(port) {
		return fmt.Errorf("port %d is taken: stop what listens on it or set %s", port, name)
	}
	return nil
}
