package backplane

// recentMost is how many owners are remembered, in two halves.
const recentMost = 20_000

// recent remembers who owned connections that requests were relayed to lately, for
// the time in which Redis can't be asked. A connection never changes its owner, so
// what is remembered is right or of a connection that has ended, which its owner
// then says. The zero value remembers nothing yet.
type recent struct {
	young, old map[string]string
}

// get returns the owner, or "".
func (r *recent) get(key string) string {
	if owner := r.young[key]; owner != "" {
		return owner
	}
	return r.old[key]
}

// put remembers an owner; the half that was not used for longest makes room.
func (r *recent) put(key, owner string) {
	if r.young == nil || len(r.young) >= recentMost/2 {
		r.young, r.old = make(map[string]string), r.young
	}
	r.young[key] = owner
}
