package usage

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/signalbox/signalbox/hubs"
)

func TestAttribute_tells_the_largest_when_a_minute_is_over(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	c := newClock()
	r := NewRecorder(client, "run", quiet())
	r.now = c.Now
	minute := c.Now().Truncate(time.Minute)
	accept := func(n int64, about About) {
		r.Accepted(acme, "chat", "e", minute, 0, n)
		r.Attribute(acme, minute, n, about)
	}
	for i := range 2 * mostTold {
		accept(1, About{User: fmt.Sprint("user ", i), Method: "say", Key: "k1"})
	}
	accept(100, About{Group: "blue", User: "user 99", Method: "say", Key: "k2"})
	accept(7, About{User: "a\x00b", Method: string([]byte{0xff}), Key: "k2"})
	told := func() map[Dimension]map[string]int64 {
		t.Helper()
		if err := r.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		all := map[Dimension]map[string]int64{}
		for _, f := range stream(t, client) {
			for _, a := range f.Attributed {
				if a.Tenant != acme || !a.Minute.Equal(minute) {
					t.Errorf("%+v", a)
				}
				if all[a.Dimension] == nil {
					all[a.Dimension] = map[string]int64{}
				}
				all[a.Dimension][a.Value] += a.Accepted
			}
		}
		return all
	}
	if got := told(); len(got) != 0 {
		t.Errorf("a minute that isn't over is told: %v", got)
	}
	c.Advance(time.Minute)
	got := told()
	if v := got[ByGroup]; len(v) != 2 || v["blue"] != 100 || v[""] != 107 {
		t.Errorf("groups %v", v)
	}
	if v := got[ByKey]; len(v) != 2 || v["k1"] != 100 || v["k2"] != 107 {
		t.Errorf("keys %v", v)
	}
	if v := got[ByMethod]; len(v) != 1 || v["say"] != 200 {
		t.Errorf("methods %v: what can't be kept is told", v)
	}
	if v := got[ByUser]; len(v) != mostTold || v["user 99"] != 101 {
		t.Errorf("%d users, %d of the largest", len(v), v["user 99"])
	}
	if len(r.attributions.counts) != 0 || r.attributions.size != 0 {
		t.Errorf("%d values are left", r.attributions.size)
	}
}

func TestAttribute_is_bounded(t *testing.T) {
	t.Parallel()
	var a attributions
	for i := range 3 * mostAttributed / 4 {
		a.accept(acme, int64(i/mostValues)*60, 1, About{User: fmt.Sprint(i)})
	}
	if a.size > mostAttributed {
		t.Errorf("%d values", a.size)
	}
	for i := range 2 * mostValues {
		a.accept(other, 0, 1, About{User: fmt.Sprint(i)})
	}
	for key, values := range a.counts {
		if len(values) > mostValues {
			t.Errorf("%+v has %d values", key, len(values))
		}
	}
	a.end()
	if a.take(time.Now()); a.size != 0 {
		t.Errorf("%d values are left", a.size)
	}
}

// Whoever comes first and is small makes room for who comes later and is large.
func TestAttribute_keeps_the_largest_of_many(t *testing.T) {
	t.Parallel()
	var a attributions
	for i := range 10 * mostValues {
		a.accept(acme, 0, 1, About{User: fmt.Sprint("few ", i)})
		a.accept(acme, 0, 1, About{User: fmt.Sprint("many ", i%10)})
	}
	a.end()
	got := map[string]int64{}
	for _, v := range a.take(time.Now()) {
		if v.Dimension == ByUser {
			got[v.Value] = v.Accepted
		}
	}
	for i := range 10 {
		if name := fmt.Sprint("many ", i); got[name] != mostValues {
			t.Errorf("%s has %d, want %d", name, got[name], mostValues)
		}
	}
}

