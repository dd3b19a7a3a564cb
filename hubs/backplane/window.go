package backplane

import (
	"slices"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/tenants"
)

// The bounds of what a process keeps in memory of the newest entries of its hubs.
const (
	windowEntries = 1000
	windowBytes   = 1 << 20 // of one hub
	windowsBytes  = 64 << 20
	// droppedBytes is what a window may hold on to of entries that it has dropped.
	droppedBytes = windowBytes / 4
)

// windows is what the windows of all feeds take together. Tenants share it: while it
// is too much, those give that have more than an equal part.
type windows struct {
	mu      sync.Mutex
	bytes   int64
	tenants map[tenants.ID]int64
}

// total is the bytes of all.
func (w *windows) total() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bytes
}

func (w *windows) count(id tenants.ID, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.tenants == nil {
		w.tenants = make(map[tenants.ID]int64)
	}
	w.bytes += int64(bytes)
	if w.tenants[id] += int64(bytes); w.tenants[id] == 0 {
		delete(w.tenants, id)
	}
}

// over reports whether a tenant would have to give, had it so many bytes more.
func (w *windows) over(id tenants.ID, more int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bytes+int64(more) > windowsBytes && w.tenants[id]+int64(more) > windowsBytes/int64(max(1, len(w.tenants)))
}

// window has the newest entries of a hub that this process has carried out, so
// that clients which come back together are not all answered by Redis. Entries
// follow each other without a gap. The feed's mu guards it.
type window struct {
	all     *windows
	tenant  tenants.ID
	entries []*hubs.Entry
	bytes   int
	dropped int  // bytes of entries that the array under entries still holds
	warmed  bool // what came before was read from the stream, as far as it fits
}

// weight is what an entry takes in memory, with its frames for both hub protocols.
func weight(e *hubs.Entry) int {
	n := 256
	if m := e.Message; m != nil {
		n += 3 * (len(m.Target) + len(m.Arguments.Bytes))
		for _, f := range m.Frames {
			n += len(f)
		}
	}
	for _, names := range [][]string{e.Groups, e.Users, e.Connections, e.Excluded, e.ExcludedUsers} {
		for _, s := range names {
			n += 16 + len(s)
		}
	}
	return n
}

// add takes in the entry that follows.
func (w *window) add(e *hubs.Entry) {
	if n := len(w.entries); n > 0 && (w.entries[n-1].Epoch != e.Epoch || w.entries[n-1].Number+1 != e.Number) {
		w.clear()
	}
	w.entries = append(w.entries, e)
	w.count(weight(e))
	w.trim()
}

func (w *window) count(bytes int) {
	w.bytes += bytes
	w.all.count(w.tenant, bytes)
}

// trim drops the oldest until the rest fits.
func (w *window) trim() {
	most := windowBytes
	if w.all.over(w.tenant, 0) {
		most = min(most, w.bytes/2)
	}
	n, bytes := 0, 0
	for n < len(w.entries) && (len(w.entries)-n > windowEntries || w.bytes-bytes > most) {
		bytes += weight(w.entries[n])
		n++
	}
	if n == 0 {
		return
	}
	w.count(-bytes)
	w.dropped += bytes
	if w.entries = w.entries[n:]; len(w.entries) == 0 {
		w.entries, w.dropped = nil, 0
	} else if w.dropped > droppedBytes {
		w.entries, w.dropped = slices.Clone(w.entries), 0 // readers have the other one
	}
}

func (w *window) clear() {
	w.count(-w.bytes)
	w.entries, w.dropped, w.warmed = nil, 0, false
}

// prepend puts entries before those that are there, the newest of them first.
func (w *window) prepend(newestFirst []*hubs.Entry) {
	var fit []*hubs.Entry
	for _, e := range newestFirst {
		if len(w.entries)+len(fit) >= windowEntries || w.bytes+weight(e) > windowBytes || w.all.over(w.tenant, weight(e)) {
			break
		}
		fit = append(fit, e)
		w.count(weight(e))
	}
	entries := make([]*hubs.Entry, 0, len(fit)+len(w.entries))
	for i := range fit {
		entries = append(entries, fit[len(fit)-1-i])
	}
	w.entries, w.dropped = append(entries, w.entries...), 0
}

// since returns what is no older than a time. Callers must not change it.
func (w *window) since(t time.Time) []*hubs.Entry {
	entries := w.entries
	for len(entries) > 0 && entries[0].At.Before(t) {
		entries = entries[1:]
	}
	return entries
}
