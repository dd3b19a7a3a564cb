package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/adminapi"
	"github.com/signalbox/signalbox/billing/usage"
	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/app/edge"
	"github.com/signalbox/signalbox/internal/embedded"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/telemetry"
	"github.com/signalbox/signalbox/internal/testenv"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
)

// edgeMode makes this test binary an edge, which can be killed.
const edgeMode = "SIGNALBOX_TEST_EDGE"

func TestMain(m *testing.M) {
	play := playEdge
	switch {
	case os.Getenv(apiMode) != "":
		play = playAPI
	case os.Getenv(mailMode) != "":
		play = playMail
	case os.Getenv(edgeMode) == "":
		os.Exit(m.Run())
	}
	if err := play(); err != nil {
		fmt.Fprintln(os.Stderr, "process of a test:", err)
		os.Exit(1)
	}
}

func playEdge() error {
	cfg, err := edge.ReadConfig()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	e, err := edge.New(ctx, cfg, telemetry.NewLogger(os.Stderr, telemetry.LogConfig{}))
	if err != nil {
		return err
	}
	fmt.Println(e.Addr())
	return e.Run(ctx, context.Background())
}

// reconcileFactor is how many times as many messages the long form sends.
const reconcileFactor = "SIGNALBOX_RECONCILE"

// The tenant of the reconciliation.
const (
	reconcileKey   = "the primary key of the reconciliation, long enough"
	reconcileToken = "sbt_reconciliation"
	reconcileSeed  = `{"account":{"name":"Demo","email":"demo@example.com","password":"a long password","api_token":"` + reconcileToken + `","plan":"scale"},
		"tenants":[{"slug":"demo","name":"Demo","hosts":[],"primary_key":"` + reconcileKey + `","secondary_key":"s1","hubs":["chat"]}]}`
)

// reconciliation is a fleet of edges under load, and what its clients count.
type reconciliation struct {
	t     *testing.T
	redis *redis.Client
	env   []string
	guard *embedded.Guard
	key   tenants.DocKey

	mu    sync.Mutex
	edges []*edgeProcess // those that live

	sent      atomic.Int64 // publishes that were accepted
	accepted  atomic.Int64 // the messages that they are
	rejected  atomic.Int64
	delivered atomic.Int64 // messages that clients got
	open      atomic.Int64 // nanoseconds
	// seen is the last end that each client has seen, see quiesce.
	seen [listening]atomic.Int64
}

// listening is how many clients there are.
const listening = 6

// edgeProcess is an edge, with the times at which its clients got messages.
type edgeProcess struct {
	addr    string
	process *embedded.Process
	ctx     context.Context // ends before the process does
	lose    context.CancelFunc

	mu  sync.Mutex
	got []time.Time // one for each message as it is metered
}

