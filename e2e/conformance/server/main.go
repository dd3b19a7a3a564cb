// Program server is the hub that the conformance tests talk to: the programming
// model of package hubs on net/http, mounted several times with settings that
// make what takes a quarter of a minute in production visible in a test.
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
	"brief":     {options: hubs.Options{KeepAliveInterval: 300 * time.Millisecond, ClientTimeoutInterval: 2 * time.Second, HandshakeTimeout: 500 * time.Millisecond}},
	"secure":    {secure: true},
	"websocket": {endpoint: transport.Endpoint{Transports: []hubs.TransportKind{hubs.WebSockets}}},
	"events":    {endpoint: transport.Endpoint{Transports: []hubs.TransportKind{hubs.ServerSentEvents}}},
	"polling":   {endpoint: transport.Endpoint{Transports: []hubs.TransportKind{hubs.LongPolling}}},
	"stateful":  {options: hubs.Options{StatefulReconnectWindow: 3 * time.Second}, endpoint: transport.Endpoint{StatefulReconnect: true}},
	"strict":    {endpoint: transport.Endpoint{RequireNegotiation: true}},
}

// newHandler serves every mount.
func newHandler() (http.Handler, error) {
	endpoints := make(map[string]*transport.Endpoint, len(mounts))
	for name, m := range mounts {
		hub := newHub()
		dispatcher, err := hubs.Register(hub, hubs.Rename("Old", "Renamed"), hubs.Hide("Secret"))
		if err != nil {
			return nil, err
		}
		s, err := hubs.NewServer(hubs.Config{Name: name, Options: m.options, Dispatcher: dispatcher})
		if err != nil {
			return nil, err
		}
		hub.outside = s.Context()
		ep := m.endpoint
		ep.Server, ep.Scope = s, name
		endpoints[name] = &ep
	}
	h, err := transport.NewHandler(transport.Options{
		Resolve:     func(r *http.Request) (*transport.Endpoint, error) { return resolve(endpoints, r) },
		KeepHeaders: []string{"User-Agent", "X-SignalR-User-Agent", "X-Custom", "Cookie"},
		PollTimeout: 2 * time.Second,
		TokenLife:   1500 * time.Millisecond,
	})
	if err != nil {
		return nil, err
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
		h.ServeHTTP(w, r)
	}), nil
}

// resolve finds the mount and, where it is asked for, who the request is from.
// A token is a user's name; "banned" may do nothing.
func resolve(endpoints map[string]*transport.Endpoint, r *http.Request) (*transport.Endpoint, error) {
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	found, ok := endpoints[name]
	if !ok {
		return nil, &transport.Error{Status: http.StatusNotFound}
	}
	ep := *found
	user, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !bearer {
		user = r.URL.Query().Get("access_token")
	}
	switch {
	case !mounts[name].secure:
		ep.Principal.UserID = r.URL.Query().Get("user")
	case user == "" || strings.HasPrefix(user, "stale"):
		return nil, &transport.Error{Status: http.StatusUnauthorized}
	case user == "banned":
		return nil, &transport.Error{Status: http.StatusForbidden}
	default:
		ep.Principal.UserID = user
	}
	return &ep, nil
}
