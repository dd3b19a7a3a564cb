package backplane

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/testenv"
)

var (
	errSpent  = errors.New("spent")
	errGone   = errors.New("gone")
	errUnsure = errors.New("unsure")
)

const scope = string(tenant) + "/" + hub

func newOwnership(t *testing.T, c *redis.Client, run, address string) *Ownership {
	t.Helper()
	o, err := NewOwnership(OwnershipConfig{
		Redis: c, EdgeRun: run, Address: address, Logger: slog.New(slog.NewTextHandler(testenv.Log(t), nil)),
		Spent: errSpent, Gone: errGone, Unsure: errUnsure, Relay: RelayConfig{Transport: &http.Transport{DisableKeepAlives: true}, Scheme: "http"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	return o
}

func owner(t *testing.T, o *Ownership, id string) string {
	t.Helper()
	name, err := o.Owner(t.Context(), scope, id)
	if err != nil && !errors.Is(err, errSpent) {
		t.Fatal(err)
	}
	return name
}

func TestOwnership_is_claimed_once(t *testing.T) {
	url := newRedis(t)
	c := newClient(t, url)
	a, b := newOwnership(t, c, "a", "127.0.0.1:1"), newOwnership(t, c, "b", "127.0.0.1:2")
	if name, err := a.Claim(t.Context(), scope, "c1"); name != "" || err != nil {
		t.Errorf("first claim: %q, %v", name, err)
	}
	if _, err := a.Claim(t.Context(), scope, "c1"); !errors.Is(err, errSpent) {
		t.Errorf("second claim here: %v", err)
	}
	if name, err := b.Claim(t.Context(), scope, "c1"); name != "a" || err != nil {
		t.Errorf("claim elsewhere: %q, %v", name, err)
	}
	if name := owner(t, b, "c1"); name != "a" {
		t.Errorf("owner %q", name)
	}
	if name := owner(t, b, "unknown"); name != "" {
		t.Errorf("owner of an unknown connection %q", name)
	}
	// The same id in another hub or tenant is another connection.
	if name, err := b.Claim(t.Context(), "01JCTENANT000000000000000B/"+hub, "c1"); name != "" || err != nil {
		t.Errorf("other tenant: %q, %v", name, err)
	}
	a.Release(t.Context(), scope, "c1")
	eventually(t, "tombstone", func() bool {
		_, err := b.Claim(t.Context(), scope, "c1")
		return errors.Is(err, errSpent)
	})
	if _, err := a.Claim(t.Context(), scope, "c1"); !errors.Is(err, errSpent) {
		t.Errorf("claim after the end: %v", err)
	}
	for _, bad := range []string{"", "noslash", "/hub", "tenant/"} {
		if _, err := a.Claim(t.Context(), bad, "c1"); err == nil {
			t.Errorf("scope %q was accepted", bad)
		}
	}
}

func TestOwnership_without_Redis_is_local_and_registered_later(t *testing.T) {
	direct := newRedis(t)
	p, url := newProxy(t, direct)
	a := newOwnership(t, newClient(t, url), "a", "127.0.0.1:1")
	b := newOwnership(t, newClient(t, direct), "b", "127.0.0.1:2")
	p.refuse.Store(true)
	p.cut()
	if name, err := a.Claim(t.Context(), scope, "c1"); name != "" || !errors.Is(err, errUnsure) {
		t.Fatalf("claim without Redis: %q, %v", name, err)
	}
	if _, err := a.Claim(t.Context(), scope, "c1"); !errors.Is(err, errSpent) {
		t.Errorf("second claim: %v", err)
	}
	if _, err := a.Owner(t.Context(), scope, "c2"); !errors.Is(err, errGone) && !errors.Is(err, errSpent) {
		t.Errorf("owner without Redis: %v", err)
	}
	// What is another's stays another's, whatever this process took it for.
	if _, err := b.Claim(t.Context(), scope, "c3"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Claim(t.Context(), scope, "c3"); !errors.Is(err, errUnsure) {
		t.Errorf("claim of another's connection without Redis: %v", err)
	}
	a.Release(t.Context(), scope, "c3")
	if _, err := a.Claim(t.Context(), scope, "c4"); !errors.Is(err, errUnsure) {
		t.Errorf("claim without Redis: %v", err)
	}
	a.Release(t.Context(), scope, "c4")
	p.refuse.Store(false)
	eventually(t, "registered claim", func() bool { return owner(t, b, "c1") == "a" })
	eventually(t, "tombstone", func() bool {
		_, err := b.Claim(t.Context(), scope, "c4")
		return errors.Is(err, errSpent)
	})
	if _, err := a.Claim(t.Context(), scope, "c3"); !errors.Is(err, errSpent) {
		t.Errorf("claim after the end: %v", err)
	}
	if value := newClient(t, direct).Get(t.Context(), redisclient.Hub(tenant, hub).Owner("c3")).Val(); value != "b" {
		t.Errorf("the other's claim is %q, want b", value)
	}
}

func TestOwnership_survives_the_loss_of_all_data(t *testing.T) {
	c := newClient(t, newRedis(t))
	a, b := newOwnership(t, c, "a", "127.0.0.1:1"), newOwnership(t, c, "b", "127.0.0.1:2")
	if _, err := a.Claim(t.Context(), scope, "c1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "lease", func() bool { return c.Exists(background, redisclient.EdgeLease("a")).Val() == 1 })
	if err := c.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "registered claim", func() bool { return owner(t, b, "c1") == "a" })
}

func TestOwnership_lease_ends_with_the_process(t *testing.T) {
	c := newClient(t, newRedis(t))
	a := newOwnership(t, c, "a", "127.0.0.1:1")
	lease := redisclient.EdgeLease("a")
	eventually(t, "lease", func() bool { return c.HGet(background, lease, "addr").Val() == "127.0.0.1:1" })
	if ttl := c.PTTL(t.Context(), lease).Val(); ttl <= 0 || ttl > leaseLife {
		t.Errorf("lease for %v", ttl)
	}
	a.Close()
	if c.Exists(t.Context(), lease).Val() != 0 {
		t.Error("the lease outlived its process")
	}
}

func TestRelay_passes_the_request_as_it_came(t *testing.T) {
	c := newClient(t, newRedis(t))
	var got *http.Request
	var body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, body = r, string(b)
		w.Header().Set("X-Answer", "yes")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, "answer")
	}))
	defer server.Close()
	_ = newOwnership(t, c, "a", strings.TrimPrefix(server.URL, "http://"))
	b := newOwnership(t, c, "b", "127.0.0.1:2")
	eventually(t, "lease", func() bool { return c.Exists(background, redisclient.EdgeLease("a")).Val() == 1 })

	r := httptest.NewRequest(http.MethodPost, "/t/demo/client/?hub=chat&id=tok%2Ben", strings.NewReader("payload"))
	r.Host = "demo.example.com"
	r.Header.Set("Authorization", "Bearer token")
	r.Header.Set("X-Forwarded-For", "203.0.113.7")
	r.URL.Path = "/client/" // as a router that stripped the prefix leaves it
	w := httptest.NewRecorder()
	if err := b.Relay(w, r, "a"); err != nil {
		t.Fatal(err)
	}
	if w.Code != http.StatusAccepted || w.Body.String() != "answer" || w.Header().Get("X-Answer") != "yes" {
		t.Errorf("answer %d %q", w.Code, w.Body)
	}
	if got.RequestURI != "/t/demo/client/?hub=chat&id=tok%2Ben" || got.Host != "demo.example.com" || body != "payload" ||
		got.Header.Get("Authorization") != "Bearer token" || got.Header.Get(RelayedHeader) != "b" ||
		!strings.HasPrefix(got.Header.Get("X-Forwarded-For"), "203.0.113.7, ") {
		t.Errorf("request %s %s %v %q", got.RequestURI, got.Host, got.Header, body)
	}

	looped := httptest.NewRequest(http.MethodPost, "/client/", nil)
	looped.Header.Set(RelayedHeader, "c")
	w = httptest.NewRecorder()
	if err := b.Relay(w, looped, "a"); !errors.Is(err, errGone) || w.Flushed || w.Body.Len() > 0 {
		t.Errorf("a relayed request was relayed: %v", err)
	}
	if err := b.Relay(w, httptest.NewRequest(http.MethodPost, "/client/", nil), "dead"); !errors.Is(err, errGone) {
		t.Errorf("owner without lease: %v", err)
	}
}

