//go:build linux

package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// The test runs its own binary as the program.
func TestMain(m *testing.M) {
	if os.Getenv("SIGNALBOX_TEST_PROGRAM") == "1" {
		main()
	}
	os.Exit(m.Run())
}

// TestInterrupt_at_a_hidden_prompt presses Ctrl-C at the prompt for a password: the
// program ends at once, and the terminal shows again what is typed.
func TestInterrupt_at_a_hidden_prompt(t *testing.T) {
	t.Parallel()
	person, terminal := openTerminal(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := exec.Command(self, "login", "--email", "ada@example.com")
	program.Env = append(os.Environ(), "SIGNALBOX_TEST_PROGRAM=1", "SIGNALBOX_CONFIG_DIR="+t.TempDir())
	program.Stdin, program.Stdout, program.Stderr = terminal, terminal, terminal
	program.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	before, err := term.GetState(int(terminal.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Process.Kill() })
	late := time.AfterFunc(time.Minute, func() { _ = program.Process.Kill() })
	defer late.Stop()

	var shown bytes.Buffer
	for buffer := make([]byte, 256); !strings.Contains(shown.String(), "Password: "); {
		n, err := person.Read(buffer)
		if err != nil {
			t.Fatalf("no prompt, but %q: %v", shown.String(), err)
		}
		shown.Write(buffer[:n])
	}
	if _, err := io.WriteString(person, "\x03"); err != nil {
		t.Fatal(err)
	}
	var ended *exec.ExitError
	if err := program.Wait(); !errors.As(err, &ended) || ended.ExitCode() != 130 {
		t.Errorf("ended with %v, want status 130", err)
	}
	after, err := term.GetState(int(terminal.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if *after != *before {
		t.Error("the terminal is left as the prompt had it")
	}
}

// openTerminal makes a terminal: what a person has of it, and what a program has (pty(7)).
func openTerminal(t *testing.T) (person, terminal *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err := errors.Join(err, unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0)); err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return person, terminal
}
