package edge

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// The program that runs again is this test, in a process of its own.
func TestRelaxTimers(t *testing.T) {
	const asked = "SIGNALBOX_TEST_RELAX_TIMERS"
	if os.Getenv(asked) != "" {
		err := RelaxTimers()
		slack, _, _ := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_GET_TIMERSLACK, 0, 0)
		fmt.Println("slack", slack, "process", os.Getpid(), "error", err)
		return
	}
	if slack, _, _ := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_GET_TIMERSLACK, 0, 0); slack != usualSlack {
		t.Skipf("whoever runs the tests has set a timer slack of %d ns; with %d they try what an edge makes of it", slack, usualSlack)
	}
	t.Parallel()
	for name, row := range map[string]struct {
		env  []string
		want int
	}{
		"as it is usually":       {nil, edgeSlack},
		"in a program run again": {[]string{timersRelaxed + "=true"}, usualSlack},
	} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRelaxTimers$")
		cmd.Env = append(append(os.Environ(), asked+"=true"), row.env...)
		var out strings.Builder
		cmd.Stdout = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		pid := cmd.Process.Pid
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if want := fmt.Sprintln("slack", row.want, "process", pid, "error", nil); !strings.Contains(out.String(), want) {
			t.Errorf("%s: %q, want %q", name, out.String(), want)
		}
	}
}
