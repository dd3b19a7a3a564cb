package redisclient

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// The bounds of following streams.
const (
	// StreamsPerReader is how many streams one connection waits for: with each entry
	// of one of them Redis looks at all.
	StreamsPerReader = 64
	// readBlock is how long one reading waits for something new; an answer that is
	// readSlack later than that means that the connection is dead.
	readBlock = 2 * time.Second
	readSlack = 1500 * time.Millisecond
	// readEntries and readBytes are how much of a stream, and of all together when
	// entries are as large as the ones before, one reading brings: what is beyond comes
	// with the next one. usualBytes is how large entries are taken to be at first.
	readEntries = 64
	readBytes   = 4 << 20
	usualBytes  = 4 << 10
	// readerIdle is how long a reader is kept that has no streams.
	readerIdle = 10 * time.Second
	// wakeLife is how long Redis remembers that a reader was woken.
	wakeLife = time.Minute

	readPause     = 50 * time.Millisecond
	readPauseMost = 2 * time.Second
)

// FollowerConfig is what a Follower needs.
type FollowerConfig struct {
	// Redis is one server's client; the follower opens connections of its own like
	// it. It wakes its readers over this one.
	Redis redis.UniversalClient
	// Name is different for every follower there is: under it readers are woken.
	Name string
	// Broken is told of each connection that was lost. It must not block. Optional.
	Broken func(error)
}

// Followed is a stream and who is told of it: never by two goroutines at once. The
// functions must not block; they may be called once more just after Unfollow.
type Followed struct {
	Key string
	// From returns the id behind which reading begins, each time that it does. nil =
	// at the stream's end.
	From func() string
	// Began says that reading has begun, or begun anew behind a lost connection or
	// Renew. Without From, what was appended before may never be told.
	Began func()
	// Added is told of each entry in order.
	Added func(redis.XMessage)
	// Broke says that nothing is read until Began is called again. Optional.
	Broke func()
}

// Follower tells of what is appended to streams, as Pub/Sub would of what is
// published, by reading that blocks in Redis. One connection reads up to
// StreamsPerReader streams. Safe for concurrent use.
type Follower struct {
	cfg     FollowerConfig
	options redis.Options // of readers

	mu      sync.Mutex
	ctx     context.Context // of Run; nil before
	ended   bool
	readers []*reader
	of      map[string]*reader // by key
	made    int                // readers so far
	work    sync.WaitGroup
}

// reader is one connection.
type reader struct {
	f    *Follower
	wake string        // the stream that ends its waiting in Redis
	some chan struct{} // holds one: it has streams again

	// Guarded by f.mu.
	streams map[string]*followed
	waits   bool // it may be waiting in Redis for the streams that it had
	waking  bool // somebody sees to the end of that
}

// followed is one stream of a reader.
type followed struct {
	Followed
	renew bool // guarded by Follower.mu

	// Of the reader's goroutine.
	at     string    // what has been read; "" = reading hasn't begun
	failed time.Time // when Redis last refused to say where the stream ends
}

// NewFollower returns a follower that reads while Run runs.
func NewFollower(cfg FollowerConfig) (*Follower, error) {
	client, ok := cfg.Redis.(*redis.Client)
	if !ok {
		return nil, errors.New("follower: Redis must be the client of one server: a cluster doesn't read streams of several slots at once")
	}
	if cfg.Name == "" {
		return nil, errors.New("follower: Name is required")
	}
	f := &Follower{cfg: cfg, options: *client.Options(), of: make(map[string]*reader)}
	f.options.PoolSize, f.options.MinIdleConns, f.options.MaxIdleConns = 1, 0, 1
	f.options.ContextTimeoutEnabled, f.options.MaxRetries = true, -1
	return f, nil
}

// Run reads until ctx ends.
func (f *Follower) Run(ctx context.Context) {
	f.mu.Lock()
	f.ctx = ctx
	for _, r := range f.readers {
		f.work.Go(func() { r.run(ctx) })
	}
	f.mu.Unlock()
	<-ctx.Done()
	f.mu.Lock()
	f.ended = true
	f.mu.Unlock()
	f.work.Wait()
}

// Follow begins to read a stream, in the place of who followed it before.
func (f *Follower) Follow(s Followed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return
	}
	r := f.of[s.Key]
	if r == nil {
		r = f.room()
		f.of[s.Key] = r
	}
	r.streams[s.Key] = &followed{Followed: s}
	r.rouse()
}

// Unfollow ends that.
func (f *Follower) Unfollow(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.of[key]; r != nil {
		delete(f.of, key)
		delete(r.streams, key)
	}
}

// Renew has reading begin anew. It is for one whose entries may have lower
// ids than the last one read: Redis was emptied, or went back.
func (f *Follower) Renew(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.of[key]; r != nil {
		r.streams[key].renew = true
		r.rouse()
	}
}

// room returns the fullest reader that has room, so that those with few streams
// come to an end. f.mu is held.
func (f *Follower) room() *reader {
	var best *reader
	for _, r := range f.readers {
		if n := len(r.streams); n < StreamsPerReader && (best == nil || n > len(best.streams)) {
			best = r
		}
	}
	if best != nil {
		return best
	}
	f.made++
	r := &reader{
		f: f, wake: readerWake(f.cfg.Name, f.made),
		some: make(chan struct{}, 1), streams: make(map[string]*followed),
	}
	f.readers = append(f.readers, r)
	if f.ctx != nil {
		f.work.Go(func() { r.run(f.ctx) })
	}
	return r
}

// rouse has the reader look at its streams. f.mu is held.
func (r *reader) rouse() {
	select {
	case r.some <- struct{}{}:
	default:
	}
	if r.waits && !r.waking && !r.f.ended {
		r.waking = true
		r.f.work.Go(r.interrupt)
	}
}

