package serverlink_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/hubs/serverlink"
	"github.com/signalbox/signalbox/internal/testenv"
)

const processRedis = "SERVERLINK_TEST_REDIS"

// TestEdgeProcess is not a test but the process that
// TestLink_to_a_process_that_is_killed_or_stopped starts: an edge with an app
// server that repeats what clients say and writes down when they end.
func TestEdgeProcess(t *testing.T) {
	url := os.Getenv(processRedis)
	if url == "" {
		return
	}
	n := newNode(t, url, func(o *options) { o.timing = serverlink.Timing{} })
	app := n.local.connect(chat, "app", 0)
	var work sync.WaitGroup
	stop := make(chan struct{})
	work.Go(func() {
		for {
			select {
			case <-stop:
				return
			case p := <-app.opened:
				work.Go(func() {
					var settled sync.WaitGroup
					for {
						select {
						case m := <-p.said:
							p.down.Deliver(hubs.Position{}, []byte(m.text), &settled)
						case end := <-p.ended:
							fmt.Println("ended", end[0])
							return
						case <-stop:
							return
						}
					}
				})
			}
		}
	})
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test ends
	close(stop)
	work.Wait()
}

// An edge's process is killed, or stopped as by a debugger or a machine that
// swaps: the clients of other edges are told, within 2 s by the times of
// production. When a stopped one goes on, its app server is told, too.
func TestLink_to_a_process_that_is_killed_or_stopped(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		signal syscall.Signal
	}{{"killed", syscall.SIGKILL}, {"stopped", syscall.SIGSTOP}} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			url := testenv.Redis(t)
			a := newNode(t, url, func(o *options) { o.timing = serverlink.Timing{} })
			edge := exec.Command(os.Args[0], "-test.run=^TestEdgeProcess$", "-test.v")
			edge.Env = append(os.Environ(), processRedis+"="+url)
			edge.Stderr = os.Stderr
			in, err := edge.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := edge.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := edge.Start(); err != nil {
				t.Fatal(err)
			}
			lines := make(chan string, 10_000)
			read := make(chan struct{})
			go func() {
				defer close(read)
				for s := bufio.NewScanner(out); s.Scan(); {
					if strings.HasPrefix(s.Text(), "ended") {
						lines <- s.Text()
					}
				}
			}()
			t.Cleanup(func() {
				_ = edge.Process.Signal(syscall.SIGCONT) // no process, or going on already
				_ = in.Close()
				<-read
				_ = edge.Wait() // killed is no success
			})

			a.knows(chat, true)
			s, d := a.openSoon("c1")
			if err := s.Send(t.Context(), []byte("hello"), pairing.DataOther); err != nil {
				t.Fatal(err)
			}
			if got := get(t, "answer", d.events); got != "deliver" {
				t.Fatalf("got %q", got)
			}
			began := time.Now()
			if err := edge.Process.Signal(row.signal); err != nil {
				t.Fatal(err)
			}
			if got := get(t, "lost", d.events); got != "lost" {
				t.Fatalf("got %q", got)
			}
			t.Logf("told after %v", d.lostAt.Sub(began))
			if row.signal == syscall.SIGSTOP {
				if err := edge.Process.Signal(syscall.SIGCONT); err != nil {
					t.Fatal(err)
				}
				if got := get(t, "end for the app server", lines); got == "ended " {
					t.Error("the app server is told no reason")
				}
			}
		})
	}
}
