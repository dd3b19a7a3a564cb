package loadgen

import (
	"io"
	"strings"
	"testing"
	"time"
)

func TestParseConfig_plan(t *testing.T) {
	t.Parallel()
	for name := range plans {
		if _, err := ParseConfig([]string{"-key", "k", "-plan", name}, io.Discard); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	c, err := ParseConfig([]string{"-key", "k", "--plan=sensors", "-connections", "20"}, io.Discard)
	if err != nil || c.Transport != "longpolling" || c.Connections != 20 || c.GroupSize != 1 {
		t.Errorf("a plan with other flags: %+v, %v", c, err)
	}
	if _, err := ParseConfig([]string{"-key", "k", "-plan", "nope"}, io.Discard); err == nil {
		t.Error("an unknown plan was accepted")
	}
	c, err = ParseConfig([]string{"-key", "k"}, io.Discard)
	if err != nil || c.Connections != 100 || c.Duration != 5*time.Second || c.Size != 200 {
		t.Errorf("without a plan: %+v, %v", c, err)
	}
}

// Who holds idle connections measures what others publish.
func TestMeasure_clocked(t *testing.T) {
	t.Parallel()
	m := newMeasure()
	m.clocked = true
	text := ClockStamp(time.Now().Add(-time.Second), 200)
	if len(text) != 200 {
		t.Errorf("%d bytes", len(text))
	}
	m.read(3, []byte(`{"type":1,"target":"load","arguments":["`+text+`"]}`))
	var r Result
	r.hold(m)
	if r.Received != 1 || r.P50 < 900 || r.P50 > 60_000 {
		t.Errorf("received %d, after %v ms", r.Received, r.P50)
	}
}

// With conflation only the newest message of each key must come; older ones count
// when they do.
func TestMeasure_conflated(t *testing.T) {
	t.Parallel()
	m := newMeasure()
	m.conflated = true
	m.window(time.Now().Add(-time.Minute), time.Now().Add(time.Minute))
	var numbers []uint64
	for i := range 4 {
		numbers = append(numbers, m.sent(time.Now(), 2, i%2)) // 0 and 2 are of one key
	}
	for reader, read := range [][]uint64{{numbers[0], numbers[2], numbers[3]}, {numbers[2]}} {
		for _, n := range read {
			m.read(reader, []byte(stamped(n, 64)))
		}
	}
	if _, delivered, _ := m.total(); delivered != 4 {
		t.Errorf("%d messages were delivered, want 4", delivered)
	}
	if lost := m.lost(); lost != 1 || m.pending != 1 {
		t.Errorf("%d are lost, %d on their way: the second reader's newest of the second key alone is missing", lost, m.pending)
	}
}

func TestParseConfig_conflation(t *testing.T) {
	t.Parallel()
	for flags, fine := range map[string]bool{
		"-keys 5 -conflate 1s -group-size 10": true, "-conflate 1s -group-size 10": false, "-keys 5 -conflate 1s": false,
		"-keys 5 -conflate 1m -group-size 10": false, "-keys 5 -conflate 1s -group-size 10 -rate 0": false, "-keys -1": false,
	} {
		if _, err := ParseConfig(append([]string{"-key", "k"}, strings.Fields(flags)...), io.Discard); (err == nil) != fine {
			t.Errorf("%s: %v", flags, err)
		}
	}
}
