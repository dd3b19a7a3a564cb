// Command dev runs the whole product on this machine; see internal/app/dev.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/signalbox/signalbox/internal/app/dev"
)

func main() {
	withParent := flag.Int("with-parent", 0, "end when the parent `process` with this id ends, as make does on SIGKILL")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// From the first signal on, a second one ends the process at once.
	context.AfterFunc(ctx, stop)
	ctx = dev.EndWithParent(ctx, *withParent)

	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	config, err := dev.ReadConfig()
	if err == nil {
		err = dev.Run(ctx, config, os.Stdout, logger)
	}
	if err != nil && !errors.Is(err, dev.ErrStopped) {
		fmt.Fprintln(os.Stderr, "dev:", err)
		os.Exit(1)
	}
}
