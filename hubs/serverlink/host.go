package serverlink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs/pairing"
)

// host serves the links that other edges dial: it pairs their clients with the
// server connections of this edge.
type host struct {
	run    string
	local  pairing.Opener
	timing Timing
	log    *slog.Logger
	stats  *stats

	mu       sync.Mutex
	links    map[*hostLink]bool
	draining bool
	shut     bool
	work     sync.WaitGroup
}

// ServeHTTP takes a link. The listener has authenticated the other side.
func (h *host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	from := r.Header.Get(headerFrom)
	switch {
	case r.Method != http.MethodGet || r.Header.Get("Upgrade") != upgradeName || from == "":
		w.Header().Set("Upgrade", upgradeName)
		http.Error(w, "This is where edges open links: "+upgradeName+".", http.StatusUpgradeRequired)
		return
	case r.Header.Get(headerTo) != h.run:
		http.Error(w, "Another edge was expected here.", http.StatusMisdirectedRequest)
		return
	}
	h.mu.Lock()
	if h.shut {
		h.mu.Unlock()
		http.Error(w, "This edge ends.", http.StatusServiceUnavailable)
		return
	}
	h.work.Add(1)
	h.mu.Unlock()
	defer h.work.Done()

	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		h.log.ErrorContext(r.Context(), "link not taken", "edge", from, "error", err)
		http.Error(w, "No upgrade on this connection.", http.StatusInternalServerError)
		return
	}
	_ = conn.SetDeadline(time.Time{}) // a connection that is broken says so at the next use
	_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+upgradeName+"\r\n\r\n")
	if err != nil {
		_ = conn.Close()
		return
	}
	l := &hostLink{link: newLink(conn, from, h.timing, h.log), host: h, sessions: make(map[uint64]*hosted)}
	h.mu.Lock()
	shut := h.shut
	if !shut {
		h.links[l] = true
	}
	h.mu.Unlock()
	if shut {
		_ = conn.Close()
		return
	}
	h.stats.accepted.Add(1)
	l.serve(l, &frameReader{in: buffered.Reader})
	h.stats.accepted.Add(-1)
	h.mu.Lock()
	delete(h.links, l)
	h.mu.Unlock()
	h.log.InfoContext(r.Context(), "link from edge ended", "edge", from, "cause", l.err())
}

// each returns the links there are.
func (h *host) each() []*hostLink {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]*hostLink, 0, len(h.links))
	for l := range h.links {
		list = append(list, l)
	}
	return list
}

// hosted returns the pairings there are.
func (h *host) hosted() []*hosted {
	var all []*hosted
	for _, l := range h.each() {
		l.mu.Lock()
		for _, s := range l.sessions {
			all = append(all, s)
		}
		l.mu.Unlock()
	}
	return all
}

const (
	// drainSteps is how often in the time of a drain some clients are asked to move.
	drainSteps = 20
	// moveWithin is how long the last ones get for it.
	moveWithin = 2 * time.Second
)

// drain takes no more pairings and asks the edges of all clients to move them
// to other app servers, spread over a time. It returns when none is left, when
// the last ones have had their time, or when ctx ends.
func (h *host) drain(ctx context.Context, over time.Duration) {
	h.mu.Lock()
	h.draining = true
	h.mu.Unlock()
	all := h.hosted()
	tick := time.NewTicker(max(over/drainSteps, time.Millisecond))
	defer tick.Stop()
	for step := range drainSteps {
		for _, s := range all[step*len(all)/drainSteps : (step+1)*len(all)/drainSteps] {
			s.Migrate()
		}
		if len(all) == 0 || step == drainSteps-1 {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
	ctx, cancel := context.WithTimeout(ctx, moveWithin)
	defer cancel()
	look := time.NewTicker(moveWithin / 100)
	defer look.Stop()
	for len(h.hosted()) > 0 {
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// close ends all links and waits until the app servers have been told.
func (h *host) close() {
	h.mu.Lock()
	h.shut = true
	h.mu.Unlock()
	for _, l := range h.each() {
		h.work.Go(func() { l.finish(errClosed) })
	}
	h.work.Wait()
}

// hostLink is a link as the edge has it that was dialled.
type hostLink struct {
	*link
	host *host

	mu       sync.Mutex
	sessions map[uint64]*hosted
}

// take implements peer.
func (l *hostLink) take(f frame) error {
	if f.kind == kindOpen {
		return l.open(f)
	}
	l.mu.Lock()
	s := l.sessions[f.session]
	l.mu.Unlock()
	if s == nil {
		return nil // it ended here and the other side doesn't know yet
	}
	return s.take(f)
}

// open begins a pairing; the app server is told by the pairing's goroutine.
func (l *hostLink) open(f frame) error {
	c, err := decodeOpen(f.body)
	if err != nil {
		return err
	}
	l.mu.Lock()
	// Those that are opened at the same time may come in any order.
	if l.sessions[f.session] != nil {
		l.mu.Unlock()
		return fmt.Errorf("%w: pairing %d is not new", errFrame, f.session)
	}
	s := newHosted(l, f.session, l.lane(c.Hub.Tenant))
	l.sessions[s.id] = s
	l.mu.Unlock()
	l.host.stats.hosted.Add(1)
	s.orders.push(&l.work, s.run, order{kind: kindOpen, client: c})
	return nil
}

// refuses reports whether no more pairings are taken.
func (h *host) refuses() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.draining || h.shut
}

func (l *hostLink) forget(s *hosted) {
	l.mu.Lock()
	_, known := l.sessions[s.id]
	delete(l.sessions, s.id)
	l.mu.Unlock()
	if known {
		l.leaveLane(s.lane)
		l.host.stats.hosted.Add(-1)
	}
}

// errLinkLost is why the calls of a pairing end with its link.
var errLinkLost = errors.New("the link to the client's edge is gone")

// down implements peer: the clients are gone with their edge.
func (l *hostLink) down(error) {
	l.mu.Lock()
	sessions := make([]*hosted, 0, len(l.sessions))
	for _, s := range l.sessions {
		sessions = append(sessions, s)
	}
	l.mu.Unlock()
	for _, s := range sessions {
		s.cancel(errLinkLost)
		s.order(order{kind: kindEnd, reason: errLinkLost.Error()})
	}
}
