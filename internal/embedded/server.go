package embedded

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	random "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// startAttempts bounds how often another port is tried. A free port can be
	// taken between its choice and its use.
	startAttempts = 5
	// readyTimeout bounds the wait for one server, recovery included.
	readyTimeout = 30 * time.Second
	// pollInterval is how often a starting or stopping server is looked at.
	pollInterval = 10 * time.Millisecond
	// logTail is how many bytes of a server's log an error quotes.
	logTail = 2000
)

// errPortTaken means that the server found its port in use.
var errPortTaken = errors.New("port is taken")

// The ports that FreePort gives: below those that kernels take for outgoing
// connections (32768 on Linux, 49152 on macOS), one of which could get a port
// before its server does.
const (
	firstFreePort = 10_000
	freePorts     = 10_000
	portsTried    = 100
)

// given are the ports that this process has got: what they are for may not listen
// yet.
var given sync.Map

// FreePort returns a TCP port of 127.0.0.1 that nobody listened on a moment ago, and
// that this process hasn't got before.
func FreePort() (int, error) {
	for attempt := 1; ; attempt++ {
		port := firstFreePort + random.IntN(freePorts)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)) //nolint:noctx // a bind on loopback does not block
		if err == nil {
			err = l.Close()
			if _, again := given.LoadOrStore(port, true); !again {
				return port, err
			}
		}
		if attempt == portsTried {
			return 0, fmt.Errorf("find a free port: %w", err)
		}
	}
}

// onPort calls start with the port, or, when that is 0, with free ports until
// one is not taken.
func onPort[T any](fixed int, start func(port int) (T, error)) (T, error) {
	var zero T
	if fixed != 0 {
		return start(fixed)
	}
	for attempt := 1; ; attempt++ {
		port, err := FreePort()
		if err != nil {
			return zero, err
		}
		server, err := start(port)
		if err == nil || attempt == startAttempts || !errors.Is(err, errPortTaken) {
			return server, err
		}
	}
}

// launch starts cmd with its output in the file log and waits until ready.
func launch(ctx context.Context, g *Guard, cmd *exec.Cmd, stop syscall.Signal, log string, ready func(pid int) bool) (*Process, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("open the server's log: %w", err)
	}
	defer out.Close() //nolint:errcheck // the child has its own descriptor
	cmd.Stdout, cmd.Stderr = out, out
	p, err := g.Start(cmd, stop)
	if err != nil {
		return nil, err
	}
	deadline := time.NewTimer(readyTimeout)
	defer deadline.Stop()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-p.Done():
			return nil, startError(cmd.Path, log)
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), p.Stop(ctx))
		case <-deadline.C:
			stopping, cancel := context.WithCancel(ctx)
			cancel()
			return nil, errors.Join(fmt.Errorf("%s was not ready within %s; its log is %s", cmd.Path, readyTimeout, log), p.Stop(stopping))
		case <-tick.C:
			if ready(p.PID()) {
				return p, nil
			}
		}
	}
}

// startError quotes the end of the log of a server that ended at once.
func startError(path, log string) error {
	tail, err := os.ReadFile(log)
	if err != nil {
		return fmt.Errorf("%s ended at once, and its log can't be read: %w", path, err)
	}
	cause := errors.New("it ended at once")
	if bytes.Contains(tail, []byte("ddress already in use")) {
		cause = errPortTaken
	}
	tail = tail[max(0, len(tail)-logTail):]
	return fmt.Errorf("start %s: %w: %s", path, cause, bytes.TrimSpace(tail))
}

// secretFile returns the secret kept in the file, made on first use.
func secretFile(path string) (string, error) {
	kept, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(kept)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read password: %w", err)
	}
	secret := rand.Text()
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("keep password: %w", err)
	}
	return secret, nil
}

// stopOrphan ends the process that an earlier run left behind, when the pid in
// the file's first line still is a process of that name. A pid that belongs to
// another program by now would keep Postgres from starting, so that file is
// removed. The file of a process that is gone stays: with it Postgres finds out
// whether children of that process still use the data.
func stopOrphan(ctx context.Context, pidFile, name string, stop syscall.Signal) error {
	content, err := os.ReadFile(pidFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read pid file: %w", err)
	}
	first, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		return removeStale(pidFile)
	}
	switch running := processName(ctx, pid); {
	case running == "":
		return nil
	case pid <= 1 || !strings.HasPrefix(running, name):
		return removeStale(pidFile)
	}
	if err := syscall.Kill(pid, stop); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop the %s that an earlier run left behind (pid %d): %w", name, pid, err)
	}
	deadline := time.Now().Add(readyTimeout)
	for processName(ctx, pid) != "" {
		if time.Now().After(deadline) {
			return fmt.Errorf("%s of an earlier run (pid %d) does not stop", name, pid)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pollInterval):
		}
	}
	return removeStale(pidFile)
}

func removeStale(pidFile string) error {
	if err := os.Remove(pidFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove stale pid file: %w", err)
	}
	return nil
}

// processName is the name of a living process's program, or empty. A zombie
// counts as gone.
func processName(ctx context.Context, pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err == nil {
		name, state := parseStat(stat)
		if state == 'Z' {
			return ""
		}
		return name
	}
	if _, err := os.Stat("/proc/self"); err == nil {
		return ""
	}
	out, err := exec.CommandContext(ctx, "ps", "-o", "comm=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return ""
	}
	return filepath.Base(strings.TrimSpace(string(out)))
}

// parseStat takes name and state from /proc/<pid>/stat: "pid (name) S ...". The
// name may hold parentheses itself.
func parseStat(stat []byte) (name string, state byte) {
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < open || end+2 >= len(stat) {
		return "", 0
	}
	return string(stat[open+1 : end]), stat[end+2]
}

// copyTree copies regular files and directories with their modes.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o755)
		case d.Type().IsRegular():
			return copyFile(path, target)
		default:
			return nil
		}
	})
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // read only
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, info.Mode().Perm())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}
