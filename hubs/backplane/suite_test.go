package backplane_test

import (
	"log/slog"
	"testing"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/backplane"
	"github.com/signalbox/signalbox/hubs/backplanetest"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/testenv"
)

// Each node of the suite is a process of its own on one Redis.
func TestRedis_passes_the_suite(t *testing.T) {
	for mode, streamsOnly := range map[string]bool{"doorbells": false, "streams-only": true} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			backplanetest.Run(t, func(t *testing.T, n int) []hubs.Backplane { return suiteNodes(t, n, streamsOnly) })
		})
	}
}

func suiteNodes(t *testing.T, n int, streamsOnly bool) []hubs.Backplane {
	t.Helper()
	url := testenv.Redis(t)
	all := make([]hubs.Backplane, n)
	for i := range all {
		client, err := redisclient.New(url, "suite")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		r, err := backplane.New(backplane.Config{
			Redis: client, EdgeRun: "node" + string(rune('a'+i)), Logger: slog.New(slog.DiscardHandler), StreamsOnly: streamsOnly,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		all[i] = r.Hub("01JCTENANT000000000000000A", "chat", backplane.Settings{})
	}
	return all
}
