package edge

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
)

const (
	// usualSlack is by how much Linux lets timers of a thread be late where nobody said
	// otherwise, see prctl(2), PR_SET_TIMERSLACK.
	usualSlack = 50_000 // ns
	// edgeSlack is what it is for an edge.
	edgeSlack = 500_000 // ns
	// timersRelaxed is in the environment of a program that has been run again.
	timersRelaxed = "SIGNALBOX_TIMERS_RELAXED"
)

// RelaxTimers lets timers of this process be half a millisecond late, unless whoever
// started it has set that. It runs the program again, since threads have it from the one
// that made them, and the runtime has made some already: it returns then in the new program
// alone. It is for the beginning of main.
//
// The runtime has a thread that looks after the others: while they call the kernel often,
// as where every delivery is a write, it looks every 20 µs. That took 6 to 9 % of the CPU
// time of an edge at its limit, and nothing there needs it as often.
func RelaxTimers() error {
	if os.Getenv(timersRelaxed) != "" {
		return nil
	}
	runtime.LockOSThread() // the slack is the thread's, and goes with it into the new program
	defer runtime.UnlockOSThread()
	slack, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_GET_TIMERSLACK, 0, 0)
	if errno != 0 || slack != usualSlack {
		return nil // there is no such thing here, or somebody wants another
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_TIMERSLACK, edgeSlack, 0); errno != 0 {
		return fmt.Errorf("set timer slack: %w", errno)
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("run with more timer slack: %w", err)
	}
	err = syscall.Exec(program, os.Args, append(os.Environ(), timersRelaxed+"=true")) //nolint:gosec // as it was run before
	return fmt.Errorf("run %s with more timer slack: %w", program, err)
}
