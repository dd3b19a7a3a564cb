package transport

import (
	"context"
	"errors"
	"io"
	"sync"
)

// errEnded: the connection has ended.
var errEnded = errors.New("the connection has ended")

// pipeBytes is how much may wait to be read before POSTs have to wait.
const pipeBytes = 64 << 10

// pipe carries the bodies of POSTs to the connection's reader as one stream. It
// has one reader and any number of writers.
type pipe struct {
	turn     chan struct{} // held by the POST whose body is being taken in
	readable chan struct{} // there may be something to read
	writable chan struct{} // there may be room

	mu    sync.Mutex
	bytes []byte
	err   error // set when nothing more comes in
	done  chan struct{}
}

func newPipe() *pipe {
	return &pipe{
		turn:     make(chan struct{}, 1),
		readable: make(chan struct{}, 1),
		writable: make(chan struct{}, 1),
		done:     make(chan struct{}),
	}
}

// wait blocks until there is something to read or the end.
func (p *pipe) wait() error {
	for {
		p.mu.Lock()
		n, err := len(p.bytes), p.err
		p.mu.Unlock()
		switch {
		case n > 0 && (err == nil || errors.Is(err, io.EOF)):
			return nil
		case err != nil:
			return err
		}
		select {
		case <-p.readable:
		case <-p.done:
		}
	}
}

// read copies what is there.
func (p *pipe) read(b []byte) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := copy(b, p.bytes)
	p.bytes = p.bytes[n:]
	if len(p.bytes) == 0 {
		p.bytes = nil
	}
	signal(p.writable)
	return n
}

// feed appends b once there is room. It keeps a copy.
func (p *pipe) feed(ctx context.Context, b []byte) error {
	for {
		p.mu.Lock()
		if p.err != nil {
			p.mu.Unlock()
			return errEnded
		}
		if len(p.bytes) < pipeBytes {
			p.bytes = append(p.bytes, b...)
			p.mu.Unlock()
			signal(p.readable)
			return nil
		}
		p.mu.Unlock()
		select {
		case <-p.writable:
		case <-p.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// end makes the reader see err, behind what is waiting when err is io.EOF. The
// first call counts.
func (p *pipe) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
		close(p.done)
	}
}

// ended reports whether end was called.
func (p *pipe) ended() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err != nil
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
