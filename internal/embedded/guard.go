package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
)

// guardScript runs in a shell that outlives this process by a moment. It reads
// commands until its input ends, which the kernel guarantees when the process
// that holds the other end dies, even by SIGKILL. Then it stops what is still
// watched and removes the throwaway directories. A pipe works the same on Linux
// and macOS, and unlike PR_SET_PDEATHSIG it does not depend on an OS thread.
const guardScript = `
trap '' HUP INT TERM
# A dead child that its new parent has not collected yet counts as gone.
alive() {
	kill -0 "$1" 2>/dev/null || return 1
	read -r _ _ state _ 2>/dev/null <"/proc/$1/stat" || return 0
	[ "$state" != Z ]
}
watched=
while IFS= read -r line; do
	case $line in
	"watch "*) watched="$watched ${line#watch }" ;;
	"forget "*)
		kept=
		for entry in $watched; do
			[ "${entry%%:*}" = "${line#forget }" ] || kept="$kept $entry"
		done
		watched=$kept ;;
	"remove "*) set -- "$@" "${line#remove }" ;;
	esac
done
for entry in $watched; do kill -s "${entry##*:}" "${entry%%:*}" 2>/dev/null; done
tries=0
while [ $tries -lt 50 ]; do
	left=
	for entry in $watched; do alive "${entry%%:*}" && left=1; done
	[ -z "$left" ] && break
	tries=$((tries + 1))
	sleep 0.1
done
for entry in $watched; do kill -s KILL "${entry%%:*}" 2>/dev/null; done
for dir in "$@"; do rm -rf -- "$dir"; done
`

// Guard ends child processes when this process ends, in whatever way: watched
// processes get their stop signal, five seconds later SIGKILL, and throwaway
// directories are removed. It is safe for concurrent use.
type Guard struct {
	cmd *exec.Cmd

	mu    sync.Mutex
	input io.WriteCloser
}

// NewGuard starts the guarding process. It needs a POSIX sh.
func NewGuard() (*Guard, error) {
	cmd := exec.Command("/bin/sh", "-c", guardScript, "signalbox-guard") //nolint:noctx // it must outlive every context of this process
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // no Ctrl-C of the terminal
	input, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("open the guard's input: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the guard: %w", err)
	}
	return &Guard{cmd: cmd, input: input}, nil
}

// Start starts cmd in a process group of its own and watches it until it ends.
// stop is the signal that asks it to end.
func (g *Guard) Start(cmd *exec.Cmd, stop syscall.Signal) (*Process, error) {
	name, err := signalName(stop)
	if err != nil {
		return nil, err
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	p := &Process{cmd: cmd, stop: stop, done: make(chan struct{})}
	if err := g.tell("watch", fmt.Sprintf("%d:%s", p.PID(), name)); err != nil {
		return nil, errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	go p.wait(g)
	return p, nil
}

// RemoveAtEnd removes dir, with all in it, when the guard ends. Newlines in the
// path are refused.
func (g *Guard) RemoveAtEnd(dir string) error {
	if strings.ContainsRune(dir, '\n') {
		return fmt.Errorf("directory %q has a newline in its name", dir)
	}
	return g.tell("remove", dir)
}

// Close stops what is still watched, removes the throwaway directories and
// returns when that is done. A second call does nothing.
func (g *Guard) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.input == nil {
		return nil
	}
	closed := g.input.Close()
	g.input = nil
	return errors.Join(closed, g.cmd.Wait())
}

func (g *Guard) tell(verb, what string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.input == nil {
		return errors.New("the guard is closed")
	}
	if _, err := fmt.Fprintf(g.input, "%s %s\n", verb, what); err != nil {
		return fmt.Errorf("tell the guard: %w", err)
	}
	return nil
}

// Process is a watched child.
type Process struct {
	cmd  *exec.Cmd
	stop syscall.Signal

	done chan struct{}
	err  error // set before done is closed
}

// PID is the process id; it stays the same after the end.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the process ended: nil for status 0. Call it after Done.
func (p *Process) Err() error {
	<-p.done
	return p.err
}

// Stop asks the process to end and waits for it; when ctx ends first, the
// process is killed. A process that has ended already is no error.
func (p *Process) Stop(ctx context.Context) error {
	if err := p.cmd.Process.Signal(p.stop); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop process %d: %w", p.PID(), err)
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill process %d: %w", p.PID(), err)
	}
	<-p.done
	return fmt.Errorf("process %d had to be killed: %w", p.PID(), context.Cause(ctx))
}

func (p *Process) wait(g *Guard) {
	p.err = p.cmd.Wait()
	// A closed guard has stopped the process itself.
	_ = g.tell("forget", fmt.Sprint(p.PID()))
	close(p.done)
}

// signalName is the name by which kill(1) knows the signal.
func signalName(s syscall.Signal) (string, error) {
	switch s {
	case syscall.SIGINT:
		return "INT", nil
	case syscall.SIGTERM:
		return "TERM", nil
	case syscall.SIGKILL:
		return "KILL", nil
	default:
		return "", fmt.Errorf("signal %s can't be a stop signal: accepted are SIGINT, SIGTERM and SIGKILL", s)
	}
}
