package edge

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
// at once, drains after SIGTERM, and ends at once after another.
func TestProgram(t *testing.T) {
	t.Parallel()
	program := buildEdge(t)
	bad := exec.CommandContext(t.Context(), program)
	bad.Env = []string{"SIGNALBOX_LOG_LEVEL=loud"}
	out, err := bad.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "REDIS_URL") || !strings.Contains(string(out), "SIGNALBOX_FLEET_SECRET") || !strings.Contains(string(out), "SIGNALBOX_LOG_LEVEL") {
		t.Fatalf("got %v, %s", err, out)
	}

	demo := document("demo", 1)
	c := startCluster(t, demo) // for its Redis with the documents
	t.Run("ends after SIGTERM", func(t *testing.T) {
		p := c.program(t, program, "SIGNALBOX_EDGE_DRAIN_GRACE=10ms", "SIGNALBOX_EDGE_DRAIN=10ms")
		if limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", p.cmd.Process.Pid)); err == nil && !noCore.Match(limits) { // SEC-43
			t.Errorf("a crash would write down its memory:\n%s", limits)
		}
		p.terminate()
		if err := p.end(); err != nil {
			t.Fatalf("ended with %v: %s", err, p.logs)
		}
		if strings.Contains(p.logs.String(), secret) {
			t.Fatal("the log holds the fleet secret")
		}
	})
	t.Run("isn't ready after the first signal, serves on, and ends with the second", func(t *testing.T) {
		p := c.program(t, program, "SIGNALBOX_EDGE_DRAIN_GRACE=10m", "SIGNALBOX_EDGE_DRAIN=10m")
		base := "http://" + p.listens("public") + "/t/" + demo.Slug
		k, res, err := c.dialAt(base, base, "chat", clientJWT(t, demo, 0, "chat", "ann"))
		if err != nil {
			t.Fatalf("%v: %v", res, err)
		}
		p.terminate()
		c.eventually("it isn't ready any more", func() bool { return c.status("http://"+p.listens("admin")+"/readyz") == http.StatusServiceUnavailable })
		sent, body := c.do(http.MethodPost, base+"/api/v1/hubs/chat", demo.Keys[0].Secret, `{"target":"m","arguments":["still"]}`, nil)
		if sent.StatusCode != http.StatusAccepted {
			t.Errorf("a publish in the grace is answered %d %s", sent.StatusCode, body)
		}
		k.want("m", "still")
		select {
		case err := <-p.ended:
			t.Fatalf("it ended by itself, with %v", err)
		default:
		}
		p.terminate()
		_ = p.end() // not everything could be told
	})
}

// noCore is how the kernel says of a process that it writes no core dump.
var noCore = regexp.MustCompile(`Max core file size +0 +0 `)

// buildEdge builds the real program.
func buildEdge(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "edge")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "github.com/signalbox/signalbox/cmd/edge").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

// program is an edge as a process of its own.
type program struct {
	t     *testing.T
	cmd   *exec.Cmd
	logs  *syncBuffer
	ended chan error
}

// program starts one with these settings, and returns when it is ready.
func (c *cluster) program(t *testing.T, path string, settings ...string) *program {
	t.Helper()
	p := &program{t: t, cmd: exec.CommandContext(t.Context(), path), logs: new(syncBuffer), ended: make(chan error, 1)}
	p.cmd.Env = append(append(os.Environ(),
		"REDIS_URL="+c.redisURL, "SIGNALBOX_FLEET_SECRET="+secret, "SIGNALBOX_EDGE_ADDR=127.0.0.1:0", "SIGNALBOX_EDGE_INTERNAL_ADDR=127.0.0.1:0",
		"SIGNALBOX_EDGE_ADMIN_ADDR=127.0.0.1:0", "SIGNALBOX_SERVICE_HOSTS=127.0.0.1,localhost"), settings...)
	p.cmd.Stderr = p.logs
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.ended <- p.cmd.Wait() }()
	c.eventually("the program is ready", func() bool {
		return p.listens("public") != "" && p.listens("admin") != "" && c.status("http://"+p.listens("admin")+"/readyz") == http.StatusOK
	})
	return p
}

// listens is where one of its servers listens, "" before it does.
func (p *program) listens(server string) string {
	for line := range strings.Lines(p.logs.String()) {
		var said struct{ Server, Addr string }
		if json.Unmarshal([]byte(line), &said) == nil && said.Server == server {
			return said.Addr
		}
	}
	return ""
}

func (p *program) terminate() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
}

// end waits for its end.
func (p *program) end() error {
	p.t.Helper()
	select {
	case err := <-p.ended:
		return err
	case <-time.After(6 * patience):
		p.t.Fatalf("still there: %s", p.logs)
		return nil
	}
}
