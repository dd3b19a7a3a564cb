// Package coredump keeps what a process has in its memory and its environment, keys
// among it, to the process itself.
package coredump

import (
	"fmt"
	"syscall"
)

// Disable has the kernel write no core dump of this process, whatever ends it. On Linux
// it also lets nobody but root read its memory and its environment, as other processes of
// its own user may otherwise; debuggers and profilers of that user can't attach any more.
// It is for the beginning of a program, and holds until its end.
func Disable() error {
	// The hard limit too, so that nothing in the process raises it again.
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, new(syscall.Rlimit)); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	return undumpable()
}
