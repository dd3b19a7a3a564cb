package backplane

import (
	"sync/atomic"
	"time"

	"github.com/signalbox/signalbox/hubs"
)

// The bounds of what a process keeps in memory of the newest entries of its hubs.
const (
	windowEntries = 1000
	windowBytes   = 1 << 20 // of one hub
	windowsBytes  = 64 << 20
)

// window has the newest entries of a hub that this process has carried out, so
// that clients which come back together are not all answered by Redis. Entries
// follow each other without a gap. The feed's mu guards it.
type window struct {
	all     *atomic.Int64 // bytes in the windows of all feeds
	entries []*hubs.Entry
	bytes   int
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
	w.all.Add(int64(bytes))
}

// trim drops the oldest until the rest fits.
func (w *window) trim() {
	most := windowBytes
	if w.all.Load() > windowsBytes {
		most = min(most, w.bytes/2) // all hubs together have too much: each gives
	}
	n := 0
	for n < len(w.entries) && (len(w.entries)-n > windowEntries || w.bytes > most) {
		w.count(-weight(w.entries[n]))
		n++
	}
	if w.entries = w.entries[n:]; len(w.entries) == 0 {
		w.entries = nil
	}
}

func (w *window) clear() {
	w.count(-w.bytes)
	w.entries, w.warmed = nil, false
}

// prepend puts entries before those that are there, the newest of them first.
func (w *window) prepend(newestFirst []*hubs.Entry) {
	var fit []*hubs.Entry
	for _, e := range newestFirst {
		if len(w.entries)+len(fit) >= windowEntries || w.bytes+weight(e) > windowBytes || w.all.Load()+int64(weight(e)) > windowsBytes {
			break
		}
		fit = append(fit, e)
		w.count(weight(e))
	}
	entries := make([]*hubs.Entry, 0, len(fit)+len(w.entries))
	for i := range fit {
		entries = append(entries, fit[len(fit)-1-i])
	}
	w.entries = append(entries, w.entries...)
}

// since returns what is no older than a time. Callers must not change it.
func (w *window) since(t time.Time) []*hubs.Entry {
	entries := w.entries
	for len(entries) > 0 && entries[0].At.Before(t) {
		entries = entries[1:]
	}
	return entries
}
