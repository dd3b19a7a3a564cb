// Program bench measures Signalbox beside its peers, in one run on one machine:
// the centrifuge library with its memory and its Redis engine, and a bare write
// loop on coder/websocket as the limit of what can be. It is a module of its own
// so that the peers stay out of the product's.
//
// Every server has one core, the load generator and Redis have another. `make
// bench` builds what is needed, runs it, and writes docs/benchmarks.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "serve-centrifuge":
			redis := ""
			if len(args) > 1 {
				redis = args[1]
			}
			return serveCentrifuge(redis)
		case "serve-bare":
			return serveBare()
		case "scale":
			return runScale(args[1:])
		}
	}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	programs := f.String("programs", "../bin", "`directory` with the programs dev, api and edge")
	report := f.String("report", "", "`file` that gets the report; empty: only what is printed")
	runs := f.Int("runs", 3, "how often each measure is taken")
	window := f.Duration("duration", 3*time.Second, "how long each is measured")
	only := f.String("only", "", "`measure` to take alone, by the beginning of its name")
	if err := f.Parse(args); err != nil {
		return err
	}
	if *runs < 1 || *runs > 100 {
		return fmt.Errorf("-runs is %d: accepted is 1 to 100", *runs)
	}
	ctx, stop := notified()
	defer stop()
	directory, err := filepath.Abs(*programs)
	if err != nil {
		return err
	}
	b := &benchmark{programs: directory, runs: *runs, window: *window, only: *only}
	results, err := b.measure(ctx)
	if err != nil {
		return err
	}
	sections, err := b.sections(ctx)
	if err != nil {
		return err
	}
	if scale := sectionOf(*report, scaleSection); scale != "" {
		sections = append(sections, section{scaleSection, scale + "\n"})
	}
	text := b.report(results, sections)
	fmt.Print(text)
	if *report == "" {
		return nil
	}
	return os.WriteFile(*report, []byte(text), 0o644) //nolint:gosec // a document
}

// notified returns a context that a signal ends.
func notified() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
}
