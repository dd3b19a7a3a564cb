package directory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"github.com/signalbox/signalbox/internal/fleet"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// Bounds of a Directory.
const (
	maxNameLength = 255 // longest host name (RFC 1035); slugs and ids are shorter
	missMemory    = 5 * time.Second
	missGuess     = 10 * time.Minute // beyond missMemory, while nobody can be asked
	maxMisses     = 10_000
	fetchTimeout  = 2 * time.Second
	// guessAfter is how long a name that was nobody's when it was last asked for may
	// hold up whoever asks again: each request names its host, which as a rule is one.
	guessAfter = 100 * time.Millisecond
	// awayPause is how long Redis isn't asked after it failed, so that at most
	// one request a second waits for a Redis that hangs.
	awayPause = time.Second

	// Unknown names may cost Redis and the control plane this many questions a
	// second; names in memory cost neither anything.
	redisMissRate, redisMissBurst = 1000, 2000
	sourceRate, sourceBurst       = 20, 100
)

// Config is what a Directory needs.
type Config struct {
	Redis redis.UniversalClient
	Fleet *fleet.Fleet
	// Source is asked when Redis can't answer; nil = nobody.
	Source Source
	// OnChange is called after a document in memory was replaced: never twice at
	// once, in the order of the revisions. The new document of a deleted tenant
	// has Status Deleted. It must neither block nor look up tenants (Cached is
	// fine). Nil = nobody is told.
	OnChange func(before, after *tenants.Document)
	// InUse keeps a tenant in memory although nobody has looked it up for
	// IdleAfter, for instance while it has connections. What holds for OnChange
	// holds for it. Nil = never.
	InUse func(tenants.ID) bool
	// IdleAfter is when a tenant that nobody looks up is forgotten; 0 = 30 minutes.
	IdleAfter time.Duration
	// PollEvery is the mean time between comparisons of all revisions with
	// Redis, which find what a lost announcement missed; 0 = 10 s.
	PollEvery time.Duration
	// StreamsOnly has announcements read from a stream, not heard over Pub/Sub, and
	// wants Redis to be the client of one server. Name is then this process's own.
	StreamsOnly bool
	Name        string
	Logger      *slog.Logger
}

// Directory is an edge's memory of tenants. Documents that it hands out are
// shared: nobody may change them. Safe for concurrent use.
type Directory struct {
	cfg    Config
	bell   *redisclient.Follower // of announcements; nil = they come over Pub/Sub
	flight singleflight.Group
	redis  *rate.Limiter
	source *rate.Limiter
	ready  atomic.Bool
	misses misses
	away   atomic.Int64 // Unix ms until which Redis is taken to be away
	fresh  atomic.Int64 // Unix ms of the last full comparison with Redis

	// applying is held while documents are replaced, OnChange and InUse run;
	// it is taken before mu, and mu is never held while they run.
	applying sync.Mutex

	mu     sync.RWMutex
	byID   map[tenants.ID]*entry
	byName map[name]tenants.ID
}

type entry struct {
	doc    atomic.Pointer[tenants.Document]
	usedAt atomic.Int64 // Unix seconds
}

// New returns an empty Directory. It learns of changes only while Run runs.
func New(cfg Config) (*Directory, error) {
	if cfg.Redis == nil || cfg.Fleet == nil || cfg.Logger == nil {
		return nil, errors.New("directory needs Redis, Fleet and Logger")
	}
	if cfg.StreamsOnly && cfg.Name == "" {
		return nil, errors.New("directory needs a Name to read streams only")
	}
	if cfg.IdleAfter == 0 {
		cfg.IdleAfter = 30 * time.Minute
	}
	if cfg.PollEvery == 0 {
		cfg.PollEvery = 10 * time.Second
	}
	d := &Directory{
		cfg:    cfg,
		redis:  rate.NewLimiter(redisMissRate, redisMissBurst),
		source: rate.NewLimiter(sourceRate, sourceBurst),
		misses: misses{until: make(map[name]time.Time)},
		byID:   make(map[tenants.ID]*entry),
		byName: make(map[name]tenants.ID),
	}
	if !cfg.StreamsOnly {
		return d, nil
	}
	var err error
	if d.bell, err = redisclient.NewFollower(redisclient.FollowerConfig{Redis: cfg.Redis, Name: cfg.Name + ":documents"}); err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	return d, nil
}

