package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/signalbox/signalbox/e2e/chaos/history"
	"github.com/signalbox/signalbox/hubs/protocol"
)

const (
	// publishTimeout is how long a backend waits for an answer.
	publishTimeout = 5 * time.Second
	// retryFor is how long a publisher repeats what failed, with the same key.
	retryFor = 15 * time.Second
)

// attempt is one request to publish.
type attempt struct {
	id      history.ID
	began   time.Time
	took    time.Duration
	outcome history.Outcome
	status  string // HTTP status, or what went wrong
	// closed: the client read a Close message instead of the answer.
	closed bool
}

// crossing bounds how long a call can have been on its way when the Close message that
// it crossed was read.
const crossing = time.Second

// crossed reports whether a call without an answer was sent when the end of its
// connection was on its way already, so that nobody can have begun it: the service said
// that the connection ends, soon after the call was sent, and nobody ever read what
// would have been published.
func (a attempt) crossed(h *history.History) bool {
	return a.closed && a.took <= crossing && !h.WasRead(a.id)
}

// publisher sends one message after another, each after the answer to the one
// before.
type publisher struct {
	name   string
	tenant *tenant
	load   *load
	edge   int // -1 = any
	// client is how it publishes; nil = over REST.
	client *client
	random *rand.Rand
	every  time.Duration
	// insist repeats what failed until it is accepted or retryFor is over; without,
	// every second message is given up at the first failure.
	insist bool
	ack    string // the acknowledgement that is asked for; "" = the default
	done   chan struct{}

	mu       sync.Mutex
	attempts []attempt
}

// publish starts number i of the tenant's publishers.
func (l *load) publish(t *tenant, i int, byClient bool) error {
	p := &publisher{
		name: fmt.Sprintf("p%d", i), tenant: t, load: l, edge: -1, random: rand.New(rand.NewPCG(uint64(i), seedOf(t.slug))),
		every: time.Duration(float64(l.scale.publishers) / l.scale.rate * float64(time.Second)), done: make(chan struct{}),
	}
	if byClient {
		p.client = &client{name: t.slug + "-" + p.name, tenant: t, load: l, edge: -1, transport: webSockets, proto: protocol.NewJSON()}
		var err error
		if p.client.token, err = mint(t, p.client.name, nil, []string{"sendToGroup"}); err != nil {
			return err
		}
		l.work.Go(func() { p.client.run(l.reading) })
		if err := await(l.sendings, 30*time.Second, p.client.name+" to connect", p.client.connected.Load); err != nil {
			return err
		}
	}
	l.senders = append(l.senders, p)
	go p.run(l.sendings)
	return nil
}

func seedOf(s string) (n uint64) {
	for _, b := range []byte(s) {
		n = n*31 + uint64(b)
	}
	return n
}

// run publishes until ctx is done; what is under way then is finished.
func (p *publisher) run(ctx context.Context) {
	defer close(p.done)
	next := time.Now().Add(rand.N(p.every))
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(next)):
		}
		if next = next.Add(p.every); next.Before(time.Now()) {
			next = time.Now() // what couldn't be sent in time isn't sent all at once
		}
		m := history.Message{ID: history.ID{Tenant: p.tenant.slug, Publisher: p.name, N: n}, Group: groupName(p.random.IntN(p.load.scale.groups)), Began: time.Now()}
		m.Outcome = p.send(ctx, m)
		p.load.history.Published(m)
	}
}

// send publishes m and returns what became of it as far as the publisher knows.
func (p *publisher) send(ctx context.Context, m history.Message) history.Outcome {
	payload, err := json.Marshal(p.payload(m))
	if err != nil {
		panic(err) // it has nothing that can't be encoded
	}
	final := history.Refused
	for {
		a := attempt{id: m.ID, began: time.Now()}
		if p.client != nil {
			a.outcome, a.status, a.closed = p.invoke(m.Group, payload)
		} else {
			a.outcome, a.status = p.post(m, payload)
		}
		a.took = time.Since(a.began)
		p.mu.Lock()
		p.attempts = append(p.attempts, a)
		p.mu.Unlock()
		switch {
		case a.outcome == history.Accepted:
			return history.Accepted
		case a.outcome == history.Unknown:
			final = history.Unknown
		}
		// A client has no idempotency key: what may have been accepted isn't repeated.
		if p.client != nil && final == history.Unknown || !p.insist && m.ID.N%2 == 0 || time.Since(m.Began) > retryFor || ctx.Err() != nil {
			return final
		}
		select {
		case <-ctx.Done():
			return final
		case <-time.After(250 * time.Millisecond):
		}
	}
}

func (p *publisher) payload(m history.Message) received {
	r := received{Tenant: m.ID.Tenant, Group: m.Group, Publisher: m.ID.Publisher, N: m.ID.N, T: m.Began.UnixMicro()}
	r.Padding = strings.Repeat("x", max(0, p.load.scale.payload-110))
	return r
}

