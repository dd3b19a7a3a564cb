package usage

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/signalbox/signalbox/tenants"
)

// mostTallies bounds those that are shared by messages with the same values; more
// have one each.
const mostTallies = 10_000

// Tally counts delivered messages that have two values in common: the group and the
// method of what was sent, or the user and the key of a connection. It may be used for
// as long as there is something to count; nobody has to give it back.
type Tally struct {
	n      atomic.Int64
	of     *tallies
	tenant tenants.ID
	values [2]told
	sent   bool // the values are of what was sent
}

// told is a value as the ledger is told it; without ok it can't be.
type told struct {
	value string
	ok    bool
}

// tallies are those of all tenants.
type tallies struct {
	mu    sync.Mutex
	sent  map[sentKey]*Tally // since the last take
	awake []*Tally           // those that have counted something since then
}

type sentKey struct {
	tenant        tenants.ID
	group, method string
}

// TallySent returns what counts deliveries of messages to a group that call a method;
// "" = none.
func (r *Recorder) TallySent(tenant tenants.ID, group, method string) *Tally {
	t := &r.attributions.tallies
	key := sentKey{tenant, group, method}
	t.mu.Lock()
	defer t.mu.Unlock()
	if known := t.sent[key]; known != nil {
		return known
	}
	// They may be part of a large message.
	key.group, key.method = strings.Clone(group), strings.Clone(method)
	made := newTally(t, tenant, true, key.group, key.method)
	if len(t.sent) < mostTallies {
		if t.sent == nil {
			t.sent = make(map[sentKey]*Tally)
		}
		t.sent[key] = made
	}
	return made
}

// TallyReceived returns what counts deliveries to a connection of a user whose token
// a key has signed; "" = none.
func (r *Recorder) TallyReceived(tenant tenants.ID, user, key string) *Tally {
	return newTally(&r.attributions.tallies, tenant, false, user, key)
}

func newTally(of *tallies, tenant tenants.ID, sent bool, values ...string) *Tally {
	t := &Tally{of: of, tenant: tenant, sent: sent}
	for i, v := range values {
		t.values[i].value, t.values[i].ok = tellable(v)
	}
	return t
}

// Add counts messages. What was counted by then is told with the next flush: the
// totals that it is part of must have been counted before.
func (t *Tally) Add(messages int) {
	if t.n.Add(int64(messages)) == int64(messages) { // it was taken, or is new
		t.of.mu.Lock()
		t.of.awake = append(t.of.awake, t)
		t.of.mu.Unlock()
	}
}

func (t *Tally) dimensions() [2]Dimension {
	if t.sent {
		return [2]Dimension{ByGroup, ByMethod}
	}
	return [2]Dimension{ByUser, ByKey}
}

// taken is what a Tally has counted.
type taken struct {
	*Tally
	messages int64
}

// take returns what was counted since the last call.
func (t *tallies) take() []taken {
	t.mu.Lock()
	awake := t.awake
	t.awake, t.sent = nil, nil
	t.mu.Unlock()
	all := make([]taken, 0, len(awake))
	for _, one := range awake {
		all = append(all, taken{one, one.n.Swap(0)})
	}
	return all
}
