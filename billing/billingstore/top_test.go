package billingstore_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/billing"
	"github.com/signalbox/signalbox/billing/usage"
	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/tenants"
)

// TestForget_of_a_deleted_tenant: what edges hand in after the end is forgotten,
// except for the ledger.
func TestForget_of_a_deleted_tenant(t *testing.T) {
	t.Parallel()
	s, pool := newStore(t)
	ctx := everywhere(t)
	if _, err := pool.Exec(ctx, "UPDATE tenants SET status = 'deleted', deleted_at = $1 WHERE id = 't1'", noon); err != nil {
		t.Fatal(err)
	}
	f := usage.Flush{EdgeRun: "edge", Sequence: 1, SentAt: noon}
	for _, id := range []tenants.ID{"t1", "t2"} {
		f.Accepted = append(f.Accepted, usage.Counter{Tenant: id, Hub: "chat", Epoch: "e", Minute: noon, Total: 3})
		f.Attributed = append(f.Attributed, usage.Attribution{Tenant: id, Minute: noon, Dimension: usage.ByUser, Value: "ann", Accepted: 3})
	}
	if _, err := s.Commit(ctx, f); err != nil {
		t.Fatal(err)
	}
	if err := s.Forget(ctx, noon.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	for table, want := range map[string][]string{"usage_top": {"t2"}, "usage_hubs": {"t2"}, "usage_open": {"t1", "t2"}} {
		rows, _ := pool.Query(ctx, "SELECT DISTINCT tenant_id FROM "+table+" ORDER BY 1")
		if left, err := pgx.CollectRows(rows, pgx.RowTo[string]); err != nil || !slices.Equal(left, want) {
			t.Errorf("%s has rows of %v, %v; want %v", table, left, err, want)
		}
	}
}

func TestTop_adds_up_to_what_was_accepted(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	clock := noon.Add(2 * time.Minute)
	service := billing.NewService(s, func() time.Time { return clock })
	f := usage.Flush{EdgeRun: "edge", Sequence: 1, SentAt: noon, Accepted: []usage.Counter{
		{Tenant: "t1", Hub: "chat", Epoch: "e", Minute: noon, Total: 600}, {Tenant: "t1", Hub: "game", Epoch: "e", Minute: noon, Total: 50},
		{Tenant: "t2", Hub: "chat", Epoch: "e", Minute: noon, Total: 9},
	}}
	f.Deltas = []usage.Delta{
		{Tenant: "t1", Hub: "chat", Minute: noon, Delivered: 3000}, {Tenant: "t1", Hub: "game", Minute: noon, Delivered: 7}, {Tenant: "t2", Hub: "chat", Minute: noon, Delivered: 4},
	}
	for i := range 300 { // more than a minute keeps
		f.Attributed = append(f.Attributed, usage.Attribution{Tenant: "t1", Minute: noon, Dimension: usage.ByUser, Value: fmt.Sprint("u", i), Accepted: 1})
	}
	f.Attributed = append(f.Attributed,
		usage.Attribution{Tenant: "t1", Minute: noon, Dimension: usage.ByKey, Value: "k", Accepted: 640, Delivered: 3000},
		usage.Attribution{Tenant: "t1", Minute: noon, Dimension: usage.ByUser, Value: "u7", Accepted: 100, Delivered: 2000},
		usage.Attribution{Tenant: "t2", Minute: noon, Dimension: usage.ByKey, Value: "theirs", Accepted: 9},
	)
	for range 2 {
		if _, err := s.Commit(everywhere(t), f); err != nil {
			t.Fatal(err)
		}
	}
	if err := service.Correct(everywhere(t), billing.Correction{Tenant: "t1", Concerns: noon, Amounts: billing.Amounts{Accepted: -600}, Reason: "r", Actor: "a"}); err != nil {
		t.Fatal(err)
	}
	all := billing.TopValue{Accepted: 650, Delivered: 3007}
	for _, step := range []billing.Step{billing.Minute, billing.Hour, billing.Day} {
		for by, want := range map[billing.Dimension]struct {
			first billing.TopValue
			rows  int
			other billing.TopValue
		}{
			billing.ByHub:   {billing.TopValue{Value: "chat", Accepted: 600, Delivered: 3000}, 2, billing.TopValue{}},
			billing.ByKey:   {billing.TopValue{Value: "k", Accepted: 640, Delivered: 3000}, 1, billing.TopValue{Accepted: 10, Delivered: 7}},
			billing.ByUser:  {billing.TopValue{Value: "u7", Accepted: 101, Delivered: 2000}, 50, billing.TopValue{Accepted: 650 - 101 - 49, Delivered: 1007}},
			billing.ByGroup: {billing.TopValue{}, 0, billing.TopValue{Accepted: 650, Delivered: 3007}},
		} {
			top, err := service.Top(everywhere(t), "t1", billing.Query{From: noon, To: noon.Add(time.Minute), Step: step}, by)
			if err != nil {
				t.Fatal(err)
			}
			sum := top.Other
			for _, v := range top.Values {
				sum.Accepted += v.Accepted
				sum.Delivered += v.Delivered
			}
			var first billing.TopValue
			if len(top.Values) > 0 {
				first = top.Values[0]
			}
			if first != want.first || len(top.Values) != want.rows || top.Other != want.other || top.Total != all || sum != all {
				t.Errorf("by %s and %s: %+v and %d more, other %+v of %+v", by, step, first, len(top.Values)-1, top.Other, top.Total)
			}
		}
	}
	if _, err := service.Top(everywhere(t), "t1", billing.Query{}, "colour"); err == nil {
		t.Error("there is no such dimension")
	}
	if _, err := service.Top(everywhere(t), "t1", billing.Query{Step: billing.Minute, From: noon.Add(-48 * time.Hour), To: noon.Add(-47 * time.Hour)}, billing.ByUser); err == nil {
		t.Error("minutes are kept for a day")
	}
	if err := s.ForgetTop(everywhere(t), noon.Add(25*time.Hour)); err != nil {
		t.Fatal(err)
	}
	clock = noon.Add(2 * time.Hour)
	for step, want := range map[billing.Step]int{billing.Minute: 0, billing.Hour: 1} {
		top, err := service.Top(everywhere(t), "t1", billing.Query{From: noon, To: noon.Add(time.Minute), Step: step}, billing.ByKey)
		if err != nil || len(top.Values) != want {
			t.Errorf("by %s are left: %+v, %v", step, top, err)
		}
	}
}

// TestCommit_counts_whatever_messages_were_for commits values that no index has room
// for, and that no text can be.
func TestCommit_counts_whatever_messages_were_for(t *testing.T) {
	t.Parallel()
	s, _ := newStore(t)
	long := make([]rune, hubs.MaxGroupName)
	for i := range long {
		long[i] = 0x10000 + rand.Int32N(0x10000) // which doesn't compress
	}
	for i, value := range []string{string(long), "a\x00b", "blue"} {
		f := flush("a", int64(i+1))
		f.Accepted[0].Total = int64(4 * (i + 1))
		f.Attributed = []usage.Attribution{
			{Tenant: "t1", Minute: noon, Dimension: usage.ByGroup, Value: "before", Accepted: 1},
			{Tenant: "t1", Minute: noon, Dimension: usage.ByGroup, Value: value, Accepted: 3},
		}
		added, err := s.Commit(everywhere(t), f)
		if kept := value == "blue"; !added || errors.Is(err, usage.ErrUnattributed) == kept || kept && err != nil {
			t.Errorf("%.8q: %t, %v", value, added, err)
		}
		if added, err := s.Commit(everywhere(t), f); added || err != nil {
			t.Errorf("%.8q again: %t, %v", value, added, err)
		}
	}
	if p := points(t, s, "t1", billing.Minute); len(p) != 1 || p[0].Values.Accepted != 12 || p[0].Values.Delivered != 3*16 {
		t.Errorf("counted: %+v", p)
	}
	top, err := billing.NewService(s, func() time.Time { return noon.Add(time.Minute) }).Top(everywhere(t), "t1", billing.Query{From: noon, To: noon.Add(time.Minute), Step: billing.Minute}, billing.ByGroup)
	if err != nil || len(top.Values) != 2 || top.Values[0] != (billing.TopValue{Value: "blue", Accepted: 3}) || top.Other.Accepted != 12-4 {
		t.Errorf("told: %+v, %v", top, err)
	}
}

// TestCommit_of_a_former_version: it knows less of a flush than is in it, so it can't
// mark one as committed, and tries again until one that knows has done it.
func TestCommit_of_a_former_version(t *testing.T) {
	t.Parallel()
	_, pool := newStore(t)
	_, err := pool.Exec(everywhere(t), "INSERT INTO usage_flushes (edge_run, sequence) VALUES ('edge', 1) ON CONFLICT DO NOTHING")
	if err == nil || postgres.Unacceptable(err) {
		t.Errorf("a former version's mark: %v", err)
	}
}
