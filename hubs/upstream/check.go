package upstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/outbound"
	"github.com/signalbox/signalbox/tenants"
)

// Control reaches upstreams for the control plane: before settings are kept, and
// to send deliveries again.
type Control struct {
	policy outbound.Policy
	g      *Gateway
	log    Writer
	origin string
}

// Writer writes a delivery to the log at once and returns it with its id.
type Writer interface {
	Write(ctx context.Context, t tenants.ID, d tenants.Delivery) (tenants.Delivery, error)
}

// ControlConfig is what a Control is made of.
type ControlConfig struct {
	Policy outbound.Policy
	// Transport reaches the upstreams, as the policy allows.
	Transport http.RoundTripper
	Log       Writer
	// Origin is the host that asks upstreams whether they want requests.
	Origin string
	Logger *slog.Logger
}

var _ tenants.Upstreams = (*Control)(nil)

// NewControl makes a Control.
func NewControl(c ControlConfig) *Control {
	g := NewGateway(Config{Transport: c.Transport, Log: noLog{}, Refused: func(tenants.ID, string, string) {}, Logger: c.Logger})
	return &Control{policy: c.Policy, g: g, log: c.Log, origin: c.Origin}
}

// noLog: a Control writes what it has to by itself.
type noLog struct{}

func (noLog) Record(tenants.ID, tenants.Delivery) {}

// handshakeTimeout bounds the question to one upstream.
const handshakeTimeout = 5 * time.Second

// Check implements tenants.Upstreams.
func (c *Control) Check(ctx context.Context, hub string, u tenants.Upstream) error {
	found := make([]*fault.Field, len(u.Rules))
	var all sync.WaitGroup
	for i, r := range u.Rules {
		name := fmt.Sprintf("upstream.rules.%d.url", i)
		target, _ := r.Expand(hub, tenants.CategoryMessages, "validate")
		if _, err := c.policy.Check(target); err != nil {
			found[i] = &fault.Field{Name: name, Message: err.Error(), Accepted: c.policy.Rule()}
			continue
		}
		if u.Mode != tenants.UpstreamNative {
			continue
		}
		all.Go(func() {
			if err := c.ask(ctx, target); err != nil {
				found[i] = &fault.Field{
					Name: name, Message: err.Error(),
					Accepted: "a URL that answers OPTIONS with the header WebHook-Allowed-Origin: " + c.origin,
				}
			}
		})
	}
	all.Wait()
	var fields []fault.Field
	for _, f := range found {
		if f != nil {
			fields = append(fields, *f)
		}
	}
	if len(fields) > 0 {
		return fault.InvalidFields(fields...)
	}
	return nil
}

// errSilent and errUnwilling word a handshake that failed; why nobody answered
// isn't told.
var (
	errSilent    = errors.New("can't be reached")
	errUnwilling = errors.New("did not agree to get requests")
)

// ask is the handshake of CloudEvents webhooks (HTTP 1.1 Web Hooks for Event
// Delivery, 4): nobody gets requests who doesn't say that they want them.
func (c *Control) ask(ctx context.Context, target string) error {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodOptions, target, nil)
	if err != nil {
		return errSilent
	}
	r.Header.Set("WebHook-Request-Origin", c.origin)
	r.Header.Set("User-Agent", "Signalbox")
	res, err := c.g.client.Do(r)
	if err != nil {
		return errSilent
	}
	_ = res.Body.Close() // what it says is in its header
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return errUnwilling
	}
	for _, allowed := range res.Header.Values("WebHook-Allowed-Origin") {
		for origin := range strings.SplitSeq(allowed, ",") {
			if origin = strings.TrimSpace(origin); origin == "*" || strings.EqualFold(origin, c.origin) {
				return nil
			}
		}
	}
	return errUnwilling
}

// replayTimeout is shorter than what a request of the control plane may take.
const replayTimeout = 15 * time.Second

// Replay implements tenants.Upstreams.
func (c *Control) Replay(ctx context.Context, doc *tenants.Document, of tenants.Delivery, begin func() error) (tenants.Delivery, error) {
	gone := fault.New(fault.Conflict, "No rule of the hub's upstream is for this message now, or its format has changed.").WithCode(codeNoRule)
	settings := doc.Hubs[of.Hub].Upstream
	if !settings.Set() {
		return tenants.Delivery{}, gone
	}
	u := settings.WithDefaults()
	rule, matches := u.Match(of.Hub, of.Category, of.Event)
	target, fits := rule.Expand(of.Hub, of.Category, of.Event)
	if !matches || !fits || u.Mode != of.Mode {
		return tenants.Delivery{}, gone
	}
	h := make(http.Header)
	for _, pair := range of.Request.Headers {
		h.Add(pair[0], pair[1])
	}
	h.Set("Content-Type", of.Request.Type)
	p := &post{
		hub: of.Hub, category: of.Category, event: of.Event, mode: of.Mode, connection: of.ConnectionID, user: of.UserID, messageID: of.MessageID,
		url: target, header: h, body: of.Request.Body, timeout: min(time.Duration(u.TimeoutSeconds)*time.Second, replayTimeout), limit: maxResponse,
		attempt: of.Attempt + 1, replayOf: of.ID, sign: azureSignature(doc, of.ConnectionID),
	}
	if u.Mode == tenants.UpstreamNative {
		p.sign = nativeSignature(doc, of.MessageID, of.Request.Body)
	}
	if err := begin(); err != nil {
		return tenants.Delivery{}, err
	}
	t := c.g.tenantOf(doc.ID)
	defer c.g.leave(t)
	began := time.Now()
	a, f := t.try(ctx, p)
	return c.log.Write(context.WithoutCancel(ctx), doc.ID, p.delivery(began, a, f))
}
