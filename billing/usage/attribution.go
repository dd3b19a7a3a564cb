package usage

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/signalbox/signalbox/tenants"
)

// Dimension is what messages are told apart by, beside tenant and hub.
type Dimension string

// The dimensions.
const (
	ByGroup  Dimension = "group"
	ByUser   Dimension = "user"
	ByMethod Dimension = "method"
	ByKey    Dimension = "key"
)

// Attribution adds to the messages that were accepted and delivered in a minute for a
// value of a dimension; "" = of none.
type Attribution struct {
	Tenant    tenants.ID `json:"tenant"`
	Minute    time.Time  `json:"minute"`
	Dimension Dimension  `json:"dimension"`
	Value     string     `json:"value"`
	Accepted  int64      `json:"accepted,omitempty"`
	Delivered int64      `json:"delivered,omitempty"`
}

// About is what a message was accepted for.
type About struct{ Group, User, Method, Key string }

// attributed is what is counted of a value.
type attributed struct{ accepted, delivered int64 }

func (a attributed) sum() int64 { return a.accepted + a.delivered }

// The bounds of what an edge tells apart. What goes beyond them is counted in the
// totals alone, so that what is told is never too much.
const (
	// mostValues is of a tenant's dimension in a minute; when there are more the
	// smaller half is forgotten.
	mostValues     = 2000
	mostAttributed = 100_000 // of all tenants
	// mostTold is of a tenant's dimension in a minute, by what was accepted and again by
	// what was delivered.
	mostTold = 50
	// tellAfter is how long after its end a minute is told.
	tellAfter = 2 * time.Second
	// maxValue is the length of a value in bytes that is told as it is; a longer one is
	// told by its beginning and its hash. An index of the ledger keeps 2,704 bytes.
	maxValue   = 512
	hashLength = 16 // digits
)

// tellable returns what a value is told as, which is told as itself; false = the
// ledger couldn't keep it.
func tellable(value string) (string, bool) {
	if !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
		return "", false
	}
	if len(value) <= maxValue {
		return value, true
	}
	hash := sha256.Sum256([]byte(value))
	const mark = "…#"
	end := maxValue - len(mark) - hashLength
	for !utf8.RuneStart(value[end]) {
		end--
	}
	return value[:end] + mark + hex.EncodeToString(hash[:hashLength/2]), true
}

// attributions counts messages by value, minute by minute.
type attributions struct {
	mu     sync.Mutex
	counts map[attributionKey]map[string]attributed
	size   int
	ended  bool // all minutes are told

	tallies tallies
}

type attributionKey struct {
	tenant    tenants.ID
	dimension Dimension
	minute    int64
}

// Attribute counts what accepted messages were for.
func (r *Recorder) Attribute(tenant tenants.ID, minute time.Time, messages int64, about About) {
	r.attributions.accept(tenant, minute.Unix(), messages, about)
}

func (a *attributions) accept(tenant tenants.ID, minute, messages int64, about About) {
	told := [...]struct {
		dimension Dimension
		value     string
		ok        bool
	}{{dimension: ByGroup, value: about.Group}, {dimension: ByUser, value: about.User}, {dimension: ByMethod, value: about.Method}, {dimension: ByKey, value: about.Key}}
	for i := range told {
		told[i].value, told[i].ok = tellable(told[i].value)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, v := range told {
		if v.ok {
			a.add(attributionKey{tenant, v.dimension, minute}, v.value, attributed{accepted: messages})
		}
	}
}

// gather counts what was delivered since the last call in a minute.
func (a *attributions) gather(minute int64) {
	delivered := a.tallies.take()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, d := range delivered {
		for i, v := range d.values {
			if v.ok {
				a.add(attributionKey{d.tenant, d.dimensions()[i], minute}, v.value, attributed{delivered: d.messages})
			}
		}
	}
}

// add adds to a value. a.mu is held.
func (a *attributions) add(key attributionKey, value string, n attributed) {
	values := a.counts[key]
	sum, known := values[value]
	if !known {
		if a.size >= mostAttributed {
			return
		}
		if len(values) >= mostValues {
			a.size -= forgetSmaller(values)
		}
		if values == nil {
			values = make(map[string]attributed)
			if a.counts == nil {
				a.counts = make(map[attributionKey]map[string]attributed)
			}
			a.counts[key] = values
		}
		a.size++
		value = strings.Clone(value) // it may be part of a large message
	}
	sum.accepted += n.accepted
	sum.delivered += n.delivered
	values[value] = sum
}

// forgetSmaller forgets the smaller half of values and returns how many those were.
func forgetSmaller(values map[string]attributed) int {
	all := largest(values, attributed.sum)
	small := all[len(all)/2:]
	for _, value := range small {
		delete(values, value)
	}
	return len(small)
}

// largest returns values in the order of what is counted of them, the largest first.
func largest(values map[string]attributed, of func(attributed) int64) []string {
	return slices.SortedFunc(maps.Keys(values), func(x, y string) int {
		return cmp.Or(cmp.Compare(of(values[y]), of(values[x])), cmp.Compare(x, y))
	})
}

// end makes the next take tell all.
func (a *attributions) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
}

// take returns the largest counts of the minutes that are over, and forgets them.
func (a *attributions) take(now time.Time) []Attribution {
	a.mu.Lock()
	defer a.mu.Unlock()
	var told []Attribution
	for key, values := range a.counts {
		if minute := time.Unix(key.minute, 0); !a.ended && now.Before(minute.Add(time.Minute+tellAfter)) {
			continue
		}
		chosen := make(map[string]bool)
		for _, of := range []func(attributed) int64{
			func(v attributed) int64 { return v.accepted }, func(v attributed) int64 { return v.delivered },
		} {
			for _, value := range largest(values, of)[:min(len(values), mostTold)] {
				if of(values[value]) == 0 || chosen[value] {
					continue
				}
				chosen[value] = true
				told = append(told, Attribution{
					Tenant: key.tenant, Minute: time.Unix(key.minute, 0).UTC(), Dimension: key.dimension, Value: value,
					Accepted: values[value].accepted, Delivered: values[value].delivered,
				})
			}
		}
		a.size -= len(values)
		delete(a.counts, key)
	}
	return told
}
