// Command edge is the data plane of Signalbox: it holds the connections of
// clients and serves the REST data plane. It is configured by environment
// variables, which edge.Config documents.
//
// SIGTERM or SIGINT drains it: clients are asked to reconnect, to another edge.
// A second signal cuts that short.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/signalbox/signalbox/internal/app/edge"
	"github.com/signalbox/signalbox/internal/coredump"
	"github.com/signalbox/signalbox/internal/telemetry"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "edge:", err)
		os.Exit(1)
	}
}

func run() error {
	relaxed := edge.RelaxTimers() // it serves without, too
	if err := coredump.Disable(); err != nil {
		return err
	}
	cfg, err := edge.ReadConfig()
	if err != nil {
		return err
	}
	level, err := telemetry.ParseLevel(cfg.LogLevel)
	if err != nil {
		return err
	}
	log := telemetry.NewLogger(os.Stderr, telemetry.LogConfig{Level: level, Service: "edge", Version: telemetry.Build().Version})

	if relaxed != nil {
		log.Warn("timers are exact, which costs CPU time", "error", relaxed)
	}
	edge.LogRedis(log)
	edge.UseTwoThreads(os.Getenv)

	ctx, drain := context.WithCancel(context.Background())
	defer drain()
	forced, force := context.WithCancel(context.Background())
	defer force()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	go func() {
		<-signals
		drain()
		<-signals
		force()
	}()
	e, err := edge.New(ctx, cfg, log)
	if err != nil {
		return err
	}
	return e.Run(ctx, forced)
}
