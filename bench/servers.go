package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The cores: what is measured, and all else.
const (
	serverCore = "0"
	otherCore  = "1"
)

// pinned returns the command on one core, where the machine can do that.
func pinned(ctx context.Context, core, program string, args ...string) *exec.Cmd {
	if taskset, err := exec.LookPath("taskset"); err == nil {
		args = append([]string{"-c", core, program}, args...)
		program = taskset
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	return cmd
}

// move puts a running process with all its threads on a core.
func move(core string, pid int) {
	if taskset, err := exec.LookPath("taskset"); err == nil {
		_ = exec.Command(taskset, "-a", "-c", "-p", core, strconv.Itoa(pid)).Run() // one that has ended needs none
	}
}

// server is a running peer.
type server struct {
	url string
	pid int
	end func()
}

// startPeer runs this program again as one of the peers.
func startPeer(ctx context.Context, args ...string) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := pinned(ctx, serverCore, self, args...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	end := func() { cancel(); _ = cmd.Wait() }
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		end()
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	return &server{url: strings.TrimSpace(line), pid: cmd.Process.Pid, end: end}, nil
}

// startRedis runs a Redis that keeps nothing, on a core.
func startRedis(ctx context.Context, core string) (address string, pid int, end func(), err error) {
	port, err := freePort()
	if err != nil {
		return "", 0, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := pinned(ctx, core, "redis-server", "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
	if err := cmd.Start(); err != nil {
		cancel()
		return "", 0, nil, err
	}
	end = func() { cancel(); _ = cmd.Wait() }
	address = "127.0.0.1:" + strconv.Itoa(port)
	for deadline := time.Now().Add(10 * time.Second); ; {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err == nil {
			return address, cmd.Process.Pid, end, c.Close()
		}
		if time.Now().After(deadline) {
			end()
			return "", 0, nil, fmt.Errorf("redis-server doesn't answer: %w", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// freePort finds a port that nobody listens on, nor on the one after it, below
// those that the kernel gives to outgoing connections.
func freePort() (int, error) {
	for range 100 {
		port := 21_000 + 2*rand.IntN(5_000) //nolint:gosec // any will do
		if free(port) && free(port+1) {
			return port, nil
		}
	}
	return 0, errors.New("no port is free")
}

func free(port int) bool {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// product is Signalbox as make dev runs it, without the sample feed.
type product struct {
	edges []string // URLs
	pids  []int    // of the edges
	key   string
	end   func()
}

// startProduct runs the whole product; its edges have the measured core.
func startProduct(ctx context.Context, programs string, edges int) (*product, error) {
	return startProductWith(ctx, programs, edges, "")
}

// startProductWith is startProduct with a Redis that is there already; "" = one of its
// own.
func startProductWith(ctx context.Context, programs string, edges int, redisURL string) (*product, error) {
	dir, err := os.MkdirTemp("", "signalbox-bench-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // Postgres' user passes through
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	edgePort, err := freePort()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := pinned(ctx, serverCore, filepath.Join(programs, "dev"))
	state := filepath.Join(dir, "dev")
	cmd.Env = append(os.Environ(), "DEV_DIR="+state, "DEV_PORT="+strconv.Itoa(port), "DEV_EDGE_PORT="+strconv.Itoa(edgePort),
		"DEV_EDGES="+strconv.Itoa(edges), "DEV_FEED=0", "DEV_ROOMY=true", "DATABASE_URL=", "REDIS_URL="+redisURL)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	end := func() { cancel(); _ = cmd.Wait(); _ = os.RemoveAll(dir) }
	ready := false
	for lines := bufio.NewScanner(out); !ready && lines.Scan(); {
		ready = lines.Text() == "ready"
	}
	if !ready {
		end()
		return nil, errors.New("the product was not ready")
	}
	go func() { // it may say more
		for lines := bufio.NewScanner(out); lines.Scan(); {
			continue
		}
	}()
	p, err := describe(filepath.Join(state, "dev.json"))
	if err != nil {
		end()
		return nil, err
	}
	p.end = end
	move(otherCore, cmd.Process.Pid)
	return p, nil
}

// describe reads what dev tells other programs, and moves all but the edges away.
func describe(file string) (*product, error) {
	data, err := os.ReadFile(file) //nolint:gosec // of the program that was just started
	if err != nil {
		return nil, err
	}
	var d struct {
		EdgeURLs []string `json:"edge_urls"`
		PIDs     struct {
			API, Postgres, Redis int
			Edges                []int
		} `json:"pids"`
		Tenants []struct {
			AccessKey string `json:"access_key"`
		} `json:"tenants"`
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	for _, pid := range []int{d.PIDs.API, d.PIDs.Postgres, d.PIDs.Redis} {
		move(otherCore, pid)
	}
	return &product{edges: d.EdgeURLs, pids: d.PIDs.Edges, key: d.Tenants[0].AccessKey}, nil
}
