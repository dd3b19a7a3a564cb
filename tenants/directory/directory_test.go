package directory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/internal/fleet"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/testenv"
	"github.com/signalbox/signalbox/tenants"
)

// bench is one Redis with a publisher.
type bench struct {
	redis     *redis.Client
	fleet     *fleet.Fleet
	publisher *Publisher
	stopRedis func()
	made      atomic.Int64 // directories so far
}

func newBench(t *testing.T) *bench {
	t.Helper()
	url, stop := testenv.StartRedis(t)
	client, err := redisclient.New(url, "directory-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	f, err := fleet.New("a fleet secret for the tests of directory")
	if err != nil {
		t.Fatal(err)
	}
	return &bench{redis: client, fleet: f, publisher: NewPublisher(client, f), stopRedis: stop}
}

// directory returns a Directory that runs until the test ends.
func (b *bench) directory(t *testing.T, change func(*Config)) *Directory {
	t.Helper()
	cfg := Config{Redis: b.redis, Fleet: b.fleet, Logger: slog.New(slog.DiscardHandler), Name: "test" + strconv.FormatInt(b.made.Add(1), 10)}
	if change != nil {
		change(&cfg)
	}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); d.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return d
}

func (b *bench) publish(t *testing.T, docs ...*tenants.Document) {
	t.Helper()
	for _, d := range docs {
		if err := b.publisher.Publish(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
}

// heard waits until a directory hears announcements.
func (b *bench) heard(t *testing.T, streamsOnly bool) {
	t.Helper()
	eventually(t, "announcements are heard", func() bool {
		if streamsOnly {
			list, err := b.redis.ClientList(t.Context()).Result()
			return err == nil && len(testenv.Readers(list)) == 1
		}
		n, err := b.redis.PubSubNumSub(t.Context(), redisclient.DocumentsDoorbell).Result()
		return err == nil && n[redisclient.DocumentsDoorbell] == 1
	})
}

// complete marks Redis as holding everything, as PublishAll does.
func (b *bench) complete(t *testing.T, docs ...*tenants.Document) {
	t.Helper()
	if err := b.publisher.PublishAll(t.Context(), func(yield func(*tenants.Document, error) bool) {
		for _, d := range docs {
			if !yield(d, nil) {
				return
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
}

func doc(id string, revision int64, slug string, hosts ...string) *tenants.Document {
	return &tenants.Document{
		ID: tenants.ID(id), Revision: revision, Slug: slug, Status: tenants.Active, Hosts: hosts,
		Keys: []tenants.DocKey{{ID: "k", Slot: tenants.Primary, Secret: "very secret"}},
	}
}

func tombstone(id string, revision int64) *tenants.Document {
	return &tenants.Document{ID: tenants.ID(id), Revision: revision, Status: tenants.Deleted}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func wantRevision(t *testing.T, got *tenants.Document, err error, revision int64) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if got.Revision != revision {
		t.Fatalf("got revision %d, want %d", got.Revision, revision)
	}
}

func TestLookups(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.complete(t, doc("A", 1, "acme", "acme.example.com", "localhost:8889"), doc("B", 1, "beta"))
	d := b.directory(t, nil)
	for _, row := range []struct {
		name string
		look func(context.Context) (*tenants.Document, error)
		want tenants.ID // "" = not found
	}{
		{"id", func(c context.Context) (*tenants.Document, error) { return d.ByID(c, "A") }, "A"},
		{"slug", func(c context.Context) (*tenants.Document, error) { return d.BySlug(c, "beta") }, "B"},
		{"host", func(c context.Context) (*tenants.Document, error) { return d.ByHost(c, "ACME.example.com") }, "A"},
		{"host_and_port", func(c context.Context) (*tenants.Document, error) { return d.ByHost(c, "localhost:8889") }, "A"},
		{"host_of_another_port", func(c context.Context) (*tenants.Document, error) { return d.ByHost(c, "localhost:8888") }, ""},
		{"unknown_slug", func(c context.Context) (*tenants.Document, error) { return d.BySlug(c, "gamma") }, ""},
		{"unknown_id", func(c context.Context) (*tenants.Document, error) { return d.ByID(c, "C") }, ""},
		{"empty", func(c context.Context) (*tenants.Document, error) { return d.BySlug(c, "") }, ""},
		{"endless", func(c context.Context) (*tenants.Document, error) {
			return d.ByHost(c, string(make([]byte, maxNameLength+1)))
		}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			for range 2 { // read through, then from memory
				got, err := row.look(t.Context())
				if row.want == "" {
					if !errors.Is(err, ErrNotFound) {
						t.Fatalf("got %v, %v; want ErrNotFound", got, err)
					}
				} else if err != nil || got.ID != row.want {
					t.Fatalf("got %v, %v", got, err)
				}
			}
		})
	}
}

func TestOlderRevisionIsRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.complete(t)
	b.publish(t, doc("A", 2, "new-name"), doc("A", 1, "old-name"))
	d := b.directory(t, nil)
	got, err := d.ByID(t.Context(), "A")
	wantRevision(t, got, err, 2)
	if _, err := d.BySlug(t.Context(), "old-name"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("the older revision left its slug behind: %v", err)
	}
	// The same holds in memory, whatever Redis says after a failover.
	if kept := d.apply(doc("A", 1, "old-name")); kept.Revision != 2 {
		t.Fatalf("memory went back to revision %d", kept.Revision)
	}
}

func TestDocumentsAreSealedInRedis(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.complete(t, doc("A", 1, "acme"))
	dump, err := b.redis.HGetAll(t.Context(), redisclient.Document("A")).Result()
	if err != nil {
		t.Fatal(err)
	}
	if len(dump) != 2 || dump[fieldRevision] != "1" {
		t.Fatalf("got fields %v", dump)
	}
	for _, plain := range []string{"very secret", "acme"} {
		if contains(dump[fieldSealed], plain) {
			t.Fatalf("redis holds %q in plain text", plain)
		}
	}
	// A document copied over another tenant's is not believed.
	if err := b.redis.HSet(t.Context(), redisclient.Document("B"), dump).Err(); err != nil {
		t.Fatal(err)
	}
	if got, err := b.directory(t, nil).ByID(t.Context(), "B"); err == nil {
		t.Fatalf("tenant B got the document of %s", got.ID)
	}
}

func contains(s, part string) bool {
	for i := 0; i+len(part) <= len(s); i++ {
		if s[i:i+len(part)] == part {
			return true
		}
	}
	return false
}

func TestChangesArriveAndAreReported(t *testing.T) {
	t.Parallel()
	for mode, streamsOnly := range map[string]bool{"doorbell": false, "streams-only": true} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.complete(t, doc("A", 1, "acme", "a.example.com"))
			changes := make(chan [2]*tenants.Document, 10)
			// A poll that never comes leaves announcements as the only way.
			d := b.directory(t, func(c *Config) {
				c.PollEvery, c.StreamsOnly = time.Hour, streamsOnly
				c.OnChange = func(before, after *tenants.Document) { changes <- [2]*tenants.Document{before, after} }
			})
			_, err := d.ByHost(t.Context(), "a.example.com")
			if err != nil {
				t.Fatal(err)
			}
			b.heard(t, streamsOnly)
			b.publish(t, doc("A", 2, "renamed", "b.example.com"))
			got := <-changes
			if got[0].Revision != 1 || got[1].Revision != 2 {
				t.Fatalf("got revisions %d, %d", got[0].Revision, got[1].Revision)
			}
			if _, err := d.ByHost(t.Context(), "a.example.com"); !errors.Is(err, ErrNotFound) {
				t.Fatalf("the former host is still served: %v", err)
			}
			found, err := d.BySlug(t.Context(), "renamed")
			wantRevision(t, found, err, 2)

			b.publish(t, tombstone("A", 3))
			if got := <-changes; got[1].Status != tenants.Deleted {
				t.Fatalf("got status %s", got[1].Status)
			}
			for _, err := range []error{
				second(d.ByID(t.Context(), "A")), second(d.BySlug(t.Context(), "renamed")), second(d.ByHost(t.Context(), "b.example.com")),
			} {
				if !errors.Is(err, ErrNotFound) {
					t.Fatalf("a deleted tenant is found: %v", err)
				}
			}
			b.publish(t, doc("A", 2, "renamed")) // late
			if _, err := b.directory(t, nil).ByID(t.Context(), "A"); !errors.Is(err, ErrNotFound) {
				t.Fatalf("a late publish revived a deleted tenant: %v", err)
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

func TestFreedNameGoesToItsNewOwner(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.complete(t, doc("A", 1, "acme", "acme.example.com"))
	d := b.directory(t, func(c *Config) { c.PollEvery = time.Hour })
	if _, err := d.ByHost(t.Context(), "acme.example.com"); err != nil {
		t.Fatal(err)
	}
	// The new owner is published before the old one lets go: the old one's
	// publish must not take the index away.
	b.publish(t, doc("B", 1, "bravo", "acme.example.com"), doc("A", 2, "acme"))
	eventually(t, "the host leads to its new owner", func() bool {
		got, err := d.ByHost(t.Context(), "acme.example.com")
		return err == nil && got.ID == "B"
	})
}

func TestMissIsForgottenWhenATenantAppears(t *testing.T) {
	t.Parallel()
	for mode, streamsOnly := range map[string]bool{"doorbell": false, "streams-only": true} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.complete(t)
			d := b.directory(t, func(c *Config) { c.PollEvery, c.StreamsOnly = time.Hour, streamsOnly })
			b.heard(t, streamsOnly)
			if _, err := d.BySlug(t.Context(), "fresh"); !errors.Is(err, ErrNotFound) {
				t.Fatal(err)
			}
			b.publish(t, doc("F", 1, "fresh"))
			eventually(t, "the new tenant is found", func() bool {
				return second(d.BySlug(t.Context(), "fresh")) == nil
			})
		})
	}
}

func TestPollFindsWhatNoAnnouncementSaid(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.complete(t, doc("A", 1, "acme"))
	d := b.directory(t, func(c *Config) { c.PollEvery = 10 * time.Millisecond })
	if _, err := d.ByID(t.Context(), "A"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.publisher.store(t.Context(), doc("A", 2, "acme")); err != nil { // rings no bell
		t.Fatal(err)
	}
	eventually(t, "revision 2", func() bool {
		got, ok := d.Cached("A")
		return ok && got.Revision == 2
	})
}

// source is the control plane's endpoint over a map.
type source struct {
	fleet *fleet.Fleet
	asked atomic.Int64
	docs  map[string]*tenants.Document
}

func (s *source) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.asked.Add(1)
	for _, d := range s.docs {
		if r.URL.Path == "/internal/documents/"+string(d.ID) || (r.URL.Path == "/internal/documents" && r.URL.Query().Get("slug") == d.Slug) {
			sealed, err := Seal(s.fleet, d)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.Write(sealed)
			return
		}
	}
	http.NotFound(w, r)
}

func (b *bench) source(t *testing.T, docs ...*tenants.Document) (*source, *APISource) {
	t.Helper()
	s := &source{fleet: b.fleet, docs: map[string]*tenants.Document{}}
	for _, d := range docs {
		s.docs[string(d.ID)] = d
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, &APISource{URL: server.URL, Client: server.Client()}
}

func TestLostRedisIsAnsweredByTheControlPlane(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.complete(t, doc("A", 1, "acme"))
	s, client := b.source(t, doc("A", 1, "acme"), doc("B", 1, "beta"))
	d := b.directory(t, func(c *Config) { c.Source, c.PollEvery = client, time.Hour })
	if _, err := d.BySlug(t.Context(), "beta"); !errors.Is(err, ErrNotFound) || s.asked.Load() != 0 {
		t.Fatalf("a complete Redis was not believed: %v, %d questions", err, s.asked.Load())
	}
	if err := b.redis.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	d.misses.doubt(time.Now())
	got, err := d.BySlug(t.Context(), "beta")
	wantRevision(t, got, err, 1)
	if _, err := d.BySlug(t.Context(), "nobody"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("got %v", err)
	}
	complete, err := b.publisher.Complete(t.Context())
	if err != nil || complete {
		t.Fatalf("a flushed Redis counts as complete: %v, %v", complete, err)
	}
}

func TestRedisAway(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.complete(t, doc("A", 1, "acme"), doc("B", 1, "beta"))
	alone := b.directory(t, nil)
	_, client := b.source(t, doc("A", 5, "acme"), doc("B", 1, "beta"))
	helped := b.directory(t, func(c *Config) { c.Source, c.PollEvery = client, time.Hour })
	for _, d := range []*Directory{alone, helped} {
		if _, err := d.BySlug(t.Context(), "acme"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := alone.ByHost(t.Context(), "shared.example.com"); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	b.stopRedis()
	if _, err := alone.BySlug(t.Context(), "acme"); err != nil {
		t.Fatalf("a known tenant is gone with Redis: %v", err)
	}
	if _, err := alone.BySlug(t.Context(), "beta"); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("got %v, want ErrUnavailable", err)
	}
	alone.misses.doubt(time.Now()) // what was nobody's a while ago still is
	if _, err := alone.ByHost(t.Context(), "shared.example.com"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("got %v, want the last known answer", err)
	}
	if _, err := helped.BySlug(t.Context(), "beta"); err != nil {
		t.Fatalf("the control plane was not asked: %v", err)
	}
	eventually(t, "a change arrives from the control plane", func() bool {
		got, ok := helped.Cached("A")
		return ok && got.Revision == 5
	})
}

func TestFreshDirectoryWithoutAnythingIsNotReady(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	d := b.directory(t, nil)
	if _, err := d.BySlug(t.Context(), "acme"); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("got %v: an empty Redis must not be believed", err)
	}
	if d.Ready() {
		t.Fatal("ready without documents")
	}
	b.complete(t, doc("A", 1, "acme"))
	eventually(t, "ready", d.Ready)
}

func TestRandomNamesCostLittle(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.complete(t)
	s, client := b.source(t)
	d := b.directory(t, func(c *Config) { c.Source, c.PollEvery = client, time.Hour })
	if err := b.redis.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for i := range 3 * sourceBurst {
		if err := second(d.BySlug(t.Context(), fmt.Sprintf("random-%d", i))); errors.Is(err, ErrUnavailable) {
			refused++
		}
	}
	if refused == 0 || s.asked.Load() >= 3*sourceBurst {
		t.Fatalf("%d questions reached the control plane, %d were refused", s.asked.Load(), refused)
	}
	now := time.Now()
	for i := range 2 * maxMisses {
		d.misses.add(name{bySlug, fmt.Sprint(i)}, now)
	}
	asked := strings.Repeat("head", 1000) + "nobody"
	d.misses.add(name{bySlug, asked[4000:]}, now)
	found := false
	for kept := range d.misses.until {
		if kept.value == "nobody" {
			found = unsafe.StringData(kept.value) != unsafe.StringData(asked[4000:])
		}
	}
	if !found {
		t.Error("a miss is forgotten, or what it was a part of is kept with it")
	}
	if n := len(d.misses.until); n > maxMisses {
		t.Fatalf("%d misses are remembered", n)
	}
	d.misses.sweep(now.Add(missMemory + missGuess))
	if n := len(d.misses.until); n != 0 {
		t.Fatalf("%d misses outlive their time", n)
	}
}

func TestUnusedTenantsAreForgotten(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.complete(t, doc("A", 1, "acme"), doc("B", 1, "beta"))
	var d *Directory
	d = b.directory(t, func(c *Config) {
		c.IdleAfter = time.Minute
		c.InUse = func(id tenants.ID) bool {
			if _, known := d.Cached(id); !known { // as a registry of hubs does
				t.Errorf("asked about %s, which is not in memory", id)
			}
			return id == "B"
		}
	})
	for _, slug := range []string{"acme", "beta"} {
		if _, err := d.BySlug(t.Context(), slug); err != nil {
			t.Fatal(err)
		}
	}
	d.forget(time.Now().Add(2 * time.Minute))
	if _, ok := d.Cached("A"); ok {
		t.Fatal("an unused tenant stays")
	}
	if _, ok := d.Cached("B"); !ok {
		t.Fatal("a tenant in use is forgotten")
	}
	if _, err := d.BySlug(t.Context(), "acme"); err != nil {
		t.Fatalf("a forgotten tenant is not found again: %v", err)
	}
}
