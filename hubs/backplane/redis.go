package backplane

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/internal/grown"
	"github.com/signalbox/signalbox/hubs/internal/turns"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// Config is what a process's backplane needs.
type Config struct {
	// Redis is shared with others; the backplane opens further connections from
	// it for Pub/Sub. It must not repeat commands by itself (MaxRetries < 0).
	Redis redis.UniversalClient
	// EdgeRun is random per process start, at most 64 letters, digits, - or _.
	EdgeRun string
	Logger  *slog.Logger
	// OnAccepted is told of each publish that was charged. It must not block. Optional.
	OnAccepted func(Accepted)

	// OnUnheard is told of each publish with hubs.AckNone that failed after it was
	// answered. It must not block. Optional.
	OnUnheard func(tenant tenants.ID, hub string)

	// Presence returns what is to be called when somebody has come to a group of a hub
	// or left it, where its Settings ask for that. It is called for each once over all
	// processes that have it, unless one ends before it has called told, as it has to also
	// for what it doesn't tell. Presence may block, its result must not; after an error
	// the news wait. Optional.
	Presence func(ctx context.Context, tenant tenants.ID, hub string) (tell func(e PresenceEvent, told func()), err error)

	// Doorbells is the number of Pub/Sub connections that tenants are spread
	// over, so that one tenant's flood holds up few others. 0 = 4.
	Doorbells int
	// StreamsOnly does without Pub/Sub: streams are read with reads that block in
	// Redis, at most 64 by a connection, and processes put questions and answers into
	// each other's inbox, another stream. Redis must be one server's client then. All
	// processes that share a Redis must agree about it.
	StreamsOnly bool
	// SweepEvery is how often each hub's position is compared with its head, with
	// a quarter of jitter, unless something came within that time: twice that bounds how
	// long a lost doorbell delays. 0 = 2 s.
	SweepEvery time.Duration
	// AnswerPatience is how long Command and Ask wait for the nodes. 0 = 2 s.
	AnswerPatience time.Duration
	// StreamEntries and StreamBytes bound a hub's stream beside its retention.
	// 0 = 100,000 and 256 MiB.
	StreamEntries int
	StreamBytes   int64
}

// Accepted is a publish that was charged.
type Accepted struct {
	Tenant tenants.ID
	Hub    string
	Epoch  string
	Minute time.Time // UTC
	Total  int64     // the running total of messages of the hub in that minute
	Charge int64     // of this publish
	About
}

// About is what a publish is counted for, beside its tenant and hub. A field that is
// empty is none.
type About struct {
	Group  string // the one that it is for; a message for several groups has none
	User   string // the one that it is for, else the one who sends it
	Method string // that it calls
	Key    string // the id of the access key behind the sender's token
}

// Sender is who publishes.
type Sender struct{ Key, User string }

// headLife is how long a hub's epoch and number outlive its last entry. Hubs
// that are followed live on.
const headLife = 7 * 24 * time.Hour

func (c *Config) complete() error {
	var problems []error
	if c.Redis == nil {
		problems = append(problems, errors.New("Redis is required"))
	}
	if c.Logger == nil {
		problems = append(problems, errors.New("Logger is required"))
	}
	if c.EdgeRun == "" || len(c.EdgeRun) > 64 {
		problems = append(problems, errors.New("EdgeRun must have 1 to 64 characters"))
	}
	for _, ch := range c.EdgeRun {
		if (ch < 'a' || ch > 'z') && (ch < 'A' || ch > 'Z') && (ch < '0' || ch > '9') && ch != '-' && ch != '_' {
			problems = append(problems, fmt.Errorf("EdgeRun must not hold %q", ch))
			break
		}
	}
	if c.Doorbells < 0 || c.Doorbells > 64 {
		problems = append(problems, errors.New("Doorbells must be 0 to 64"))
	}
	if len(problems) > 0 {
		return fmt.Errorf("backplane: %w", errors.Join(problems...))
	}
	c.Doorbells = defaulted(c.Doorbells, 4)
	c.SweepEvery = defaulted(c.SweepEvery, 2*time.Second)
	c.AnswerPatience = defaulted(c.AnswerPatience, 2*time.Second)
	c.StreamEntries = defaulted(c.StreamEntries, 100_000)
	c.StreamBytes = defaulted(c.StreamBytes, 256<<20)
	return nil
}

