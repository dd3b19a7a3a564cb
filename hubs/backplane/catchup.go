package backplane

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
)

const (
	// pageEntries is how much of a stream one read takes.
	pageEntries = 256
	sweepBatch  = 256
	// touchEvery is how often a followed hub's head gets a new lease of life.
	touchEvery = headLife / 8
)

// head is where a hub's stream ends. The zero head is that of a hub without entries.
type head struct {
	epoch      string
	number, ms uint64
}

// headFields are what parseHead is to be given of a head. The last two are those of a
// head that the version before has written last.
var headFields = []string{"epoch", "at", "number", "ms"}

// parseHead reads what publish.lua writes. A head that is sealed is errSealed.
func parseHead(values []any) (head, error) {
	if len(values) != len(headFields) {
		return head{}, fmt.Errorf("hub head of %d values", len(values))
	}
	epoch, _ := values[0].(string)
	h := head{epoch: epoch}
	if at, ok := values[1].(string); ok {
		if len(at) < 16 {
			return head{}, fmt.Errorf("hub head of %d bytes", len(at))
		}
		h.number, h.ms = binary.BigEndian.Uint64([]byte(at[:8])), binary.BigEndian.Uint64([]byte(at[8:16]))
		return h, nil
	}
	number, _ := values[2].(string)
	ms, _ := values[3].(string)
	switch {
	case number == closedNumber:
		return head{}, errSealed
	case epoch == "":
		return head{}, nil
	}
	var err error
	if h.number, err = strconv.ParseUint(number, 10, 64); err != nil {
		return head{}, fmt.Errorf("hub head number: %w", err)
	}
	if h.ms, err = strconv.ParseUint(ms, 10, 64); err != nil {
		return head{}, fmt.Errorf("hub head time: %w", err)
	}
	return h, nil
}

// signOn notes that this process follows the hub, so that others know whom to ask
// and to wait for, and returns the head: what is beyond it was accepted when that was
// known.
func (f *feed) signOn(ctx context.Context) (head, error) {
	if err := f.r.inbox.opened(ctx); err != nil {
		return head{}, err
	}
	var values *redis.SliceCmd
	if _, err := f.r.client.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.SAdd(ctx, f.keys.Edges(), f.r.run)
		pipe.PExpire(ctx, f.keys.Edges(), headLife)
		values = pipe.HMGet(ctx, f.keys.Head(), headFields...)
		return nil
	}); err != nil {
		return head{}, fmt.Errorf("read head: %w", err)
	}
	return parseHead(values.Val())
}

// signOff undoes signOn when no feed follows the hub any more.
func (d *doorbell) signOff(channel string, keys redisclient.HubKeys) {
	ctx, cancel := context.WithTimeout(d.r.ctx, attemptPatience)
	defer cancel()
	if d.follows(channel) {
		return
	}
	err := d.r.client.SRem(ctx, keys.Edges(), d.r.run).Err()
	if err == nil && d.follows(channel) { // again, meanwhile
		err = d.r.client.SAdd(ctx, keys.Edges(), d.r.run).Err()
	}
	d.r.health.report(err)
}

func (d *doorbell) follows(channel string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.feeds[channel] != nil
}

// readHead returns the head as it is now.
func (f *feed) readHead(ctx context.Context) (head, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptPatience)
	defer cancel()
	values, err := f.r.client.HMGet(ctx, f.keys.Head(), headFields...).Result()
	if err != nil {
		return head{}, fmt.Errorf("read head: %w: %w", hubs.ErrUnavailable, err)
	}
	return parseHead(values)
}

