package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/signalbox/signalbox/e2e/chaos/history"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
)

// scale is how much base load there is.
type scale struct {
	connections int     // of each tenant
	groups      int     // of each tenant, the same names everywhere
	perClient   int     // groups of each client
	publishers  int     // of each tenant; every second one is a client
	rate        float64 // publishes per second of each tenant
	payload     int     // bytes
}

// load is the base load of one run and what was seen of it.
type load struct {
	w       *world
	scale   scale
	history *history.History
	clients []*client
	senders []*publisher

	work     sync.WaitGroup
	endSend  context.CancelFunc
	endRead  context.CancelFunc
	sendings context.Context
	reading  context.Context

	mu         sync.Mutex
	deliveries []delivery
	returns    []comeback
}

// delivery is when a message was read, and how long after its publish was begun.
type delivery struct {
	at      time.Time
	latency time.Duration
	client  *client
}

// comeback is when a client connected.
type comeback struct {
	at     time.Time
	client *client
}

func newLoad(w *world, s scale) *load {
	l := &load{w: w, scale: s, history: new(history.History)}
	l.sendings, l.endSend = context.WithCancel(context.Background())
	l.reading, l.endRead = context.WithCancel(context.Background())
	return l
}

// groupName is one of the groups that every tenant has.
func groupName(i int) string { return fmt.Sprintf("group-%d", i) }

// tokenAge is how long ago tokens were made when they are used first: they are good by
// clocks that are five minutes behind, too.
const tokenAge = 6 * time.Minute

// mint makes a client token.
func mint(t *tenant, user string, groups, permissions []string) (string, error) {
	m, err := accesstoken.MintClient(tenants.DocKey{ID: "chaos", Secret: t.key}, "http://127.0.0.1/t/"+t.slug,
		accesstoken.ClientOptions{Hub: hubName, UserID: user, Groups: groups, Permissions: permissions}, time.Now().Add(-tokenAge))
	return m.Token, err
}

// mintAt makes a token of an issuer whose clock says now; expiring has it run out
// at that moment.
func mintAt(t *tenant, now time.Time, expiring bool) (string, error) {
	if expiring {
		now = now.Add(-time.Minute)
	}
	m, err := accesstoken.MintClient(tenants.DocKey{ID: "chaos", Secret: t.key}, "http://127.0.0.1/t/"+t.slug,
		accesstoken.ClientOptions{Hub: hubName, Life: time.Minute}, now)
	return m.Token, err
}

// newClient makes number i of the tenant's clients: over every transport and hub
// protocol in their shares.
func (l *load) newClient(t *tenant, i int) (*client, error) {
	c := &client{name: fmt.Sprintf("%s-%d", t.slug, i), tenant: t, load: l, edge: -1, transport: webSockets, proto: protocol.NewJSON()}
	switch share := i * 7 % 20; { // 70, 15 and 15 of 100, mixed
	case share >= 17:
		c.transport = serverEvents
	case share >= 14:
		c.transport = longPolling
	}
	c.roam = !l.w.setting.sticky && i%4 < 2
	if i%2 == 1 && c.transport != serverEvents {
		c.proto = protocol.NewMessagePack()
	}
	for g := range l.scale.perClient {
		c.groups = append(c.groups, groupName((i+g*3)%l.scale.groups))
	}
	slices.Sort(c.groups)
	c.groups = slices.Compact(c.groups)
	var err error
	c.token, err = mint(t, c.name, c.groups, nil)
	return c, err
}

// start connects all clients, then begins to publish.
func (l *load) start(ctx context.Context, of ...*tenant) error {
	for _, t := range of {
		for i := range l.scale.connections {
			c, err := l.newClient(t, i)
			if err != nil {
				return err
			}
			l.clients = append(l.clients, c)
		}
	}
	for _, c := range l.clients {
		l.work.Go(func() { c.run(l.reading) })
	}
	if err := l.awaitConnected(ctx, 60*time.Second); err != nil {
		return err
	}
	for _, t := range of {
		for i := range l.scale.publishers {
			if err := l.publish(t, i, i%2 == 1); err != nil {
				return err
			}
		}
	}
	return nil
}