func defaulted[T int | int64 | time.Duration](v, fallback T) T {
	if v == 0 {
		return fallback
	}
	return v
}

// Settings are those of one hub.
type Settings struct {
	// RetentionSeconds is how long entries stay in the stream; less than 180
	// counts as 180 (the longest resume window, a failover and some slack).
	RetentionSeconds int
	// IdempotencySeconds is how long an idempotency key is remembered. 0 = 120.
	IdempotencySeconds int
	// Messages and Bytes bound the stream beside its retention; 0 = the bounds of
	// Config. They give way to the retention's minimum of 180 s no more than those.
	Messages int
	Bytes    int64
	// TenantBytes bounds the streams of all of the tenant's hubs together, 0 = they
	// aren't bounded: a hub that publishes while they have more gives way.
	TenantBytes int64
	// Weight is that of the tenant while several have something to publish, 1 to 16;
	// 0 = 1.
	Weight int
	// GroupIndex keeps an index of the entries of each group, so that reading the
	// history of one costs what the group has and not what the hub has.
	GroupIndex bool
	// Partitions are the hub's; the zero value is that of a hub that has always been one
	// stream.
	Partitions Partitions
	// PresenceEvents has Config.Presence asked whom to tell of who comes from now on, and when
	// those leave.
	PresenceEvents bool
}

func (s Settings) retention() time.Duration {
	return time.Duration(max(s.RetentionSeconds, 180)) * time.Second
}

func (s Settings) idempotency() time.Duration {
	return time.Duration(defaulted(s.IdempotencySeconds, 120)) * time.Second
}

// Redis is a process's end of the backplane: one serves all hubs of the process.
type Redis struct {
	cfg    Config
	client redis.UniversalClient
	log    *slog.Logger
	run    string
	stats  counters
	health *health

	ctx    context.Context // the life of the goroutines: from New to Close
	cancel context.CancelFunc
	work   sync.WaitGroup
	gate   sync.Mutex // guards closed: no goroutine starts after Close began
	closed bool

	doorbells []*doorbell
	replies   *replies
	inbox     *inbox // nil without Config.StreamsOnly

	// lookups are those of users who connect at the same time.
	lookups *redisclient.Batch

	taking    *taking
	windows   windows
	sizes     sizes
	waits     *waits
	room      *room
	turns     *turns.Queue // for round trips of publishes
	trips     *redisclient.Batch
	mu        sync.Mutex
	pipelines map[hubID]*publisher
	sequence  uint64 // the highest of pipelines that are forgotten
	followers map[followerKey]*follower
	inForce   map[hubID]int // generations of partitions that were entered
	parties   map[tenants.ID]*party
}

// hubID is what everything of a hub is kept under in this process.
type hubID struct {
	tenant tenants.ID
	hub    string
	part   string // of a hub with partitions, see redisclient.HubPartition
}

func (id hubID) keys() redisclient.HubKeys {
	return redisclient.HubPartition(id.tenant, id.hub, id.part)
}