// catchUp compares the position with the head and reads what lies between from
// the stream. The first one only takes the head as the position.
func (f *feed) catchUp() error {
	ctx, cancel := context.WithTimeout(f.r.ctx, 10*time.Second)
	defer cancel()
	at, started := f.where()
	h, err := f.signOn(ctx)
	if err != nil {
		return err
	}
	if !started {
		f.mu.Lock()
		f.at = position{epoch: h.epoch, number: h.number, ms: h.ms}
		f.started = true
		f.mu.Unlock()
		f.calls.Lock()
		f.given = hubs.Position{Epoch: h.epoch, Number: h.number}
		f.calls.Unlock()
		close(f.live)
		return nil
	}
	switch {
	case h.epoch == at.epoch && h.number == at.number && h.ms == at.ms:
		return nil
	case h.epoch != at.epoch && at.epoch != "":
		// Redis lost the hub. What it holds now began while this feed followed.
		f.renew()
		f.lost(hubs.Gap{Reason: "epoch", Last: at.public(), Next: hubs.Position{Epoch: h.epoch}})
		at = position{epoch: h.epoch, fresh: h.epoch != ""} // a hub that is empty yet can still lose something
	case h.epoch != at.epoch:
		at = position{epoch: h.epoch, fresh: at.fresh}
	case h.number <= at.number:
		// The same epoch went back or gave numbers twice: Redis failed over to a
		// copy that lacked the newest entries.
		return f.fork(ctx)
	}
	f.move(at)
	f.r.stats.catchUps.Add(1)
	return f.read(ctx, h)
}

// forkScript ends an epoch in which numbers were given twice: positions of it must
// not be taken for ones of the other history. The next publish begins anew; what
// publishers were answered stays, for their repeats.
var forkScript = redis.NewScript(`
if redis.call('HGET', KEYS[1], 'epoch') == ARGV[1] then
  redis.call('HDEL', KEYS[1], 'epoch', 'at', 'number', 'ms')
  redis.call('DEL', KEYS[2])
end
return 1`)

// fork ends the epoch for everybody and reports the loss.
func (f *feed) fork(ctx context.Context) error {
	at, _ := f.where()
	if err := forkScript.Run(ctx, f.r.client, []string{f.keys.Head(), f.keys.Stream()}, at.epoch).Err(); err != nil {
		return fmt.Errorf("end the epoch: %w", err)
	}
	f.renew()
	f.lost(hubs.Gap{Reason: "epoch", Last: at.public()})
	f.move(position{fresh: true})
	return nil
}

// renew has the stream read from its end by whoever follows it: what comes may have
// lower ids than what was there.
func (f *feed) renew() {
	if d := f.r.doorbell(f.id); d.streams != nil {
		d.streams.Renew(f.keys.Stream())
	}
}

// read applies the stream from the position to h at least.
func (f *feed) read(ctx context.Context, h head) error {
	for {
		at, _ := f.where()
		start := "-"
		if at.number > 0 {
			// The last entry itself comes first: that it is the same one shows that
			// the stream is the same.
			start = strconv.FormatUint(at.ms, 10) + "-" + strconv.FormatUint(at.number, 10)
		}
		page, err := f.r.client.XRangeN(ctx, f.keys.Stream(), start, "+", pageEntries).Result()
		if err != nil {
			return fmt.Errorf("read stream: %w", err)
		}
		for _, m := range page {
			rec, err := parseMessage(m)
			if err != nil || rec.number == 0 {
				f.spoiled(rec, errors.Join(err, errForeign))
				continue
			}
			if rec.epoch == "" {
				rec.epoch = at.epoch // an entry that can't be read keeps its place
			}
			if f.accept(rec, true) {
				continue
			}
			if rec.epoch == at.epoch {
				return f.fork(ctx)
			}
			return fmt.Errorf("hub changed while it was read: epoch %s, then %s", at.epoch, rec.epoch)
		}
		if len(page) < pageEntries {
			break
		}
	}
	if at, _ := f.where(); at.epoch == h.epoch && at.number < h.number {
		// The head counts further than the stream reaches.
		if !at.fresh {
			f.lost(hubs.Gap{Reason: "trimmed", From: at.number + 1, To: h.number, Last: at.public(), Next: hubs.Position{Epoch: h.epoch, Number: h.number}})
		}
		f.move(position{epoch: h.epoch, number: h.number, ms: h.ms})
	}
	return nil
}

// errForeign is for what somebody else has put into a hub's stream.
var errForeign = errors.New("message is not of the publish script")

// parseMessage reads a stream message. The number is in its id.
func parseMessage(m redis.XMessage) (record, error) {
	ms, number, _ := strings.Cut(m.ID, "-")
	var rec record
	var err error
	if rec.ms, err = strconv.ParseUint(ms, 10, 64); err != nil {
		return record{}, fmt.Errorf("stream id: %w", err)
	}
	if rec.number, err = strconv.ParseUint(number, 10, 64); err != nil {
		return record{}, fmt.Errorf("stream id: %w", err)
	}
	rec.epoch, _ = m.Values["epoch"].(string)
	rec.entry, _ = m.Values["entry"].(string)
	return rec, nil
}

