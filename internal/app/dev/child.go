package dev

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/signalbox/signalbox/internal/embedded"
)

const (
	// restartDelay is the pause before a child that died is started again. It
	// grows with each early death up to restartDelayMost.
	restartDelay     = time.Second
	restartDelayMost = 15 * time.Second
	// healthyAfter is how long a child must live for its next death to count as
	// the first.
	healthyAfter = 10 * time.Second
	// stopTimeout is how long a child may drain before it is killed.
	stopTimeout = 20 * time.Second
)

// child is one of the product's own processes.
type child struct {
	name string // also the name of its log
	path string
	args []string
	env  []string
}

// supervisor keeps children running until its context ends.
type supervisor struct {
	guard   *embedded.Guard
	logs    string
	console io.Writer
	logger  *slog.Logger
	// started is called with the process id of each start of a child.
	started func(name string, pid int)

	mu       sync.Mutex
	running  map[string]*embedded.Process // by name
	replaced map[string]bool              // those that replace has stopped
}

func newSupervisor(guard *embedded.Guard, logs string, console io.Writer, logger *slog.Logger, started func(name string, pid int)) *supervisor {
	return &supervisor{
		guard: guard, logs: logs, console: console, logger: logger, started: started,
		running: make(map[string]*embedded.Process), replaced: make(map[string]bool),
	}
}

// run starts c, and starts it again when it dies, until ctx ends; then it stops
// it and returns. The first start has been tried when ready is closed.
func (s *supervisor) run(ctx context.Context, c child) error {
	file, err := openLog(filepath.Join(s.logs, c.name+".log"))
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // a log
	out := &childLog{name: c.name, file: file, console: s.console}
	delay := restartDelay
	for {
		began := time.Now()
		p, err := s.start(c, out)
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
			defer cancel()
			return p.Stop(stopping)
		case <-p.Done():
		}
		if s.isReplaced(c.name) {
			continue
		}
		if time.Since(began) > healthyAfter {
			delay = restartDelay
		}
		s.logger.Warn("process ended, starting it again", "name", c.name, "pid", p.PID(), "end", describeEnd(p.Err()), "delay", delay, "log", file.Name())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(delay):
		}
		delay = min(2*delay, restartDelayMost)
	}
}

func (s *supervisor) start(c child, out *childLog) (*embedded.Process, error) {
	// Not bound to a context: run stops it politely.
	cmd := exec.Command(c.path, c.args...) //nolint:noctx // see above
	cmd.Env, cmd.Stdout, cmd.Stderr = c.env, out, out
	p, err := s.guard.Start(cmd, syscall.SIGTERM)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	s.mu.Lock()
	s.running[c.name] = p
	s.mu.Unlock()
	s.started(c.name, p.PID())
	return p, nil
}

func describeEnd(err error) string {
	if err == nil {
		return "status 0"
	}
	return err.Error()
}

// openLog begins a new log and keeps the one before.
func openLog(path string) (*os.File, error) {
	if err := os.Rename(path, path+".old"); err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("put the old log aside: %w", err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return file, nil
}

// childLog writes all that a child says to its log, and what a person should
// see, with the child's name in front, to the console.
type childLog struct {
	name string
	file io.Writer

	mu      sync.Mutex
	console io.Writer
	partial []byte
}

// maxLogLine bounds what is kept of a line that does not end.
const maxLogLine = 64 << 10

// Write takes any part of the output; it never refuses, lest a full disk stop
// the child.
func (l *childLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.file.Write(p)
	l.partial = append(l.partial, p...)
	for {
		end := bytes.IndexByte(l.partial, '\n')
		if end < 0 {
			break
		}
		if line := l.partial[:end]; wantsAttention(line) {
			_, _ = fmt.Fprintf(l.console, "%s | %s\n", l.name, line)
		}
		l.partial = l.partial[end+1:]
	}
	if len(l.partial) > maxLogLine {
		l.partial = nil
	}
	return len(p), nil
}

// wantsAttention is true for anything but the routine records of slog, whose
// place is the log file.
func wantsAttention(line []byte) bool {
	for _, routine := range [...]string{`"level":"INFO"`, `"level":"DEBUG"`, "level=INFO", "level=DEBUG"} {
		if bytes.Contains(line, []byte(routine)) {
			return false
		}
	}
	return len(bytes.TrimSpace(line)) > 0
}
