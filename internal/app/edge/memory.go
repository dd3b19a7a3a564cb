package edge

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// An edge at rest allocates next to nothing, so that what a burst of connections
// has left behind would stay for minutes: the runtime collects when the heap has
// doubled, and keeps what it collected for the next burst.
const (
	heapLookEvery = 2 * time.Second
	// heapRest is which part of what is in use may be allocated between two looks
	// at an edge that is at rest.
	heapRest = 8
	// leastGarbage is worth a collection, in bytes.
	leastGarbage = 16 << 20
)

// heapSample is what the runtime says of its heap, in bytes.
type heapSample struct {
	allocated uint64 // ever
	live      uint64 // after the last collection
	held      uint64 // objects, dead ones included, and what is free but not given back
}

func readHeap() heapSample {
	samples := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(samples)
	return heapSample{
		allocated: samples[0].Value.Uint64(), live: samples[1].Value.Uint64(),
		held: samples[2].Value.Uint64() + samples[3].Value.Uint64() + samples[4].Value.Uint64(),
	}
}

// wasteful reports whether now is the time to give memory back: little has been
// allocated since before, and half as much as is in use lies idle.
func wasteful(before, now heapSample) bool {
	if now.allocated-before.allocated > now.live/heapRest || now.held < now.live {
		return false
	}
	return now.held-now.live > max(leastGarbage, now.live/2)
}

// giveBackMemory collects when the edge is at rest and returns what it finds to
// the system, until ctx is done. It costs a collection after each burst.
func giveBackMemory(ctx context.Context) error {
	tick := time.NewTicker(heapLookEvery)
	defer tick.Stop()
	for before := readHeap(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := readHeap()
		if wasteful(before, now) {
			debug.FreeOSMemory()
			now = readHeap()
		}
		before = now
	}
}

// UseTwoThreads lets Go code run in two threads where the machine has one
// processor, unless GOMAXPROCS says otherwise. It is for main, once.
//
// With one, the runtime looks at the network only when nobody has anything to
// do, or every 10 ms: while a message goes out to thousands, the next one, the
// answers of Redis and its doorbells would wait for that three times over.
func UseTwoThreads(environment func(string) string) {
	if environment("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) == 1 {
		runtime.GOMAXPROCS(2)
	}
}