// New starts the backplane of a process. It doesn't wait for Redis: while Redis
// is away, calls fail with hubs.ErrUnavailable. Close ends it.
func New(cfg Config) (*Redis, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	r := &Redis{
		cfg: cfg, client: cfg.Redis, log: cfg.Logger, run: cfg.EdgeRun,
		health: newHealth(), waits: newWaits(), room: newRoom(), turns: newTurns(), trips: redisclient.NewSpacedBatch(cfg.Redis, tripsApart, sharedTrips, tripsOfTenant), parties: make(map[tenants.ID]*party), pipelines: make(map[hubID]*publisher), followers: make(map[followerKey]*follower), inForce: make(map[hubID]int), lookups: redisclient.NewBatch(cfg.Redis),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.taking = newTaking(r.ctx)
	r.replies = newReplies(r)
	var err error
	if cfg.StreamsOnly {
		if r.inbox, err = newInbox(r); err != nil {
			return nil, fmt.Errorf("backplane: %w", err)
		}
	}
	for i := range cfg.Doorbells {
		d, err := newDoorbell(r, r.run+":"+strconv.Itoa(i))
		if err != nil {
			return nil, fmt.Errorf("backplane: %w", err)
		}
		r.doorbells = append(r.doorbells, d)
	}
	for _, d := range r.doorbells {
		r.start(d.run)
	}
	r.start(r.replies.receive)
	r.start(r.replies.send)
	r.start(func() { r.health.probe(r.ctx, r.client) })
	r.start(r.watchRoom)
	r.start(r.sweep)
	r.start(r.reap)
	if r.cfg.Presence != nil {
		r.start(r.tell)
	}
	return r, nil
}

// start runs f in a goroutine that Close waits for; it reports false once
// Close has begun.
func (r *Redis) start(f func()) bool {
	if !r.begin() {
		return false
	}
	grown.Go(func() {
		defer r.work.Done()
		f()
	})
	return true
}

// begin is start for what the caller does itself: r.work.Done ends it.
func (r *Redis) begin() bool {
	r.gate.Lock()
	defer r.gate.Unlock()
	if r.closed {
		return false
	}
	r.work.Add(1)
	return true
}

// Close ends all goroutines and Pub/Sub connections. Publishes that wait fail;
// nodes get no further call once it returns. The client stays open.
func (r *Redis) Close() {
	r.gate.Lock()
	r.closed = true
	r.gate.Unlock()
	r.cancel()
	r.work.Wait()
}

// Run waits for ctx and then closes the backplane.
func (r *Redis) Run(ctx context.Context) error {
	<-ctx.Done()
	r.Close()
	return nil
}

// Hub returns the backplane of one hub; hub is its canonical name.
func (r *Redis) Hub(tenant tenants.ID, hub string, s Settings) hubs.Backplane {
	return r.HubWith(tenant, hub, func() Settings { return s })
}

// HubWith is Hub with settings that may change: they are asked for again with each
// publish and read.
func (r *Redis) HubWith(tenant tenants.ID, hub string, s func() Settings) hubs.Backplane {
	return &hubBackplane{r: r, id: hubID{tenant: tenant, hub: hub}, settings: s}
}

// HubBy is HubWith for a sender whose publishes are counted as such.
func (r *Redis) HubBy(tenant tenants.ID, hub string, s func() Settings, by Sender) hubs.Backplane {
	return &hubBackplane{r: r, id: hubID{tenant: tenant, hub: hub}, settings: s, by: by}
}

// publisher returns the pipeline to a hub.
func (r *Redis) publisher(id hubID, s Settings) *publisher {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.pipelines[id]
	if p == nil {
		p = r.newPublisher(id)
		r.pipelines[id] = p
	}
	p.touch(s)
	return p
}

// forgetIdle drops pipelines that have rested for long.
func (r *Redis) forgetIdle() {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, p := range r.pipelines {
		if seq, idle := p.retire(now); idle {
			r.sequence = max(r.sequence, seq)
			delete(r.pipelines, id)
			r.dismiss(id.tenant)
			r.forgetSize(id)
		}
	}
}

// doorbell returns the connection that a hub, or a partition of one, rings: that of
// all its tenant's, but for partitions, which are there because there is much.
func (r *Redis) doorbell(id hubID) *doorbell {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id.tenant))
	_, _ = h.Write([]byte(id.part))
	return r.doorbells[h.Sum32()%uint32(len(r.doorbells))]
}

// feed returns what follows a hub here, or nil.
func (r *Redis) feed(id hubID) *feed {
	d, channel := r.doorbell(id), id.keys().Doorbell()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.feeds[channel]
}

// newEpoch returns a fresh random epoch.
func (id hubID) newEpoch() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:]) + id.noEpoch()
}

// noEpoch is what stands for the epoch of a hub, or a partition, that has had no entry;
// see hubs.PartitionOf.
func (id hubID) noEpoch() string {
	if id.part == "" {
		return ""
	}
	return "." + id.part
}
