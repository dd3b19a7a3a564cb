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
	"slices"
	"sync/atomic"
	"time"
)

// errNoEdge means that every edge refused the connection.
var errNoEdge = errors.New("no edge accepts connections")

// newFront returns a reverse proxy that hands each request to the next edge in
// turn, whatever it belongs to: the service must work without stickiness. The
// Host header is kept, since tenants are found by it. WebSocket upgrades and
// streamed answers pass through as they come.
func newFront(edges *roundRobin, logger *slog.Logger) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetXForwarded()
			r.Out.Host = r.In.Host
		},
		Transport:     edges,
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
	edges  []*url.URL
	unfit  []atomic.Bool // those that say that they are not ready, by watch
	next   atomic.Uint64
	base   http.RoundTripper
	status *http.Client
}

const (
	// watchEvery is how often edges are asked whether they are ready.
	watchEvery = 100 * time.Millisecond
	// watchPatience is what they have to answer.
	watchPatience = time.Second
)

func newRoundRobin(edges []*url.URL) *roundRobin {
	return &roundRobin{edges: edges, unfit: make([]atomic.Bool, len(edges)), status: &http.Client{Timeout: watchPatience}, base: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
		MaxIdleConnsPerHost: 512,
		IdleConnTimeout:     30 * time.Second,
		DisableCompression:  true, // bodies pass as they are
	}}
}

// watch asks the edges under their admin addresses whether they are ready, until
// ctx ends.
func (rr *roundRobin) watch(ctx context.Context, admin []string) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		for i := range rr.edges {
			got, err := check{method: http.MethodGet, url: admin[i] + "/readyz", client: rr.status}.ask(ctx)
			// One that can't be asked shows by itself whether it is there.
			rr.unfit[i].Store(err == nil && got != http.StatusOK)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// order returns the edges as they are to be tried: from the next one on, those
// that are not ready last.
func (rr *roundRobin) order() []int {
	turn := int(rr.next.Add(1)-1) % len(rr.edges)
	order := make([]int, 0, len(rr.edges))
	for _, unfit := range []bool{false, true} {
		for i := range rr.edges {
			if edge := (turn + i) % len(rr.edges); rr.unfit[edge].Load() == unfit && !slices.Contains(order, edge) {
				order = append(order, edge)
			}
		}
	}
	return order
}

// RoundTrip tries the next edge, and the others only when it refuses the
// connection, or says that it takes none any more: then nothing has been done, so
// that nothing is ever done twice.
func (rr *roundRobin) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close() //nolint:errcheck // a request's body
	}
	order := rr.order()
	tried := make([]error, 0, len(order))
	for n, i := range order {
		edge := rr.edges[i]
		attempt := r.Clone(r.Context())
		attempt.URL.Scheme, attempt.URL.Host = edge.Scheme, edge.Host
		if r.Body != nil && r.Body != http.NoBody {
			// The transport closes the body even when it could not connect.
			attempt.Body = io.NopCloser(r.Body)
		}
		response, err := rr.base.RoundTrip(attempt)
		if err == nil {
			if n < len(order)-1 && response.Header.Get(drainingHeader) != "" && (r.ContentLength == 0 || r.Body == nil) {
				_ = response.Body.Close() // what it says is known
				continue
			}
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

// drainingHeader is what edges put on answers that mean: ask another edge.
const drainingHeader = "Signalbox-Draining"