// Ready reports whether documents have been available since the start.
func (d *Directory) Ready() bool { return d.ready.Load() }

// ByHost returns the tenant that owns a host, compared in lower case and as it
// is: with or without a port. Errors are ErrNotFound and ErrUnavailable.
func (d *Directory) ByHost(ctx context.Context, host string) (*tenants.Document, error) {
	return d.lookup(ctx, name{byHost, strings.ToLower(host)})
}

// BySlug returns the tenant with that slug.
func (d *Directory) BySlug(ctx context.Context, slug string) (*tenants.Document, error) {
	return d.lookup(ctx, name{bySlug, slug})
}

// ByID returns the tenant with that id.
func (d *Directory) ByID(ctx context.Context, id tenants.ID) (*tenants.Document, error) {
	return d.lookup(ctx, name{byID, string(id)})
}

// Len is how many documents are in memory.
func (d *Directory) Len() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return len(d.byID)
}

// Age is the time since all documents in memory were last known to be those of
// Redis; 0 before the first time.
func (d *Directory) Age() time.Duration {
	if at := d.fresh.Load(); at != 0 {
		return time.Since(time.UnixMilli(at))
	}
	return 0
}

// Cached returns the tenant with that id if it is in memory. It never waits.
func (d *Directory) Cached(id tenants.ID) (*tenants.Document, bool) {
	doc := d.inMemory(name{byID, string(id)})
	return doc, doc != nil
}

func (d *Directory) lookup(ctx context.Context, n name) (*tenants.Document, error) {
	if n.value == "" || len(n.value) > maxNameLength {
		return nil, ErrNotFound
	}
	if doc := d.inMemory(n); doc != nil {
		return doc, nil
	}
	is, was := d.misses.has(n, time.Now())
	if is {
		return nil, ErrNotFound
	}
	// The question belongs to all who wait for it, so it outlives the first of them.
	answer := d.flight.DoChan(string(n.kind)+" "+n.value, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		return d.fetch(ctx, n)
	})
	var guess <-chan time.Time
	if was {
		patience := time.NewTimer(guessAfter)
		defer patience.Stop()
		guess = patience.C
	}
	select {
	case <-guess: // the answer counts from the next question on
		return nil, ErrNotFound
	case r := <-answer:
		if was && errors.Is(r.Err, ErrUnavailable) {
			return nil, ErrNotFound
		}
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*tenants.Document), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}

func (d *Directory) inMemory(n name) *tenants.Document {
	d.mu.RLock()
	e := d.byID[d.byName[n]]
	d.mu.RUnlock()
	if e == nil {
		return nil
	}
	doc := e.doc.Load()
	if !claims(doc, n) {
		return nil
	}
	if now := time.Now().Unix(); e.usedAt.Load() != now { // spare the shared cache line
		e.usedAt.Store(now)
	}
	return doc
}

// fetch finds a name that is not in memory and keeps what it finds.
func (d *Directory) fetch(ctx context.Context, n name) (*tenants.Document, error) {
	if !d.redis.Allow() {
		return nil, fmt.Errorf("%w: too many unknown names", ErrUnavailable)
	}
	doc, err := d.fromRedis(ctx, n)
	if err != nil && !errors.Is(err, ErrNotFound) {
		d.cfg.Logger.DebugContext(ctx, "tenant not found out from redis", "error", err)
		switch {
		case d.cfg.Source == nil:
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		case !d.source.Allow():
			return nil, fmt.Errorf("%w: too many questions to the control plane", ErrUnavailable)
		}
		doc, err = d.fromSource(ctx, n)
	}
	if err != nil {
		if errors.Is(err, ErrNotFound) {
			d.misses.add(n, time.Now())
		}
		return nil, err
	}
	kept := d.apply(doc)
	if !claims(kept, n) { // a newer revision has lost the name meanwhile
		d.misses.add(n, time.Now())
		return nil, ErrNotFound
	}
	return kept, nil
}

// errLost says that Redis can't be believed about what it doesn't have.
var errLost = errors.New("redis has lost documents")

