package dev

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func TestFront_takes_the_edges_in_turn_and_keeps_the_host(t *testing.T) {
	t.Parallel()
	front := startFront(t, startEdge(t, "a"), startEdge(t, "b"))
	want := []string{"a", "b", "a", "b"}
	for i, edge := range want {
		if got := post(t, front, "body"); got != edge+" acme.example body" {
			t.Errorf("request %d was answered %q, want edge %s", i, got, edge)
		}
	}
}

func TestFront_passes_by_an_edge_that_is_down_body_included(t *testing.T) {
	t.Parallel()
	down := httptest.NewServer(http.NotFoundHandler())
	address, err := url.Parse(down.URL)
	if err != nil {
		t.Fatal(err)
	}
	down.Close()
	front := startFront(t, address, startEdge(t, "b"))
	for i := range 4 {
		if got := post(t, front, "body"); got != "b acme.example body" {
			t.Errorf("request %d was answered %q, want edge b", i, got)
		}
	}
}

func TestFront_answers_502_when_no_edge_is_up(t *testing.T) {
	t.Parallel()
	down := httptest.NewServer(http.NotFoundHandler())
	address, err := url.Parse(down.URL)
	if err != nil {
		t.Fatal(err)
	}
	down.Close()
	response, err := http.Get(startFront(t, address).String())
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusBadGateway {
		t.Errorf("status = %d, want 502", response.StatusCode)
	}
}

func TestFront_passes_websockets_and_streams_through(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	edge := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stream" {
			_, _ = io.WriteString(w, "first\n")
			_ = http.NewResponseController(w).Flush()
			<-release // the rest only after the client has seen the beginning
			_, _ = io.WriteString(w, "second\n")
			return
		}
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		kind, content, err := conn.Read(r.Context())
		if err == nil {
			_ = conn.Write(r.Context(), kind, append([]byte("echo "), content...))
		}
		_ = conn.Close(websocket.StatusNormalClosure, "")
	}))
	front := startFront(t, edge)

	conn, _, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(front.String(), "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, got, err := conn.Read(t.Context()); err != nil || string(got) != "echo hello" {
		t.Errorf("read %q, %v; want echo hello", got, err)
	}

	response, err := http.Get(front.String() + "/stream")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	first := make([]byte, len("first\n"))
	if _, err := io.ReadFull(response.Body, first); err != nil {
		t.Fatal(err)
	}
	close(release)
	if rest, err := io.ReadAll(response.Body); err != nil || string(rest) != "second\n" {
		t.Errorf("rest = %q, %v", rest, err)
	}
}

func TestFront_leaves_out_edges_that_drain(t *testing.T) {
	t.Parallel()
	var ready atomic.Bool
	admin := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !ready.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	turns := newRoundRobin([]*url.URL{startEdge(t, "a"), startEdge(t, "b")})
	always := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	go turns.watch(t.Context(), []string{admin.String(), always.String()})
	front := serve(t, newFront(turns, slog.New(slog.DiscardHandler)))
	until := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal(what)
			}
		}
	}
	until("edge a is left out", func() bool { return turns.unfit[0].Load() })
	for range 6 {
		if got := post(t, front, "body"); got != "b acme.example body" {
			t.Errorf("answered %q, want edge b", got)
		}
	}
	ready.Store(true)
	until("edge a is back", func() bool { return strings.HasPrefix(post(t, front, "body"), "a ") })
}

func TestFront_asks_another_edge_when_one_takes_nothing_more(t *testing.T) {
	t.Parallel()
	draining := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(drainingHeader, "1")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	for name, c := range map[string]struct {
		edges []*url.URL
		want  int
	}{
		"another is there":   {[]*url.URL{draining, startEdge(t, "b")}, http.StatusOK},
		"nobody else could ": {[]*url.URL{draining, draining}, http.StatusServiceUnavailable},
	} {
		front := startFront(t, c.edges...)
		for range 4 {
			response, err := http.Post(front.String()+"/client/negotiate", "", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode != c.want {
				t.Errorf("%s: %d, want %d", name, response.StatusCode, c.want)
			}
		}
	}
}

// startEdge answers with its name, the host it was asked for, and the body.
func startEdge(t *testing.T, name string) *url.URL {
	t.Helper()
	return serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %s %s", name, r.Host, body)
	}))
}

func startFront(t *testing.T, edges ...*url.URL) *url.URL {
	t.Helper()
	return serve(t, newFront(newRoundRobin(edges), slog.New(slog.DiscardHandler)))
}

func serve(t *testing.T, handler http.Handler) *url.URL {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func post(t *testing.T, front *url.URL, body string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, front.String(), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "acme.example"
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
