package edge

import (
	"context"
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
		"a burst has just ended":            {heapSample{allocated: 900 * mb}, heapSample{900 * mb, 100 * mb, 180 * mb}, true},
		"the burst goes on":                 {heapSample{allocated: 800 * mb}, heapSample{900 * mb, 100 * mb, 180 * mb}, false},
		"nothing to gain":                   {heapSample{allocated: 900 * mb}, heapSample{900 * mb, 100 * mb, 130 * mb}, false},
		"a small edge":                      {heapSample{allocated: 20 * mb}, heapSample{20 * mb, 4 * mb, 12 * mb}, false},
		"most was collected a moment ago":   {heapSample{allocated: 900 * mb}, heapSample{900 * mb, 100 * mb, 90 * mb}, false},
		"free, but not given to the system": {heapSample{allocated: 900 * mb}, heapSample{900 * mb, 10 * mb, 120 * mb}, true},
	} {
		if got := wasteful(row.before, row.now); got != row.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// The names of the runtime's metrics are right, and the watch ends.
func TestGiveBackMemory(t *testing.T) {
	t.Parallel()
	s := readHeap()
	if s.allocated == 0 || s.held == 0 {
		t.Errorf("heap: %+v", s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := giveBackMemory(ctx); err != nil {
		t.Error(err)
	}
}
