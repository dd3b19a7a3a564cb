package edge

import (
	"context"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// An edge at rest allocates next to nothing, so that what a burst of connections
// has left behind would stay for minutes: the runtime collects when the heap has
// doubled, and keeps what it collected for the next burst.
const (
	heapLookEvery = 500 * time.Millisecond
	// restLooks is over how many looks an edge must be at rest to give memory back.
	restLooks = 4
	// heapRest is which part of what is in use may be allocated meanwhile by an edge
	// that is at rest.
	heapRest = 8
	// leastGarbage is worth a collection, in bytes.
	leastGarbage = 16 << 20
)

// How much garbage may come together before the runtime collects.
const (
	// arrivingPercent of what is in use while clients arrive. What they keep is
	// allocated among the garbage of their requests, and pages that hold any of it
	// stay: the less garbage at a time, the fewer pages. But each collection looks at
	// all that is there, and at 70 it saves no page any more that a client would notice.
	arrivingPercent = 100
	// servingGarbage is what may come together else, in bytes, where that is more
	// than what is in use: a small heap would be collected all the time.
	servingGarbage = 96 << 20
	// arrivals are the new connections between two looks that tell of clients arriving.
	// Requests that come and go, as those of somebody who is refused and repeats them, keep
	// nothing.
	arrivals = 100
	// calmLooks without arrivals end a burst.
	calmLooks = 2
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

// pace chooses how much garbage may come together, as GOGC does. The zero value is
// at a process's start.
type pace struct {
	clients int // at the look before
	calm    int // looks since clients arrived, up to calmLooks
	percent int // that is set; 0 = none yet
}

// look takes the next sample, and how many clients are connected, and returns the
// percentage to set, 0 = none.
func (p *pace) look(now heapSample, clients int) int {
	if clients > p.clients+arrivals {
		p.calm = 0
	} else {
		p.calm = min(p.calm+1, calmLooks)
	}
	p.clients = clients
	percent := arrivingPercent
	if p.calm == calmLooks {
		percent = max(100, int(min(servingGarbage*100/max(now.live, 1<<20), math.MaxInt32)))
	}
	// Setting it stops all goroutines for a moment.
	if near := p.percent / 4; percent != p.percent && (percent < p.percent-near || percent > p.percent+near) {
		p.percent = percent
		return percent
	}
	return 0
}

// tendMemory sets how much garbage may come together, unless GOGC does, and
// collects when the edge is at rest and returns what it finds to the system, until
// ctx is done. The latter costs a collection after each burst. clients tells how many
// are connected.
func tendMemory(ctx context.Context, clients func() int) error {
	tick := time.NewTicker(heapLookEvery)
	defer tick.Stop()
	_, set := os.LookupEnv("GOGC")
	var p pace
	before, looks := readHeap(), 0
	for {
		now := readHeap()
		if percent := p.look(now, clients()); percent > 0 && !set {
			debug.SetGCPercent(percent)
		}
		if looks++; looks > restLooks {
			if wasteful(before, now) {
				debug.FreeOSMemory()
				now = readHeap()
			}
			before, looks = now, 1
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
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
