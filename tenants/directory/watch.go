package directory

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

const (
	// startPoll is the time between looks at Redis until documents are there.
	startPoll = 250 * time.Millisecond
	// lookEvery is the mean time between looks at whether Redis answers: while it
	// doesn't, the control plane is asked that often, because nothing announces that
	// a key was revoked.
	lookEvery = time.Second
	// announcements is how many may wait that were read; beyond, everything is
	// compared.
	announcements = 100
	// pollBatch is how many revisions one round trip asks for.
	pollBatch = 500
)

// Run keeps the documents in memory up to date until ctx is done. Changes
// arrive through announcements; whatever an announcement may have missed is
// found by comparing revisions: after every (re)connection, and now and then.
func (d *Directory) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { d.listen(ctx); return nil })
	g.Go(func() error { d.poll(ctx); return nil })
	return g.Wait()
}

func (d *Directory) listen(ctx context.Context) {
	if d.bell != nil {
		d.follow(ctx)
		return
	}
	bell := d.cfg.Redis.Subscribe(ctx, redisclient.DocumentsDoorbell)
	defer bell.Close()
	// The client subscribes again by itself after a lost connection and says so here.
	events := bell.ChannelWithSubscriptions()
	for {
		select {
		case <-ctx.Done():
			return
		case event, open := <-events:
			if !open {
				return
			}
			switch event := event.(type) {
			case *redis.Subscription:
				d.misses.doubt(time.Now())
				d.refresh(ctx)
			case *redis.Message:
				d.rung(ctx, event.Payload)
			}
		}
	}
}

// follow is listen for announcements that are read from their stream.
func (d *Directory) follow(ctx context.Context) {
	ids, all := make(chan string, announcements), make(chan struct{}, 1)
	everything := func() {
		select {
		case all <- struct{}{}:
		default:
		}
	}
	d.bell.Follow(redisclient.Followed{Key: redisclient.DocumentsLog, Began: everything, Added: func(m redis.XMessage) {
		id, _ := m.Values[fieldAnnounced].(string)
		select {
		case ids <- id:
		default:
			everything()
		}
	}})
	var reading sync.WaitGroup
	defer reading.Wait()
	reading.Go(func() { d.bell.Run(ctx) })
	for {
		select {
		case <-ctx.Done():
			return
		case <-all:
			d.rung(ctx, bellEverything)
		case id := <-ids:
			d.rung(ctx, id)
		}
	}
}

// rung handles one announcement.
func (d *Directory) rung(ctx context.Context, payload string) {
	d.misses.doubt(time.Now())
	if payload == bellEverything {
		d.refresh(ctx)
		return
	}
	id := tenants.ID(payload)
	d.mu.RLock()
	_, known := d.byID[id]
	d.mu.RUnlock()
	if known {
		d.reload(ctx, id)
	}
}

// reload replaces one document by what Redis, else the control plane, has, and
// reports whether one of them had it.
func (d *Directory) reload(ctx context.Context, id tenants.ID) bool {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	doc, err := d.read(ctx, id)
	if err != nil && d.cfg.Source != nil {
		if err = d.source.Wait(ctx); err == nil {
			doc, err = d.fromSource(ctx, name{byID, string(id)})
		}
	}
	if err != nil {
		d.cfg.Logger.WarnContext(ctx, "tenant document not refreshed", "tenant_id", id, "error", err)
		return false
	}
	d.apply(doc)
	return true
}

func (d *Directory) poll(ctx context.Context) {
	// Jitter keeps the edges of a fleet from asking at once.
	jittered := func(mean time.Duration) time.Duration { return mean/2 + rand.N(mean) }
	due := time.Now().Add(jittered(d.cfg.PollEvery))
	for {
		wait := startPoll
		if d.Ready() {
			wait = jittered(min(lookEvery, d.cfg.PollEvery))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if d.Ready() && time.Now().Before(due) && d.look(ctx) == nil {
			continue
		}
		d.refresh(ctx)
		d.forget(time.Now())
		due = time.Now().Add(jittered(d.cfg.PollEvery))
	}
}

// look asks Redis whether documents are there, and notes it. The error is that
// of a Redis that didn't answer.
func (d *Directory) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout/2)
	defer cancel()
	complete, err := d.cfg.Redis.Exists(ctx, redisclient.DocumentsGeneration).Result()
	if err == nil && complete == 1 {
		d.ready.Store(true)
	}
	return err
}

