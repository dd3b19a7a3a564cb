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

// Dimension is what accepted messages are told apart by, beside tenant and hub.
type Dimension string

// The dimensions.
const (
	ByGroup  Dimension = "group"
	ByUser   Dimension = "user"
	ByMethod Dimension = "method"
	ByKey    Dimension = "key"
)

// Attribution adds to the messages that were accepted in a minute for a value of a
// dimension; "" = of none.
type Attribution struct {
	Tenant    tenants.ID `json:"tenant"`
	Minute    time.Time  `json:"minute"`
	Dimension Dimension  `json:"dimension"`
	Value     string     `json:"value"`
	Accepted  int64      `json:"accepted"`
}

// About is what a message was accepted for.
type About struct{ Group, User, Method, Key string }

// The bounds of what an edge tells apart. What goes beyond them is counted in the
// totals alone, so that what is told is never too much.
const (
	mostValues     = 1000   // of a tenant's dimension in a minute
	mostAttributed = 50_000 // of all tenants
	mostTold       = 50     // of a tenant's dimension in a minute
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

// attributions counts accepted messages by value, minute by minute.
type attributions struct {
	mu     sync.Mutex
	counts map[attributionKey]map[string]int64
	size   int
	ended  bool // all minutes are told
}

type attributionKey struct {
	tenant    tenants.ID
	dimension Dimension
	minute    int64
}

// Attribute counts what accepted messages were for.
func (r *Recorder) Attribute(tenant tenants.ID, minute time.Time, messages int64, about About) {
	r.attributions.add(tenant, minute.Unix(), messages, about)
}

func (a *attributions) add(tenant tenants.ID, minute, messages int64, about About) {
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
	if a.counts == nil {
		a.counts = make(map[attributionKey]map[string]int64)
	}
	for _, v := range told {
		if !v.ok {
			continue
		}
		key, value := attributionKey{tenant, v.dimension, minute}, v.value
		values := a.counts[key]
		_, known := values[value]
		if !known {
			if len(values) >= mostValues || a.size >= mostAttributed {
				continue
			}
			if values == nil {
				values = make(map[string]int64)
				a.counts[key] = values
			}
			a.size++
			value = strings.Clone(value) // it may be part of a large message
		}
		values[value] += messages
	}
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
		largest := slices.SortedFunc(maps.Keys(values), func(x, y string) int { return cmp.Or(cmp.Compare(values[y], values[x]), cmp.Compare(x, y)) })
		for _, value := range largest[:min(len(largest), mostTold)] {
			told = append(told, Attribution{
				Tenant: key.tenant, Minute: time.Unix(key.minute, 0).UTC(), Dimension: key.dimension, Value: value, Accepted: values[value],
			})
		}
		a.size -= len(values)
		delete(a.counts, key)
	}
	return told
}
