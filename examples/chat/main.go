// Command chat is a chat room: one hub on net/http, and a page with the stock
// SignalR client. It needs no service, database or Redis:
//
//	npm install @microsoft/signalr   (once, anywhere above; or set -client)
//	go run ./examples/chat           (then open http://localhost:8080)
//
// With a connection string the same hub runs behind Signalbox, which then holds
// the clients; any number of these programs may serve them:
//
//	SIGNALBOX_CONNECTION_STRING='Endpoint=…;AccessKey=…;Version=1.0;' go run ./examples/chat
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"log"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/appserver"
	"github.com/signalbox/signalbox/hubs/transport"
)

//go:embed index.html
var page []byte

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

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	mux := http.NewServeMux()
	var app *appserver.App
	if service := os.Getenv("SIGNALBOX_CONNECTION_STRING"); service == "" {
		err = transport.Mount(mux, "/chat", hub)
	} else {
		app, err = appserver.Mount(ctx, mux, "/chat", hub, service, appserver.Options{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	}
	if err != nil {
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
	go func() {
		<-ctx.Done()
		if app != nil {
			<-app.Done() // its clients have moved to other programs, or been asked to
		}
		_ = server.Close()
	}()
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
