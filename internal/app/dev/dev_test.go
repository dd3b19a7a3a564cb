package dev_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/signalbox/signalbox/internal/app/dev"
)

// The tests run this test binary under the names of the programs: dev is the
// real supervisor, api and edge are stand-ins that only say that they are ready.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "dev":
		playDev()
	case "api":
		if len(os.Args) > 1 && os.Args[1] == "seed" {
			playSeed()
			return
		}
		playServer("SIGNALBOX_API_ADDR", "SIGNALBOX_API_ADMIN_ADDR")
	case "edge":
		playServer("SIGNALBOX_EDGE_ADDR", "SIGNALBOX_EDGE_ADMIN_ADDR")
	default:
		os.Exit(m.Run())
	}
}

func playDev() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	// A test that panics leaves nothing behind.
	ctx = dev.EndWithParent(ctx, os.Getppid())
	config, err := dev.ReadConfig()
	if err == nil {
		err = dev.Run(ctx, config, os.Stdout, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func playSeed() {
	var input struct{ Tenants []struct{ Slug string } }
	if err := json.NewDecoder(os.Stdin).Decode(&input); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var answers []string
	for _, t := range input.Tenants {
		answers = append(answers, fmt.Sprintf(`{"id":"ID-%s","slug":%q}`, t.Slug, t.Slug))
	}
	fmt.Printf(`{"tenants":[%s]}`, strings.Join(answers, ","))
}

// playServer is ready at once, knows no connection, and takes every publish. An
// edge that was handed the database's address refuses to work.
func playServer(address, admin string) {
	if strings.Contains(address, "EDGE") && os.Getenv("DATABASE_URL") != "" {
		os.Exit(3)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /api/v1/hubs/machine", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Printf("published %s\n", body)
		w.WriteHeader(http.StatusAccepted)
	})
	go func() { fmt.Fprintln(os.Stderr, http.ListenAndServe(os.Getenv(admin), mux)) }()
	fmt.Fprintln(os.Stderr, http.ListenAndServe(os.Getenv(address), mux))
}

func TestRun_serves_until_told_to_stop_and_keeps_its_secrets(t *testing.T) {
	t.Parallel()
	dir := newDevDir(t)
	first := startDev(t, dir)
	if got := first.descriptor.Tenants[1]; got.ID != "ID-other" || got.RESTURL != first.descriptor.ServiceURL+"/t/other" {
		t.Errorf("tenant other = %+v", got)
	}
	eventually(t, "a sample of this machine to be published", func() bool {
		log, err := os.ReadFile(filepath.Join(dir.path, "logs", "edge-1.log"))
		return err == nil && strings.Contains(string(log), `"cpu_percent":`)
	})
	pids := first.pids()
	first.stop(t)
	for _, pid := range pids {
		eventually(t, fmt.Sprintf("process %d to end", pid), func() bool { return !alive(pid) })
	}
	if _, err := os.Stat(filepath.Join(dir.path, "dev.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("dev.json after the stop: %v, want it gone", err)
	}

	second := startDev(t, dir)
	defer second.stop(t)
	if second.descriptor.APIToken != first.descriptor.APIToken || second.descriptor.Tenants[0].AccessKey != first.descriptor.Tenants[0].AccessKey {
		t.Error("the second start has other secrets than the first")
	}
}

func TestRun_starts_what_was_killed_again_on_its_port(t *testing.T) {
	t.Parallel()
	dir := newDevDir(t)
	running := startDev(t, dir)
	defer running.stop(t)
	victims := map[string]func(dev.PIDs) int{
		"edge":     func(p dev.PIDs) int { return p.Edges[0] },
		"api":      func(p dev.PIDs) int { return p.API },
		"redis":    func(p dev.PIDs) int { return p.Redis },
		"postgres": func(p dev.PIDs) int { return p.Postgres },
	}
	for name, pid := range victims {
		killed := pid(running.descriptor.PIDs)
		kill(t, killed)
		eventually(t, "dev.json to name another "+name, func() bool { return pid(dir.read(t).PIDs) != killed })
	}
	for _, address := range []string{running.descriptor.EdgeURLs[0], running.descriptor.AdminURLs.API + "/readyz"} {
		eventually(t, address+" to serve again", func() bool {
			response, err := http.Get(address)
			return err == nil && response.Body.Close() == nil
		})
	}
}

func TestRun_killed_leaves_no_process_behind(t *testing.T) {
	t.Parallel()
	dir := newDevDir(t)
	running := startDev(t, dir)
	pids := running.pids()
	kill(t, running.cmd.Process.Pid)
	_ = running.cmd.Wait() // killed, as it should be
	for _, pid := range pids {
		eventually(t, fmt.Sprintf("process %d to end", pid), func() bool { return !alive(pid) })
	}
	again := startDev(t, dir)
	again.stop(t)
}

func TestRun_refuses_a_directory_and_a_port_in_use(t *testing.T) {
	t.Parallel()
	dir := newDevDir(t)
	running := startDev(t, dir)
	defer running.stop(t)

	out, err := dir.command(t).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "in use by another `make dev`") {
		t.Errorf("a second start in the same directory said %q, %v", out, err)
	}
	other := newDevDir(t)
	other.port = dir.port
	out, err = other.command(t).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "set DEV_PORT") {
		t.Errorf("a second start on the same port said %q, %v", out, err)
	}
}

