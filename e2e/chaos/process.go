package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/signalbox/signalbox/internal/embedded"
)

// process is one of the product's programs, which can be killed and started again
// at the same addresses.
type process struct {
	name    string
	program string
	admin   string // host:port of its admin listener
	log     string
	guard   *embedded.Guard
	// command wraps the program, for one to limit it; nil = as it is.
	command func(program string) *exec.Cmd

	mu  sync.Mutex
	env map[string]string
	run *embedded.Process
	out *os.File
}

// start starts it; its log goes on where it was.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.out == nil {
		out, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return fmt.Errorf("open log: %w", err)
		}
		p.out = out
	}
	cmd := exec.Command(p.program) //nolint:noctx // the guard ends it
	if p.command != nil {
		cmd = p.command(p.program)
	}
	for name, value := range p.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Stdout, cmd.Stderr = p.out, p.out
	run, err := p.guard.Start(cmd, syscall.SIGTERM)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	p.run = run
	return nil
}

func (p *process) current() *embedded.Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.run
}

// signal sends s, without waiting for what it does.
func (p *process) signal(s syscall.Signal) error {
	if err := syscall.Kill(p.current().PID(), s); err != nil {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

// kill ends it at once and waits until it is gone.
func (p *process) kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	<-p.current().Done()
	return nil
}

// ended says whether the process has ended by itself.
func (p *process) ended() bool {
	select {
	case <-p.current().Done():
		return true
	default:
		return false
	}
}

// ready reports whether the process says that it should get traffic.
func (p *process) ready(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.admin+"/readyz", nil)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// awaitReady returns how long it took until the process was ready.
func (p *process) awaitReady(ctx context.Context, patience time.Duration) (time.Duration, error) {
	began := time.Now()
	err := await(ctx, patience, p.name+" to be ready", func() bool { return p.ended() || p.ready(ctx) })
	if err == nil && p.ended() {
		err = fmt.Errorf("%s ended", p.name)
	}
	if err != nil {
		err = fmt.Errorf("%w; the end of its log:\n%s", err, tail(p.log))
	}
	return time.Since(began), err
}

// panics counts what no process may say.
func (p *process) panics() (n int) {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") || strings.Contains(line, "WARNING: DATA RACE") {
			n++
		}
	}
	return n
}

func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-1500):])
}

// await polls what other processes do: nothing announces it to this one.
func await(ctx context.Context, patience time.Duration, what string, holds func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for !holds() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited %v for %s", patience, what)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

func logFile(dir, name string) string { return filepath.Join(dir, name+".log") }
