package coredump

import (
	"os"
	"syscall"
	"testing"
)

// SEC-43: neither a crash nor another process of the same user gets at the memory.
func TestDisable_SEC_43(t *testing.T) { //nolint:paralleltest // it is about the process
	if err := Disable(); err != nil {
		t.Fatal(err)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_CORE, &limit); err != nil || limit.Cur != 0 || limit.Max != 0 {
		t.Errorf("core dumps have a limit of %+v, %v", limit, err)
	}
	dumpable, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_GET_DUMPABLE, 0, 0)
	if errno != 0 || dumpable != 0 {
		t.Errorf("its memory can be read: %d, %v", dumpable, errno)
	}
	info, err := os.Stat("/proc/self/environ")
	if err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("its environment belongs to its user: %+v, %v", info, err)
	}
	// What a process needs to know of itself it still learns.
	for _, path := range []string{"/proc/self/stat", "/proc/self/limits"} {
		if text, err := os.ReadFile(path); err != nil || len(text) == 0 {
			t.Errorf("%s: %v", path, err)
		}
	}
	if files, err := os.ReadDir("/proc/self/fd"); err != nil || len(files) < 3 {
		t.Errorf("it has %d files, %v", len(files), err)
	}
}
