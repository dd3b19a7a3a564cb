package dev

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/signalbox/signalbox/internal/embedded"
)

// The ports that the processes get when they are free; others do as well. All
// lie below the range from which the kernel takes ports for outgoing
// connections.
const (
	firstEdgePort   = 20001
	firstAdminPort  = 20011 // of the api; the edges' follow, maxEdges of them
	apiInternalPort = 20021
	operatorPort    = 20025
	firstRelayPort  = 20031 // of the edges among themselves
)

// ports are the loopback ports of the children, kept over their restarts.
type ports struct {
	apiAdmin, apiInternal, operator int
	// By edge; all three have one for each.
	edge, edgeAdmin, edgeInternal []int
}

// choosePorts takes the usual ports where they are free, for the first of the
// programs like this one on the machine; the others take any. edges is how many
// edges need some. release gives the usual ones to the next.
func choosePorts(edges int) (p ports, release func(), err error) {
	release, notFirst := lock(filepath.Join(os.TempDir(), "signalbox-dev-ports.lock"))
	if notFirst != nil {
		release = func() {}
	}
	taken := map[int]bool{}
	choose := func(usual int) int {
		if err != nil {
			return 0
		}
		port := usual
		for notFirst != nil && port == usual || taken[port] || !isFree(port) {
			if port, err = embedded.FreePort(); err != nil {
				return 0
			}
		}
		taken[port] = true
		return port
	}
	p.apiAdmin = choose(firstAdminPort)
	p.apiInternal = choose(apiInternalPort)
	p.operator = choose(operatorPort)
	for i := range edges {
		p.edge = append(p.edge, choose(firstEdgePort+i))
		p.edgeAdmin = append(p.edgeAdmin, choose(firstAdminPort+1+i))
		p.edgeInternal = append(p.edgeInternal, choose(firstRelayPort+i))
	}
	if err != nil {
		release()
		return ports{}, nil, err
	}
	return p, release, nil
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
