package loadgen

import (
	"io"
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
