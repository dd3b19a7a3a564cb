package edge

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/signalbox/signalbox/hubs"
)

// An edge that is short of memory refuses what would need more, before the system
// ends it and all its clients have to come back at once.

const (
	// shedPercent of the memory limit in use is from where on nothing new is taken,
	// relievePercent from where on queues are given up, and calmPercent where it ends.
	shedPercent    = 85
	relievePercent = 92
	calmPercent    = 80
	// pressureLook is how often an edge looks at its memory.
	pressureLook = 100 * time.Millisecond
	// collectEvery is how often it collects garbage to see what is left, and
	// collectPart which part of its time that may take.
	collectEvery = 250 * time.Millisecond
	collectPart  = 10
	// shortPatience is how long nothing new is taken for the sake of queues: then so
	// much of them is given up that it ends. Everybody pays for what a few clients
	// leave unread.
	shortPatience = 2 * time.Second
	// pressurePause is how long app servers are paused meanwhile.
	pressurePause = 200 * time.Millisecond
	// leastHeld is what one connection may hold whatever the pressure.
	leastHeld = 32 << 10
	// containerPercent of a container's memory is what the process may use: the
	// rest is the kernel's, for sockets above all.
	containerPercent = 85

	// codeMemory is hubs.RefusedMemory.
	codeMemory = "edge_memory"
	textMemory = codeMemory + ": The edge is short of memory; nothing was carried out. Try again in 2 s."
)

// errMemory refuses what would need more memory.
var errMemory = errors.New("the edge is short of memory")

// pressure watches the memory of the process.
type pressure struct {
	limit uint64 // bytes; 0 = there is none
	// used returns the bytes in use that no collection would free, after one when
	// it is asked for it. Replaced by tests.
	used func(collect bool) uint64
	// relieve frees so many bytes of what waits for clients.
	relieve func(bytes uint64) (freed uint64)
	log     *slog.Logger

	high    atomic.Bool // nothing new is taken
	collect time.Time   // not before then
	since   time.Time   // high is true, or queues were given up
	futile  bool        // queues are not what fills it: giving them up helped little
}

// short reports whether the edge is short of memory.
func (p *pressure) short() bool { return p.high.Load() }

// run looks until ctx is done.
func (p *pressure) run(ctx context.Context) error {
	if p.limit == 0 {
		return nil
	}
	tick := time.NewTicker(pressureLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			p.look(now)
		}
	}
}

// look does what the memory in use asks for.
func (p *pressure) look(now time.Time) {
	used := p.used(false)
	if used >= p.part(calmPercent) {
		if now.Before(p.collect) {
			return
		}
		began := time.Now()
		used = p.used(true)
		p.collect = now.Add(max(collectEvery, collectPart*time.Since(began)))
	}
	switch {
	case used >= p.part(shedPercent) && !p.high.Swap(true):
		p.since, p.futile = now, false
		p.log.Warn("memory is short, nothing new is taken", "used_bytes", used, "limit_bytes", p.limit)
	case used < p.part(calmPercent) && p.high.Swap(false):
		p.log.Info("memory is there again", "used_bytes", used, "limit_bytes", p.limit)
	}
	switch {
	case used >= p.part(relievePercent):
		p.cutOff(now, used, p.part(shedPercent))
	case p.short() && !p.futile && now.Sub(p.since) >= shortPatience:
		p.cutOff(now, used, p.part(calmPercent))
	}
}

// cutOff gives up queues until so much is in use.
func (p *pressure) cutOff(now time.Time, used, until uint64) {
	freed := p.relieve(used - until)
	p.since, p.futile = now, freed < (used-until)/10
	p.log.Warn("memory is short, clients that are far behind are cut off", "used_bytes", used, "limit_bytes", p.limit, "freed_bytes", freed)
}

func (p *pressure) part(percent uint64) uint64 { return p.limit / 100 * percent }

// memoryInUse is what the process uses, garbage apart; collect has it looked for
// first.
func memoryInUse(collect bool) uint64 {
	if collect {
		runtime.GC()
	}
	samples := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/gc/heap/live:bytes"},
	}
	metrics.Read(samples)
	v := func(i int) uint64 { return samples[i].Value.Uint64() }
	objects := v(2)
	if collect {
		objects = min(objects, v(5)+(8<<20)) // and what came since
	}
	return v(0) - v(1) - v(2) - v(3) - v(4) + objects
}

// memoryLimit is what this process may use, 0 = as much as there is: GOMEMLIMIT, or
// most of what its container has, which the collector is told then. files is
// os.ReadFile, and set debug.SetMemoryLimit.
func memoryLimit(files func(string) ([]byte, error), set func(int64) int64) uint64 {
	if limit := set(-1); limit < math.MaxInt64 {
		return uint64(limit)
	}
	for _, name := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := files(name)
		if err != nil {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
		if err != nil || n > 1<<46 { // "max", or no limit in the older form
			return 0
		}
		limit := n / 100 * containerPercent
		set(int64(limit))
		return limit
	}
	return 0
}

// newPressure watches for an edge.
func (e *Edge) newPressure() *pressure {
	return &pressure{
		limit: memoryLimit(os.ReadFile, debug.SetMemoryLimit), used: memoryInUse, log: e.log,
		relieve: func(bytes uint64) uint64 { return uint64(e.hubs.relieve(int(bytes))) },
	}
}

// relieve frees bytes of what waits for clients: of the tenant that has most of it for
// its weight, then of the next.
func (g *registry) relieve(bytes int) (freed int) {
	type held struct {
		servers []*hubs.Server
		weight  int
		bytes   int // for each unit of weight
	}
	var list []held
	g.mu.Lock()
	for _, th := range g.tenants {
		h := held{weight: th.share.Weight()}
		for _, s := range th.served {
			h.servers = append(h.servers, s.server)
		}
		list = append(list, h)
	}
	g.mu.Unlock()
	for i := range list {
		for _, s := range list[i].servers {
			list[i].bytes += s.Waiting()
		}
		list[i].bytes /= list[i].weight
	}
	for freed < bytes && len(list) > 0 {
		most := 0
		for i := range list {
			if list[i].bytes > list[most].bytes {
				most = i
			}
		}
		for _, s := range list[most].servers {
			freed += s.Relieve(bytes-freed, leastHeld)
		}
		list = append(list[:most], list[most+1:]...)
	}
	return freed
}