// interrupt ends the waiting in Redis. When Redis can't be told, the reader ends it
// by itself, after readBlock.
func (r *reader) interrupt() {
	ctx, cancel := context.WithTimeout(r.f.ctx, readSlack)
	defer cancel()
	_, err := r.f.cfg.Redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.XAdd(ctx, &redis.XAddArgs{Stream: r.wake, MaxLen: 1, Values: []any{"w", ""}})
		p.PExpire(ctx, r.wake, wakeLife)
		return nil
	})
	if err == nil {
		return // take has it from here
	}
	r.f.mu.Lock()
	r.waking = false
	r.f.mu.Unlock()
}

// run reads until ctx ends, or until there has been nothing to read for long.
func (r *reader) run(ctx context.Context) {
	pause := readPause
	for r.wanted(ctx) {
		began := time.Now()
		err := r.serve(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			continue // no streams at the moment
		}
		r.broke(err)
		if time.Since(began) > readPauseMost {
			pause = readPause
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
		}
		pause = min(2*pause, readPauseMost)
	}
}

// wanted waits for streams. It reports false when the reader has been given up, or
// ctx has ended.
func (r *reader) wanted(ctx context.Context) bool {
	for ctx.Err() == nil {
		r.f.mu.Lock()
		n := len(r.streams)
		r.f.mu.Unlock()
		if n > 0 {
			return true
		}
		select {
		case <-r.some:
		case <-ctx.Done():
		case <-time.After(readerIdle):
			r.f.mu.Lock()
			unused := len(r.streams) == 0
			if unused {
				r.f.readers = slices.DeleteFunc(r.f.readers, func(other *reader) bool { return other == r })
			}
			r.f.mu.Unlock()
			if unused {
				return false
			}
		}
	}
	return false
}

// broke says that nothing is read any more.
func (r *reader) broke(err error) {
	if r.f.cfg.Broken != nil {
		r.f.cfg.Broken(err)
	}
	for _, s := range r.take() {
		s.at = ""
		if s.Broke != nil {
			s.Broke()
		}
	}
	r.f.mu.Lock()
	r.waits = false
	r.f.mu.Unlock()
}

// take returns the streams. From then on it takes a wake to have others read.
func (r *reader) take() []*followed {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	all := make([]*followed, 0, len(r.streams))
	for _, s := range r.streams {
		if s.renew {
			s.at, s.renew = "", false
		}
		all = append(all, s)
	}
	r.waits, r.waking = len(all) > 0, false
	return all
}

// has reports whether the stream is still followed.
func (r *reader) has(s *followed) bool {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	return r.streams[s.Key] == s
}

// serve reads over one connection until that breaks or there are no streams.
func (r *reader) serve(ctx context.Context) error {
	options := r.f.options
	client := redis.NewClient(&options)
	stop := context.AfterFunc(ctx, func() { _ = client.Close() }) // ends the waiting
	defer func() {
		if stop() {
			_ = client.Close()
		}
	}()
	woken, largest := "0-0", usualBytes
	for {
		streams := r.take()
		if len(streams) == 0 {
			return nil
		}
		if err := begin(ctx, client, streams); err != nil {
			return err
		}
		args := []string{r.wake}
		ids := []string{woken}
		byKey := make(map[string]*followed, len(streams))
		for _, s := range streams {
			if s.at != "" {
				args, ids = append(args, s.Key), append(ids, s.at)
				byKey[s.Key] = s
			}
		}
		count := min(max(1, readBytes/(len(args)*largest)), readEntries)
		attempt, cancel := context.WithTimeout(ctx, readBlock+readSlack)
		answer, err := client.XRead(attempt, &redis.XReadArgs{Streams: append(args, ids...), Count: int64(count), Block: readBlock}).Result()
		cancel()
		if err != nil && !errors.Is(err, redis.Nil) {
			return fmt.Errorf("read streams: %w", err)
		}
		largest = max(1, largest-largest/8)
		for _, page := range answer {
			if len(page.Messages) == 0 {
				continue
			}
			last := page.Messages[len(page.Messages)-1].ID
			s := byKey[page.Stream]
			if s == nil {
				woken = last
				continue
			}
			if s.at = last; !r.has(s) {
				continue
			}
			for _, m := range page.Messages {
				largest = max(largest, size(m))
				s.Added(m)
			}
		}
	}
}

// endScript returns the id of the last entry of a stream, without the entry.
const endScript = `
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
return last and last[1] or '0-0'`

// begin finds where those streams end that aren't being read yet. One that is no
// stream holds up no other.
func begin(ctx context.Context, client *redis.Client, streams []*followed) error {
	var fresh []*followed
	var ends []*redis.Cmd
	ctx, cancel := context.WithTimeout(ctx, readBlock)
	defer cancel()
	pipe := client.Pipeline()
	for _, s := range streams {
		switch {
		case s.at != "" || time.Since(s.failed) < readBlock:
		case s.From != nil:
			s.at = s.From()
			s.Began()
		default:
			fresh, ends = append(fresh, s), append(ends, pipe.Eval(ctx, endScript, []string{s.Key}))
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	for i, s := range fresh {
		id, err := ends[i].Text()
		var refused redis.Error
		switch {
		case err == nil && strings.Contains(id, "-"):
			s.at = id
			s.Began()
		case err == nil, errors.As(err, &refused):
			s.failed = time.Now()
		default:
			return fmt.Errorf("find end of stream: %w", err)
		}
	}
	return nil
}

// size is about how many bytes an entry has.
func size(m redis.XMessage) int {
	n := len(m.ID)
	for name, v := range m.Values {
		text, _ := v.(string)
		n += len(name) + len(text)
	}
	return n
}
