// Command chat is a chat room: one hub on net/http, and a page with the stock
// SignalR client. It needs no service, database or Redis.
//
//	npm install @microsoft/signalr   (once, anywhere above; or set -client)
//	go run ./examples/chat           (then open http://localhost:8080)
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"iter"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/transport"
)

//go:embed index.html
var page []byte

// Chat is the hub. Its exported methods are what clients can call.
type Chat struct{}

// Join puts the caller into a room and tells the others.
func (*Chat) Join(ctx context.Context, room, name string) error {
	if name == "" {
		return hubs.NewError("Please say who you are.") // shown to the caller; other errors are not
	}
	call := hubs.FromContext(ctx)
	call.SetValue("name", name)
	if err := call.Join(ctx, room); err != nil {
		return err
	}
	return call.Group(room).Send(ctx, "Notice", name+" is here")
}

// Say sends a text to everybody in the room and answers with the time.
func (*Chat) Say(ctx context.Context, room, text string) (time.Time, error) {
	call := hubs.FromContext(ctx)
	return time.Now(), call.Group(room).Send(ctx, "Message", call.Value("name"), text)
}

// Countdown streams numbers to the caller, until zero or until it cancels.
func (*Chat) Countdown(ctx context.Context, from int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for n := from; n >= 0 && yield(n, nil); n-- {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return
			}
		}
	}
}

func main() {
	address := flag.String("listen", "localhost:8080", "where to listen")
	client := flag.String("client", findClient(), "the browser build of @microsoft/signalr")
	flag.Parse()

	dispatcher, err := hubs.Register(&Chat{})
	if err != nil {
		log.Fatal(err)
	}
	hub, err := hubs.NewServer(hubs.Config{Name: "chat", Dispatcher: dispatcher})
	if err != nil {
		log.Fatal(err)
	}

	mux := http.NewServeMux()
	if err := transport.Mount(mux, "/chat", hub); err != nil {
		log.Fatal(err)
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(page) })
	mux.HandleFunc("GET /signalr.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, *client) })

	// Anything in the program can reach the clients, not only hub methods.
	go func() {
		for now := range time.Tick(time.Minute) {
			if err := hub.Context().All().Send(context.Background(), "Notice", "It is "+now.Format(time.TimeOnly)); err != nil {
				log.Print(err)
			}
		}
	}()

	log.Printf("open http://%s", *address)
	server := &http.Server{Addr: *address, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}

// findClient looks for the client where npm puts it.
func findClient() string {
	const build = "node_modules/@microsoft/signalr/dist/browser/signalr.min.js"
	for _, dir := range []string{".", "..", "../..", "web", "../../web"} {
		if path := filepath.Join(dir, build); fileExists(path) {
			return path
		}
	}
	return build
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
