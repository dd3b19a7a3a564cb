package backplane

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
)

// What indexes take in Redis is bounded by what the stream holds, however many
// groups are sent to and however quickly the stream is trimmed.
func TestGroupIndex_is_bounded_by_the_stream(t *testing.T) {
	url := newRedis(t)
	client := newClient(t, url)
	h := process(t, url).Hub(tenant, hub, Settings{GroupIndex: true, Messages: 200})
	publish := func(n int, group func(i int) string) {
		t.Helper()
		var wg sync.WaitGroup
		slots := make(chan struct{}, 256)
		for i := range n {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				if _, err := h.Publish(t.Context(), to(group(i), i), hubs.PublishOptions{}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	publish(4000, func(int) string { return "once" })
	publish(4000, func(i int) string { return fmt.Sprint("of-many-", i) })

	keys, err := client.Keys(t.Context(), "*"+string(tenant)+"/"+hub+"*").Result()
	if err != nil {
		t.Fatal(err)
	}
	stream := redisclient.Hub(tenant, hub).Stream()
	indexes, ids := 0, int64(0)
	for _, k := range keys {
		if typ := client.Type(t.Context(), k).Val(); typ == "stream" && k != stream {
			indexes++
			ids += client.XLen(t.Context(), k).Val()
		}
	}
	kept := client.XLen(t.Context(), stream).Val()
	// Each may have one node of a stream, 100 ids, that isn't full yet.
	if indexes > 256 || ids > kept+256*100/2 || client.XLen(t.Context(), redisclient.Hub(tenant, hub).GroupIndex("once")).Val() > 200 {
		t.Errorf("%d indexes with %d ids for %d entries, %d of them of the first group", indexes, ids, kept,
			client.XLen(t.Context(), redisclient.Hub(tenant, hub).GroupIndex("once")).Val())
	}
	// And they still find what there is.
	for _, group := range []string{"once", "of-many-3999", "of-many-3990", "of-many-1"} {
		var want int
		every, err := all(t, h.(hubs.Historian), hubs.HistoryQuery{Select: hubs.Selection{Every: true}, Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range every {
			if strings.Join(e.Groups, "") == group {
				want++
			}
		}
		got, err := all(t, h.(hubs.Historian), hubs.HistoryQuery{Select: hubs.Selection{Groups: []string{group}}, Limit: 100})
		if err != nil || len(got) != want {
			t.Errorf("%s: %d entries, want %d: %v", group, len(got), want, err)
		}
	}
}
