package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/appserver"
	"github.com/signalbox/signalbox/internal/embedded"
)

// appServerFlag makes this program an app server; its name and, behind a space, its
// connection string are the one line on standard input.
const appServerFlag = "-app-server"

// Room is the hub of the app servers of the rows.
type Room struct{ name string }

// Name is the app server's.
func (r *Room) Name() string { return r.name }

// Echo answers with what it got.
func (*Room) Echo(_ context.Context, n int) int { return n }

// Slow answers after so many milliseconds.
func (*Room) Slow(ctx context.Context, ms int) (int, error) {
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
		return ms, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// playAppServer serves until it is asked to stop.
func playAppServer(ctx context.Context, in io.Reader, out io.Writer) error {
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil {
		return err
	}
	name, address, _ := strings.Cut(strings.TrimSpace(line), " ")
	dispatcher, err := hubs.Register(&Room{name})
	if err != nil {
		return err
	}
	hub, err := hubs.NewServer(hubs.Config{Name: hubName, Dispatcher: dispatcher})
	if err != nil {
		return err
	}
	app, err := appserver.Connect(ctx, hub, address, appserver.Options{Connections: 3, ShutdownTimeout: 10 * time.Second})
	if err != nil {
		return err
	}
	if err := app.Ready(ctx); err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode("ready"); err != nil {
		return err
	}
	<-app.Done()
	return nil
}

// appServer is one of them.
type appServer struct {
	run *embedded.Process
	in  io.Closer
}

// startAppServer starts an app server of the tenant at an edge and returns when the
// service has accepted it.
func (w *world) startAppServer(ctx context.Context, t *tenant, edge int, name string) (*appServer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, appServerFlag) //nolint:noctx // the guard ends it
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer reader.Close() //nolint:errcheck // the child has its own
	out, err := os.Create(logFile(w.dir, name))
	if err != nil {
		return nil, err
	}
	defer out.Close() //nolint:errcheck // the child has its own
	cmd.Stdin, cmd.Stdout, cmd.Stderr = reader, out, out
	run, err := w.guard.Start(cmd, syscall.SIGTERM)
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(writer, "%s Endpoint=http://%s/t/%s;AccessKey=%s;Version=1.0;\n", name, w.edgeAddrs[edge], t.slug, t.key); err != nil {
		return nil, err
	}
	return &appServer{run: run, in: writer}, await(ctx, 20*time.Second, name+" to be ready", func() bool {
		text, err := os.ReadFile(logFile(w.dir, name))
		return err == nil && strings.Contains(string(text), `"ready"`)
	})
}
