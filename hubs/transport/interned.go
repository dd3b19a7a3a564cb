package transport

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"sync"
)

// The bounds of interned: how many sets of values are kept, and how long one may be
// in bytes. When there is no room, all are forgotten.
const (
	internedSets  = 1024
	internedBytes = 1024
)

// interned keeps one copy of sets of values that many requests share: most clients
// come with one of a few user agents, to one of a few hubs. A set of its own would
// keep the whole head of each request in memory for as long as its connection
// lives. Its zero value is ready.
type interned struct {
	mu   sync.Mutex
	sets map[string]map[string][]string
}

// values returns a copy of the given values, which nobody may change.
func (i *interned) values(from map[string][]string) map[string][]string {
	if len(from) == 0 {
		return nil
	}
	key := keyOf(from)
	if len(key) > internedBytes {
		return cloneValues(from)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if known, ok := i.sets[key]; ok {
		return known
	}
	if i.sets == nil || len(i.sets) == internedSets {
		i.sets = make(map[string]map[string][]string)
	}
	set := cloneValues(from)
	i.sets[key] = set
	return set
}

// keyOf is equal for equal sets and for no others.
func keyOf(values map[string][]string) string {
	var key []byte
	part := func(s string) {
		key = append(binary.AppendUvarint(key, uint64(len(s))), s...)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		part(name)
		key = binary.AppendUvarint(key, uint64(len(values[name])))
		for _, v := range values[name] {
			part(v)
		}
	}
	return string(key)
}

func cloneValues(values map[string][]string) map[string][]string {
	clone := make(map[string][]string, len(values))
	for name, list := range values {
		own := make([]string, len(list))
		for i, v := range list {
			own[i] = strings.Clone(v)
		}
		clone[strings.Clone(name)] = own
	}
	return clone
}
