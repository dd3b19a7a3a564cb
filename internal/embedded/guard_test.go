package embedded_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/signalbox/signalbox/internal/embedded"
)

// parentMode makes this test binary play the parent that gets killed.
const parentMode = "SIGNALBOX_TEST_PARENT_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentMode); dir != "" {
		playParent(dir)
		return
	}
	os.Exit(m.Run())
}

// playParent starts every kind of child, says their pids and waits to be killed.
func playParent(dir string) {
	fail := func(err error) {
		fmt.Println("error", err)
		os.Exit(1)
	}
	guard, err := embedded.NewGuard()
	if err != nil {
		fail(err)
	}
	redis, err := embedded.StartRedis(neverDone(), guard, embedded.RedisConfig{Dir: filepath.Join(dir, "redis"), Throwaway: true})
	if err != nil {
		fail(err)
	}
	postgres, err := embedded.StartPostgres(neverDone(), guard, embedded.PostgresConfig{Dir: filepath.Join(dir, "postgres"), Throwaway: true})
	if err != nil {
		fail(err)
	}
	// A child that ignores the polite signal.
	stubborn, err := guard.Start(exec.Command("/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"), syscall.SIGTERM)
	if err != nil {
		fail(err)
	}
	fmt.Println(redis.PID(), postgres.PID(), stubborn.PID())
	select {}
}

func TestGuard_children_and_directories_go_when_the_parent_is_killed(t *testing.T) {
	t.Parallel()
	dir := throwawayDir(t)
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentMode+"="+dir)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("read pids: %v", err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // killed, as it should be

	fields := strings.Fields(line)
	if len(fields) != 3 {
		t.Fatalf("the parent said %q, want three pids", line)
	}
	for i, name := range []string{"redis", "postgres", "stubborn child"} {
		pid, err := strconv.Atoi(fields[i])
		if err != nil {
			t.Fatalf("the parent said %q, want three pids", line)
		}
		eventually(t, name+" to end", func() bool { return !alive(pid) })
	}
	for _, name := range []string{"redis", "postgres"} {
		eventually(t, name+"'s directory to go", func() bool {
			_, err := os.Stat(filepath.Join(dir, name))
			return errors.Is(err, os.ErrNotExist)
		})
	}
}

func TestGuard_closing_stops_what_is_watched(t *testing.T) {
	t.Parallel()
	guard := newGuard(t)
	p, err := guard.Start(exec.Command("sleep", "600"), syscall.SIGTERM)
	if err != nil {
		t.Fatal(err)
	}
	if err := guard.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	if err := p.Err(); err == nil {
		t.Error("the child ended with status 0, want a signal")
	}
	if _, err := guard.Start(exec.Command("true"), syscall.SIGTERM); err == nil {
		t.Error("a closed guard started a process")
	}
}

func TestGuard_forgets_a_process_that_ended(t *testing.T) {
	t.Parallel()
	guard := newGuard(t)
	p, err := guard.Start(exec.Command("true"), syscall.SIGTERM)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Err(); err != nil {
		t.Errorf("true ended with %v", err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Errorf("stop after the end: %v", err)
	}
}

func TestGuard_refuses_a_signal_that_does_not_end_processes(t *testing.T) {
	t.Parallel()
	if _, err := newGuard(t).Start(exec.Command("true"), syscall.SIGUSR1); err == nil {
		t.Error("SIGUSR1 was accepted as a stop signal")
	}
}

func newGuard(t *testing.T) *embedded.Guard {
	t.Helper()
	guard, err := embedded.NewGuard()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := guard.Close(); err != nil {
			t.Errorf("close the guard: %v", err)
		}
	})
	return guard
}

// alive is false for a process that is gone or only waits to be collected.
func alive(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || !strings.Contains(string(stat), ") Z ")
}

// eventually polls what other processes do: nothing announces it to this one.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 20 s for %s", what)
		}
	}
}