// awaitConnected returns when all clients are connected.
func (l *load) awaitConnected(ctx context.Context, patience time.Duration) error {
	err := await(ctx, patience, "all clients to be connected", func() bool {
		return !slices.ContainsFunc(l.clients, func(c *client) bool { return !c.connected.Load() })
	})
	if err != nil {
		for _, c := range l.clients {
			c.mu.Lock()
			if !c.connected.Load() && len(c.refused) > 0 {
				err = fmt.Errorf("%w; %s: %w", err, c.name, c.refused[len(c.refused)-1])
				c.mu.Unlock()
				break
			}
			c.mu.Unlock()
		}
	}
	return err
}

// finish stops publishing, lets everything arrive, and ends all clients.
func (l *load) finish(settle time.Duration) {
	l.endSend()
	for _, p := range l.senders {
		<-p.done
	}
	l.settle(settle)
	l.endRead()
	l.work.Wait()
}

// settle waits until nothing has come for a second, but no longer than patience.
func (l *load) settle(patience time.Duration) {
	deadline := time.Now().Add(patience)
	for before := -1; time.Now().Before(deadline); {
		l.mu.Lock()
		n := len(l.deliveries)
		l.mu.Unlock()
		if n == before {
			return
		}
		before = n
		time.Sleep(time.Second)
	}
}

func (l *load) delivered(c *client, p received, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deliveries = append(l.deliveries, delivery{at: now, latency: now.Sub(time.UnixMicro(p.T)), client: c})
}

func (l *load) back(c *client, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.returns = append(l.returns, comeback{at: now, client: c})
}

// latencies are those of what the tenant's clients read in the time, sorted; from
// every tenant when slug is empty.
func (l *load) latencies(slug string, from, until time.Time) []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []time.Duration
	for _, d := range l.deliveries {
		if (slug == "" || d.client.tenant.slug == slug) && !d.at.Before(from) && d.at.Before(until) {
			all = append(all, d.latency)
		}
	}
	slices.Sort(all)
	return all
}

// quantile of a sorted list; 0 of an empty one.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// firstAfter is how long after since each of the clients first got a message,
// sorted, and how many of them never did.
func (l *load) firstAfter(since time.Time, clients []*client) (took []time.Duration, never int) {
	first := make(map[*client]time.Time)
	l.mu.Lock()
	for _, d := range l.deliveries {
		if d.at.After(since) && first[d.client].IsZero() {
			first[d.client] = d.at
		}
	}
	l.mu.Unlock()
	for _, c := range clients {
		if first[c].IsZero() {
			never++
		} else {
			took = append(took, first[c].Sub(since))
		}
	}
	slices.Sort(took)
	return took, never
}

// reconnects are how long after since the clients connected anew, sorted.
func (l *load) reconnects(since time.Time, clients []*client) (took []time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := make(map[*client]bool)
	for _, r := range l.returns {
		if r.at.After(since) && !first[r.client] && slices.Contains(clients, r.client) {
			first[r.client] = true
			took = append(took, r.at.Sub(since))
		}
	}
	slices.Sort(took)
	return took
}

// comebacks counts how often the clients connected between from and until.
func (l *load) comebacks(from, until time.Time, of func(*client) bool) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.returns {
		if r.at.After(from) && r.at.Before(until) && of(r.client) {
			n++
		}
	}
	return n
}

// on are the clients that are on the edge now.
func (l *load) on(edge int) (list []*client) {
	for _, c := range l.clients {
		if c.connected.Load() && int(c.at.Load()) == edge {
			list = append(list, c)
		}
	}
	return list
}

// of are the tenant's clients.
func (l *load) of(slugs ...string) (list []*client) {
	for _, c := range l.clients {
		if slices.Contains(slugs, c.tenant.slug) {
			list = append(list, c)
		}
	}
	return list
}

// ends counts the lives of the clients that ended in the time, and tells a few.
func (l *load) ends(from, until time.Time, of func(*history.Life) bool) (n int, sample string) {
	return endsOf(l.history.Lives, from, until, of)
}

func endsOf(lives []*history.Life, from, until time.Time, of func(*history.Life) bool) (n int, sample string) {
	var reasons []string
	for _, life := range lives {
		if life.Ending != history.Open && life.Ended.After(from) && life.Ended.Before(until) && of(life) {
			n++
			if len(reasons) < 3 && !slices.Contains(reasons, life.Reason) {
				reasons = append(reasons, life.Reason)
			}
		}
	}
	return n, strings.Join(reasons, "; ")
}

func parsePayload(text []byte) (p received, err error) {
	err = json.Unmarshal(text, &p)
	return p, err
}