// refresh compares the revisions of all documents in memory with Redis and
// reloads those that differ. When Redis doesn't answer, the control plane is
// asked for one after the other, as fast as the limit allows: a revoked key
// must end although Redis is away.
func (d *Directory) refresh(ctx context.Context) {
	err := d.look(ctx)
	away := err != nil
	if away {
		d.away.Store(time.Now().Add(awayPause).UnixMilli())
		if d.cfg.Source == nil {
			return // there is nobody else to ask
		}
	}
	began, known := time.Now(), d.revisions()
	for len(known) > 0 && ctx.Err() == nil {
		batch := known[:min(pollBatch, len(known))]
		known = known[len(batch):]
		ids := everyone(batch)
		if !away {
			ids = d.differing(ctx, batch)
		}
		for _, id := range ids {
			if !d.reload(ctx, id) {
				err = errAway
			}
		}
	}
	if err == nil && ctx.Err() == nil {
		d.fresh.Store(began.UnixMilli())
	}
}

func everyone(batch []known) []tenants.ID {
	ids := make([]tenants.ID, len(batch))
	for i, k := range batch {
		ids[i] = k.id
	}
	return ids
}

type known struct {
	id       tenants.ID
	revision int64
}

func (d *Directory) revisions() []known {
	d.mu.RLock()
	defer d.mu.RUnlock()
	list := make([]known, 0, len(d.byID))
	for id, e := range d.byID {
		list = append(list, known{id, e.doc.Load().Revision})
	}
	return list
}

// differing returns those of the batch whose document must be read again.
func (d *Directory) differing(ctx context.Context, batch []known) []tenants.ID {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	pipe := d.cfg.Redis.Pipeline()
	answers := make([]*redis.StringCmd, len(batch))
	for i, k := range batch {
		answers[i] = pipe.HGet(ctx, redisclient.Document(k.id), fieldRevision)
	}
	_, err := pipe.Exec(ctx)
	away := err != nil && !errors.Is(err, redis.Nil)
	if away && d.cfg.Source == nil {
		return nil
	}
	var list []tenants.ID
	for i, k := range batch {
		revision, _ := strconv.ParseInt(answers[i].Val(), 10, 64)
		// An older one in Redis (a failover that lost writes) teaches nothing; a
		// missing one (0) does only if there is somebody else to ask.
		if away || revision > k.revision || (revision == 0 && d.cfg.Source != nil) {
			list = append(list, k.id)
		}
	}
	return list
}

// forget drops what nobody has used for long, and misses that are over.
func (d *Directory) forget(now time.Time) {
	d.misses.sweep(now)
	d.applying.Lock()
	defer d.applying.Unlock()
	oldest := now.Add(-d.cfg.IdleAfter).Unix()
	d.mu.RLock()
	var unused []tenants.ID
	for id, e := range d.byID {
		if e.usedAt.Load() <= oldest {
			unused = append(unused, id)
		}
	}
	d.mu.RUnlock()
	if d.cfg.InUse != nil { // asked without d.mu: whoever answers may be waiting for Cached
		unused = slices.DeleteFunc(unused, d.cfg.InUse)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, id := range unused {
		e := d.byID[id]
		if e.usedAt.Load() > oldest {
			continue // used meanwhile
		}
		for _, n := range names(e.doc.Load()) {
			if d.byName[n] == id {
				delete(d.byName, n)
			}
		}
		delete(d.byID, id)
	}
}
