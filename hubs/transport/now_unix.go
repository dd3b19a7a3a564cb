//go:build unix

package transport

import (
	"errors"
	"sync"
	"syscall"
)

// nowWrite is one write that doesn't wait. They are used again: a closure for each
// would be as much garbage as there are messages.
type nowWrite struct {
	p   []byte
	n   int
	err error
	do  func(fd uintptr) bool
}

var nowWrites = sync.Pool{New: func() any {
	w := new(nowWrite)
	w.do = w.write
	return w
}}

func (w *nowWrite) write(fd uintptr) bool {
	for {
		w.n, w.err = syscall.Write(int(fd), w.p)
		if !errors.Is(w.err, syscall.EINTR) {
			return true // also when there is no room: nobody waits for that here
		}
	}
}

// writeNow writes as much of p as there is room for now, maybe nothing.
func writeNow(conn syscall.Conn, p []byte) (n int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	w := nowWrites.Get().(*nowWrite)
	defer nowWrites.Put(w)
	w.p = p
	err = raw.Write(w.do)
	w.p = nil
	switch {
	case err != nil:
		return 0, err
	case errors.Is(w.err, syscall.EAGAIN):
		return 0, nil
	case w.err != nil:
		return 0, w.err
	}
	return w.n, nil
}
