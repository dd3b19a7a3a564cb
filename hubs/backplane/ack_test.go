package backplane

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/testenv"
)

// follow makes one Redis the replica of another and waits until it is.
func follow(t *testing.T, primary, replica string) {
	t.Helper()
	of, err := redis.ParseURL(primary)
	if err != nil {
		t.Fatal(err)
	}
	c, p := newClient(t, replica), newClient(t, primary)
	host, port, _ := strings.Cut(of.Addr, ":")
	if of.Password != "" {
		if err := c.ConfigSet(t.Context(), "masterauth", of.Password).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.ReplicaOf(t.Context(), host, port).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "replica", func() bool {
		info, err := p.InfoMap(background, "replication").Result()
		return err == nil && strings.Contains(info["Replication"]["slave0"], "state=online")
	})
}

func TestAck_replicated_with_a_replica_without_and_with_min_replicas(t *testing.T) {
	url := newRedis(t)
	replica, stop := testenv.StartRedis(t)
	client := newClient(t, url)
	follow(t, url, replica)
	r := process(t, url)
	h := r.Hub(tenant, hub, Settings{})
	publish := func(key string, ack hubs.Ack) (hubs.Position, error) {
		return h.Publish(t.Context(), say("p", 1), hubs.PublishOptions{IdempotencyKey: key, Ack: ack})
	}
	eventually(t, "publish with a replica", func() bool { // which may be slow
		first, err := publish("a", hubs.AckReplicated)
		return err == nil && first.Number == 1
	})
	if n := newClient(t, replica).XLen(t.Context(), h.(*hubBackplane).keys().Stream()).Val(); n != 1 {
		t.Errorf("the replica has %d entries", n)
	}

	stop()
	eventually(t, "primary without replica", func() bool {
		info, err := client.InfoMap(background, "replication").Result()
		return err == nil && info["Replication"]["connected_slaves"] == "0"
	})
	at, err := publish("b", hubs.AckReplicated)
	if !errors.Is(err, hubs.ErrNotReplicated) || !errors.Is(err, hubs.ErrOutcomeUnknown) {
		t.Fatalf("without a replica: %+v, %v", at, err)
	}
	// The outcome can be found out: it was accepted, and is still on no replica.
	again, err := publish("b", hubs.AckStream)
	if err != nil || !again.Duplicate || again.Number != 2 {
		t.Errorf("repeat: %+v, %v", again, err)
	}
	if _, err := publish("b", hubs.AckReplicated); !errors.Is(err, hubs.ErrNotReplicated) {
		t.Errorf("repeat that asks for a replica: %v", err)
	}

	// min-replicas-to-write refuses before anything is done, at any level.
	if err := client.ConfigSet(t.Context(), "min-replicas-to-write", "1").Err(); err != nil {
		t.Fatal(err)
	}
	for _, ack := range []hubs.Ack{hubs.AckStream, hubs.AckReplicated} {
		if at, err := publish("c", ack); !errors.Is(err, hubs.ErrNotReplicated) || errors.Is(err, hubs.ErrOutcomeUnknown) {
			t.Errorf("with min-replicas-to-write: %+v, %v", at, err)
		}
	}
	next, _ := testenv.StartRedis(t)
	follow(t, url, next)
	eventually(t, "publish with the new replica", func() bool {
		at, err := publish("c", hubs.AckReplicated)
		return err == nil && at.Number == 3
	})
}

// What is answered from memory alone is in the order of its publisher, and counted
// when it fails.
func TestAck_none(t *testing.T) {
	url := newRedis(t)
	client := newClient(t, url)
	r := process(t, url)
	n := newNode()
	subscribe(t, r, n)
	h := r.Hub(tenant, hub, Settings{})
	for i := range 100 {
		ack := hubs.AckNone
		if i%10 == 9 {
			ack = hubs.AckStream
		}
		if at, err := h.Publish(t.Context(), say("p", i+1), hubs.PublishOptions{Ack: ack}); err != nil || (ack == hubs.AckNone) != (at.Number == 0) {
			t.Fatalf("%+v, %v", at, err)
		}
	}
	inOrder(t, n.waitEntries(t, 100))
	if err := client.ConfigSet(t.Context(), "min-replicas-to-write", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Publish(t.Context(), say("p", 101), hubs.PublishOptions{Ack: hubs.AckNone}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "count", func() bool { return r.Stats().Unheard == 1 })
}

// Waiting for a replica takes a connection for as long. However many hubs a tenant
// publishes to like that, the pool is there for the others.
func TestAck_replicated_takes_few_connections_of_a_tenant(t *testing.T) {
	url := newRedis(t)
	client := newClient(t, url)
	r := process(t, url)
	done := make(chan struct{})
	var all sync.WaitGroup
	for i := range 24 {
		all.Go(func() {
			h := r.Hub(tenant, fmt.Sprint("hub", i), Settings{})
			for range 2 { // without a replica all of it is waited for
				if _, err := h.Publish(t.Context(), say("p", i), hubs.PublishOptions{Ack: hubs.AckReplicated}); !errors.Is(err, hubs.ErrOutcomeUnknown) && !errors.Is(err, hubs.ErrUnavailable) {
					t.Errorf("without a replica: %v", err) // whose turn never came knows that nothing was published
				}
			}
		})
	}
	go func() {
		all.Wait()
		close(done)
	}()
	most := 0
	for {
		info, err := client.InfoMap(t.Context(), "clients").Result()
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(info["Clients"]["blocked_clients"])
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, n)
		select {
		case <-done:
			if most == 0 || most > waitsOfTenant {
				t.Errorf("%d connections waited for replicas, the most are %d", most, waitsOfTenant)
			}
			return
		default:
		}
	}
}

// What waiting for replicas leaves in Redis ends by itself, also when nothing was
// published.
func TestAck_replicated_of_a_repeat_leaves_nothing_for_ever(t *testing.T) {
	url := newRedis(t)
	client := newClient(t, url)
	for i := range 2 {
		_, err := process(t, url).Hub(tenant, hub, Settings{}).Publish(t.Context(), say("p", 1), hubs.PublishOptions{IdempotencyKey: "k", Ack: hubs.AckReplicated})
		if !errors.Is(err, hubs.ErrNotReplicated) {
			t.Errorf("publish %d: %v", i, err)
		}
	}
	keys, err := client.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if k != redisclient.UsageHubs && client.PTTL(t.Context(), k).Val() < 0 { // that is one of all tenants
			t.Errorf("%s stays for ever", k)
		}
	}
}
