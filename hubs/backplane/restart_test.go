package backplane

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/signalbox/signalbox/hubs"
)

// diskRedis starts a Redis that writes to a folder; kill is SIGKILL. It listens on a
// socket of the folder, so that another one can take its place.
func diskRedis(t *testing.T, dir string) (url string, kill func()) {
	t.Helper()
	socket := filepath.Join(dir, "s")
	server := exec.CommandContext(context.WithoutCancel(t.Context()), "redis-server",
		"--port", "0", "--unixsocket", socket, "--dir", dir, "--save", "", "--appendonly", "yes", "--appendfsync", "everysec")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	dead := false
	kill = func() {
		if !dead {
			dead = true
			_ = server.Process.Kill()
			_ = server.Wait()
			_ = os.Remove(socket)
		}
	}
	t.Cleanup(kill)
	url = "unix://" + socket
	eventually(t, "Redis listens", func() bool {
		_, err := os.Stat(socket)
		return err == nil
	})
	client := newClient(t, url)
	eventually(t, "Redis answers", func() bool { return client.Ping(t.Context()).Err() == nil })
	return url, kill
}

// What was acknowledged as stored outlives the processes that sent it and the Redis
// that had it: the history goes on where it was.
func TestRedis_killed_and_started_again_has_what_was_acknowledged(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "sb") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	url, kill := diskRedis(t, dir)
	sender := process(t, url)
	const sent = 50
	var last hubs.Position
	for i := range sent {
		last = publish(t, sender, say("a", i+1))
	}
	sender.Close()
	kill()
	diskRedis(t, dir)
	r := process(t, url)
	entries, err := all(t, r.Hub(tenant, hub, Settings{}).(hubs.Historian), hubs.HistoryQuery{Select: hubs.Selection{Every: true}, Limit: sent})
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != sent {
		t.Fatalf("%d of %d messages are there", len(entries), sent)
	}
	inOrder(t, entries)
	if next := publish(t, r, say("a", sent+1)); next.Epoch != last.Epoch || next.Number != last.Number+1 {
		t.Errorf("the next message is %+v behind %+v", next, last)
	}
}