// sweep compares all followed hubs with their heads now and then. It finds what
// doorbells didn't tell.
func (r *Redis) sweep() {
	for {
		quarter := r.cfg.SweepEvery / 4
		select {
		case <-time.After(r.cfg.SweepEvery - quarter/2 + rand.N(quarter+1)):
		case <-r.ctx.Done():
			return
		}
		r.eachFollower(func(hubID) bool { return true }, func(f *follower) { f.rest(partitionRests * r.cfg.SweepEvery) })
		r.compareAll()
		for _, d := range r.doorbells {
			for _, f := range d.followed() {
				if r.windows.over(f.id.tenant, 0) {
					f.forget() // the hub may be quiet, and would give nothing by itself
				}
			}
		}
		r.forgetIdle()
		r.forgetPartitions()
	}
}

// bellSlack is how much longer than the answer that tells of it a doorbell may take
// before the stream is read for it.
const bellSlack = 50 * time.Millisecond

// compareAll wakes the feeds that are not where their hub is. What was published
// while Redis was asked is in the head and its doorbell on its way: the slower Redis is
// the more there is of it, and reading the stream for it would hold up the hub for
// another round trip. So it is waited for, once for all feeds.
func (r *Redis) compareAll() {
	ahead := make(map[*feed]head)
	slowest := time.Duration(0)
	for _, d := range r.doorbells {
		for feeds := range slices.Chunk(d.followed(), sweepBatch) {
			began := time.Now()
			r.compare(feeds, ahead)
			slowest = max(slowest, time.Since(began))
		}
	}
	if len(ahead) == 0 {
		return
	}
	select {
	case <-time.After(slowest/2 + bellSlack):
	case <-r.ctx.Done():
		return
	}
	for f, h := range ahead {
		if at, _ := f.where(); !at.reached(h) {
			f.subscribed()
		}
	}
}

// compare reads the heads of feeds in one round trip, wakes those whose hub has gone
// back, and adds to ahead those whose hub is further than they are.
func (r *Redis) compare(feeds []*feed, ahead map[*feed]head) {
	ctx, cancel := context.WithTimeout(r.ctx, attemptPatience)
	defer cancel()
	pipe := r.client.Pipeline()
	commands := make([]*redis.SliceCmd, len(feeds))
	before := make([]position, len(feeds))
	for i, f := range feeds {
		if f.touch() {
			pipe.PExpire(ctx, f.keys.Head(), headLife)
			pipe.PExpire(ctx, f.keys.Edges(), headLife)
		}
		at, quiet := f.rests(r.cfg.SweepEvery)
		if !quiet {
			continue // what it misses after that the next sweep finds
		}
		before[i] = at
		commands[i] = pipe.HMGet(ctx, f.keys.Head(), headFields...)
	}
	if pipe.Len() == 0 {
		return
	}
	_, err := pipe.Exec(ctx)
	if refusal(err) {
		err = nil // of one hub, see sealStream
	}
	r.health.report(err)
	if err != nil {
		return
	}
	for i, f := range feeds {
		if commands[i] == nil || commands[i].Err() != nil {
			continue
		}
		h, err := parseHead(commands[i].Val())
		at, _ := f.where()
		switch {
		case errors.Is(err, errSealed):
		case err != nil || h.epoch == before[i].epoch && h.number < before[i].number:
			f.subscribed()
		case !at.reached(h):
			ahead[f] = h
		}
	}
}

// reached reports whether a hub's head was told.
func (p position) reached(h head) bool { return p.epoch == h.epoch && p.number >= h.number }

// rests returns the position when it is known and nothing has moved it for so long.
func (f *feed) rests(long time.Duration) (position, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at, f.started && time.Since(f.moved) >= long
}

// touch reports whether it is time to prolong the head's life.
func (f *feed) touch() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.touched) < touchEvery {
		return false
	}
	f.touched = time.Now()
	return true
}
