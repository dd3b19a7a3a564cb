package httpserver

import (
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	// spareFiles are what a process keeps for its databases, its admin address and
	// itself, however many connections strangers open; at least a tenth of all.
	spareFiles = 64
	// sparePause is how soon it is looked again when there is no room.
	sparePause = 100 * time.Millisecond
)

// spare is a listener that stops accepting before the process runs out of file
// descriptors. What it doesn't accept waits in the kernel's queue.
type spare struct {
	net.Listener
	most  int        // files that may be open for one more to be accepted
	count func() int // the open ones
	done  chan struct{}
	close func()

	known int // at most this many are open; only Accept uses it
}

// newSpare returns l as it is where nothing is known of the limit.
func newSpare(l net.Listener) net.Listener {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || openFiles() == 0 {
		return l
	}
	all := int(min(limit.Cur, 1<<30))
	return spareOf(l, max(1, min(all*9/10, all-spareFiles)), openFiles)
}

func spareOf(l net.Listener, most int, count func() int) *spare {
	s := &spare{Listener: l, most: most, count: count, done: make(chan struct{})}
	s.known = most // counted before the first is accepted
	s.close = sync.OnceFunc(func() { close(s.done) })
	return s
}

// Accept waits for room and for a connection.
func (s *spare) Accept() (net.Conn, error) {
	for !s.room() {
		select {
		case <-s.done:
			return nil, net.ErrClosed
		case <-time.After(sparePause):
		}
	}
	conn, err := s.Listener.Accept()
	if err == nil {
		s.known++
	}
	return conn, err
}

// room counts only when so many have been accepted that there may be none.
func (s *spare) room() bool {
	if s.known >= s.most {
		s.known = s.count()
	}
	return s.known < s.most
}

// Close ends a waiting Accept, too.
func (s *spare) Close() error {
	s.close()
	return s.Listener.Close()
}

// openFiles is how many descriptors this process has open, 0 where that can't be
// told.
func openFiles() int {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0
	}
	defer dir.Close() //nolint:errcheck // it was only read
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return 0
	}
	return len(names)
}
