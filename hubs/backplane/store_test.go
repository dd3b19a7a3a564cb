package backplane

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
)

// A tenant that publishes as fast as it can doesn't fill Redis: it is refused while
// there is room for others, and Redis itself never is full.
func TestPublish_a_tenant_cannot_fill_redis(t *testing.T) {
	t.Parallel()
	url := newRedis(t)
	client, r := newClient(t, url), process(t, url)
	calm := r.Hub(calmTenant, hub, Settings{})
	for i := range 64 { // so that it is known what the tenant has
		if _, err := calm.Publish(t.Context(), say("calm", i+1), hubs.PublishOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	used := memoryOf(t, client, "used_memory")
	if err := client.ConfigSet(t.Context(), "maxmemory", fmt.Sprint(used+24<<20)).Err(); err != nil {
		t.Fatal(err)
	}
	r.measureRoom()
	var refused *hubs.OverloadError
	accepted := 0
	for ; refused == nil; accepted++ {
		h := r.Hub(tenant, fmt.Sprint("hub", accepted%3), Settings{})
		_, err := h.Publish(t.Context(), sized(60<<10), hubs.PublishOptions{})
		if err != nil && !errors.As(err, &refused) {
			t.Fatalf("after %d: %v", accepted, err)
		}
		if accepted > 24<<20/(60<<10) {
			t.Fatal("Redis takes more than it has")
		}
	}
	if refused.Code != codeFull || refused.Own || refused.RetryAfter <= 0 || !strings.Contains(refused.Text, "memory") {
		t.Errorf("got %+v", refused)
	}
	if accepted < 24 {
		t.Errorf("refused after %d messages of 60 KiB, with room for 24 MiB", accepted)
	}
	for i := range 200 {
		if _, err := calm.Publish(t.Context(), say("calm", i+1), hubs.PublishOptions{}); err != nil {
			t.Fatalf("another tenant, publish %d: %v", i, err)
		}
	}
	if full := r.Stats().Full; full == 0 {
		t.Error("no refusal is counted")
	}
	if err := client.ConfigSet(t.Context(), "maxmemory", fmt.Sprint(used+200<<20)).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "room for the first tenant", func() bool {
		_, err := r.Hub(tenant, hub, Settings{}).Publish(t.Context(), sized(60<<10), hubs.PublishOptions{})
		if err != nil && !errors.As(err, &refused) {
			t.Fatal(err)
		}
		return err == nil
	})
}

// When hardly anything is left everybody is refused, before Redis does it.
func TestPublish_is_refused_before_redis_is_full(t *testing.T) {
	t.Parallel()
	url := newRedis(t)
	client, r := newClient(t, url), process(t, url)
	publish(t, r, say("first", 1))
	if err := client.ConfigSet(t.Context(), "maxmemory", fmt.Sprint(memoryOf(t, client, "used_memory")*100/101)).Err(); err != nil {
		t.Fatal(err)
	}
	r.measureRoom()
	var refused *hubs.OverloadError
	if _, err := r.Hub(calmTenant, hub, Settings{}).Publish(t.Context(), say("calm", 1), hubs.PublishOptions{}); !errors.As(err, &refused) || refused.Code != codeFull {
		t.Errorf("got %v", err)
	}
}

func memoryOf(t *testing.T, client *redis.Client, name string) int64 {
	t.Helper()
	info, err := client.InfoMap(t.Context(), "memory").Result()
	if err != nil {
		t.Fatal(err)
	}
	var n int64
	if _, err := fmt.Sscan(info["Memory"][name], &n); err != nil {
		t.Fatal(err)
	}
	return n
}
