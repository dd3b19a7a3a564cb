package usage

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
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
		a.add(acme, int64(i/mostValues)*60, 1, About{User: fmt.Sprint(i)})
	}
	if a.size > mostAttributed {
		t.Errorf("%d values", a.size)
	}
	for i := range 2 * mostValues {
		a.add(other, 0, 1, About{User: fmt.Sprint(i)})
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
		a.add(acme, 0, 1, About{Group: group})
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
