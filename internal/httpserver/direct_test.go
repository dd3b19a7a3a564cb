package httpserver_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/internal/httpserver"
)

// serve returns a server and what it says at its end.
func serve(t testing.TB, direct bool, handler http.HandlerFunc) (s *httpserver.Server, served <-chan error) {
	t.Helper()
	c := httpserver.Config{Name: "test", Addr: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler), Handler: handler}
	if direct {
		c.Direct = func(string) bool { return true }
	}
	s, err := httpserver.Listen(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	end := make(chan error, 1)
	go func() { end <- s.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = s.Shutdown(ctx)
	})
	return s, end
}

// dial returns a connection to s.
func dial(t testing.TB, s *httpserver.Server) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	return conn, bufio.NewReader(conn)
}

const (
	post    = "POST /x?hub=a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nX-A: b\r\n\r\n"
	upgrade = "GET /x?hub=a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
)

// answered is an answer as text, but for the time.
func answered(in *bufio.Reader) string {
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		return "no answer"
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return "no body"
	}
	dated := res.Header.Get("Date") != ""
	res.Header.Del("Date")
	return fmt.Sprintf("%s %v %q dated %t close %t", res.Status, res.Header, body, dated, res.Close)
}

func TestDirect_answers_like_net_http(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]http.HandlerFunc{
		"nothing":             func(http.ResponseWriter, *http.Request) {},
		"text":                func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>text") },
		"a status":            func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) },
		"two statuses":        func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404); w.WriteHeader(200) },
		"no content":          func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204); _, _ = io.WriteString(w, "x") },
		"a header afterwards": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200); w.Header().Set("X", "late") },
		"a type afterwards": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(200)
			w.Header().Set("Content-Type", "a/b")
			_, _ = io.WriteString(w, "x")
		},
		"a length afterwards": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(200)
			w.Header().Set("Content-Length", "7")
			_, _ = io.WriteString(w, "x")
		},
		"no type": func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = nil
			_, _ = io.WriteString(w, "x")
		},
		"no date": func(w http.ResponseWriter, _ *http.Request) { w.Header()["Date"] = nil; _, _ = io.WriteString(w, "x") },
		"an encoding": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, "<html>")
		},
		"not modified": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "a/b")
			w.WriteHeader(304)
		},
		"an unknown status": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(299) },
		"no status":         func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(99) },
		"more than promised": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "2")
			_, _ = io.WriteString(w, "hi")
			if _, err := io.WriteString(w, "x"); !errors.Is(err, http.ErrContentLength) {
				panic(err)
			}
		},
		"the last answer":      func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") },
		"a header in two rows": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", "a\r\nSet-Cookie: b") },
		"the request": func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			_, _ = fmt.Fprintf(w, "%s %s %s %s %s %v %d %q %v", r.Method, r.URL, r.RequestURI, r.Host, r.Proto, r.Header, r.ContentLength, body, err)
		},
		"a panic": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got [2]string
			for i, direct := range []bool{false, true} {
				s, _ := serve(t, direct, handler)
				conn, in := dial(t, s)
				// The second waits behind the first; the third is handed over to net/http.
				_, _ = io.WriteString(conn, post+post+"POST /y HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
				got[i] = answered(in) + "\n" + answered(in) + "\n" + answered(in)
			}
			if got[0] != got[1] {
				t.Errorf("answered\n%s\nnet/http answers\n%s", got[1], got[0])
			}
		})
	}
}

// An answer of another length than its header says is none, and a client can tell.
func TestDirect_an_answer_of_the_wrong_length_ends_the_connection(t *testing.T) {
	t.Parallel()
	for _, length := range []string{"1", "3"} {
		for _, direct := range []bool{false, true} {
			s, _ := serve(t, direct, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", length)
				_, _ = io.WriteString(w, "hi")
			})
			conn, in := dial(t, s)
			_, _ = io.WriteString(conn, post)
			if got := answered(in); strings.Contains(got, `"hi"`) {
				t.Errorf("direct %t, %s promised: answered %s", direct, length, got)
			}
			if _, err := in.ReadByte(); direct && err == nil {
				t.Errorf("%s promised: the connection goes on", length)
			}
		}
	}
}

// A reverse proxy whose upstream breaks off aborts its own answer, but only when it
// finds the server in the context.
func TestDirect_contexts_have_the_server(t *testing.T) {
	t.Parallel()
	s, _ := serve(t, true, func(w http.ResponseWriter, r *http.Request) {
		_, ok := r.Context().Value(http.ServerContextKey).(*http.Server)
		_, _ = fmt.Fprint(w, ok)
	})
	conn, in := dial(t, s)
	_, _ = io.WriteString(conn, post)
	if got := answered(in); !strings.Contains(got, `"true"`) {
		t.Errorf("answered %s", got)
	}
}

