// Command signalbox is the command line of Signalbox; see internal/app/cli.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/signalbox/signalbox/internal/app/cli"
	"github.com/signalbox/signalbox/internal/telemetry"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// From the first signal on, a second one ends the process at once.
	context.AfterFunc(ctx, stop)
	in := int(os.Stdin.Fd())
	os.Exit(cli.Run(ctx, cli.System{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Env: os.Getenv, Version: telemetry.Build().Version,
		Terminal: term.IsTerminal(in) && term.IsTerminal(int(os.Stderr.Fd())),
		Secret:   readSecret,
	}, os.Args[1:]))
}

// readSecret reads a line without showing it. When ctx ends first, the terminal shows
// again what is typed, and the read is left to the end of the process.
func readSecret(ctx context.Context, prompt string) (string, error) {
	in := int(os.Stdin.Fd())
	before, err := term.GetState(in)
	if err != nil {
		return "", err
	}
	if _, err := io.WriteString(os.Stderr, prompt); err != nil {
		return "", err
	}
	type line struct {
		text []byte
		err  error
	}
	read := make(chan line, 1)
	go func() {
		text, err := term.ReadPassword(in)
		read <- line{text, err}
	}()
	defer func() { _, _ = io.WriteString(os.Stderr, "\n") }() // what was typed showed none
	select {
	case l := <-read:
		return string(l.text), l.err
	case <-ctx.Done():
		return "", errors.Join(ctx.Err(), restore(in, before))
	}
}

// restore puts a terminal back to what it was before somebody began to read a secret:
// not before that has hidden what is typed, or it would stay hidden. Nothing tells of
// that; it takes no longer than a goroutine to begin.
func restore(in int, before *term.State) error {
	for range 200 {
		if now, err := term.GetState(in); err != nil || *now != *before {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	return term.Restore(in, before)
}