// TestTally_adds_up_to_what_was_delivered counts on many goroutines while flushes are
// made: each tells of every dimension as much as it counts and no more.
func TestTally_adds_up_to_what_was_delivered(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	c := newClock()
	r := NewRecorder(client, "run", quiet())
	r.now = c.Now
	minute := c.Now().Truncate(time.Minute)
	m := r.Hub(acme, "chat")
	defer m.Close()
	const each, users = 500, 5
	var writers sync.WaitGroup
	for u := range users {
		writers.Go(func() {
			to := r.TallyReceived(acme, fmt.Sprint("user ", u), "k1")
			for i := range each {
				of := r.TallySent(acme, fmt.Sprint("group ", i%2), "say")
				m.Delivered(3, 30)
				to.Add(3)
				of.Add(3)
			}
		})
	}
	done := make(chan struct{})
	go func() { defer close(done); writers.Wait() }()
	for counting := true; counting; {
		select {
		case <-done:
			counting = false
		default:
		}
		if err := r.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	c.Advance(time.Minute + tellAfter)
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	total, told := int64(0), map[Dimension]map[string]int64{}
	for _, f := range stream(t, client) {
		for _, d := range f.Deltas {
			if total += d.Delivered; !d.Minute.Equal(minute) {
				t.Errorf("counted in %s", d.Minute)
			}
		}
		for _, a := range f.Attributed {
			if told[a.Dimension] == nil {
				told[a.Dimension] = map[string]int64{}
			}
			if told[a.Dimension][a.Value] += a.Delivered; !a.Minute.Equal(minute) || a.Accepted != 0 {
				t.Errorf("%+v", a)
			}
		}
	}
	if total != 3*each*users {
		t.Errorf("%d messages are counted", total)
	}
	for dimension, want := range map[Dimension]int{ByGroup: 2, ByUser: users, ByMethod: 1, ByKey: 1} {
		sum := int64(0)
		for _, n := range told[dimension] {
			sum += n
		}
		if sum != total || len(told[dimension]) != want {
			t.Errorf("by %s: %v, which are %d of %d", dimension, told[dimension], sum, total)
		}
	}
	if len(r.attributions.tallies.awake) != 0 || len(r.attributions.tallies.sent) != 0 {
		t.Error("tallies are left")
	}
}

// longest is a group's name of the greatest length, which doesn't compress.
func longest() string {
	name := make([]rune, hubs.MaxGroupName)
	for i := range name {
		name[i] = 0x10000 + rand.Int32N(0x10000)
	}
	return string(name)
}

func TestAttribute_shortens_long_values_and_keeps_them_apart(t *testing.T) {
	t.Parallel()
	common := longest()
	var a attributions
	for _, group := range []string{common + "a", common + "b", strings.Repeat("g", maxValue), "blue"} {
		a.accept(acme, 0, 1, About{Group: group})
	}
	a.end()
	f := Flush{SentAt: time.Now(), Attributed: a.take(time.Now())}
	// One that an edge wrote before it shortened any, and one that can't be kept.
	f.Attributed = append(f.Attributed, Attribution{Tenant: acme, Dimension: ByMethod, Value: common}, Attribution{Tenant: acme, Dimension: ByMethod, Value: "a\x00b"})
	before := slices.Clone(f.Attributed)
	if err := f.settle(time.Now()); err != nil {
		t.Fatal(err)
	}
	if len(f.Attributed) != len(before)-1 {
		t.Fatalf("%d values are left of %d", len(f.Attributed), len(before))
	}
	seen := map[string]bool{}
	for i, v := range f.Attributed {
		if len(v.Value) > maxValue || !utf8.ValidString(v.Value) || v.Dimension == ByGroup && v.Value != before[i].Value {
			t.Errorf("%d bytes are told of %q: %q", len(v.Value), v.Dimension, v.Value)
		}
		if v.Dimension == ByGroup {
			seen[v.Value] = true
		}
	}
	if len(seen) != 4 || !seen["blue"] || !seen[strings.Repeat("g", maxValue)] {
		t.Errorf("%d groups are told apart, want 4", len(seen))
	}
	if last := f.Attributed[len(f.Attributed)-1].Value; !strings.HasPrefix(common, strings.Split(last, "…#")[0]) || len(last) < maxValue/2 {
		t.Errorf("%q isn't recognised", last)
	}
}
