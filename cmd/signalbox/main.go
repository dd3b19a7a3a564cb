// Command signalbox is the command line of Signalbox; see internal/app/cli.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

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
		Secret: func(prompt string) (string, error) {
			if _, err := io.WriteString(os.Stderr, prompt); err != nil {
				return "", err
			}
			secret, err := term.ReadPassword(in)
			_, _ = io.WriteString(os.Stderr, "\n") // what was typed showed none
			return string(secret), err
		},
	}, os.Args[1:]))
}
