package edge

import (
	"context"
	"runtime/debug"
	"testing"
	"time"
)

func TestWasteful(t *testing.T) {
	t.Parallel()
	const mb = 1 << 20
	for name, row := range map[string]struct {
		before, now heapSample
		want        bool
	}{
		"a burst has just ended":            {heapSample{allocated: 900 * mb}, heapSample{allocated: 900 * mb, live: 100 * mb, held: 180 * mb}, true},
		"the burst goes on":                 {heapSample{allocated: 800 * mb}, heapSample{allocated: 900 * mb, live: 100 * mb, held: 180 * mb}, false},
		"nothing to gain":                   {heapSample{allocated: 900 * mb}, heapSample{allocated: 900 * mb, live: 100 * mb, held: 130 * mb}, false},
		"a small edge":                      {heapSample{allocated: 20 * mb}, heapSample{allocated: 20 * mb, live: 4 * mb, held: 12 * mb}, false},
		"most was collected a moment ago":   {heapSample{allocated: 900 * mb}, heapSample{allocated: 900 * mb, live: 100 * mb, held: 90 * mb}, false},
		"free, but not given to the system": {heapSample{allocated: 900 * mb}, heapSample{allocated: 900 * mb, live: 10 * mb, held: 120 * mb}, true},
	} {
		if got := wasteful(row.before, row.now); got != row.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// Clients that arrive find a heap that is collected often, those that are served one
// that is collected rarely, however small it is.
func TestPace(t *testing.T) {
	t.Parallel()
	const mb = 1 << 20
	var p pace
	for i, step := range []struct {
		clients int
		live    uint64
		want    int // 0 = as it was
	}{
		{10, 8 * mb, 0}, // a process begins calmly
		{20, 8 * mb, 1200},
		{20, 9 * mb, 0}, // nearly the same
		{900, 16 * mb, arrivingPercent},
		{1800, 32 * mb, 0},
		{1810, 48 * mb, 0}, // it may go on
		{1810, 48 * mb, 200},
		{1810, 480 * mb, 100}, // a large heap may double
		{1900, 480 * mb, 0},
		{2100, 480 * mb, 0}, // as it does while clients arrive
		{100, 480 * mb, 0},
		{100, 100, 9600}, // next to nothing
	} {
		if got := p.look(heapSample{live: step.live}, step.clients); got != step.want && i > 0 {
			t.Errorf("step %d: %d, want %d", i, got, step.want)
		}
	}
}

// The names of the runtime's metrics are right, and the watch ends.
func TestTendMemory(t *testing.T) {
	// Not at the same time as others: it sets the process's pace of collecting.
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	s := readHeap()
	if s.allocated == 0 || s.held == 0 {
		t.Errorf("heap: %+v", s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := tendMemory(ctx, func() int { return 0 }); err != nil {
		t.Error(err)
	}
}