// errStale says that an index leads to a tenant that no longer has the name.
// Somebody else may have it: indexes are written after documents.
var errStale = errors.New("index is stale")

// errAway stands for the answer of a Redis that is not asked at the moment.
var errAway = errors.New("redis is away")

// fromRedis returns ErrNotFound only when Redis is known to have all documents.
func (d *Directory) fromRedis(ctx context.Context, n name) (*tenants.Document, error) {
	if time.Now().UnixMilli() < d.away.Load() {
		return nil, errAway
	}
	id := tenants.ID(n.value)
	timed, cancel := context.WithTimeout(ctx, fetchTimeout/2) // the rest is for the control plane
	defer cancel()
	pipe := d.cfg.Redis.Pipeline()
	generation := pipe.Exists(timed, redisclient.DocumentsGeneration)
	var index *redis.StringCmd
	if key, ok := indexKey(n); ok {
		index = pipe.Get(timed, key)
	}
	if _, err := pipe.Exec(timed); err != nil && !errors.Is(err, redis.Nil) {
		d.away.Store(time.Now().Add(awayPause).UnixMilli())
		return nil, fmt.Errorf("look up tenant: %w", err)
	}
	complete := generation.Val() == 1
	if complete {
		d.ready.Store(true)
	}
	if index != nil {
		if index.Err() != nil {
			if complete {
				return nil, ErrNotFound
			}
			return nil, errLost
		}
		id = tenants.ID(index.Val())
	}
	doc, err := d.read(ctx, id)
	switch {
	case errors.Is(err, ErrNotFound) && (!complete || index != nil):
		return nil, errLost
	case err != nil:
		return nil, err
	case !claims(doc, n) && n.kind != byID:
		return nil, errStale
	}
	return doc, nil
}

// read returns the document that Redis has of a tenant, which may be a tombstone.
func (d *Directory) read(ctx context.Context, id tenants.ID) (*tenants.Document, error) {
	if time.Now().UnixMilli() < d.away.Load() {
		return nil, errAway
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout/2) // the rest is for the control plane
	defer cancel()
	sealed, err := d.cfg.Redis.HGet(ctx, redisclient.Document(id), fieldSealed).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, ErrNotFound
	}
	if err != nil {
		d.away.Store(time.Now().Add(awayPause).UnixMilli())
		return nil, fmt.Errorf("read document: %w", err)
	}
	return d.open(id, sealed)
}

func (d *Directory) open(id tenants.ID, sealed []byte) (*tenants.Document, error) {
	doc, err := Open(d.cfg.Fleet, sealed)
	if err != nil {
		return nil, err
	}
	if id != "" && doc.ID != id {
		return nil, fmt.Errorf("document of another tenant was stored for %s", id)
	}
	return doc, nil
}

func (d *Directory) fromSource(ctx context.Context, n name) (*tenants.Document, error) {
	var sealed []byte
	var err error
	var id tenants.ID
	if n.kind == byID {
		id = tenants.ID(n.value)
		sealed, err = d.cfg.Source.ByID(ctx, id)
	} else {
		sealed, err = d.cfg.Source.ByName(ctx, string(n.kind), n.value)
	}
	if errors.Is(err, ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	doc, err := d.open(id, sealed)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	d.ready.Store(true)
	return doc, nil
}

// apply keeps doc unless a newer revision is in memory, and returns the newest.
func (d *Directory) apply(doc *tenants.Document) *tenants.Document {
	d.applying.Lock()
	defer d.applying.Unlock()
	d.mu.RLock()
	e := d.byID[doc.ID]
	d.mu.RUnlock()
	var before *tenants.Document
	if e != nil {
		if before = e.doc.Load(); before.Revision >= doc.Revision {
			return before
		}
	} else {
		e = new(entry)
		e.usedAt.Store(time.Now().Unix())
	}
	d.mu.Lock()
	for _, n := range names(before) {
		if d.byName[n] == doc.ID {
			delete(d.byName, n)
		}
	}
	e.doc.Store(doc)
	d.byID[doc.ID] = e
	for _, n := range names(doc) {
		d.byName[n] = doc.ID
	}
	d.mu.Unlock()
	if before != nil && d.cfg.OnChange != nil {
		d.cfg.OnChange(before, doc)
	}
	return doc
}
