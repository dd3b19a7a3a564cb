package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
)

// The bounds of one request.
const (
	connectTimeout = 2 * time.Second
	// maxResponse and maxEventResponse bound the bodies of answers, in bytes.
	maxResponse      = 1 << 20
	maxEventResponse = 64 << 10
)

// headerPosition is where an answer says what it follows: the token that the REST
// API gave for what the upstream sent meanwhile.
const headerPosition = "X-Signalbox-Position"

// post is one request to an upstream.
type post struct {
	hub, category, event string
	mode                 tenants.UpstreamMode
	connection, user     string
	messageID            string
	url                  string
	header               http.Header // without signatures, which sign adds
	sign                 func(http.Header, time.Time)
	body                 []byte
	timeout              time.Duration
	limit                int // of the answer's body, in bytes
	attempt              int // from 1
	retries              bool
	replayOf             string
	// streams says that an answer of this kind is left open.
	streams func(contentType string) bool
}

// answer is what came back. Either body or stream is set.
type answer struct {
	status      int
	contentType string
	post        *post // what it answers
	// after is the entry of the hub that the client must have got before it.
	after  hubs.Position
	body   []byte
	stream io.ReadCloser
}

// ok reports whether the upstream did what it was asked.
func (a *answer) ok() bool { return a.status >= 200 && a.status < 300 }

// failure is a request that got no answer, or none that can be used.
type failure struct {
	code   string
	status int          // of the answer, where there was one
	cause  error        // for logs: tenants don't see it
	limit  *fault.Limit // the tenant's, that refused it; nil = none did
}

func (f *failure) Error() string {
	if f.cause == nil {
		return f.code
	}
	return f.code + ": " + f.cause.Error()
}

func (f *failure) Unwrap() error { return f.cause }

// send posts p, which counts for the tenant's bounds, for the breaker and in the
// delivery log. An answer with any status is one; a failure is counted here.
func (t *tenant) send(ctx context.Context, p *post) (*answer, *failure) {
	began := time.Now()
	a, f := t.try(ctx, p)
	if f != nil && f.code != codeCancelled {
		t.g.refused(t.id, p.hub, f.code)
		t.g.logger.DebugContext(ctx, "upstream failed", "tenant_id", t.id, "hub", p.hub, "category", p.category, "code", f.code, "error", f.cause)
	}
	if f == nil && !a.ok() {
		t.g.refused(t.id, p.hub, codeStatus)
	}
	if a == nil || a.stream == nil { // else whoever reads it knows what comes of it
		t.record(p.delivery(began, a, f))
	}
	return a, f
}

// try is send without the bookkeeping.
func (t *tenant) try(ctx context.Context, p *post) (*answer, *failure) {
	u, err := url.Parse(p.url)
	if err != nil {
		return nil, &failure{code: codeUnreachable, cause: err}
	}
	// The time-out covers everything, but lets go of an answer that streams.
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(p.timeout, func() { cancel(context.DeadlineExceeded) })
	release := func() {
		timer.Stop()
		cancel(nil)
	}
	most := t.inFlight()
	if !t.slots.acquire(ctx, most) {
		f := &failure{code: busyOr(ctx)}
		if f.code == codeBusy {
			limit := requestsRow.RefusalAt(most, 0, time.Second)
			limit.RequestID = p.connection
			f.code, f.limit = codeRequests, &limit
		}
		release()
		return nil, f
	}
	defer func() { t.slots.release(t.inFlight()) }()
	breaker := t.breaker(u.Host)
	if !breaker.TryAcquirePermit() {
		release()
		return nil, &failure{code: codeOpen}
	}
	a, f := t.exchange(ctx, p)
	switch {
	case f != nil && (f.code == codeCancelled || f.code == codeBusy) && breaker.IsClosed():
		// Nobody can say how it would have ended.
	case f != nil && f.code != codeTooLarge && f.code != codePosition, a != nil && a.status >= 500:
		breaker.RecordFailure()
	default:
		breaker.RecordSuccess()
	}
	if a != nil && a.stream != nil && timer.Stop() {
		a.stream = &openStream{ReadCloser: a.stream, cancel: cancel}
		return a, nil
	}
	release()
	return a, f
}

// busyOr says why no place was free in time.
func busyOr(ctx context.Context) string {
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return codeBusy
	}
	return codeCancelled
}

// openStream is an answer's body that ends its request when it is closed.
type openStream struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (s *openStream) Close() error {
	s.cancel(nil)
	return s.ReadCloser.Close()
}

// content is a request's body, which can't be read once it is too late for it: a
// transport writes what it has a connection for, whether anybody waits or not.
type content struct {
	*bytes.Reader
	late atomic.Bool
}

var errLate = errors.New("the address had no turn in time")

// giveUp keeps the request from being written over conn. A connection of HTTP/2 has
// requests of others: of this one, only the head may get out.
func (c *content) giveUp(conn net.Conn) {
	c.late.Store(true)
	if s, secure := conn.(*tls.Conn); !secure || s.ConnectionState().NegotiatedProtocol != "h2" {
		_ = conn.Close() // nothing has been written
	}
}

func (c *content) Read(p []byte) (int, error) {
	if c.late.Load() {
		return 0, errLate
	}
	return c.Reader.Read(p)
}

// WriteTo keeps the transport from reading past Read.
func (c *content) WriteTo(w io.Writer) (int64, error) {
	if c.late.Load() {
		return 0, errLate
	}
	return c.Reader.WriteTo(w)
}

