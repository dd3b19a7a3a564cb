package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/signalbox/signalbox/e2e/chaos/history"
)

// row is one fault of the matrix.
type row struct {
	id       string
	fault    string
	injected string
	expected string
	setting  setting
	// fast rows run with the tests.
	fast bool
	run  func(*trial) error
}

// bound is one figure of a row: what was measured, and what it may be.
type bound struct {
	What     string `json:"what"`
	Measured string `json:"measured"`
	Bound    string `json:"bound,omitempty"` // "" = a figure without a bound
	// Time: the bound is one of time, which a loaded machine breaks by itself.
	Time bool `json:"time,omitempty"`
	// Plain: the bound is one for programs without the race detector, whose own memory
	// and slowness break it.
	Plain bool `json:"plain,omitempty"`
	OK    bool `json:"ok"`
}

// trial is one run of one row.
type trial struct {
	context.Context
	config config
	row    *row
	seed   uint64
	random *rand.Rand
	dir    string
	w      *world
	load   *load
	bounds []bound
	say    func(format string, args ...any)

	baseline []hygiene // of the edges, before the fault
	// strangers: edges were replaced, or ended on purpose, so that their state
	// can't be compared.
	replaced [edgeCount]bool
	began    time.Time // of the fault
	over     time.Time // its end
}

// phase is one part of a run: config.phase, or that many times of it.
func (t *trial) phase(times float64) time.Duration {
	return time.Duration(times * float64(t.config.phase))
}

// pass lets time go by, under load.
func (t *trial) pass(d time.Duration) error {
	select {
	case <-t.Done():
		return context.Cause(t)
	case <-time.After(d):
		return nil
	}
}

// warm starts the base load and lets it run for a phase. The baseline of I8 is
// taken at its end.
func (t *trial) warm() error {
	if err := t.load.start(t, t.w.tenants...); err != nil {
		return err
	}
	if err := t.pass(t.phase(0.5)); err != nil {
		return err
	}
	for _, e := range t.w.edges {
		h, err := e.hygiene(t)
		if err != nil {
			return err
		}
		t.baseline = append(t.baseline, h)
	}
	t.began = time.Now()
	return nil
}

// tail is the time after the fault.
func (t *trial) tail() error {
	t.over = time.Now()
	return t.pass(t.phase(1))
}

// check adds a figure with a bound.
func (t *trial) check(ok bool, what, measured, limit string) {
	t.bounds = append(t.bounds, bound{What: what, Measured: measured, Bound: limit, OK: ok})
}

// plainly is check for a Plain bound.
func (t *trial) plainly(ok bool, what, measured, limit string) {
	t.bounds = append(t.bounds, bound{What: what, Measured: measured, Bound: limit, OK: ok, Plain: true})
}

// within adds a time with its upper bound.
func (t *trial) within(what string, took, limit time.Duration) {
	t.bounds = append(t.bounds, bound{What: what, Measured: short(took), Bound: "≤ " + short(limit), Time: true, OK: took <= limit})
}

// note adds a figure.
func (t *trial) note(what, measured string) {
	t.bounds = append(t.bounds, bound{What: what, Measured: measured, OK: true})
}

// zero adds a count that must be none.
func (t *trial) zero(what string, n int, sample string) {
	measured := fmt.Sprint(n)
	if n > 0 && sample != "" {
		measured += " (" + sample + ")"
	}
	t.check(n == 0, what, measured, "0")
}

func short(d time.Duration) string {
	switch {
	case d < 0:
		return "−" + short(-d)
	case d < 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

// conclude ends the load and checks what every row promises: the history, and that
// nothing is left behind.
func (t *trial) conclude() error {
	t.load.finish(max(5*time.Second, t.phase(0.5)))
	var problems []error
	for i, e := range t.w.edges {
		if n := e.panics(); n > 0 {
			problems = append(problems, fmt.Errorf("%s panicked %d times: %s", e.name, n, e.log))
		}
		if !t.replaced[i] && e.ended() {
			problems = append(problems, fmt.Errorf("%s ended by itself: %w", e.name, e.current().Err()))
		}
	}
	if n := t.w.api.panics(); n > 0 {
		problems = append(problems, fmt.Errorf("the api panicked %d times: %s", n, t.w.api.log))
	}
	t.check(len(problems) == 0, "processes that panicked or ended by themselves", fmt.Sprint(len(problems)), "0")
	if err := errors.Join(problems...); err != nil {
		t.say("%v", err)
	}
	found := history.Check(t.load.history)
	for _, v := range found {
		t.say("%s", v)
	}
	var broken []string
	for _, v := range found {
		if !slices.Contains(broken, string(v.Invariant)) {
			broken = append(broken, string(v.Invariant))
		}
	}
	h := t.load.history
	got := 0
	for _, l := range h.Lives {
		got += len(l.Receipts)
	}
	measured := fmt.Sprintf("hold: %d accepted, %d refused, %d unknown, %d read in %d lives",
		h.Count(history.Accepted), h.Count(history.Refused), h.Count(history.Unknown), got, len(h.Lives))
	if broken != nil {
		measured = "broken: " + strings.Join(broken, ", ") + ", e. g. " + found[0].String()
	}
	t.check(broken == nil, "I1–I6", measured, "hold")
	if h.Count(history.Accepted) == 0 || got == 0 {
		t.check(false, "load", "nothing was accepted or nothing read", "some")
	}
	return t.clean()
}

// The slack of I8, beside the twentieth: what a process may hold more than before
// for reasons of its own.
const (
	slackGoroutines = 40
	slackFiles      = 40
	// hygienePatience is longer than the 30 s after which a connection ends whose
	// client was answered 404 elsewhere and couldn't say goodbye.
	hygienePatience = 40 * time.Second
)

// clean waits until the edges hold no more than before the load's connections, and
// checks it: I8.
func (t *trial) clean() error {
	if t.baseline == nil {
		return nil
	}
	var now hygiene
	worst := ""
	err := await(t, hygienePatience, "the edges to be clean", func() bool {
		for i, e := range t.w.edges {
			if t.replaced[i] && e.ended() {
				continue
			}
			h, err := e.hygiene(t)
			if err != nil {
				worst = err.Error()
				return false
			}
			b := t.baseline[i]
			now = h
			if h.connections > 0 || h.goroutines > b.goroutines*1.05+slackGoroutines || h.files > b.files*1.05+slackFiles {
				worst = fmt.Sprintf("%s: %.0f connections, %.0f goroutines (%.0f before), %.0f files (%.0f before)", e.name, h.connections, h.goroutines, b.goroutines, h.files, b.files)
				return false
			}
		}
		return true
	})
	measured := fmt.Sprintf("no connection left, %.0f goroutines, %.0f files", now.goroutines, now.files)
	if err != nil {
		measured = worst
	}
	t.check(err == nil, "I8: connections, goroutines and files of the edges afterwards", measured, "as before +5 %")
	return nil
}

// disconnects are the lives of clients that ended while the fault lasted and in
// the tail; it is for after conclude.
func (t *trial) disconnects(of func(*history.Life) bool) (int, string) {
	return t.load.ends(t.began, time.Now(), of)
}

func everyLife(*history.Life) bool { return true }