func TestRelay_to_an_owner_out_of_reach_writes_nothing(t *testing.T) {
	c := newClient(t, newRedis(t))
	server := httptest.NewServer(http.NotFoundHandler())
	address := strings.TrimPrefix(server.URL, "http://")
	server.Close() // nobody listens there now
	_ = newOwnership(t, c, "a", address)
	b := newOwnership(t, c, "b", "127.0.0.1:2")
	eventually(t, "lease", func() bool { return c.Exists(background, redisclient.EdgeLease("a")).Val() == 1 })
	w := httptest.NewRecorder()
	err := b.Relay(w, httptest.NewRequest(http.MethodGet, "/client/?id=x", nil), "a")
	if !errors.Is(err, errGone) || w.Body.Len() > 0 || len(w.Result().Header) > 0 {
		t.Errorf("%v, wrote %v %q", err, w.Result().Header, w.Body)
	}
}

// While Redis is away, requests go on to owners that are known, however long that
// takes, and until those have had the time to renew their leases.
func TestOwnership_relays_to_known_owners_without_Redis(t *testing.T) {
	url, stop := testenv.StartRedis(t)
	c := newClient(t, url)
	served := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "served") }))
	t.Cleanup(served.Close)
	a, b := newOwnership(t, c, "a", strings.TrimPrefix(served.URL, "http://")), newOwnership(t, c, "b", "127.0.0.1:2")
	if _, err := a.Claim(t.Context(), scope, "c1"); err != nil {
		t.Fatal(err)
	}
	relayed := func() string {
		name, err := b.Owner(t.Context(), scope, "c1")
		if err != nil {
			return err.Error()
		}
		answer := httptest.NewRecorder()
		if err := b.Relay(answer, httptest.NewRequest(http.MethodPost, "/client/?id=c1", nil), name); err != nil {
			return err.Error()
		}
		return answer.Body.String()
	}
	eventually(t, "lease", func() bool { return c.Exists(background, redisclient.EdgeLease("a")).Val() == 1 })
	if got := relayed(); got != "served" {
		t.Fatalf("with Redis: %s", got)
	}
	eventually(t, "b to know of a", func() bool { return b.peers.address("a") != "" })
	stop()
	for range 2 { // the second time it is known to be away
		b.relay.mu.Lock()
		for run, k := range b.relay.addresses {
			k.at = k.at.Add(-2 * leaseLife) // it has been away for long
			b.relay.addresses[run] = k
		}
		b.relay.mu.Unlock()
		if got := relayed(); got != "served" {
			t.Errorf("without Redis: %s", got)
		}
	}
	if _, err := b.Owner(t.Context(), scope, "unknown"); !errors.Is(err, errGone) {
		t.Errorf("an owner that isn't known: %v, want gone", err)
	}
}

func TestRecent_forgets_the_oldest(t *testing.T) {
	var r recent
	for i := range 3 * recentMost {
		r.put(strconv.Itoa(i), "a")
	}
	if n := len(r.young) + len(r.old); n > recentMost {
		t.Errorf("%d owners are remembered, want at most %d", n, recentMost)
	}
	if r.get(strconv.Itoa(3*recentMost-1)) != "a" || r.get("0") != "" {
		t.Error("the newest is forgotten or the oldest remembered")
	}
}

func TestOwnership_tells_the_time_of_Redis(t *testing.T) {
	c := newClient(t, newRedis(t))
	const ahead = time.Hour
	c.AddHook(behind(func(cmd redis.Cmder) {
		if cmd, ok := cmd.(*redis.TimeCmd); ok {
			cmd.SetVal(cmd.Val().Add(ahead))
		}
	}))
	o := newOwnership(t, c, "a", "127.0.0.1:1")
	eventually(t, "the time of Redis", func() bool { return time.Until(o.Now()) > ahead/2 })
	if d := time.Until(o.Now()); d > 2*ahead {
		t.Errorf("it is %v later than here, want %v", d, ahead)
	}
}
