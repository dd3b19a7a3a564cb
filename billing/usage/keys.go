package usage

import (
	"sync"
	"time"

	"github.com/signalbox/signalbox/tenants"
)

const (
	// keyEvery is how often the use of a key is told.
	keyEvery = time.Minute
	// maxKeyUses bounds the keys that are known; uses of more are not told.
	maxKeyUses = 100_000
)

type keyOf struct {
	tenant tenants.ID
	key    string
}

// keyUses remembers which access keys were used. The zero value is ready.
type keyUses struct {
	mu   sync.Mutex
	last map[keyOf]*keyUse
}

type keyUse struct{ at, told time.Time }

// KeyUsed notes that an access key of a tenant, or a token that it signed, was taken.
func (r *Recorder) KeyUsed(tenant tenants.ID, key string) {
	now := r.now()
	k := &r.keys
	k.mu.Lock()
	defer k.mu.Unlock()
	u := k.last[keyOf{tenant, key}]
	if u == nil {
		if len(k.last) >= maxKeyUses {
			return
		}
		if k.last == nil {
			k.last = make(map[keyOf]*keyUse)
		}
		u = new(keyUse)
		k.last[keyOf{tenant, key}] = u
	}
	u.at = now
}

// take returns up to most uses that are to be told now, and forgets keys that were
// told and not used since. What of a flush is lost is told again with the next use.
func (k *keyUses) take(now time.Time, most int) (uses []KeyUse) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for of, u := range k.last {
		switch {
		case now.Sub(u.told) < keyEvery:
		case !u.at.After(u.told):
			delete(k.last, of)
		case len(uses) < most:
			uses = append(uses, KeyUse{Tenant: of.tenant, Key: of.key, At: u.at.UTC()})
			u.told = u.at
		}
	}
	return uses
}
