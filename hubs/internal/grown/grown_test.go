package grown

import (
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestGo(t *testing.T) {
	t.Parallel()
	var done atomic.Int32
	var all sync.WaitGroup
	all.Add(10_000)
	for range 10_000 {
		Go(func() {
			done.Add(1)
			all.Done()
		})
	}
	all.Wait()
	if n := done.Load(); n != 10_000 {
		t.Errorf("%d of 10,000 were done", n)
	}
}

// Work that waits for other work doesn't keep it from being done.
func TestGo_waits_for_nobody(t *testing.T) {
	t.Parallel()
	const chain = 3 * most
	last := make(chan struct{})
	var next func(n int)
	next = func(n int) {
		if n == chain {
			close(last)
		} else {
			Go(func() { next(n + 1) })
		}
		<-last
	}
	next(0)
}

func deep(n int) int {
	var room [256]byte
	if n == 0 {
		return len(room)
	}
	return deep(n-1) + int(room[n])
}

// BenchmarkGo is what work with a stack of some KiB takes, by go statements and by Go.
func BenchmarkGo(b *testing.B) {
	for name, start := range map[string]func(func()){"statement": func(f func()) { go f() }, "grown": Go} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				done := make(chan struct{})
				start(func() { deep(30); close(done) })
				<-done
			}
		})
	}
}
