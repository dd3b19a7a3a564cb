package dev

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"time"
)

// errNoEdge means that every edge refused the connection.
var errNoEdge = errors.New("no edge accepts connections")

// newFront returns a reverse proxy that hands each request to the next edge in
// turn, whatever it belongs to: the service must work without stickiness. The
// Host header is kept, since tenants are found by it. WebSocket upgrades and
// streamed answers pass through as they come.
func newFront(edges []*url.URL, logger *slog.Logger) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetXForwarded()
			r.Out.Host = r.In.Host
		},
		Transport:     newRoundRobin(edges),
		FlushInterval: -1, // at once: server-sent events
		ErrorLog:      slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if errors.Is(err, context.Canceled) {
				return // the client has gone
			}
			logger.WarnContext(r.Context(), "edge did not answer", "path", r.URL.Path, "error", err)
			http.Error(w, "The edge did not answer; try again.", http.StatusBadGateway)
		},
	}
}

// roundRobin sends each request to the next of its edges.
type roundRobin struct {
	edges []*url.URL
	next  atomic.Uint64
	base  http.RoundTripper
}

func newRoundRobin(edges []*url.URL) *roundRobin {
	return &roundRobin{edges: edges, base: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
		MaxIdleConnsPerHost: 512,
		IdleConnTimeout:     30 * time.Second,
		DisableCompression:  true, // bodies pass as they are
	}}
}

// RoundTrip tries the next edge, and the others only when it refuses the
// connection: then nothing of the request has been sent, so that nothing is
// ever done twice.
func (rr *roundRobin) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close() //nolint:errcheck // a request's body
	}
	turn := rr.next.Add(1) - 1
	tried := make([]error, 0, len(rr.edges))
	for i := range uint64(len(rr.edges)) {
		edge := rr.edges[(turn+i)%uint64(len(rr.edges))]
		attempt := r.Clone(r.Context())
		attempt.URL.Scheme, attempt.URL.Host = edge.Scheme, edge.Host
		if r.Body != nil && r.Body != http.NoBody {
			// The transport closes the body even when it could not connect.
			attempt.Body = io.NopCloser(r.Body)
		}
		response, err := rr.base.RoundTrip(attempt)
		if err == nil {
			return response, nil
		}
		var refused *net.OpError
		if !errors.As(err, &refused) || refused.Op != "dial" {
			return nil, err
		}
		tried = append(tried, err)
	}
	return nil, errors.Join(append(tried, errNoEdge)...)
}