func TestRun_takes_the_servers_of_the_environment(t *testing.T) {
	t.Parallel()
	dir := newDevDir(t)
	dir.env = []string{"DATABASE_URL=postgres://elsewhere/db", "REDIS_URL=redis://elsewhere", "DEV_FEED=0"}
	running := startDev(t, dir)
	defer running.stop(t)
	if ids := running.descriptor.PIDs; ids.Postgres != 0 || ids.Redis != 0 || ids.API == 0 {
		t.Errorf("pids = %+v, want none of Postgres and Redis", ids)
	}
}

func TestRun_ends_when_the_front_can_not_listen(t *testing.T) {
	t.Parallel()
	dir := newDevDir(t)
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(dir.edgePort+1)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	out, err := dir.command(t).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "set DEV_EDGE_PORT") {
		t.Errorf("with the second front port taken, dev said %q, %v", out, err)
	}
}

func TestReadConfig_lists_every_problem(t *testing.T) {
	t.Setenv("DEV_PORT", "70000")
	t.Setenv("DEV_EDGE_PORT", "0")
	t.Setenv("DEV_EDGES", "9")
	_, err := dev.ReadConfig()
	for _, want := range []string{"DEV_PORT is 70000: accepted is 1 to 65535", "DEV_EDGE_PORT is 0", "DEV_EDGES is 9: accepted is 1 to 8", "program api is not in"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v, want it to say %q", err, want)
		}
	}
}

// devDir is a DEV_DIR with its ports, and the programs to run in it.
type devDir struct {
	path, programs string
	port, edgePort int
	env            []string // added to the environment
}

func newDevDir(t *testing.T) devDir {
	t.Helper()
	// t.TempDir is closed to Postgres' user.
	root, err := os.MkdirTemp("", "signalbox-dev-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(root); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"dev", "api", "edge"} {
		// A hard link or copy: os.Executable follows symbolic links.
		if os.Link(self, filepath.Join(root, name)) != nil {
			copyProgram(t, self, filepath.Join(root, name))
		}
	}
	d := devDir{path: filepath.Join(root, "state"), programs: root}
	d.port, d.edgePort = freePorts(t, 1), freePorts(t, 2)
	return d
}

func copyProgram(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, 0o700); err != nil {
		t.Fatal(err)
	}
}

// freePorts returns the first of some ports in a row, below those that the
// kernel gives to outgoing connections.
func freePorts(t *testing.T, count int) int {
	t.Helper()
	for range 100 {
		first := 21000 + rand.IntN(10000)
		free := true
		for port := first; port < first+count; port++ {
			l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
			if err != nil {
				free = false
				break
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if free {
			return first
		}
	}
	t.Fatalf("no %d free ports in a row", count)
	return 0
}

func (d devDir) command(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(filepath.Join(d.programs, "dev"))
	cmd.Env = append(os.Environ(), "DEV_DIR="+d.path, "DEV_PORT="+strconv.Itoa(d.port), "DEV_EDGE_PORT="+strconv.Itoa(d.edgePort), "DATABASE_URL=", "REDIS_URL=")
	cmd.Env = append(cmd.Env, d.env...)
	return cmd
}

func (d devDir) read(t *testing.T) dev.Descriptor {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(d.path, "dev.json"))
	if err != nil {
		t.Fatal(err)
	}
	var descriptor dev.Descriptor
	if err := json.Unmarshal(content, &descriptor); err != nil {
		t.Fatal(err)
	}
	return descriptor
}

// runningDev is a started supervisor that has said "ready".
type runningDev struct {
	cmd        *exec.Cmd
	descriptor dev.Descriptor
}

func startDev(t *testing.T, dir devDir) runningDev {
	t.Helper()
	cmd := dir.command(t)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if lines.Text() == "ready" {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return runningDev{cmd: cmd, descriptor: dir.read(t)}
		}
		said.WriteString(lines.Text() + "\n")
	}
	t.Fatalf("dev ended with %v before it was ready: %s", cmd.Wait(), said.String())
	return runningDev{}
}

func (r runningDev) pids() []int {
	ids := r.descriptor.PIDs
	return append([]int{ids.API, ids.Postgres, ids.Redis}, ids.Edges...)
}

func (r runningDev) stop(t *testing.T) {
	t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Wait(); err != nil {
		t.Errorf("dev ended with %v, want status 0", err)
	}
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// alive is false for a process that is gone or only waits to be collected.
func alive(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || !strings.Contains(string(stat), ") Z ")
}

// eventually polls what other processes do: nothing announces it to this one.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 20 s for %s", what)
		}
	}
}
