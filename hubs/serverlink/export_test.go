package serverlink

import (
	"fmt"

	"github.com/signalbox/signalbox/hubs/pairing"
	"github.com/signalbox/signalbox/tenants"
)

// Counted is how many app servers of a hub r keeps a count of its own of.
func Counted(r *Registry, hub pairing.Hub) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.views[hub].taken)
}

// SharesLink returns a tenant whose pairings are on the same link as t's.
func SharesLink(t tenants.ID) tenants.ID {
	for i := 0; ; i++ {
		if other := tenants.ID(fmt.Sprintf("01JCTENANT%016d", i)); slotOf(other) == slotOf(t) {
			return other
		}
	}
}