// post publishes over REST.
func (p *publisher) post(m history.Message, payload []byte) (history.Outcome, string) {
	edge := p.edge
	if edge < 0 {
		edge = p.load.w.front.next()
	}
	r := p.load.w.rest(edge, p.tenant)
	r.key, r.ack = m.ID.String(), p.ack
	return r.publish(m.Group, payload)
}

// invoke publishes as a client. closed: the service has closed the connection instead
// of answering.
func (p *publisher) invoke(group string, payload []byte) (outcome history.Outcome, status string, closed bool) {
	ctx, cancel := context.WithTimeout(context.Background(), publishTimeout)
	defer cancel()
	arguments := protocol.Raw{Encoding: protocol.JSON, Bytes: fmt.Appendf(nil, `[%q,"m",[%s]]`, group, payload)}
	m, err := p.client.invoke(ctx, "$sendToGroup", arguments)
	switch {
	case errors.Is(err, errNotConnected):
		return history.Refused, "not connected", false
	case err != nil:
		return history.Unknown, err.Error(), errors.Is(err, errCallClosed)
	case !m.HasError:
		return history.Accepted, "ok", false
	}
	// Only an error that names a refusal says that nothing was sent.
	for _, refusal := range []string{"rate_limited", "permission_denied", "bus_unavailable", "connection_retires"} {
		if strings.Contains(m.Error, refusal) {
			return history.Refused, m.Error, false
		}
	}
	return history.Unknown, m.Error, false
}

// restCall is the REST API of a tenant at an edge.
type restCall struct {
	base, token string
	key, ack    string
}

func (w *world) rest(edge int, t *tenant) restCall {
	return restCall{base: "http://" + w.edgeAddrs[edge] + "/t/" + t.slug + "/api/v1/hubs/" + hubName, token: t.key}
}

// status is the status of a request without a body; 0 when there was none.
func (r restCall) status(ctx context.Context, method, path string) int {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	res, err := request(ctx, method, r.base+path, r.token, nil)
	var refused *refusedError
	switch {
	case errors.As(err, &refused):
		return refused.status
	case err != nil:
		return 0
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// publish sends to a group and says what is known of the outcome.
func (r restCall) publish(group string, payload []byte) (history.Outcome, string) {
	ctx, cancel := context.WithTimeout(context.Background(), publishTimeout)
	defer cancel()
	body := fmt.Appendf(nil, `{"target":"m","arguments":[%s]}`, payload)
	address := r.base + "/groups/" + group
	if r.ack != "" {
		address += "?ack=" + r.ack
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		panic(err) // the address is this program's
	}
	req.Header.Set("Authorization", "Bearer "+r.token)
	req.Header.Set("Content-Type", "application/json")
	if r.key != "" {
		req.Header.Set("Idempotency-Key", r.key)
	}
	// A request with an Idempotency-Key is repeated by net/http itself when its
	// connection breaks: that nobody listens then says nothing of the first one.
	wrote := new(atomic.Bool)
	req = req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { wrote.Store(true) }}))
	res, err := web.Do(req)
	if isDial(err) && !wrote.Load() {
		return history.Refused, "nobody listens"
	}
	if err != nil {
		return history.Unknown, "transport: " + err.Error()
	}
	defer res.Body.Close() //nolint:errcheck // it is read
	text, err := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	if err != nil {
		return history.Unknown, err.Error()
	}
	status := strconv.Itoa(res.StatusCode)
	switch {
	case res.StatusCode == http.StatusAccepted || res.StatusCode == http.StatusOK:
		return history.Accepted, status
	case res.StatusCode < 500:
		return history.Refused, status
	case bytes.Contains(text, []byte("nothing was carried out")):
		return history.Refused, status + " nothing was carried out"
	}
	return history.Unknown, status
}

// attemptsIn are the tenant's attempts that were begun in the time.
func (l *load) attemptsIn(slug string, from, until time.Time) (all []attempt) {
	for _, p := range l.senders {
		if slug != "" && p.tenant.slug != slug {
			continue
		}
		p.mu.Lock()
		for _, a := range p.attempts {
			if !a.began.Before(from) && a.began.Before(until) {
				all = append(all, a)
			}
		}
		p.mu.Unlock()
	}
	return all
}

// took are the durations of attempts, sorted.
func took(all []attempt, of func(attempt) bool) (list []time.Duration) {
	for _, a := range all {
		if of(a) {
			list = append(list, a.took)
		}
	}
	slices.Sort(list)
	return list
}

func anyAttempt(attempt) bool  { return true }
func failed(a attempt) bool    { return a.outcome != history.Accepted }
func succeeded(a attempt) bool { return a.outcome == history.Accepted }
