package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/signalbox/signalbox/e2e/chaos/history"
)

// TestRows runs the fast rows with little load and short phases. Their bounds of
// time say nothing on a machine that runs other tests, and count only in
// make chaos.
func TestRows(t *testing.T) {
	t.Parallel()
	programs, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"api", "edge"} {
		if _, err := os.Stat(filepath.Join(programs, name)); err != nil {
			t.Fatalf("%v: run make build", err)
		}
	}
	c := config{
		programs: programs, phase: 3 * time.Second,
		scale: scale{connections: 14, groups: 5, perClient: 2, publishers: 2, rate: 10, payload: 256},
	}
	for _, r := range matrix {
		if !r.fast {
			continue
		}
		t.Run(r.id, func(t *testing.T) {
			t.Parallel()
			if x := execute(t.Context(), c, r, 1, os.Stderr); x.Verdict == violated {
				t.Errorf("%+v", x)
			}
		})
	}
}

func TestParse_names_what_is_wrong(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"-rows", "F-99"}, {"-seeds", "one"}, {"-phase", "1ms"}, {"-connections", "0"}, {"-rate", "-1"},
	} {
		if _, err := parse(args); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
	c, err := parse([]string{"-rows", "F-03, F-01", "-seeds", "2,3"})
	if err != nil || len(c.rows) != 2 || c.rows[1] != edgeKilled || len(c.seeds) != 2 {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestVerdict_of_bounds(t *testing.T) {
	t.Parallel()
	for want, bounds := range map[string][]bound{
		passed:   {{OK: true}, {OK: true, Time: true}},
		late:     {{OK: true}, {Time: true}},
		violated: {{Time: true}, {}, {OK: true}},
	} {
		if got := verdictOf(bounds, nil); got != want {
			t.Errorf("%+v: got %s, want %s", bounds, got, want)
		}
	}
	if got := verdictOf(nil, os.ErrClosed); got != violated {
		t.Errorf("a run with an error: got %s", got)
	}
}

func TestResumed_is_when_the_rate_is_back(t *testing.T) {
	t.Parallel()
	begin := time.Unix(1000, 0)
	l := &load{}
	add := func(from, until time.Duration, every time.Duration) {
		for at := from; at < until; at += every {
			l.deliveries = append(l.deliveries, delivery{at: begin.Add(at)})
		}
	}
	add(time.Millisecond, 5*time.Second, 10*time.Millisecond) // 100 a second
	add(10*time.Second, 12*time.Second, 100*time.Millisecond) // a trickle
	add(12*time.Second, 20*time.Second, 10*time.Millisecond)
	if got := l.resumed(begin.Add(9*time.Second), begin, begin.Add(5*time.Second)); got < 2*time.Second || got > 3*time.Second {
		t.Errorf("resumed after %v, want between 2 and 3 s", got)
	}
	if got := l.resumed(begin.Add(30*time.Second), begin, begin.Add(5*time.Second)); got != -1 {
		t.Errorf("resumed after %v where nothing came", got)
	}
}

func TestCrossed_calls_were_told_and_not_begun(t *testing.T) {
	t.Parallel()
	id := func(n int) history.ID { return history.ID{Tenant: "a", Publisher: "p", N: n} }
	h := &history.History{Lives: []*history.Life{{Receipts: []history.Receipt{{ID: id(1)}}}}}
	for what, c := range map[string]struct {
		attempt attempt
		want    bool
	}{
		"closed, and nobody read it":     {attempt{id: id(2), closed: true, took: time.Millisecond}, true},
		"closed, but it was carried out": {attempt{id: id(1), closed: true, took: time.Millisecond}, false},
		"broken off":                     {attempt{id: id(2), took: time.Millisecond}, false},
		"it waited for long":             {attempt{id: id(2), closed: true, took: 2 * time.Second}, false},
	} {
		if got := c.attempt.crossed(h); got != c.want {
			t.Errorf("%s: got %t", what, got)
		}
	}
}
