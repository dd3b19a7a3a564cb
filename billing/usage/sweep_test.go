package usage

import (
	"context"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// published does what the publish script does for totals, in a minute after one that
// another total was counted in. The total of the minute that is counted is in the head;
// beside it may be one of before a clock went back.
func published(t *testing.T, client *redis.Client, tenant tenants.ID, hub, epoch string, minute time.Time, total int64) {
	t.Helper()
	keys := redisclient.Hub(tenant, hub)
	for _, err := range []error{
		client.ZAdd(t.Context(), redisclient.UsageHubs, redis.Z{Score: float64(minute.Unix() / 60), Member: redisclient.UsageHub(tenant, hub, "")}).Err(),
		client.HSet(t.Context(), keys.Head(), "epoch", epoch, "at", head(minute.Unix()/60, total)).Err(),
		client.HSet(t.Context(), keys.Accepted(), minute.Unix()/60-1, total+100, minute.Unix()/60, total-1).Err(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func head(minute, total int64) []byte {
	var data []byte
	for _, v := range []int64{0, 0, 0, 0, minute, total} {
		data = binary.BigEndian.AppendUint64(data, uint64(v))
	}
	return data
}

func TestSweep_commits_totals_that_no_edge_told(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	l := newLedger()
	var told []tenants.ID
	s := NewSweeper(client, l, func(_ context.Context, ids []tenants.ID) { told = append(told, ids...) }, quiet())
	sweep := func() {
		t.Helper()
		if err := s.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	sweep() // nothing is there
	now := time.Now().UTC().Truncate(time.Minute)
	key := acceptedKey{hubKey{acme, "chat"}, "e1", now.Unix()}
	published(t, client, acme, "chat", "e1", now, 7)
	published(t, client, other, "chat", "e9", now, 1)
	published(t, client, other, "old", "e9", now.Add(-sweepBack-2*time.Minute), 5)
	if _, err := l.Commit(t.Context(), Flush{EdgeRun: "edge", Sequence: 1, SentAt: now, Accepted: []Counter{{Tenant: acme, Hub: "chat", Epoch: "e1", Minute: now, Total: 6}}}); err != nil {
		t.Fatal(err)
	}
	sweep()
	if got := l.totals[key]; got != 7 {
		t.Errorf("total = %d, want 7", got)
	}
	before := key
	before.minute -= 60
	if got := l.totals[before]; got != 107 {
		t.Errorf("total of the minute before = %d, want 107", got)
	}
	if slices.Sort(told); !slices.Equal(told, []tenants.ID{acme, other}) {
		t.Errorf("told of %v", told)
	}
	commits := len(l.flushes)
	sweep()
	if len(l.flushes) != commits {
		t.Error("a sweep without news commits something")
	}
	published(t, client, acme, "chat", "e2", now, 2) // Redis lost the hub
	sweep()
	if l.totals[key] != 7 || l.totals[acceptedKey{hubKey{acme, "chat"}, "e2", now.Unix()}] != 2 {
		t.Errorf("totals = %v", l.totals)
	}
	if err := client.Del(t.Context(), redisclient.Hub(acme, "chat").Head()).Err(); err != nil {
		t.Fatal(err)
	}
	sweep()
}

func TestSweep_tries_again_what_was_not_committed(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	l := newLedger()
	l.fail = context.DeadlineExceeded
	s := NewSweeper(client, l, nil, quiet())
	now := time.Now().UTC().Truncate(time.Minute)
	published(t, client, acme, "chat", "e1", now, 3)
	if err := s.Sweep(t.Context()); err == nil {
		t.Fatal("nothing is said of a ledger that is away")
	}
	l.fail = nil
	if err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := l.totals[acceptedKey{hubKey{acme, "chat"}, "e1", now.Unix()}]; got != 3 {
		t.Errorf("total = %d, want 3", got)
	}
}
