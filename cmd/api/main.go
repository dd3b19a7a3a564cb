// Command api is the control plane: the API under /v1, the console, and the jobs
// behind them.
//
//	api           serve
//	api migrate   bring the database to the newest version and end
//	api seed      make an account with tenants as JSON on stdin says, and end
//	api correct   add the correction on stdin, as JSON, to the usage ledger, and end
//	api reseal    seal secrets anew with the primary key, say under which they are, and end
//	api audit verify   verify the chains of the audit log, and end
//	api operator add NAME ADDRESS   make somebody an operator, print the link to set up, and end
//	api operator reset|remove ADDRESS, api operator list   likewise
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/signalbox/signalbox/internal/app/api"
	"github.com/signalbox/signalbox/internal/coredump"
	"github.com/signalbox/signalbox/internal/telemetry"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "api:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, in io.Reader, out, problems io.Writer) error {
	if err := coredump.Disable(); err != nil {
		return err
	}
	config, err := api.ReadConfig()
	if err != nil {
		return err
	}
	level, err := telemetry.ParseLevel(config.LogLevel)
	if err != nil {
		return err
	}
	logger := telemetry.NewLogger(problems, telemetry.LogConfig{Level: level, Text: config.Dev, Service: "api", Version: telemetry.Build().Version})
	api.LogRedis(logger)
	switch {
	case len(args) == 0:
		return api.Serve(ctx, config, logger, problems)
	case len(args) == 1 && args[0] == "migrate":
		return api.Migrate(ctx, config, logger)
	case len(args) == 1 && args[0] == "seed":
		return api.Seed(ctx, config, in, out, logger)
	case len(args) == 1 && args[0] == "correct":
		return api.Correct(ctx, config, in)
	case len(args) == 1 && args[0] == "reseal":
		return api.Reseal(ctx, config, out, logger)
	case len(args) == 2 && args[0] == "audit" && args[1] == "verify":
		return api.VerifyAudit(ctx, config, out, logger)
	case len(args) > 1 && args[0] == "operator":
		return api.Operator(ctx, config, args[1:], out, logger)
	default:
		return fmt.Errorf("unknown arguments %q: use none, migrate, seed, correct, reseal, audit verify or operator", args)
	}
}