// exchange sends the request and reads the answer.
func (t *tenant) exchange(ctx context.Context, p *post) (*answer, *failure) {
	// Nothing has been written when there is a connection: only then is it known
	// which address the request is for.
	content := &content{Reader: bytes.NewReader(p.body)}
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			if !t.g.destinations.wait(ctx, info.Conn) {
				content.giveUp(info.Conn)
			}
		},
	})
	// A request that may have arrived is not repeated by the transport, which has no
	// GetBody.
	r, err := http.NewRequestWithContext(traced, http.MethodPost, p.url, content)
	if err != nil {
		return nil, &failure{code: codeUnreachable, cause: err}
	}
	r.ContentLength = int64(len(p.body))
	r.Header = p.header.Clone()
	r.Header.Set("User-Agent", "Signalbox")
	p.sign(r.Header, time.Now())
	res, err := t.g.client.Do(r)
	if err != nil {
		if content.late.Load() {
			return nil, &failure{code: busyOr(ctx), cause: err}
		}
		return nil, failed(ctx, err)
	}
	a := &answer{post: p, status: res.StatusCode, contentType: res.Header.Get("Content-Type")}
	if token := res.Header.Get(headerPosition); token != "" && t.g.position != nil {
		if a.after, err = t.g.position(t.id, p.hub, token); err != nil {
			_ = res.Body.Close() // what it says isn't used
			return nil, &failure{code: codePosition, status: a.status, cause: err}
		}
	}
	if a.ok() && p.streams != nil && p.streams(a.contentType) {
		a.stream = res.Body
		return a, nil
	}
	defer func() { _ = res.Body.Close() }() // it was read, or is given up
	if res.ContentLength > int64(p.limit) {
		return nil, &failure{code: codeTooLarge, status: a.status}
	}
	a.body, err = io.ReadAll(io.LimitReader(res.Body, int64(p.limit)+1))
	if err != nil {
		f := failed(ctx, err)
		f.status = a.status
		return nil, f
	}
	if len(a.body) > p.limit {
		return nil, &failure{code: codeTooLarge, status: a.status}
	}
	return a, nil
}

// failed sorts the error of a request.
func failed(ctx context.Context, err error) *failure {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, context.DeadlineExceeded):
		return &failure{code: codeTimeout, cause: err}
	case cause != nil:
		return &failure{code: codeCancelled, cause: err}
	}
	return &failure{code: codeUnreachable, cause: err}
}

// delivery is what the log shows of a request. Nothing in it tells more of a
// host that wasn't reached than that.
func (p *post) delivery(began time.Time, a *answer, f *failure) tenants.Delivery {
	d := tenants.Delivery{
		At: began.UTC(), Hub: p.hub, Category: p.category, Event: p.event, Mode: p.mode, MessageID: p.messageID,
		ConnectionID: p.connection, UserID: p.user, URL: withoutQuery(p.url), Attempt: p.attempt, Outcome: tenants.Delivered, ReplayOf: p.replayOf,
		Request: tenants.DeliveryContent{Type: p.header.Get("Content-Type"), Body: p.body, Bytes: len(p.body)},
	}
	for name, values := range p.header {
		for _, v := range values {
			if name != "Content-Type" && name != "Accept" {
				d.Request.Headers = append(d.Request.Headers, [2]string{name, v})
			}
		}
	}
	if f != nil {
		d.Outcome, d.Error, d.Status = tenants.Failed, f.code, f.status
	}
	if a != nil {
		d.Status = a.status
		d.Response = tenants.DeliveryContent{Type: a.contentType, Body: a.body, Bytes: len(a.body)}
		if !a.ok() {
			d.Outcome, d.Error = tenants.Failed, codeStatus
		}
	}
	if d.Outcome == tenants.Failed && p.retries {
		d.Outcome = tenants.Retried
	}
	if f == nil || f.code == codeTimeout || f.status != 0 {
		d.DurationMS = int(time.Since(began).Milliseconds())
	}
	return d
}

// withoutQuery leaves out where upstreams have their keys.
func withoutQuery(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	u.RawQuery, u.User = "", nil
	return u.String()
}

// statusText is a failed request in the words of Azure SignalR Service: what got
// no answer counts as a status of the service's own.
func statusText(a *answer, f *failure) string {
	status := http.StatusInternalServerError
	switch {
	case a != nil:
		status = a.status
	case f.code == codeTooLarge:
		return "Invocation failed, response too large."
	case f.limit != nil:
		return f.limit.String()
	case f.code == codeOpen, f.code == codeBusy:
		status = http.StatusServiceUnavailable
	}
	return "Invocation failed, status code " + strconv.Itoa(status)
}

// failureText words a failure for the native mode.
func failureText(a *answer, f *failure) string {
	switch {
	case a != nil:
		return fmt.Sprintf("The upstream answered with status code %d.", a.status)
	case f.code == codeTooLarge:
		return fmt.Sprintf("The upstream's answer is larger than %d bytes.", maxResponse)
	case f.code == codePosition:
		return "The upstream's answer follows no position of this hub that could be reached."
	case f.code == codeTimeout:
		return "The upstream didn't answer in time."
	case f.code == codeOpen:
		return "The upstream has failed repeatedly and is left alone for a moment. Try again later."
	case f.limit != nil:
		return f.limit.String()
	case f.code == codeBusy:
		return "Too many requests to the upstream are under way. Try again later."
	}
	return "The upstream can't be reached."
}
