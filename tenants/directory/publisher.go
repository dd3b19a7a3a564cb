package directory

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/internal/fleet"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// tombstoneLife is how long Redis remembers that a tenant was deleted: longer
// than any publish of an older revision can be late.
const tombstoneLife = 30 * 24 * time.Hour

// bellEverything is announced in place of a tenant's id after a rebuild.
const bellEverything = "*"

// Fields of a document's hash.
const (
	fieldRevision = "revision"
	fieldSealed   = "sealed"
)

// fieldAnnounced is the field of a tenant's id in the stream of announcements.
const fieldAnnounced = "id"

// storeDocument stores a document unless a newer one is there and returns
// {0 refused | 1 same revision | 2 stored, the sealed document before}.
// KEYS: document. ARGV: revision, sealed, life in seconds (0 = for ever).
var storeDocument = redis.NewScript(`
local old = redis.call('HMGET', KEYS[1], 'revision', 'sealed')
local before, now = tonumber(old[1] or '0'), tonumber(ARGV[1])
if before > now then return {0, ''} end
redis.call('HSET', KEYS[1], 'revision', ARGV[1], 'sealed', ARGV[2])
if tonumber(ARGV[3]) > 0 then redis.call('EXPIRE', KEYS[1], ARGV[3]) else redis.call('PERSIST', KEYS[1]) end
if before == now then return {1, old[2] or ''} end
return {2, old[2] or ''}`)

// dropIndex removes an index unless it has come to point to another tenant.
// KEYS: index. ARGV: tenant id.
var dropIndex = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`)

// Publisher writes tenant documents to Redis, for the control plane. Publishing
// is idempotent: the same document may be published any number of times, by
// several processes, in any order. Safe for concurrent use.
type Publisher struct {
	redis redis.UniversalClient
	fleet *fleet.Fleet
}

// NewPublisher returns a Publisher that seals with f.
func NewPublisher(r redis.UniversalClient, f *fleet.Fleet) *Publisher {
	return &Publisher{redis: r, fleet: f}
}

// Publish stores d unless Redis has a newer revision (then it does nothing),
// points d's slug and hosts to it, takes away those it no longer has, and tells
// the edges. A document whose Status is Deleted is kept as a tombstone.
func (p *Publisher) Publish(ctx context.Context, d *tenants.Document) error {
	stored, err := p.store(ctx, d)
	if err != nil || !stored {
		return err
	}
	if err := p.announce(ctx, string(d.ID)); err != nil {
		return fmt.Errorf("announce document of %s: %w", d.ID, err)
	}
	return nil
}

// announce tells the edges of a changed tenant, or of bellEverything: those that
// listen to Pub/Sub, and those that read the stream.
func (p *Publisher) announce(ctx context.Context, id string) error {
	_, err := p.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Publish(ctx, redisclient.DocumentsDoorbell, id)
		pipe.XAdd(ctx, &redis.XAddArgs{Stream: redisclient.DocumentsLog, MaxLen: announcements, Approx: true, Values: []any{fieldAnnounced, id}})
		return nil
	})
	return err
}

// PublishAll publishes every document and then marks Redis as complete, so that
// edges believe it when it doesn't know a name. It is for the start of the
// control plane, and for when Complete reports that Redis has lost documents.
func (p *Publisher) PublishAll(ctx context.Context, all iter.Seq2[*tenants.Document, error]) error {
	for d, err := range all {
		if err != nil {
			return fmt.Errorf("publish all documents: %w", err)
		}
		if _, err := p.store(ctx, d); err != nil {
			return fmt.Errorf("publish all documents: %w", err)
		}
	}
	generation := strconv.FormatInt(time.Now().UnixMilli(), 10)
	if err := p.redis.Set(ctx, redisclient.DocumentsGeneration, generation, 0).Err(); err != nil {
		return fmt.Errorf("mark documents as complete: %w", err)
	}
	if err := p.announce(ctx, bellEverything); err != nil {
		return fmt.Errorf("announce documents: %w", err)
	}
	return nil
}

// Complete reports whether Redis still has the documents of the last PublishAll.
func (p *Publisher) Complete(ctx context.Context) (bool, error) {
	n, err := p.redis.Exists(ctx, redisclient.DocumentsGeneration).Result()
	if err != nil {
		return false, fmt.Errorf("read documents generation: %w", err)
	}
	return n == 1, nil
}

// store writes d and its indexes; it reports false when a newer d is there.
func (p *Publisher) store(ctx context.Context, d *tenants.Document) (bool, error) {
	sealed, err := Seal(p.fleet, d)
	if err != nil {
		return false, err
	}
	life := 0
	if d.Status == tenants.Deleted {
		life = int(tombstoneLife.Seconds())
	}
	answer, err := storeDocument.Run(ctx, p.redis, []string{redisclient.Document(d.ID)}, d.Revision, sealed, life).Slice()
	if err != nil {
		return false, fmt.Errorf("store document of %s: %w", d.ID, err)
	}
	outcome, _ := answer[0].(int64)
	before, _ := answer[1].(string)
	if outcome == 0 {
		return false, nil
	}
	// Indexes are keys of their own slots, so they can't be part of the script.
	// Edges check that a document claims the name that led to it, and a repeat
	// of this publish writes them again: a crash in between does no harm.
	for _, n := range names(d) {
		if key, ok := indexKey(n); ok {
			if err := p.redis.Set(ctx, key, string(d.ID), 0).Err(); err != nil {
				return false, fmt.Errorf("index document of %s: %w", d.ID, err)
			}
		}
	}
	for _, n := range p.formerNames(before) {
		key, ok := indexKey(n)
		if !ok || claims(d, n) {
			continue
		}
		if err := dropIndex.Run(ctx, p.redis, []string{key}, string(d.ID)).Err(); err != nil {
			return false, fmt.Errorf("drop index of %s: %w", d.ID, err)
		}
	}
	return true, nil
}

// formerNames lists what the document before was found by. What another secret
// sealed has no names that could be known.
func (p *Publisher) formerNames(sealed string) []name {
	if sealed == "" {
		return nil
	}
	old, err := Open(p.fleet, []byte(sealed))
	if err != nil {
		return nil
	}
	return names(old)
}

// indexKey is the Redis key that points from n to a tenant's id. Ids need none.
func indexKey(n name) (string, bool) {
	switch n.kind {
	case bySlug:
		return redisclient.SlugIndex(n.value), true
	case byHost:
		return redisclient.HostIndex(strings.ToLower(n.value)), true
	}
	return "", false
}
