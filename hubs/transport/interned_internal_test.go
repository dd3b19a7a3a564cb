package transport

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestInterned(t *testing.T) {
	t.Parallel()
	var i interned
	same := func(a, b map[string][]string) bool { return maps.EqualFunc(a, b, slices.Equal) }
	sets := []map[string][]string{
		{"a": {"b"}}, {"a": {"b", "c"}}, {"a": {"b"}, "c": {}}, {"a": {"bc"}}, {"ab": {"c"}}, {"a": {""}}, {"a": {}}, {"": {"a"}}, {"a": {"", ""}}, {"a": {}, "": {}},
		{"long": {strings.Repeat("x", 2*internedBytes)}},
	}
	for round := range 2 {
		for n, set := range sets {
			if got := i.values(set); !same(got, set) {
				t.Errorf("round %d, set %d: %v, want %v", round, n, got, set)
			}
		}
	}
	first := i.values(map[string][]string{"User-Agent": {"x"}})
	first["mark"] = nil
	if again := i.values(map[string][]string{"User-Agent": {"x"}}); len(again) != 2 {
		t.Error("equal sets are not one copy")
	}
	for n := range 3 * internedSets {
		i.values(map[string][]string{"n": {fmt.Sprint(n)}})
	}
	if len(i.sets) > internedSets {
		t.Errorf("%d sets are kept", len(i.sets))
	}
	if i.values(nil) != nil {
		t.Error("no values make a set")
	}
}
