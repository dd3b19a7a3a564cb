// Program server is the hub that the conformance tests talk to: the programming
// model of package hubs on net/http, mounted several times with settings that
// make what takes a quarter of a minute in production visible in a test.
//
// With SIGNALBOX_CONNECTION_STRING the hubs are behind the service, under their
// names with SIGNALBOX_HUB_PREFIX in front.
//
// It writes its URL as the first line of its output and ends when its input does.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/appserver"
	"github.com/signalbox/signalbox/hubs/transport"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "conformance server:", err)
		os.Exit(1)
	}
}

func run() error {
	handler, err := newHandler()
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // the test's process has ended
		_ = server.Close()
	}()
	if _, err := fmt.Fprintf(os.Stdout, "http://%s\n", l.Addr()); err != nil {
		return err
	}
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// mounts are the hubs by path.
var mounts = map[string]struct {
	options  hubs.Options
	endpoint transport.Endpoint
	secure   bool
}{
	"hub":       {},
	"detailed":  {options: hubs.Options{EnableDetailedErrors: true}},
	"brief":     {options: hubs.Options{KeepAliveInterval: 300 * time.Millisecond, ClientTimeoutInterval: 2 * time.Second, HandshakeTimeout: 2 * time.Second}},
	"secure":    {secure: true},
	"websocket": {endpoint: transport.Endpoint{Transports: []hubs.TransportKind{hubs.WebSockets}}},
	"events":    {endpoint: transport.Endpoint{Transports: []hubs.TransportKind{hubs.ServerSentEvents}}},
	"polling":   {endpoint: transport.Endpoint{Transports: []hubs.TransportKind{hubs.LongPolling}}},
	"stateful":  {endpoint: transport.Endpoint{StatefulReconnect: true}},
	"strict":    {endpoint: transport.Endpoint{RequireNegotiation: true}},
}

// newHandler serves every mount.
func newHandler() (http.Handler, error) {
	mux := http.NewServeMux()
	for name := range mounts {
		h, err := mount(name)
		if err != nil {
			return nil, err
		}
		mux.Handle("/"+name, h)
		mux.Handle("/"+name+"/", h)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/negotiate") {
			w.Header().Add("Set-Cookie", "kept=yes; Path=/")
			w.Header().Add("Set-Cookie", "old=no; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT")
		}
		if r.URL.Query().Get("no_websockets") != "" && strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			http.Error(w, "this proxy knows no WebSockets", http.StatusBadGateway)
			return
		}
		mux.ServeHTTP(w, r)
	}), nil
}

// mount serves one hub.
func mount(name string) (http.Handler, error) {
	m := mounts[name]
	hub := newHub()
	dispatcher, err := hubs.Register(hub, hubs.Rename("Old", "Renamed"), hubs.Hide("Secret"))
	if err != nil {
		return nil, err
	}
	prefix := os.Getenv("SIGNALBOX_HUB_PREFIX")
	s, err := hubs.NewServer(hubs.Config{Name: prefix + name, Options: m.options, Dispatcher: dispatcher})
	if err != nil {
		return nil, err
	}
	hub.outside = s.Context()
	if service := os.Getenv("SIGNALBOX_CONNECTION_STRING"); service != "" {
		return behind(s, service, m.endpoint.Transports, m.secure)
	}
	o := transport.Options{
		Resolve: func(r *http.Request) (*transport.Endpoint, error) {
			ep := m.endpoint
			ep.Server, ep.Scope = s, name
			var err error
			ep.Principal.UserID, err = user(r, m.secure)
			return &ep, err
		},
		KeepHeaders: []string{"User-Agent", "X-SignalR-User-Agent", "X-Custom", "Cookie"},
		PollTimeout: 2 * time.Second,
	}
	if name == "brief" {
		o.TokenLife = 2 * time.Second
	}
	return transport.NewHandler(o)
}

// behind serves a hub behind the service.
func behind(s *hubs.Server, service string, transports []hubs.TransportKind, secure bool) (http.Handler, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	app, err := appserver.Connect(context.Background(), s, service, appserver.Options{
		Transports: transports,
		Authenticate: func(r *http.Request) (p hubs.Principal, err error) {
			p.UserID, err = user(r, secure)
			return p, err
		},
	})
	if err != nil {
		return nil, err
	}
	if err := app.Ready(ctx); err != nil {
		return nil, err
	}
	return app.Handler(), nil
}

// user says who a request is from. Where it must be said, a token is the user's
// name; who is banned may do nothing.
func user(r *http.Request, secure bool) (string, error) {
	if !secure {
		return r.URL.Query().Get("user"), nil
	}
	name, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !bearer {
		name = r.URL.Query().Get("access_token")
	}
	switch {
	case name == "", name == "stale":
		return "", &transport.Error{Status: http.StatusUnauthorized}
	case name == "banned":
		return "", &transport.Error{Status: http.StatusForbidden}
	}
	return name, nil
}
