package redisclient_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/testenv"
)

// patience bounds every wait for an event.
const patience = 20 * time.Second

// heard is what a test is told of streams.
type heard struct {
	mu      sync.Mutex
	began   map[string]int
	broke   map[string]int
	entries map[string][]string
}

func newHeard() *heard {
	return &heard{began: make(map[string]int), broke: make(map[string]int), entries: make(map[string][]string)}
}

func (h *heard) of(key string) redisclient.Followed {
	note := func(f func()) {
		h.mu.Lock()
		defer h.mu.Unlock()
		f()
	}
	return redisclient.Followed{
		Key:   key,
		Began: func() { note(func() { h.began[key]++ }) },
		Broke: func() { note(func() { h.broke[key]++ }) },
		Added: func(m redis.XMessage) {
			note(func() { h.entries[key] = append(h.entries[key], m.Values["v"].(string)) })
		},
	}
}

// said is what a stream has told.
func (h *heard) said(key string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.entries[key], " ")
}

// wait returns once holds does.
func (h *heard) wait(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		h.mu.Lock()
		ok := holds()
		h.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %s within %v", what, patience)
		}
	}
}

// following runs a follower until the test ends, and then checks that it has ended.
func following(t *testing.T, url string) (*redisclient.Follower, *redis.Client) {
	t.Helper()
	client, err := redisclient.New(url, "test")
	if err != nil {
		t.Fatal(err)
	}
	f, err := redisclient.NewFollower(redisclient.FollowerConfig{Redis: client, Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { f.Run(ctx); close(done) }()
	t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(patience):
			t.Error("the follower doesn't end")
		}
		f.Follow(redisclient.Followed{Key: "late"}) // is nobody's
		_ = client.Close()
	})
	return f, client
}

func add(t *testing.T, c *redis.Client, key, v string) {
	t.Helper()
	if err := c.XAdd(t.Context(), &redis.XAddArgs{Stream: key, Values: []any{"v", v}}).Err(); err != nil {
		t.Fatal(err)
	}
}

// readers is how many connections read.
func readers(t *testing.T, c *redis.Client) []string {
	t.Helper()
	list, err := c.ClientList(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	return testenv.Readers(list)
}

// Streams that come while others are waited for are read at once, each from where it
// ended, in order, by few connections; those that are left bring nothing more.
func TestFollower_reads_many_streams(t *testing.T) {
	t.Parallel()
	f, client := following(t, testenv.Redis(t))
	h := newHeard()
	const streams = 2*redisclient.StreamsPerReader + 5
	key := func(i int) string { return fmt.Sprint("stream", i) }
	add(t, client, key(0), "before")
	for i := range streams {
		f.Follow(h.of(key(i)))
		if i%32 == 0 {
			h.wait(t, "beginning", func() bool { return h.began[key(i)] == 1 })
		}
	}
	for i := range streams {
		h.wait(t, "beginning", func() bool { return h.began[key(i)] == 1 })
		for n := range 3 {
			add(t, client, key(i), fmt.Sprint(n))
		}
	}
	for i := range streams {
		h.wait(t, "three entries", func() bool { return len(h.entries[key(i)]) >= 3 })
		if got := h.said(key(i)); got != "0 1 2" {
			t.Errorf("stream %d: %s", i, got)
		}
	}
	h.wait(t, "three readers", func() bool { return len(readers(t, client)) == 3 })

	f.Unfollow(key(1))
	add(t, client, key(1), "unheard")
	f.Follow(h.of("after"))
	h.wait(t, "beginning of another", func() bool { return h.began["after"] == 1 })
	add(t, client, "after", "all")
	h.wait(t, "entry", func() bool { return len(h.entries["after"]) == 1 })
	if got := h.said(key(1)); got != "0 1 2" {
		t.Errorf("of a stream that isn't followed: %s", got)
	}
}

// A connection that breaks is told; what comes after reading has begun anew is heard.
func TestFollower_begins_anew_behind_a_lost_connection(t *testing.T) {
	t.Parallel()
	f, client := following(t, testenv.Redis(t))
	h := newHeard()
	f.Follow(h.of("s"))
	h.wait(t, "beginning", func() bool { return h.began["s"] == 1 })
	for round := range 3 {
		h.wait(t, "reader", func() bool { return len(readers(t, client)) == 1 })
		if err := client.ClientKillByFilter(t.Context(), "ID", readers(t, client)[0]).Err(); err != nil {
			t.Fatal(err)
		}
		h.wait(t, "new beginning", func() bool { return h.began["s"] == round+2 && h.broke["s"] == round+1 })
		add(t, client, "s", "heard")
		h.wait(t, "entry", func() bool { return len(h.entries["s"]) == round+1 })
	}
}

// A key that is no stream holds up no other; one whose ids have gone back is read
// from its end when that is asked for.
func TestFollower_of_keys_that_are_no_streams_and_ids_that_go_back(t *testing.T) {
	t.Parallel()
	f, client := following(t, testenv.Redis(t))
	h := newHeard()
	if err := client.Set(t.Context(), "text", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	f.Follow(h.of("text"))
	f.Follow(h.of("s"))
	h.wait(t, "beginning", func() bool { return h.began["s"] == 1 })
	put := func(id, v string) {
		t.Helper()
		if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: "s", ID: id, Values: []any{"v", v}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	put("9-9", "high")
	h.wait(t, "entry", func() bool { return len(h.entries["s"]) == 1 })
	if err := client.Del(t.Context(), "s").Err(); err != nil {
		t.Fatal(err)
	}
	f.Renew("s")
	h.wait(t, "new beginning", func() bool { return h.began["s"] == 2 })
	put("1-1", "low")
	h.wait(t, "entry with a lower id", func() bool { return len(h.entries["s"]) == 2 })
	if err := client.Del(t.Context(), "text").Err(); err != nil {
		t.Fatal(err)
	}
	h.wait(t, "beginning of what is a stream now", func() bool { return h.began["text"] == 1 })
}

// A connection that swallows everything is given up.
func TestFollower_gives_up_a_dead_connection(t *testing.T) {
	t.Parallel()
	url := testenv.Redis(t)
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	f, _ := following(t, strings.Replace(url, o.Addr, mute.Addr().String(), 1))
	h := newHeard()
	f.Follow(h.of("s"))
	first, err := mute.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := mute.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	h.wait(t, "end", func() bool { return h.broke["s"] > 0 })
}

func TestNewFollower_wants_one_server_and_a_name(t *testing.T) {
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}})
	defer cluster.Close()
	client, err := redisclient.New("redis://127.0.0.1:1", "test")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for want, cfg := range map[string]redisclient.FollowerConfig{"one server": {Redis: cluster, Name: "x"}, "Name": {Redis: client}} {
		if _, err := redisclient.NewFollower(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v doesn't name %s", err, want)
		}
	}
}
