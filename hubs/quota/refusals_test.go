package quota

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/signalbox/signalbox/tenants"
)

var loud = Refused{Tenant: "loud"}

func TestRefusals_are_prompt_up_to_a_rate_then_slower(t *testing.T) {
	t.Parallel()
	var s Refusals
	now := time.Unix(1000, 0)
	wait := func() time.Duration {
		_, d := s.begin(loud, now)
		return d
	}
	for n := range promptRefusals + 1 { // a second's worth at once
		if d := wait(); d != 0 {
			t.Fatalf("refusal %d waits %v", n+1, d)
		}
	}
	if d := wait(); d != time.Second/promptRefusals {
		t.Errorf("the next one waits %v, want one turn", d)
	}
	for range slowRefusals / 2 {
		if d := wait(); d > longestRefusal {
			t.Fatalf("one waits %v", d)
		}
	}
	if d := wait(); d != longestRefusal {
		t.Errorf("one behind many waits %v, want %v", d, longestRefusal)
	}
	if _, d := s.begin(Refused{Tenant: "quiet"}, now); d != 0 {
		t.Errorf("a refusal of another tenant waits %v", d)
	}
	if _, d := s.begin(Refused{Tenant: "loud", Address: "198.51.100.1"}, now); d != 0 {
		t.Errorf("a refusal of an address waits %v behind its tenant's", d)
	}
	now = now.Add(longestRefusal + time.Second) // nothing was refused meanwhile
	if d := wait(); d != 0 {
		t.Errorf("after a pause a refusal waits %v", d)
	}
}

func TestRefusals_are_bounded(t *testing.T) {
	t.Parallel()
	var s Refusals
	now := time.Unix(1000, 0)
	for range 10 * slowRefusals {
		s.begin(loud, now)
	}
	if n := s.all[loud].waiting; n != slowRefusals {
		t.Errorf("%d wait at a time, want %d", n, slowRefusals)
	}
	for i := range 2 * slowInAll / slowRefusals {
		for range 2 * slowRefusals {
			s.begin(Refused{Tenant: "loud", Address: fmt.Sprint(i)}, now)
		}
	}
	if s.waiting != slowInAll {
		t.Errorf("%d wait on the edge, want %d", s.waiting, slowInAll)
	}
	for i := range 2 * mostRefused {
		s.begin(Refused{Tenant: tenants.ID(fmt.Sprint(i))}, now.Add(time.Duration(i)*time.Minute))
	}
	if n := len(s.all); n > mostRefused {
		t.Errorf("%d tenants are remembered, want no more than %d", n, mostRefused)
	}
	if s.all[loud] == nil {
		t.Error("a tenant was forgotten whose refusals wait")
	}
}

// Whoever has gone waits no longer, and counts no longer.
func TestRefusals_end_with_their_request(t *testing.T) {
	t.Parallel()
	var s Refusals
	now := time.Now()
	for range 4 * promptRefusals {
		if _, d := s.begin(loud, now); d > 0 {
			s.all[loud].waiting--
		}
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	s.Wait(gone, loud)
	if n := s.all[loud].waiting; n != 0 {
		t.Errorf("%d wait; whoever did has gone", n)
	}
}

// What has waited as long as it may comes back neither all at once nor each by itself.
func TestRefusals_are_let_go_a_few_at_a_time(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 123456789)
	ends := make(map[time.Time]int)
	for range slowRefusals {
		d := staggered(now, longestRefusal)
		if d > longestRefusal || d <= longestRefusal/2-refusalsEvery {
			t.Fatalf("one of many waits %v", d)
		}
		ends[now.Add(d)]++
	}
	if most := int(longestRefusal / 2 / refusalsEvery); len(ends) < most/2 || len(ends) > most+1 {
		t.Errorf("they end at %d moments, want about %d", len(ends), most)
	}
	const turn = 5 * time.Second / promptRefusals
	first, second := staggered(now, turn), staggered(now.Add(time.Microsecond), turn)
	if first > turn || first <= turn-refusalsEvery {
		t.Errorf("one that waits for its turn of %v waits %v", turn, first)
	}
	if apart := now.Add(time.Microsecond + second).Sub(now.Add(first)); apart%refusalsEvery != 0 {
		t.Errorf("two that come together end %v apart", apart)
	}
}
