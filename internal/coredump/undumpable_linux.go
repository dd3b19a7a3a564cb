package coredump

import (
	"fmt"
	"syscall"
)

// undumpable takes the process's memory from its user, see prctl(2). Core dumps that are
// piped to a program, which the limit of their size doesn't concern, end with it, too.
func undumpable() error {
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_DUMPABLE, 0, 0); errno != 0 {
		return fmt.Errorf("forbid the reading of memory: %w", errno)
	}
	return nil
}
