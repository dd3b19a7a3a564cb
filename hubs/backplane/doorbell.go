package backplane

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
)

// doorbell is one Pub/Sub connection and the feeds that listen on it. A broken
// connection is replaced as a whole; each confirmed subscription on the new one
// makes its feed read the stream, so nothing that was missed stays missed.
//
// With Config.StreamsOnly the feeds are told of what a follower reads of their
// streams instead, and it all holds of its readers.
type doorbell struct {
	r       *Redis
	streams *redisclient.Follower // nil: Pub/Sub

	mu     sync.Mutex
	conn   *redis.PubSub // nil while there is none
	feeds  map[string]*feed
	expect map[string]int // SUBSCRIBEs on conn that are not confirmed yet
	wake   chan struct{}  // holds one: the first feed came
}

const (
	reconnectBase = 50 * time.Millisecond
	reconnectMost = 2 * time.Second
)

func newDoorbell(r *Redis, name string) (*doorbell, error) {
	d := &doorbell{r: r, feeds: make(map[string]*feed), expect: make(map[string]int), wake: make(chan struct{}, 1)}
	if !r.cfg.StreamsOnly {
		return d, nil
	}
	var err error
	d.streams, err = redisclient.NewFollower(redisclient.FollowerConfig{Redis: r.client, Name: name, Broken: func(err error) {
		r.stats.reconnects.Add(1)
		r.log.Warn("hub streams are not read", "error", err)
		r.health.report(err)
	}})
	return d, err
}

// run keeps a connection up while there are feeds, until the backplane closes.
func (d *doorbell) run() {
	if d.streams != nil {
		d.streams.Run(d.r.ctx)
		return
	}
	pause, first := reconnectBase, true
	for d.r.ctx.Err() == nil {
		conn, err := d.connect()
		if err == nil && conn == nil {
			select {
			case <-d.wake:
			case <-d.r.ctx.Done():
			}
			continue
		}
		if err == nil {
			if !first {
				d.r.stats.reconnects.Add(1)
			}
			first = false
			began := time.Now()
			err = d.r.receive(conn, d.ring, d.confirm)
			if time.Since(began) > reconnectMost {
				pause = reconnectBase
			}
		}
		d.disconnect()
		if d.r.ctx.Err() != nil {
			return
		}
		d.r.log.Warn("doorbell connection lost", "error", err)
		d.r.health.report(err)
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-d.r.ctx.Done():
		}
		pause = min(2*pause, reconnectMost)
	}
}

// connect opens a connection for all feeds; it returns nil when there are none.
func (d *doorbell) connect() (*redis.PubSub, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.feeds) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(d.r.ctx, attemptPatience)
	defer cancel()
	d.conn = d.r.client.Subscribe(d.r.ctx)
	clear(d.expect)
	for channels := range slices.Chunk(slices.Collect(maps.Keys(d.feeds)), 256) {
		if err := d.conn.Subscribe(ctx, channels...); err != nil {
			return nil, fmt.Errorf("subscribe: %w", err)
		}
		for _, c := range channels {
			d.expect[c] = 1
		}
	}
	return d.conn, nil
}

func (d *doorbell) disconnect() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != nil {
		_ = d.conn.Close() // it is broken or no longer wanted
		d.conn = nil
	}
}

func (d *doorbell) ring(channel, payload string) {
	d.knock(channel, payload, position{})
}

// knock is ring for what was sent when the hub was at a position, or beyond.
func (d *doorbell) knock(channel, payload string, behind position) {
	d.mu.Lock()
	f := d.feeds[channel]
	d.mu.Unlock()
	if f != nil {
		f.ring(payload, behind)
		return
	}
	// The last node left while this was on its way: whoever waits for answers
	// counted this process.
	if reply, list, ok := replyTo(payload); ok && list {
		d.r.replies.answerList(reply, hubs.Page{})
	} else if ok {
		d.r.replies.answer(reply, 0)
	}
}

// confirm wakes the feed when its newest SUBSCRIBE is confirmed.
func (d *doorbell) confirm(m *redis.Subscription) {
	if m.Kind != "subscribe" {
		return
	}
	d.mu.Lock()
	d.expect[m.Channel]--
	live := d.expect[m.Channel] <= 0
	if live {
		delete(d.expect, m.Channel)
	}
	f := d.feeds[m.Channel]
	d.mu.Unlock()
	if live && f != nil {
		f.subscribed()
	}
}

// follow adds n to the feed of a hub and subscribes when it is the first.
func (d *doorbell) follow(id hubID, channel string, n hubs.Node) *feed {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.feeds[channel]
	if f != nil {
		f.join(n)
		return f
	}
	f = newFeed(d.r, id, n)
	d.feeds[channel] = f
	d.r.stats.followed.Add(1)
	if d.streams != nil {
		d.streams.Follow(redisclient.Followed{Key: f.keys.Stream(), Began: f.subscribed, Added: f.added})
		return f
	}
	if d.conn == nil {
		select {
		case d.wake <- struct{}{}:
		default:
		}
		return f
	}
	d.expect[channel]++
	ctx, cancel := context.WithTimeout(d.r.ctx, attemptPatience)
	defer cancel()
	if err := d.conn.Subscribe(ctx, channel); err != nil {
		_ = d.conn.Close() // run notices and everything is subscribed anew
	}
	return f
}

// unfollow takes n off f and unsubscribes when it was the last.
func (d *doorbell) unfollow(channel string, f *feed, n hubs.Node) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.leave(n) > 0 || d.feeds[channel] != f {
		return
	}
	delete(d.feeds, channel)
	f.forget()
	d.r.stats.followed.Add(-1)
	d.r.start(func() { d.signOff(channel, f.keys) })
	if d.streams != nil {
		d.streams.Unfollow(f.keys.Stream())
	}
	if d.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(d.r.ctx, attemptPatience)
	defer cancel()
	if err := d.conn.Unsubscribe(ctx, channel); err != nil {
		_ = d.conn.Close()
	}
}

// followed returns the feeds.
func (d *doorbell) followed() []*feed {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Values(d.feeds))
}
