package edge

import (
	"io/fs"
	"log/slog"
	"math"
	"slices"
	"testing"
	"time"
)

// An edge takes nothing new above 85 % of its memory, cuts off who is furthest
// behind above 92 % or when it lasts, and serves again below 80 %.
func TestPressure_by_what_is_in_use(t *testing.T) {
	t.Parallel()
	const limit = 1000
	inUse, garbage, collections := uint64(0), uint64(0), 0
	var relieved []uint64
	p := &pressure{
		limit: limit, log: slog.New(slog.DiscardHandler),
		used: func(collect bool) uint64 {
			if collect {
				collections++
				return inUse
			}
			return inUse + garbage
		},
		relieve: func(bytes uint64) uint64 {
			relieved = append(relieved, bytes)
			inUse -= bytes
			return bytes
		},
	}
	now := time.Now()
	for _, step := range []struct {
		what           string
		inUse, garbage uint64
		lasting        bool // it has been so for long
		short          bool
		relieved       uint64 // bytes; 0 = nothing was to be
		collections    int
	}{
		{"little", 300, 100, true, false, 0, 0},
		{"garbage alone", 300, 690, true, false, 0, 1},
		{"at the edge", 849, 0, true, false, 0, 1},
		{"much", 860, 0, true, true, 0, 1},
		{"still", 810, 0, false, true, 0, 1},
		{"too much", 950, 0, false, true, 100, 1}, // all above 85 %
		{"what was freed counts", 850, 0, false, true, 0, 1},
		{"it lasts", 850, 0, true, true, 50, 1}, // all above 80 %
		{"still again", 810, 0, false, true, 0, 1},
		{"garbage doesn't keep it up", 700, 200, true, false, 0, 1},
		{"calm", 700, 0, true, false, 0, 0},
		{"much, but it was more", 849, 0, true, false, 0, 1},
	} {
		now = now.Add(time.Hour) // beyond the pause between collections
		inUse, garbage, collections, relieved = step.inUse, step.garbage, 0, nil
		if !step.lasting {
			p.since = now
		}
		p.look(now)
		var want []uint64
		if step.relieved > 0 {
			want = []uint64{step.relieved}
		}
		if p.short() != step.short || !slices.Equal(relieved, want) || collections != step.collections {
			t.Errorf("%s: short %v, freed %v, %d collections; want %v, %v, %d", step.what, p.short(), relieved, collections, step.short, want, step.collections)
		}
	}
	// Where it isn't queues that fill the memory, nobody is cut off again and again.
	stuck := 0
	p.relieve = func(uint64) uint64 { stuck++; return 0 }
	inUse = 860
	for range 4 {
		now = now.Add(time.Hour)
		p.look(now)
	}
	if stuck != 1 {
		t.Errorf("clients were cut off %d times in vain, want once", stuck)
	}
	inUse, collections = 950, 0
	now = now.Add(time.Hour)
	p.look(now)
	p.look(now.Add(time.Millisecond))
	if collections != 1 {
		t.Errorf("%d collections within a moment", collections)
	}
}

func TestMemoryLimit_of_a_container(t *testing.T) {
	t.Parallel()
	const none, gib = math.MaxInt64, 1 << 30
	for _, row := range []struct {
		file      string // "" = there is none
		env       int64
		want, set uint64
	}{
		{"max\n", none, 0, 0}, {"9223372036854771712\n", none, 0, 0}, {"x", none, 0, 0}, {"", none, 0, 0},
		{"107374182400\n", none, gib * containerPercent, gib * containerPercent},
		{"107374182400\n", gib, gib, 0}, {"", gib, gib, 0},
	} {
		var told uint64
		got := memoryLimit(func(string) ([]byte, error) {
			if row.file == "" {
				return nil, fs.ErrNotExist
			}
			return []byte(row.file), nil
		}, func(limit int64) int64 {
			if limit >= 0 {
				told = uint64(limit)
			}
			return row.env
		})
		if got != row.want || told != row.set {
			t.Errorf("%q with GOMEMLIMIT %d: got %d and told the collector %d, want %d and %d", row.file, row.env, got, told, row.want, row.set)
		}
	}
}
