package redisclient_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
