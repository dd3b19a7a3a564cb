// Package httpserver runs HTTP servers and has what every HTTP API of the
// service does the same way: request ids, problem+json, recovery, body limits
// and security headers.
package httpserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// The defaults of a server. A header must arrive within readHeaderTimeout, so
// that slow senders can't hold connections.
const (
	readHeaderTimeout = 5 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
)

// Config says how to serve.
type Config struct {
	// Strangers connect here: no more of them are accepted than leave the process
	// the file descriptors that it needs for itself.
	Strangers bool
	Name      string // for logs
	Addr      string // host:port; port 0 takes a free one
	Handler   http.Handler
	// Direct says of which paths requests are served without net/http where they have
	// one of two forms: a POST without a body, and a GET that asks for a WebSocket. For
	// Handler it is all the same, but that such an answer can't be flushed before its
	// end. nil = of none; over TLS it is of none either.
	Direct func(path string) bool
	// TLS makes it an HTTPS server; nil is plain HTTP.
	TLS *tls.Config
	// ReadTimeout and WriteTimeout bound a whole request and answer; 0 = none,
	// for handlers that hold connections open.
	ReadTimeout, WriteTimeout time.Duration
	Logger                    *slog.Logger
}

// Server is a listening server.
type Server struct {
	name     string
	server   *http.Server
	listener net.Listener
	direct   *direct // the listener of server; nil = it has none
	logger   *slog.Logger
}

// Listen takes the address; nothing is served before Serve.
func Listen(ctx context.Context, c Config) (*Server, error) {
	listener, err := listening().Listen(ctx, "tcp", c.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen for %s: %w", c.Name, err)
	}
	if c.Strangers {
		listener = newSpare(listener)
	}
	if c.TLS != nil {
		listener = tls.NewListener(listener, c.TLS)
	}
	s := &Server{
		name:     c.Name,
		listener: listener,
		logger:   c.Logger,
		server: &http.Server{
			Handler:           noPreface(c.Handler),
			ReadHeaderTimeout: readHeaderTimeout,
			ReadTimeout:       c.ReadTimeout,
			WriteTimeout:      c.WriteTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeaderBytes,
			ErrorLog:          slog.NewLogLogger(c.Logger.Handler(), slog.LevelDebug),
		},
	}
	if c.Direct != nil && c.TLS == nil {
		s.direct = newDirect(listener, s.server, c)
		s.listener = s.direct
	}
	return s, nil
}

// noPreface refuses HTTP/2 without TLS, whose beginning net/http hands on as a
// request of its own.
func noPreface(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "PRI" {
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusHTTPVersionNotSupported)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Addr returns the address in use.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Serve serves until Shutdown; then it returns nil.
func (s *Server) Serve() error {
	s.logger.Info("server listens", "server", s.name, "addr", s.Addr())
	if s.direct != nil {
		go s.direct.run() // until its Close
	}
	if err := s.server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", s.name, err)
	}
	return nil
}

// Close gives the address back, for a server that never served.
func (s *Server) Close() { _ = s.listener.Close() } // closed twice is closed

// Shutdown takes no more requests and waits for those under way until ctx ends;
// then it closes what is left.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.server.Shutdown(ctx)
	if err != nil {
		_ = s.server.Close() // the first error says more
	}
	if s.direct != nil {
		err = errors.Join(err, s.direct.wait(ctx))
	}
	if err != nil {
		return fmt.Errorf("shut down %s: %w", s.name, err)
	}
	return nil
}