// Server-Sent Events are flushed as they come, whatever else the request asks for.
func TestDirect_streams_of_events_are_for_net_http(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s, _ := serve(t, true, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "data: 1\n")
		_ = http.NewResponseController(w).Flush()
		<-release
	})
	defer close(release)
	conn, in := dial(t, s)
	_, _ = io.WriteString(conn, strings.Replace(upgrade, "\r\n\r\n", "\r\nAccept: text/Event-Stream\r\n\r\n", 1))
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(res.Body).ReadString('\n'); line != "data: 1\n" || err != nil {
		t.Errorf("%q, %v", line, err)
	}
}

func TestDirect_connections_are_hijacked_with_what_was_read(t *testing.T) {
	t.Parallel()
	for _, direct := range []bool{false, true} {
		s, _ := serve(t, direct, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Upgrade", "websocket")
			w.Header().Set("Connection", "Upgrade")
			w.WriteHeader(http.StatusSwitchingProtocols)
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			_, _, err = http.NewResponseController(w).Hijack()
			again := !errors.Is(err, http.ErrHijacked)
			line, _ := rw.ReadString('\n')
			_, _ = fmt.Fprintf(rw, "%d early: %s", min(1, rw.Reader.Buffered()), line)
			_ = rw.Flush()
			_, err = w.Write([]byte("not any more"))
			go func() { // its request is over
				line, _ := rw.ReadString('\n')
				_, _ = fmt.Fprintf(conn, "%s%t %t\n", line, again, err == nil)
				_ = conn.Close()
			}()
		})
		conn, in := dial(t, s)
		_, _ = io.WriteString(conn, upgrade+"first\nsecond\n")
		head, err := http.ReadResponse(in, nil)
		if err != nil || head.StatusCode != http.StatusSwitchingProtocols || head.Header.Get("Upgrade") != "websocket" {
			t.Fatalf("direct %t: %v, %v", direct, head, err)
		}
		rest, err := io.ReadAll(in)
		if want := "1 early: first\nsecond\nfalse false\n"; string(rest) != want || err != nil {
			t.Errorf("direct %t: %q, %v, want %q", direct, rest, err, want)
		}
	}
}

func TestDirect_a_client_that_goes_away_ends_its_request(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	s, _ := serve(t, true, func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		ended <- r.Context().Err()
	})
	conn, _ := dial(t, s)
	_, _ = io.WriteString(conn, post)
	conn.Close()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

func TestDirect_a_request_that_comes_during_a_slow_one_is_answered(t *testing.T) {
	t.Parallel()
	entered, release := make(chan *http.Request, 2), make(chan struct{})
	s, _ := serve(t, true, func(w http.ResponseWriter, r *http.Request) {
		entered <- r
		<-release
		_, _ = io.WriteString(w, "answer")
	})
	conn, in := dial(t, s)
	_, _ = io.WriteString(conn, post)
	first := <-entered
	_, _ = io.WriteString(conn, post) // which whoever looks for the client's end finds
	time.AfterFunc(300*time.Millisecond, func() { close(release) })
	for range 2 {
		if got := answered(in); !strings.Contains(got, `"answer"`) {
			t.Fatalf("answered %s", got)
		}
	}
	if second := <-entered; first.Context().Err() == nil || second.RemoteAddr != first.RemoteAddr {
		t.Errorf("the first is still under way, or another's: %s, %s", first.RemoteAddr, second.RemoteAddr)
	}
}

func TestDirect_shutdown_finishes_what_is_under_way_and_closes_what_rests(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}, 1), make(chan struct{})
	s, served := serve(t, true, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			_, rw, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = rw.WriteString("hijacked\n")
				_ = rw.Flush()
			}
			entered <- struct{}{}
			<-release // its handler isn't waited for, as by net/http
			return
		}
		entered <- struct{}{}
		<-release
		_, _ = io.WriteString(w, "done")
	})
	fresh, _ := dial(t, s)
	taken, takenIn := dial(t, s)
	_, _ = io.WriteString(taken, upgrade)
	<-entered
	busy, in := dial(t, s)
	_, _ = io.WriteString(busy, post)
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(context.Background()) }()
	if err := <-served; err != nil {
		t.Errorf("Serve = %v", err)
	}
	if _, err := io.ReadAll(fresh); err != nil {
		t.Errorf("a connection at rest: %v", err)
	}
	select {
	case err := <-stopped:
		t.Errorf("Shutdown didn't wait: %v", err)
	default:
	}
	close(release)
	if got := answered(in); !strings.Contains(got, `"done"`) || !strings.Contains(got, "close true") {
		t.Errorf("answered %s", got)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Shutdown = %v", err)
	}
	if line, err := takenIn.ReadString('\n'); line != "hijacked\n" || err != nil {
		t.Errorf("a hijacked connection: %q, %v", line, err)
	}
}

func TestDirect_shutdown_gives_up_with_its_context(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	s, _ := serve(t, true, func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-release
	})
	defer close(release)
	conn, in := dial(t, s)
	_, _ = io.WriteString(conn, post)
	<-entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown = %v", err)
	}
	if _, err := in.ReadByte(); err == nil {
		t.Error("the connection goes on")
	}
}