func (r *reconciliation) startEdge() {
	r.t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(r.t.Context()), os.Args[0])
	cmd.Env = r.env
	cmd.Stderr = io.Discard
	out, in, err := os.Pipe()
	if err != nil {
		r.t.Fatal(err)
	}
	cmd.Stdout = in
	p, err := r.guard.Start(cmd, syscall.SIGTERM)
	in.Close()
	if err != nil {
		r.t.Fatal(err)
	}
	line := make([]byte, 64)
	n, err := out.Read(line)
	if err != nil {
		r.t.Fatalf("the edge doesn't say where it is: %v", err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	ctx, lose := context.WithCancel(context.Background())
	e := &edgeProcess{addr: strings.TrimSpace(string(line[:n])), process: p, ctx: ctx, lose: lose}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.edges = append(r.edges, e)
}

// edge is one of those that live.
func (r *reconciliation) edge() *edgeProcess {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.edges[rand.IntN(len(r.edges))]
}

// kill ends the first edge without a word, in the middle of what it does, and at
// once after it has accepted messages for a hub that nobody else publishes to.
func (r *reconciliation) kill() *edgeProcess {
	r.t.Helper()
	r.mu.Lock()
	e := r.edges[0]
	r.edges = r.edges[1:]
	r.mu.Unlock()
	client := &http.Client{Transport: &http.Transport{}, Timeout: bound}
	defer client.CloseIdleConnections()
	for i := range 5 {
		for !r.sendTo(client, e, "solo-"+strconv.Itoa(e.process.PID()), strconv.Itoa(i), `{"target":"m","arguments":[]}`) {
			time.Sleep(20 * time.Millisecond)
		}
		r.accepted.Add(1)
	}
	if err := syscall.Kill(e.process.PID(), syscall.SIGKILL); err != nil {
		r.t.Fatal(err)
	}
	<-e.process.Done()
	e.lose()
	return e
}

func (r *reconciliation) token(client bool) string {
	base := "http://127.0.0.1/t/demo"
	var m accesstoken.Minted
	var err error
	if client {
		m, err = accesstoken.MintClient(r.key, base, accesstoken.ClientOptions{Hub: "chat", UserID: "u"}, time.Now())
	} else {
		m, err = accesstoken.MintREST(r.key, base, 0, time.Now())
	}
	if err != nil {
		panic(err)
	}
	return m.Token
}

// listen is a client: it counts what it gets until stop is closed, and connects
// again, to another edge maybe, when its connection ends.
func (r *reconciliation) listen(n int, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		if err := r.connection(n, r.edge(), stop); err != nil {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
}

func (r *reconciliation) connection(n int, e *edgeProcess, stop <-chan struct{}) error {
	began := time.Now()
	defer func() { r.open.Add(int64(time.Since(began))) }()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	ws, _, err := websocket.Dial(ctx, "ws://"+e.addr+"/t/demo/client/?hub=chat", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + r.token(true)}}})
	cancel()
	if err != nil {
		return err
	}
	defer ws.CloseNow()
	ws.SetReadLimit(8 << 20)
	if err := ws.Write(context.Background(), websocket.MessageText, []byte("{\"protocol\":\"json\",\"version\":1}\x1e")); err != nil {
		return err
	}
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-stop: // what is on its way is read before the socket ends
			_ = ws.Close(websocket.StatusNormalClosure, "")
		case <-ended:
		}
	}()
	for {
		_, data, err := ws.Read(context.Background())
		if err != nil {
			return err
		}
		now := time.Now()
		for part := range bytes.SplitSeq(bytes.TrimSuffix(data, []byte{0x1e}), []byte{0x1e}) {
			if !bytes.HasPrefix(part, []byte(`{"type":1,`)) {
				continue
			}
			if _, end, ok := bytes.Cut(part, []byte(`"target":"end","arguments":[`)); ok {
				if last, err := strconv.ParseInt(string(bytes.TrimRight(end, "]}")), 10, 64); err == nil {
					r.seen[n].Store(last)
				}
			}
			units := hubs.Units(len(part) + 1)
			r.delivered.Add(int64(units))
			e.mu.Lock()
			for range units {
				e.got = append(e.got, now)
			}
			e.mu.Unlock()
		}
	}
}

// publish sends messages at a pace until stop is closed: each with its key until
// somebody accepts it.
func (r *reconciliation) publish(stop <-chan struct{}) {
	client := &http.Client{Transport: &http.Transport{}, Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	pace := time.NewTicker(15 * time.Millisecond)
	defer pace.Stop()
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-pace.C:
		}
		size := 10
		if i%25 == 24 {
			size = 70 << 10 // two messages
		}
		arguments := strings.Repeat("x", size)
		key := fmt.Sprintf("%d-%d", rand.Int64(), i)
		for !r.send(client, key, `{"target":"m","arguments":["`+arguments+`"]}`) {
			time.Sleep(20 * time.Millisecond)
		}
		r.sent.Add(1)
		r.accepted.Add(int64(hubs.Units(len(arguments) + len(`["m"]`))))
		if i%10 == 0 { // what is refused isn't counted
			if !r.send(client, "", `{"target":"","arguments":[]}`) {
				r.rejected.Add(1)
			}
		}
	}
}

// quiesce returns when every client has got all that was published: the order of a
// hub is one, so they have when all have seen the same last message.
func (r *reconciliation) quiesce() {
	client := &http.Client{Transport: &http.Transport{}, Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	ended := int64(0)
	eventually(r.t, func() string {
		ended++
		for !r.send(client, fmt.Sprintf("end-%d", ended), fmt.Sprintf(`{"target":"end","arguments":[%d]}`, ended)) {
			time.Sleep(20 * time.Millisecond)
		}
		r.accepted.Add(1)
		for began := time.Now(); time.Since(began) < 2*time.Second; time.Sleep(5 * time.Millisecond) {
			all := true
			for n := range r.seen {
				all = all && r.seen[n].Load() == ended
			}
			if all {
				return ""
			}
		}
		return "clients wait for the last message"
	})
}

func (r *reconciliation) send(client *http.Client, key, body string) bool {
	return r.sendTo(client, r.edge(), "chat", key, body)
}

func (r *reconciliation) sendTo(client *http.Client, e *edgeProcess, hub, key, body string) bool {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+e.addr+"/t/demo/api/v1/hubs/"+hub, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.token(false))
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	res, err := client.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode == http.StatusAccepted
}

