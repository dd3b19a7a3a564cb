package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/adminapi"
	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/fleet"
	"github.com/signalbox/signalbox/internal/redisclient"
)

const (
	edgePatience  = 2 * time.Second // for the answer of one edge
	edgesAtOnce   = 32              // that are asked
	maxStateBytes = 64 << 10
)

// edges reaches edges over their internal listeners.
type edges struct {
	redis  redis.Cmdable
	client *http.Client
}

var _ adminapi.Edges = (*edges)(nil)

func newEdges(r redis.Cmdable, f *fleet.Fleet) *edges {
	return &edges{redis: r, client: &http.Client{Timeout: edgePatience, Transport: &http.Transport{TLSClientConfig: f.ClientTLS(), IdleConnTimeout: time.Minute}}}
}

// Edges implements adminapi.Edges: those that Redis knows, each asked how it is. One
// that died lately doesn't answer.
func (e *edges) Edges(ctx context.Context) ([]adminapi.FleetEdge, error) {
	members, err := e.redis.ZRange(ctx, redisclient.Edges, 0, -1).Result()
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "Redis doesn't answer, so nobody knows which edges there are.", err)
	}
	var all []adminapi.FleetEdge
	for _, m := range members {
		if run, address, ok := strings.Cut(m, " "); ok {
			all = append(all, adminapi.FleetEdge{Run: run, Address: address})
		}
	}
	var asking sync.WaitGroup
	slots := make(chan struct{}, edgesAtOnce)
	for i := range all {
		slots <- struct{}{}
		asking.Go(func() {
			defer func() { <-slots }()
			all[i].State = e.state(ctx, all[i])
		})
	}
	asking.Wait()
	return all, nil
}

// state returns nil when the edge doesn't answer.
func (e *edges) state(ctx context.Context, of adminapi.FleetEdge) *fleet.EdgeState {
	res, err := e.call(ctx, http.MethodGet, of, fleet.EdgeStatePath)
	if err != nil {
		return nil
	}
	defer res.Body.Close() //nolint:errcheck // the answer is in the status or was read
	state := new(fleet.EdgeState)
	if res.StatusCode != http.StatusOK || json.NewDecoder(io.LimitReader(res.Body, maxStateBytes)).Decode(state) != nil || state.Run != of.Run {
		return nil
	}
	return state
}

// holdUnconfirmed is how long an edge is held that has yet to answer: one that hung, and
// takes the request up when its operator has been told that it didn't answer and others
// were drained since, serves again after it.
const holdUnconfirmed = 15 * time.Second

// Hold implements adminapi.Edges.
func (e *edges) Hold(ctx context.Context, of adminapi.FleetEdge, life time.Duration) error {
	if life == 0 {
		return e.told(ctx, http.MethodDelete, of, fleet.EdgeHoldPath)
	}
	for _, d := range []time.Duration{holdUnconfirmed, life} {
		if err := e.told(ctx, http.MethodPost, of, fmt.Sprintf("%s?%s=%d", fleet.EdgeHoldPath, fleet.HoldSeconds, d/time.Second)); err != nil {
			return err
		}
	}
	return nil
}

// told asks an edge for something that is answered with 204.
func (e *edges) told(ctx context.Context, method string, of adminapi.FleetEdge, path string) error {
	res, err := e.call(ctx, method, of, path)
	if err != nil {
		return fault.Wrap(fault.Unavailable, "The edge doesn't answer.", err).WithCode("edge_unreachable")
	}
	defer res.Body.Close() //nolint:errcheck // the answer is in the status
	if res.StatusCode != http.StatusNoContent {
		return fault.New(fault.Unavailable, fmt.Sprintf("The edge answered %d.", res.StatusCode)).WithCode("edge_unreachable")
	}
	return nil
}

func (e *edges) call(ctx context.Context, method string, of adminapi.FleetEdge, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "https://"+of.Address+path, nil)
	if err != nil {
		return nil, fmt.Errorf("ask edge: %w", err)
	}
	res, err := e.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask edge: %w", err)
	}
	return res, nil
}
