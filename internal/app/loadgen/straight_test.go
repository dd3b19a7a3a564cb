package loadgen_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"

	"github.com/signalbox/signalbox/internal/app/loadgen"
)

// A client negotiates and opens its WebSocket over one connection.
func TestStraight(t *testing.T) {
	t.Parallel()
	var opened atomic.Int64
	held := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("POST /negotiate", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "negotiated") })
	mux.HandleFunc("GET /last", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") })
	mux.HandleFunc("GET /held", func(_ http.ResponseWriter, r *http.Request) {
		close(held)
		<-r.Context().Done()
	})
	mux.HandleFunc("GET /socket", func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer ws.CloseNow()
		kind, data, err := ws.Read(r.Context())
		if err == nil {
			_ = ws.Write(r.Context(), kind, append([]byte("heard "), data...))
		}
		_, _, _ = ws.Read(r.Context()) // until the client is gone
	})
	server := httptest.NewUnstartedServer(mux)
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)

	var straight loadgen.Straight
	t.Cleanup(straight.Close)
	client := &http.Client{Transport: &straight}
	for range 2 {
		res, err := client.Post(server.URL+"/negotiate", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || string(text) != "negotiated" {
			t.Fatalf("answer is %q, %v", text, err)
		}
	}
	ws, _, err := websocket.Dial(t.Context(), server.URL+"/socket", &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	if err := ws.Write(t.Context(), websocket.MessageText, []byte("you")); err != nil {
		t.Fatal(err)
	}
	if _, data, err := ws.Read(t.Context()); err != nil || string(data) != "heard you" {
		t.Fatalf("read %q, %v", data, err)
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("%d connections for two requests and a WebSocket, want 1", n)
	}

	// A connection that the server ends after an answer isn't used for the next request.
	for range 2 {
		res, err := client.Get(server.URL + "/last")
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
	}

	// What a WebSocket has taken along is not used again, and a caller that gives up
	// waits for nothing.
	ctx, giveUp := context.WithCancel(t.Context())
	go func() {
		<-held
		giveUp()
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/held", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err == nil {
		_ = res.Body.Close()
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a request that was given up ends with %v", err)
	}
}
