package backplane

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/internal/turns"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

const calmTenant = tenants.ID("01JCTENANT000000000000000B")

// sized is a message of so many bytes.
func sized(n int) *hubs.Entry {
	arguments := fmt.Appendf(nil, `["%s"]`, bytes.Repeat([]byte("x"), n))
	return &hubs.Entry{Kind: hubs.SendToAll, Message: &hubs.Broadcast{Target: "say", Arguments: protocol.Raw{Bytes: arguments}}}
}

// occupy takes all places of a process's round trips until it is told to leave.
func occupy(t *testing.T, r *Redis) (leave func()) {
	t.Helper()
	var others [2]turns.Party
	for i := range roundTrips {
		if _, err := r.turns.Enter(t.Context(), &others[i%2], turns.Free); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		for i := range roundTrips {
			r.turns.Leave(&others[i%2], 0, 0)
		}
	}
}

// Order of service: what one tenant publishes to many hubs isn't done before
// another's single message, which came last. The times are those of Redis.
func TestPublish_is_not_behind_the_backlog_of_another_tenant(t *testing.T) {
	t.Parallel()
	url := newRedis(t)
	client, r := newClient(t, url), process(t, url)
	publish(t, r, say("first", 1)) // Redis has the script
	const loudHubs, each = 24, 16
	var at hubs.Position
	attempt := 0
	for ; at.Number == 0; attempt++ { // again when the machine stood still until all was too late
		leave := occupy(t, r)
		for n := range loudHubs * each {
			h := r.Hub(tenant, fmt.Sprintf("loud%d-%d", attempt, n%loudHubs), Settings{})
			if _, err := h.(hubs.Pipeline).Begin(t.Context(), sized(30<<10), hubs.PublishOptions{}, false); err != nil {
				t.Fatal(err)
			}
		}
		calm, err := r.Hub(calmTenant, hub, Settings{}).(hubs.Pipeline).Begin(t.Context(), say("calm", 1), hubs.PublishOptions{}, false)
		if err != nil {
			t.Fatal(err)
		}
		leave()
		if at, err = calm.Accepted(t.Context()); err != nil && !errors.Is(err, hubs.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	stream, err := client.XRevRangeN(t.Context(), redisclient.Hub(calmTenant, hub).Stream(), "+", "-", 1).Result()
	if err != nil || len(stream) != 1 || !strings.HasSuffix(stream[0].ID, "-"+strconv.FormatUint(at.Number, 10)) {
		t.Fatalf("got %v, %v", stream, err)
	}
	ms, _, _ := strings.Cut(stream[0].ID, "-")
	now, err := strconv.ParseInt(ms, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	before := 0
	for n := range loudHubs {
		key := redisclient.Hub(tenant, fmt.Sprintf("loud%d-%d", attempt-1, n)).Stream()
		list, err := client.XRange(t.Context(), key, "-", strconv.FormatInt(now-1, 10)).Result()
		if err != nil {
			t.Fatal(err)
		}
		before += len(list)
	}
	// 2 MiB may be under way for a tenant, and turns are of 128 KiB.
	if most := 6 * each; before > most {
		t.Errorf("%d messages of another tenant's %d came before, want %d at most", before, loudHubs*each, most)
	}
}

func TestPublish_refuses_a_tenants_backlog(t *testing.T) {
	t.Parallel()
	r := process(t, newRedis(t))
	defer occupy(t, r)()
	var refused *hubs.OverloadError
	n := 0
	for refused == nil {
		h := r.Hub(tenant, fmt.Sprint("hub", n%8), Settings{}).(hubs.Pipeline)
		if _, err := h.Begin(t.Context(), sized(1<<20), hubs.PublishOptions{}, false); err != nil && !errors.As(err, &refused) {
			t.Fatal(err)
		}
		if n++; n > 100 {
			t.Fatal("everything was taken in")
		}
	}
	if refused.Code != codeBacklog || !refused.Own || refused.RetryAfter <= 0 || !strings.Contains(refused.Text, "32 MiB") {
		t.Errorf("got %+v", refused)
	}
	if n < 28 {
		t.Errorf("%d MiB were taken in, want nearly 32", n-1)
	}
	if _, err := r.Hub(calmTenant, hub, Settings{}).(hubs.Pipeline).Begin(t.Context(), say("calm", 1), hubs.PublishOptions{}, false); err != nil {
		t.Errorf("another tenant: %v", err)
	}
}
