package edge

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/signalbox/signalbox/internal/testenv"
)

// TestNothingIsLeftBehind starts and ends an edge with a connection on it.
func TestNothingIsLeftBehind(t *testing.T) { //nolint:paralleltest // counts goroutines
	testenv.Goroutines(t)
	demo := document("demo", 1)
	c := startCluster(t, demo)
	c.connect(0, demo, "chat", "ann")
	c.send(1, demo, "chat", "m", "x")
	for _, end := range c.ends {
		if err := end(); err != nil {
			t.Fatal(err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestForcedEndDoesNotWait ends an edge whose client doesn't read what it is told.
func TestForcedEndDoesNotWait(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startCluster(t, demo)
	c.connect(0, demo, "chat", "ann")
	e := c.edges[0]
	forced, force := context.WithCancel(context.Background())
	force()
	if err := e.drain(forced, forced); err == nil {
		t.Fatal("a forced drain says that it was complete")
	}
	e.hubs.close(forced)
	if n := e.hubs.count(); n != 0 {
		t.Fatalf("%d hubs are left", n)
	}
}

// TestProgram runs the real program: it complains about all of a bad environment
// at once, and ends by itself after SIGTERM.
func TestProgram(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "edge")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "github.com/signalbox/signalbox/cmd/edge").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	bad := exec.CommandContext(t.Context(), program)
	bad.Env = []string{"SIGNALBOX_LOG_LEVEL=loud"}
	out, err := bad.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "REDIS_URL") || !strings.Contains(string(out), "SIGNALBOX_FLEET_SECRET") || !strings.Contains(string(out), "SIGNALBOX_LOG_LEVEL") {
		t.Fatalf("got %v, %s", err, out)
	}

	demo := document("demo", 1)
	c := startCluster(t, demo) // for its Redis with the documents
	good := exec.CommandContext(t.Context(), program)
	good.Env = append(os.Environ(),
		"REDIS_URL=redis://"+c.redis.Options().Addr, "SIGNALBOX_FLEET_SECRET="+secret, "SIGNALBOX_EDGE_ADDR=127.0.0.1:0",
		"SIGNALBOX_EDGE_ADMIN_ADDR=127.0.0.1:0", "SIGNALBOX_EDGE_DRAIN_GRACE=10ms", "SIGNALBOX_EDGE_DRAIN=10ms")
	logs := new(syncBuffer)
	good.Stderr = logs
	if err := good.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- good.Wait() }()
	c.eventually("the program listens", func() bool { return strings.Contains(logs.String(), `"server":"public"`) })
	if err := good.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Fatalf("ended with %v: %s", err, logs)
		}
	case <-time.After(patience):
		t.Fatalf("still there: %s", logs)
	}
	if strings.Contains(logs.String(), secret) {
		t.Fatal("the log holds the fleet secret")
	}
}
