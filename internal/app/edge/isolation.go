package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/signalbox/signalbox/hubs"
)

// An edge that alone has lost Redis serves its clients worse than any other would.
// When Redis is away for everybody they are all the same, and nobody must move. The
// control plane can tell the one from the other, as long as the edge reaches it.
const (
	// cutOffAfter is for how long Redis must have been away for the edge alone
	// until it takes no more clients and isn't ready. It is noticed up to 4 s late,
	// and all of it should be over in 10 s.
	cutOffAfter = 6 * time.Second
	// moveAfter is when it begins to ask its clients to reconnect elsewhere, and
	// moveOver the time over which they are spread.
	moveAfter = 25 * time.Second
	moveOver  = 10 * time.Second
	// isolationTick is how often it is looked; the control plane is asked only
	// while Redis is away.
	isolationTick = time.Second
)

// errCutOff refuses connections to an edge that has lost the others.
var errCutOff = errors.New("the edge is cut off")

// isolation finds out whether the edge is the only one without Redis.
type isolation struct {
	hubs  *registry
	away  func() bool                 // Redis, for this edge
	fine  func(context.Context) error // nil when Redis answers the control plane
	ready *readiness
	log   *slog.Logger
	tick  time.Duration
	// after, move and over are the constants above; tests have less patience.
	after, move, over time.Duration
}

// run looks until ctx ends.
func (i *isolation) run(ctx context.Context) error {
	var since time.Time // Redis has been away for this edge alone; zero = it hasn't
	tick := time.NewTicker(i.tick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		alone := i.away() && i.fine(ctx) == nil
		switch {
		case !alone:
			since = time.Time{}
			i.set(ctx, false)
			continue
		case since.IsZero():
			since = time.Now()
		}
		past := time.Since(since)
		i.set(ctx, past >= i.after)
		if past >= i.move {
			i.moveSome(past - i.move)
		}
	}
}

func (i *isolation) set(ctx context.Context, cutOff bool) {
	if i.hubs.cutOff.Swap(cutOff) == cutOff {
		return
	}
	i.ready.cutOff.Store(cutOff)
	if cutOff {
		i.log.ErrorContext(ctx, "redis is away for this edge alone: it takes no more clients", "after", i.after)
	} else {
		i.log.InfoContext(ctx, "redis is back, or away for all: clients are taken again")
	}
}

// moveSome asks as many clients to reconnect as leaves none when the time is over.
func (i *isolation) moveSome(past time.Duration) {
	left := max(1, int((i.over-past)/i.tick))
	for _, s := range i.hubs.hubServers() {
		var all []*hubs.Connection
		s.Each(func(c *hubs.Connection) { all = append(all, c) })
		for _, c := range all[:(len(all)+left-1)/left] {
			c.Close("This node is cut off from the others.", true)
		}
	}
}

// controlPlane asks the api's internal listener whether Redis answers it.
func controlPlane(url string, client *http.Client) func(context.Context) error {
	if url == "" {
		return func(context.Context) error { return errors.New("there is no control plane to ask") }
	}
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/internal/redis", nil)
		if err != nil {
			return fmt.Errorf("ask control plane for Redis: %w", err)
		}
		res, err := client.Do(req)
		if err != nil {
			return fmt.Errorf("ask control plane for Redis: %w", err)
		}
		defer res.Body.Close() //nolint:errcheck // nothing of it is read
		if res.StatusCode != http.StatusNoContent {
			return fmt.Errorf("ask control plane for Redis: status %d", res.StatusCode)
		}
		return nil
	}
}
