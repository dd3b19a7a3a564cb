package redisclient_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/testenv"
)

func TestBatch(t *testing.T) {
	t.Parallel()
	client, err := redisclient.New(testenv.Redis(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	b := redisclient.NewBatch(client)
	t.Run("every caller gets its own answers, and its own errors", func(t *testing.T) {
		t.Parallel()
		var all sync.WaitGroup
		for i := range 500 {
			all.Go(func() {
				key, value := fmt.Sprint("batch:", i), fmt.Sprint("value ", i)
				set := redis.NewStatusCmd(t.Context(), "set", key, value)
				wrong := redis.NewIntCmd(t.Context(), "lpush", key, "x")
				get := redis.NewStringCmd(t.Context(), "get", key)
				none := redis.NewStringCmd(t.Context(), "get", key+":none")
				if err := b.Do(t.Context(), set, wrong, get, none); err != nil {
					t.Error(err)
					return
				}
				if set.Err() != nil || get.Val() != value || !redis.HasErrorPrefix(wrong.Err(), "WRONGTYPE") || !errors.Is(none.Err(), redis.Nil) {
					t.Errorf("call %d: %v, %v, %v, %v", i, set, wrong, get, none)
				}
			})
		}
		all.Wait()
	})
	t.Run("a caller that gives up holds up nobody", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.Do(ctx, redis.NewStatusCmd(ctx, "ping")); !errors.Is(err, context.Canceled) {
			t.Errorf("given up: %v", err)
		}
		ping := redis.NewStatusCmd(t.Context(), "ping")
		if err := b.Do(t.Context(), ping); err != nil || ping.Val() != "PONG" {
			t.Errorf("then: %v, %v", ping, err)
		}
	})
	t.Run("calls that come while a round trip is under way share the next", func(t *testing.T) {
		t.Parallel()
		own := redis.NewClient(client.Options())
		defer own.Close()
		trips := trips{began: make(chan struct{}), end: make(chan struct{})}
		own.AddHook(&trips)
		paced := redisclient.NewPacedBatch(own, time.Hour, 2)
		paced.Patient()
		ping := func() {
			if err := paced.Do(t.Context(), redis.NewStatusCmd(t.Context(), "ping")); err != nil {
				t.Error(err)
			}
		}
		var first, others sync.WaitGroup
		first.Go(ping)
		<-trips.began
		for range 128 { // as many as one carries: it doesn't wait for its time
			others.Go(ping)
		}
		others.Wait()
		close(trips.end)
		first.Wait()
		if n := trips.Load(); n != 2 {
			t.Errorf("%d round trips", n)
		}
	})
	t.Run("who carries a round trip shares what comes meanwhile, and waits for it", func(t *testing.T) {
		t.Parallel()
		own := redis.NewClient(client.Options())
		defer own.Close()
		trips := trips{began: make(chan struct{}), end: make(chan struct{})}
		own.AddHook(&trips)
		b := redisclient.NewBatch(own)
		b.Patient()
		ctx, giveUp := context.WithCancel(t.Context())
		var all sync.WaitGroup
		ping := func(ctx context.Context) {
			status := redis.NewStatusCmd(t.Context(), "ping")
			if err := b.Carry(ctx, status); err != nil || status.Val() != "PONG" {
				t.Errorf("%v, %v", err, status)
			}
		}
		all.Go(func() { ping(ctx) })
		<-trips.began
		giveUp() // what was sent has its answer all the same
		for range 8 {
			all.Go(func() { ping(t.Context()) })
		}
		close(trips.end)
		all.Wait()
		if n := trips.Load(); n > 9 {
			t.Errorf("%d round trips", n)
		}
	})
	t.Run("round trips keep their distance where none is under way", func(t *testing.T) {
		t.Parallel()
		own := redis.NewClient(client.Options())
		defer own.Close()
		trips := trips{began: make(chan struct{}), end: make(chan struct{})}
		own.AddHook(&trips)
		const full = 16
		spaced := redisclient.NewSpacedBatch(own, time.Hour, 2, full)
		spaced.Patient()
		ping := func() {
			if err := spaced.Do(t.Context(), redis.NewStatusCmd(t.Context(), "ping")); err != nil {
				t.Error(err)
			}
		}
		rush := func() {
			t.Helper()
			before := trips.Load()
			var others sync.WaitGroup
			for range full { // it doesn't wait for its time then
				others.Go(ping)
			}
			others.Wait()
			if n := trips.Load() - before; n != 1 {
				t.Errorf("%d round trips", n)
			}
		}
		var first sync.WaitGroup
		first.Go(ping)
		<-trips.began
		rush() // while it is under way
		close(trips.end)
		first.Wait()
		rush() // while none is
		if n := trips.Load(); n != 3 {
			t.Errorf("%d round trips", n)
		}
	})
	t.Run("who asks for one thing after the other waits for nobody", func(t *testing.T) {
		t.Parallel()
		spaced := redisclient.NewSpacedBatch(client, time.Hour, 2, 16)
		spaced.Patient()
		for range 100 {
			if err := spaced.Do(t.Context(), redis.NewStatusCmd(t.Context(), "ping")); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("what its caller has given up is not sent, and no more waits than may", func(t *testing.T) {
		t.Parallel()
		own := redis.NewClient(client.Options())
		defer own.Close()
		trips := trips{began: make(chan struct{}), end: make(chan struct{})}
		own.AddHook(&trips)
		held := redisclient.NewBatch(own)
		held.Patient()
		var first sync.WaitGroup
		first.Go(func() { _ = held.Do(t.Context(), redis.NewStatusCmd(t.Context(), "ping")) })
		<-trips.began
		ctx, giveUp := context.WithCancel(t.Context())
		const most = 64 * 128
		ends := make(chan error, most+1)
		for range most + 1 {
			go func() { ends <- held.Do(ctx, redis.NewIntCmd(ctx, "incr", "batch:given up")) }()
		}
		if err := <-ends; !errors.Is(err, redisclient.ErrBatchFull) {
			t.Errorf("one more than may wait: %v", err)
		}
		giveUp()
		for range most {
			if err := <-ends; !errors.Is(err, context.Canceled) {
				t.Fatalf("who has given up: %v", err)
			}
		}
		ask := func() int64 {
			n := redis.NewIntCmd(t.Context(), "exists", "batch:given up")
			if err := held.Do(t.Context(), n); err != nil {
				t.Error(err)
			}
			return n.Val()
		}
		var waits sync.WaitGroup
		waits.Go(func() { ask() }) // there is room again, and nothing before it is sent
		close(trips.end)
		waits.Wait()
		first.Wait()
		if n := ask(); n != 0 {
			t.Error("what was given up was sent")
		}
	})
	t.Run("a round trip that hangs holds up nobody", func(t *testing.T) {
		t.Parallel()
		own := redis.NewClient(client.Options())
		defer own.Close()
		trips := trips{began: make(chan struct{}), end: make(chan struct{})}
		own.AddHook(&trips)
		b := redisclient.NewBatch(own)
		var first sync.WaitGroup
		first.Go(func() { _ = b.Do(t.Context(), redis.NewStatusCmd(t.Context(), "ping")) })
		<-trips.began
		time := redis.NewTimeCmd(t.Context(), "time")
		if err := b.Do(t.Context(), time); err != nil || time.Err() != nil {
			t.Errorf("%v, %v", err, time)
		}
		close(trips.end)
		first.Wait()
	})
	t.Run("the end of what was given up under way is nobody else's", func(t *testing.T) {
		t.Parallel()
		for range 20 {
			own := redis.NewClient(client.Options())
			defer own.Close()
			trips := trips{began: make(chan struct{}), end: make(chan struct{})}
			own.AddHook(&trips)
			held := redisclient.NewPacedBatch(own, time.Hour, 1)
			held.Patient()
			ctx, giveUp := context.WithCancel(t.Context())
			given := make(chan error)
			go func() { given <- held.Do(ctx, redis.NewStatusCmd(t.Context(), "ping")) }()
			<-trips.began
			giveUp()
			if err := <-given; !errors.Is(err, context.Canceled) {
				t.Errorf("who has given up: %v", err)
			}
			var others sync.WaitGroup
			for range 32 {
				others.Go(func() {
					status := redis.NewStatusCmd(t.Context(), "ping")
					if err := held.Do(t.Context(), status); err != nil || status.Val() != "PONG" {
						t.Errorf("%v, %v", err, status)
					}
				})
			}
			close(trips.end)
			others.Wait()
		}
	})
	t.Run("a script that Redis doesn't know is carried out once", func(t *testing.T) {
		t.Parallel()
		count := redis.NewScript("return redis.call('INCR', KEYS[1]) + ARGV[1]")
		for i := range int64(2) {
			c, err := b.Script(t.Context(), count, []string{"batch:script"}, 10)
			if err != nil || c.Val() != 11+i {
				t.Errorf("call %d: %v, %v", i, c, err)
			}
		}
	})
	t.Run("without Redis each call has the error", func(t *testing.T) {
		t.Parallel()
		gone := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", DialTimeout: time.Second, MaxRetries: -1})
		defer gone.Close()
		ping := redis.NewStatusCmd(t.Context(), "ping")
		if err := redisclient.NewBatch(gone).Do(t.Context(), ping); err != nil || ping.Err() == nil {
			t.Errorf("%v, %v", err, ping)
		}
	})
}

// trips counts round trips with pings; opening a connection is another. It tells of the
// first, and holds it up.
type trips struct {
	atomic.Int64
	began, end chan struct{}
}

func (*trips) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (n *trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if cmds[0].Name() == "ping" {
			if n.Add(1) == 1 {
				close(n.began)
				<-n.end
			}
		}
		return next(ctx, cmds)
	}
}
