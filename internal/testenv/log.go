package testenv

import (
	"io"
	"strings"
	"sync"
	"testing"
)

// Log returns a writer to the test's log. What comes when the test has ended is
// dropped: from a goroutine that outlives it by a moment it would end the whole run.
func Log(t testing.TB) io.Writer {
	l := &testLog{t: t}
	t.Cleanup(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.t = nil
	})
	return l
}

type testLog struct {
	mu sync.Mutex
	t  testing.TB // nil = it has ended
}

// Write implements io.Writer.
func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.t != nil {
		l.t.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}