// tap remembers a flush on its way, to send it once more.
func (r *reconciliation) tap(ctx context.Context) <-chan any {
	found := make(chan any, 1)
	go func() {
		for ctx.Err() == nil {
			read, err := r.redis.XRead(ctx, &redis.XReadArgs{Streams: []string{redisclient.UsageStream, "$"}, Count: 1, Block: time.Second}).Result()
			if err != nil {
				continue
			}
			data := read[0].Messages[0].Values["flush"]
			var f usage.Flush
			if err := json.Unmarshal([]byte(data.(string)), &f); err == nil && len(f.Deltas) > 0 && f.Deltas[0].Delivered > 0 {
				found <- data
				return
			}
		}
	}()
	return found
}

// SEC-46: what clients count against what the ledger has, with two edges killed, a
// flush that comes twice and a Redis that is started again.
func TestSEC_46_the_ledger_agrees_with_what_clients_count(t *testing.T) {
	t.Parallel()
	factor := 1
	if v := os.Getenv(reconcileFactor); v != "" {
		var err error
		if factor, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	}
	guard, err := embedded.NewGuard()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = guard.Close() })
	server := embedded.RedisConfig{Dir: filepath.Join(t.TempDir(), "redis")}
	bus, err := embedded.StartRedis(context.WithoutCancel(t.Context()), guard, server)
	if err != nil {
		t.Fatal(err)
	}
	server.Port = bus.Port()
	c := testConfig(t, testenv.Postgres(t), bus.URL())
	var seeded bytes.Buffer
	if err := Seed(t.Context(), c, strings.NewReader(reconcileSeed), &seeded, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	var ids seedAnswer
	if err := json.Unmarshal(seeded.Bytes(), &ids); err != nil {
		t.Fatal(err)
	}
	control := start(t, c)
	doc, err := control.app.core.service.Document(t.Context(), tenants.ID(ids.Tenants[0].ID))
	if err != nil {
		t.Fatal(err)
	}
	r := &reconciliation{t: t, guard: guard, redis: control.app.redis, key: doc.Keys[0], env: append(os.Environ(),
		edgeMode+"=1", "REDIS_URL="+bus.URL(), "SIGNALBOX_FLEET_SECRET="+fleetSecret, "SIGNALBOX_SERVICE_HOSTS=127.0.0.1",
		"SIGNALBOX_EDGE_ADDR=127.0.0.1:0", "SIGNALBOX_EDGE_ADMIN_ADDR=127.0.0.1:0", "SIGNALBOX_EDGE_DRAIN_GRACE=10ms", "SIGNALBOX_EDGE_DRAIN=10ms")}
	eventually(t, func() string {
		if openDocument(t, r.redis, ids.Tenants[0].ID) == nil {
			return "the document isn't there"
		}
		return ""
	})
	for range 3 {
		r.startEdge()
	}

	stop, silent := make(chan struct{}), make(chan struct{})
	var publishers, listeners sync.WaitGroup
	for n := range listening {
		listeners.Go(func() { r.listen(n, silent) })
	}
	for range 3 {
		publishers.Go(func() { r.publish(stop) })
	}
	until := func(n int64) {
		t.Helper()
		for goal := int64(0); goal < n; { // slow is no failure, standing still is
			goal = min(n, r.sent.Load()+50)
			eventually(t, func() string {
				if got := r.sent.Load(); got < goal {
					return fmt.Sprintf("%d of %d publishes", got, n)
				}
				return ""
			})
		}
	}
	step := int64(150 * factor)
	tapping, untap := context.WithCancel(t.Context())
	flush := r.tap(tapping)
	until(step)
	killed := []*edgeProcess{r.kill()}
	killedAt := []time.Time{time.Now()}
	r.startEdge()
	until(2 * step)
	var twice any
	select {
	case twice = <-flush:
	case <-time.After(bound):
		t.Fatal("no flush with deliveries was seen")
	}
	untap()
	for range 3 {
		if err := r.redis.XAdd(t.Context(), &redis.XAddArgs{Stream: redisclient.UsageStream, Values: []any{"flush", twice}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	away := span{from: time.Now()}
	if err := syscall.Kill(bus.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-bus.Done()
	if _, err = embedded.StartRedis(context.WithoutCancel(t.Context()), guard, server); err != nil {
		t.Fatal(err)
	}
	away.until = time.Now()
	until(3 * step)
	killed, killedAt = append(killed, r.kill()), append(killedAt, time.Now())
	until(4 * step)
	close(stop)
	publishers.Wait()
	r.quiesce()
	close(silent)
	listeners.Wait()
	for _, e := range r.edges {
		ctx, cancel := context.WithTimeout(context.Background(), bound)
		if err := e.process.Stop(ctx); err != nil {
			t.Error(err)
		}
		cancel()
	}

	r.compare(control, killed, killedAt, away)
}

// span is a time during which Redis was away.
type span struct{ from, until time.Time }

// unflushed is since when an edge that was killed at a time may have had deliveries that
// it had told nobody of: it flushes every two seconds, and has one to be late.
func unflushed(killed time.Time, away span) time.Time {
	const within = usage.FlushEvery + time.Second
	since := killed.Add(-within)
	if since.After(away.from) && since.Before(away.until.Add(within)) {
		since = away.from.Add(-within)
	}
	return since
}

// compare waits until the ledger has all that is accepted, prints the table and
// judges it.
func (r *reconciliation) compare(control *running, killed []*edgeProcess, killedAt []time.Time, away span) {
	t := r.t
	var ledger adminapi.LedgerAmounts
	eventually(t, func() string {
		var err error
		if ledger, err = readLedger(t.Context(), control.url); err != nil {
			return err.Error()
		}
		waiting, err := r.redis.XLen(t.Context(), redisclient.UsageStream).Result()
		if err != nil || waiting > 0 || ledger.MessagesAccepted < r.accepted.Load() {
			return fmt.Sprintf("%d flushes wait, %d of %d messages are in the ledger, %v", waiting, ledger.MessagesAccepted, r.accepted.Load(), err)
		}
		return ""
	})
	var onKilled, lastSeconds, untold int64
	for i, e := range killed {
		onKilled += int64(len(e.got))
		for _, at := range e.got {
			if killedAt[i].Sub(at) <= usage.FlushEvery {
				lastSeconds++
			}
			if at.After(unflushed(killedAt[i], away)) {
				untold++
			}
		}
	}
	seconds := int64(time.Duration(r.open.Load()) / time.Second)
	t.Logf("\n%-22s %10s %10s %10s\n%-22s %10d %10d %+10d\n%-22s %10d %10d %+10d\n%-22s %10d %10d %+10d\n"+
		"%d were refused. Two edges were killed, whose clients got %d messages, %d of them in the last %s; lost are %d deliveries, of %d that no flush need have had.",
		"", "clients", "ledger", "difference",
		"accepted messages", r.accepted.Load(), ledger.MessagesAccepted, ledger.MessagesAccepted-r.accepted.Load(),
		"delivered messages", r.delivered.Load(), ledger.MessagesDelivered, ledger.MessagesDelivered-r.delivered.Load(),
		"connection seconds", seconds, ledger.ConnectionSeconds, ledger.ConnectionSeconds-seconds,
		r.rejected.Load(), onKilled, lastSeconds, usage.FlushEvery, r.delivered.Load()-ledger.MessagesDelivered, untold)
	if ledger.MessagesAccepted != r.accepted.Load() {
		t.Errorf("accepted messages differ by %d", ledger.MessagesAccepted-r.accepted.Load())
	}
	lost := r.delivered.Load() - ledger.MessagesDelivered
	if lost < 0 {
		t.Errorf("the ledger has %d deliveries that nobody got", -lost)
	}
	if lost > untold {
		t.Errorf("%d deliveries are lost, %d more than the killed edges need have kept to themselves", lost, lost-untold)
	}
	if ledger.ConnectionSeconds > seconds {
		t.Errorf("the ledger has %d connection seconds, the clients %d", ledger.ConnectionSeconds, seconds)
	}
	r.compareDimensions(control, ledger)
	if r.rejected.Load() == 0 || r.delivered.Load() == 0 || onKilled == 0 {
		t.Errorf("the load doesn't show anything: %d refused, %d delivered, %d by the killed edges", r.rejected.Load(), r.delivered.Load(), onKilled)
	}
}

// compareDimensions: values and what is other add up to the ledger, and what the edges
// that lived have told is there.
func (r *reconciliation) compareDimensions(control *running, ledger adminapi.LedgerAmounts) {
	for by, want := range map[string]string{"hub": "chat", "group": "", "user": "u", "method": "m", "key": r.key.ID} {
		var top adminapi.UsageTop
		if err := getReconciled(r.t.Context(), control.url+"/v1/tenants/demo/usage/top?step=day&by="+by, &top); err != nil {
			r.t.Fatal(err)
		}
		sum, found := top.Other, false
		for _, v := range top.Values {
			sum.MessagesAccepted += v.MessagesAccepted
			sum.MessagesDelivered += v.MessagesDelivered
			found = found || v.Value == want && v.MessagesDelivered > 0
		}
		if sum != top.Total || sum.MessagesAccepted != ledger.MessagesAccepted || sum.MessagesDelivered != ledger.MessagesDelivered || !found {
			r.t.Errorf("by %s: %+v; the ledger has %+v", by, top, ledger)
		}
	}
}

func readLedger(ctx context.Context, url string) (adminapi.LedgerAmounts, error) {
	var l adminapi.Ledger
	err := getReconciled(ctx, url+"/v1/tenants/demo/ledger", &l)
	return l.Totals, err
}

func getReconciled(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+reconcileToken)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	return json.NewDecoder(res.Body).Decode(into)
}
