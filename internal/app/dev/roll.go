package dev

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// rollTimeout bounds the replacement of one edge.
const rollTimeout = 3 * time.Minute

// roll replaces the edges whenever this process gets SIGUSR1: one after the other,
// each as a deployment does it, with the next only once its successor is ready. It
// returns when ctx ends.
func (w *world) roll(ctx context.Context, s *supervisor) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	defer signal.Stop(asked)
	for {
		select {
		case <-ctx.Done():
			return
		case <-asked:
		}
		w.logger.Info("edges are replaced one by one")
		for i := range w.config.Edges {
			if err := w.replaceEdge(ctx, s, i); err != nil {
				w.logger.Error("edges are not replaced", "error", err)
				break
			}
		}
		w.logger.Info("edges have been replaced")
	}
}

// replaceEdge ends an edge and waits until another is ready in its place.
func (w *world) replaceEdge(ctx context.Context, s *supervisor, i int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, rollTimeout, fmt.Errorf("not replaced within %s", rollTimeout))
	defer cancel()
	if err := s.replace(ctx, edgeName(i)); err != nil {
		return err
	}
	return check{method: http.MethodGet, url: w.edgeAdminURLs()[i] + "/readyz", want: http.StatusOK}.await(ctx)
}

// replace stops a child, which run then starts again at once.
func (s *supervisor) replace(ctx context.Context, name string) error {
	s.mu.Lock()
	p := s.running[name]
	if p != nil {
		s.replaced[name] = true
	}
	s.mu.Unlock()
	if p == nil {
		return fmt.Errorf("%s isn't running", name)
	}
	return p.Stop(ctx)
}

// isReplaced reports, once, whether replace has ended the child.
func (s *supervisor) isReplaced(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.replaced[name]
	delete(s.replaced, name)
	return was
}
