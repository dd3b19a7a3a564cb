package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"

	"github.com/signalbox/signalbox/internal/embedded"
)

// wallFlag makes this program one that refuses everything, see wall.
const wallFlag = "-wall"

// wall is a process in the place of the edges that answers every request with a refusal
// and does nothing else. What an abuser of it does to others is what his requests alone
// do to a machine that has all of them and the others on it.
type wall struct {
	run       *embedded.Process
	Addresses []string
}

// playWall refuses until it is ended. It says its addresses first.
func playWall(ctx context.Context, out *os.File) error {
	refuse := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too_many_requests scope=tenant limit=requests_per_second", http.StatusTooManyRequests)
	})
	var addresses []string
	done := make(chan error, edgeCount)
	for range edgeCount {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", loopback(0))
		if err != nil {
			return err
		}
		addresses = append(addresses, l.Addr().String())
		server := &http.Server{Handler: refuse} //nolint:gosec // only this program's abuser connects
		go func() { done <- server.Serve(l) }()
	}
	if err := json.NewEncoder(out).Encode(addresses); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-done:
		return err
	}
}

// startWall starts one, with the priority of the edges.
func (w *world) startWall() (*wall, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer reader.Close()                //nolint:errcheck // it is read
	cmd := exec.Command(self, wallFlag) //nolint:noctx // the guard ends it
	cmd.Stdout, cmd.Stderr = writer, os.Stderr
	run, err := w.guard.Start(cmd, syscall.SIGTERM)
	_ = writer.Close() // the child has its own
	if err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(reader).ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("addresses of the wall: %w", err)
	}
	made := &wall{run: run}
	return made, json.Unmarshal(line, &made.Addresses)
}
