package deliveries_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/testenv"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/deliveries"
)

const one, other = tenants.ID("T1"), tenants.ID("T2")

func newLog(t *testing.T) *deliveries.Log {
	t.Helper()
	client, err := redisclient.New(testenv.Redis(t), "deliveries-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return deliveries.New(client, slog.New(slog.DiscardHandler))
}

// began is when deliveries are counted from, so that those of one number have one time.
var began = time.Now()

func delivery(n int) tenants.Delivery {
	d := tenants.Delivery{At: began.Add(-time.Minute).Add(time.Duration(n) * time.Millisecond), Hub: "chat", Category: "messages", Event: "send", Outcome: tenants.Delivered}
	d.Request.Body = []byte(fmt.Sprint(n))
	d.Request.Bytes = len(d.Request.Body)
	return d
}

func TestLog_has_the_newest_first_and_one_tenant_alone(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	for n := range 120 {
		d := delivery(n)
		if n%2 == 1 {
			d.Outcome, d.Event, d.Hub = tenants.Failed, "join", "room"
		}
		l.Record(one, d)
	}
	l.Record(other, delivery(7))
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if err := l.Run(stopped); err != nil { // writes what waits
		t.Fatal(err)
	}
	seen, cursor := 0, ""
	for {
		page, next, err := l.Deliveries(t.Context(), one, tenants.DeliveryQuery{Limit: 50, Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range page {
			if want := fmt.Sprint(119 - seen); string(d.Request.Body) != want || d.ID == "" {
				t.Fatalf("delivery %+v, want that of %s", d, want)
			}
			seen++
		}
		if cursor = next; next == "" {
			break
		}
	}
	if seen != 120 {
		t.Errorf("%d deliveries, want 120", seen)
	}
	for _, q := range []tenants.DeliveryQuery{
		{Outcome: tenants.Failed}, {Event: "join"}, {Hub: "room"}, {From: delivery(60).At.Add(-time.Second), To: time.Now(), Outcome: tenants.Failed},
	} {
		q.Limit = 100
		page, next, err := l.Deliveries(t.Context(), one, q)
		if err != nil || len(page) != 60 || next != "" {
			t.Errorf("%+v: %d deliveries, next %q, %v; want 60", q, len(page), next, err)
		}
	}
	none, _, err := l.Deliveries(t.Context(), one, tenants.DeliveryQuery{Limit: 10, From: time.Now()})
	if err != nil || len(none) != 0 {
		t.Errorf("from now on: %v, %v", none, err)
	}
	page, _, err := l.Deliveries(t.Context(), other, tenants.DeliveryQuery{Limit: 50})
	if err != nil || len(page) != 1 {
		t.Fatalf("the other tenant has %v, %v", page, err)
	}
	if d, err := l.Delivery(t.Context(), other, page[0].ID); err != nil || string(d.Request.Body) != "7" {
		t.Errorf("delivery %+v, %v", d, err)
	}
}

func TestLog_is_bounded(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	large := delivery(1)
	large.Request.Body = make([]byte, deliveries.MaxRequestBytes+1)
	large.Request.Bytes = len(large.Request.Body)
	large.Response.Body = make([]byte, deliveries.MaxResponseBytes+1)
	kept, err := l.Write(t.Context(), one, large)
	if err != nil {
		t.Fatal(err)
	}
	got, err := l.Delivery(t.Context(), one, kept.ID)
	if err != nil || len(got.Request.Body) != deliveries.MaxRequestBytes || len(got.Response.Body) != deliveries.MaxResponseBytes || got.Replayable() {
		t.Errorf("kept %d and %d bytes, %v", len(got.Request.Body), len(got.Response.Body), err)
	}
	old := delivery(2)
	old.At = time.Now().Add(-deliveries.MaxAge)
	if kept, err = l.Write(t.Context(), one, old); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Delivery(t.Context(), one, kept.ID); fault.KindOf(err) != fault.NotFound {
		t.Errorf("an old delivery: %v", err)
	}
	for n := range deliveries.MaxEntries + 100 {
		l.Record(one, delivery(n))
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if err := l.Run(stopped); err != nil {
		t.Fatal(err)
	}
	page, _, err := l.Deliveries(t.Context(), one, tenants.DeliveryQuery{Limit: 10_000})
	if err != nil || len(page) != deliveries.MaxEntries {
		t.Errorf("%d deliveries, %v; want %d", len(page), err, deliveries.MaxEntries)
	}
}

// What can't be an id of the log is the caller's mistake, not Redis' failure.
func TestLog_knows_what_is_no_id(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	for _, id := range []string{"", "x", "-", "+", "1", "(1-1", "0-0", "99999999999999999999-0", "1-99999999999999999999", "1-1 COUNT 1"} {
		if _, err := l.Delivery(t.Context(), one, id); fault.KindOf(err) != fault.NotFound {
			t.Errorf("delivery %q: %v", id, err)
		}
		if id == "" {
			continue // the first page
		}
		if _, _, err := l.Deliveries(t.Context(), one, tenants.DeliveryQuery{Limit: 10, Cursor: id}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("cursor %q: %v", id, err)
		}
	}
	if _, _, err := l.Deliveries(t.Context(), one, tenants.DeliveryQuery{Limit: 10, Cursor: "18446744073709551615-18446744073709551615"}); err != nil {
		t.Errorf("the last id there can be: %v", err)
	}
}

func TestLog_never_blocks(t *testing.T) {
	t.Parallel()
	l := newLog(t) // and nobody writes
	for n := range 5000 {
		l.Record(one, delivery(n))
	}
	if l.Dropped() == 0 {
		t.Error("nothing was left out")
	}
}

func TestLog_says_what_it_does_not_have(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	for _, id := range []string{"", "x", "1-1", "-", "+", "1-1 COUNT 5"} {
		if _, err := l.Delivery(t.Context(), one, id); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%q: %v", id, err)
		}
	}
	if _, _, err := l.Deliveries(t.Context(), one, tenants.DeliveryQuery{Cursor: "x"}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("bad cursor: %v", err)
	}
}
