package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/errgroup"

	"github.com/signalbox/signalbox/adminapi"
	"github.com/signalbox/signalbox/billing"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
)

// How live events are sent: at most one pair per tenant and liveEvery, several
// tenants at once. What can't be sent is forgotten: the next one is newer.
const (
	liveEvery    = time.Second
	liveParallel = 4
	liveTimeout  = 3 * time.Second
	liveTokenFor = 5 * time.Minute
)

// live tells watching consoles of new usage, through the service itself: it
// publishes to the system tenant's hub like any customer does.
type live struct {
	tenants *tenants.Service
	billing *billing.Service
	client  *http.Client
	logger  *slog.Logger
	sent    metric.Int64Counter

	wake chan struct{} // holds one entry when something is dirty

	mu    sync.Mutex
	dirty map[tenants.ID]bool
}

func newLive(t *tenants.Service, b *billing.Service, transport http.RoundTripper, meter metric.Meter, logger *slog.Logger) (*live, error) {
	sent, err := meter.Int64Counter("signalbox.console.live_events", metric.WithUnit("{event}"),
		metric.WithDescription("Live events for consoles, by outcome."))
	if err != nil {
		return nil, fmt.Errorf("make counter: %w", err)
	}
	return &live{
		tenants: t, billing: b, client: &http.Client{Transport: transport, Timeout: liveTimeout}, logger: logger, sent: sent,
		wake: make(chan struct{}, 1), dirty: make(map[tenants.ID]bool),
	}, nil
}

// changed notes that there is something new to tell of these tenants. It never
// blocks.
func (l *live) changed(_ context.Context, ids []tenants.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		l.dirty[id] = true
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// take returns the tenants noted since the last call.
func (l *live) take() []tenants.ID {
	l.mu.Lock()
	defer l.mu.Unlock()
	ids := slices.Collect(maps.Keys(l.dirty))
	clear(l.dirty)
	return ids
}

// run sends until ctx ends: the first change at once, those that follow within
// liveEvery together.
func (l *live) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.wake:
		}
		if err := l.tell(ctx, l.take()); err != nil && ctx.Err() == nil {
			l.logger.WarnContext(ctx, "live events not sent", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(liveEvery):
		}
	}
}

// tell sends the newest figures of those tenants that somebody watches.
func (l *live) tell(ctx context.Context, ids []tenants.ID) error {
	watched, err := l.billing.Watched(ctx, ids)
	if err != nil || len(watched) == 0 {
		return err
	}
	system, err := l.tenants.SystemTenant(ctx)
	if err != nil {
		return err
	}
	key, err := l.tenants.SystemKey(ctx, system)
	if err != nil {
		return err
	}
	base := l.tenants.Endpoints().ServiceBase(system)
	token, err := accesstoken.MintREST(key, base, liveTokenFor, time.Now())
	if err != nil {
		return fmt.Errorf("mint token: %w", err)
	}
	var sends errgroup.Group
	sends.SetLimit(liveParallel)
	for _, id := range watched {
		if id == system.ID { // its own events would cause more of them for ever
			continue
		}
		sends.Go(func() error { return l.tellOne(ctx, base, token.Token, id) })
	}
	return sends.Wait()
}

func (l *live) tellOne(ctx context.Context, base, token string, id tenants.ID) error {
	figures, err := l.billing.Live(ctx, id)
	if err != nil {
		return err
	}
	at := base + "/api/v1/hubs/" + adminapi.ConsoleHub + "/groups/" + url.PathEscape(tenants.LiveGroup(id))
	for _, event := range []struct {
		target   string
		argument any
	}{{"usage", adminapi.NewLiveUsage(id, figures)}, {"activity", adminapi.NewActivity(figures.Activity)}} {
		err := l.send(ctx, at, token, event.target, event.argument)
		outcome := "sent"
		if err != nil {
			outcome = "failed"
		}
		l.sent.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", outcome)))
		if err != nil {
			return fmt.Errorf("send %s: %w", event.target, err)
		}
	}
	return nil
}

func (l *live) send(ctx context.Context, at, token, target string, argument any) error {
	body, err := json.Marshal(map[string]any{"target": target, "arguments": []any{argument}})
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	res, err := l.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // nothing is read
	if res.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("the data plane answered %s", res.Status)
	}
	return nil
}
