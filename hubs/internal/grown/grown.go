// Package grown runs short work on goroutines whose stacks have grown already: a fresh
// one begins with 2 KiB and is copied each time that it is too small, which is much of
// what work costs that takes a tenth of a millisecond.
package grown

import (
	"sync/atomic"
	"time"
)

const (
	// most is how many goroutines wait for work at most.
	most = 64
	// rest is for how long one does.
	rest = 100 * time.Millisecond
)

var (
	work    = make(chan func())
	waiting atomic.Int32
)

// Go is a go statement for work that comes in a rush and ends soon.
func Go(f func()) {
	select {
	case work <- f:
	default:
		go run(f)
	}
}

func run(f func()) {
	var timer *time.Timer
	for f != nil {
		f()
		if waiting.Add(1) > most {
			waiting.Add(-1)
			return
		}
		if timer == nil {
			timer = time.NewTimer(rest)
			defer timer.Stop()
		} else {
			timer.Reset(rest)
		}
		select {
		case f = <-work:
		case <-timer.C:
			f = nil
		}
		waiting.Add(-1)
	}
}
