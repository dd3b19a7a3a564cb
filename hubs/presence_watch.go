package hubs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/signalbox/signalbox/hubs/protocol"
)

const (
	// presenceTarget is the method by which watchers are told of changes.
	presenceTarget = "$presence"
	// promptMembers is up to how many members watchers are told of every change at
	// once; above, changes are gathered for presenceEvery.
	promptMembers = 200
	presenceEvery = time.Second
	// maxDiff is about how many bytes of changes of a group its watchers are told at
	// once; the rest waits for presenceEvery: a crowd must not fill their queues.
	maxDiff = 128 << 10
	// maxSnapshot bounds the members that one answer holds, in bytes.
	maxSnapshot = 512 << 10
)

// ErrSnapshotTooLarge says that a group has too many members, with too much state, to be
// watched.
var ErrSnapshotTooLarge = fmt.Errorf("the members of the group with their states are more than %d KiB", maxSnapshot>>10)

// watchedGroup is a group that connections of this node watch. members is a copy
// of what all nodes know of it, as of the entry applied last.
type watchedGroup struct {
	name     string
	watchers map[*Connection]bool // true = it has its snapshot
	members  map[string]*Member

	loading chan struct{} // closed when the load under way has ended; nil = none is
	loaded  bool
	gone    map[string]*Entry // ends that came while loading

	changes map[string]changed // not yet told, by connection id
	timer   *time.Timer
}

// changed is what has become of a member since watchers were told last.
type changed struct {
	change change
	member *Member
}

type change uint8

const (
	unchanged change = iota
	joined
	updated // also one that left and is there again
	left
)

// entered takes in an announcement. p.mu is held.
func (p *presence) entered(s *Server, group string, m *Member) {
	w := p.watched[group]
	if w == nil {
		return
	}
	_, before := w.members[m.ConnectionID]
	w.members[m.ConnectionID] = m
	if !w.loaded {
		return
	}
	next := updated
	if was := w.changes[m.ConnectionID].change; was == joined || was == unchanged && !before {
		next = joined
	}
	w.change(m, next)
	w.tell(s)
}

// left takes in the end of one member and reports whether it was one. p.mu is held.
func (p *presence) left(s *Server, group, id string, e *Entry) bool {
	w := p.watched[group]
	if w == nil {
		return false
	}
	m := w.members[id]
	if !w.loaded {
		w.gone[id] = e
	}
	if m == nil || !m.endedBy(e.Reason) {
		return false
	}
	delete(w.members, id)
	if w.loaded {
		if w.changes[id].change == joined {
			delete(w.changes, id)
		} else {
			w.change(m, left)
		}
		w.tell(s)
	}
	return true
}

// change notes that watchers have to be told of a member.
func (w *watchedGroup) change(m *Member, c change) {
	if w.changes == nil {
		w.changes = make(map[string]changed)
	}
	w.changes[m.ConnectionID] = changed{c, m}
}

// tell tells watchers of changes, at once or in a while. p.mu is held.
func (w *watchedGroup) tell(s *Server) {
	switch {
	case len(w.changes) == 0:
	case len(w.members) <= promptMembers && w.timer == nil:
		w.flush(s)
	case w.timer == nil:
		w.tellLater(s)
	}
}

// tellLater has the changes told in a while. p.mu is held.
func (w *watchedGroup) tellLater(s *Server) {
	w.timer = time.AfterFunc(presenceEvery, func() {
		s.presence.mu.Lock()
		defer s.presence.mu.Unlock()
		if w.timer != nil {
			w.timer = nil
			w.flush(s)
		}
	})
}

// stop forgets what is not told yet. p.mu is held.
func (w *watchedGroup) stop() {
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
	w.changes = nil
}

// presenceDiff is what a watcher is told.
type presenceDiff struct {
	Group   string        `json:"group"`
	Joins   []shownMember `json:"joins,omitempty"`
	Updates []shownMember `json:"updates,omitempty"`
	Leaves  []shownMember `json:"leaves,omitempty"`
	Count   int           `json:"count"`
	// Reset: what the watcher knows is worth nothing, and it watches no more.
	Reset bool `json:"reset,omitempty"`
}

// shownMember is a member as it is shown.
type shownMember struct {
	ConnectionID string          `json:"connectionId"`
	UserID       string          `json:"userId,omitempty"`
	State        json.RawMessage `json:"state,omitempty"`
}

func (m *Member) shown() shownMember {
	return shownMember{ConnectionID: m.ConnectionID, UserID: m.UserID, State: m.State}
}

// flush tells watchers of changes, as many as they are told at once. p.mu is held.
func (w *watchedGroup) flush(s *Server) {
	if len(w.changes) == 0 {
		return
	}
	d := presenceDiff{Group: w.name, Count: len(w.members)}
	bytes := 0
	for _, id := range slices.Sorted(maps.Keys(w.changes)) {
		if bytes >= maxDiff {
			break
		}
		c := w.changes[id]
		delete(w.changes, id)
		bytes += len(id) + len(c.member.UserID) + memberRoom
		switch c.change {
		case left:
			d.Leaves = append(d.Leaves, shownMember{ConnectionID: c.member.ConnectionID, UserID: c.member.UserID})
			continue
		case joined:
			d.Joins = append(d.Joins, c.member.shown())
		case updated:
			d.Updates = append(d.Updates, c.member.shown())
		case unchanged:
		}
		bytes += len(c.member.State)
	}
	w.push(s, d)
	if len(w.changes) == 0 {
		w.changes = nil
	} else if w.timer == nil {
		w.tellLater(s)
	}
}

// memberRoom is about what a member takes beside its texts.
const memberRoom = 40

// push sends d to every watcher that has its snapshot. p.mu is held.
func (w *watchedGroup) push(s *Server, d presenceDiff) {
	text, err := json.Marshal([]presenceDiff{d})
	if err != nil {
		s.log.Error("presence can't be encoded", "hub", s.name, "error", err)
		return
	}
	b := &Broadcast{Target: presenceTarget, Arguments: protocol.Raw{Encoding: protocol.JSON, Bytes: text}}
	var due []*Connection
	for c, live := range w.watchers {
		if !live {
			continue
		}
		frame, err := b.Frame(c.proto)
		if err != nil {
			s.log.Error("presence can't be encoded", "hub", s.name, "error", err)
			continue
		}
		if c.enqueue(queued{frame: frame, units: Units(len(frame))}) {
			due = append(due, c)
		}
	}
	writers.schedule(due...)
}

// WatchPresence makes c one of those that are told of changes of who is present in
// a group. answer is called with the members, as a JSON array, and their number
// before the first change is told; it must queue what it sends to c and not block. It fails with
// ErrSnapshotTooLarge, or as Backplane.List does.
func (c *Connection) WatchPresence(ctx context.Context, group string, answer func(members []byte, count int) error) error {
	s := c.server
	p := &s.presence
	release, err := s.selected(ctx, group)
	if err != nil {
		return err
	}
	defer release() // it is watched then
	p.mu.Lock()
	w := p.watched[group]
	if w == nil {
		w = &watchedGroup{name: group, watchers: make(map[*Connection]bool), members: make(map[string]*Member), gone: make(map[string]*Entry)}
		p.watched[group] = w
	}
	if _, already := w.watchers[c]; !already {
		w.watchers[c] = false
		if p.watches[c] == nil {
			p.watches[c] = make(map[string]struct{})
		}
		p.watches[c][group] = struct{}{}
	}
	p.mu.Unlock()
	if err := p.load(ctx, s, w); err != nil {
		c.UnwatchPresence(group)
		return err
	}
	p.awaitTold(ctx, w)
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, still := w.watchers[c]; !still || c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	for len(w.changes) > 0 { // the others first: what they are told of now is in the snapshot
		w.flush(s)
	}
	snapshot, err := w.snapshot()
	if err == nil {
		err = answer(snapshot, len(w.members))
	}
	if err != nil {
		p.unwatch(c, group)
		return err
	}
	w.watchers[c] = true
	return nil
}

// awaitTold waits for a while that watchers are told of what a crowd has left to tell.
func (p *presence) awaitTold(ctx context.Context, w *watchedGroup) {
	for range 10 {
		p.mu.Lock()
		left := len(w.changes)
		p.mu.Unlock()
		if left <= fewChanges {
			return
		}
		select {
		case <-time.After(presenceEvery):
		case <-ctx.Done():
			return
		}
	}
}

// fewChanges are told at once when somebody wants to watch.
const fewChanges = 500

// snapshot returns the members as JSON. p.mu is held.
func (w *watchedGroup) snapshot() ([]byte, error) {
	shown := make([]shownMember, 0, len(w.members))
	for _, m := range w.members {
		shown = append(shown, m.shown())
	}
	slices.SortFunc(shown, func(a, b shownMember) int { return strings.Compare(a.ConnectionID, b.ConnectionID) })
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(shown); err != nil {
		return nil, fmt.Errorf("encode members: %w", err)
	}
	if b.Len() > maxSnapshot {
		return nil, ErrSnapshotTooLarge
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// load asks all nodes for the members of w unless they are known. Doorbell
// messages are in order: whoever answers has applied all that was accepted before
// the question, so what comes from elsewhere and what has been applied here
// meanwhile add up by the numbers of the entries.
func (p *presence) load(ctx context.Context, s *Server, w *watchedGroup) error {
	for {
		p.mu.Lock()
		loading := w.loading
		if w.loaded {
			p.mu.Unlock()
			return nil
		}
		if loading == nil {
			break
		}
		p.mu.Unlock()
		select {
		case <-loading:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	done := make(chan struct{})
	w.loading = done
	p.mu.Unlock()
	q := ListQuery{Kind: ListPresent, Group: w.name, Limit: MaxListed}
	var err error
	for more := true; more && err == nil; {
		var page Page
		if page, err = s.Backplane().List(ctx, q); err != nil {
			break
		}
		p.mu.Lock()
		for _, item := range page.Items {
			q.After = item.Name
			m := &Member{ConnectionID: item.Name, UserID: item.User, State: item.State, Number: item.Number, Token: item.Token}
			if known := w.members[item.Name]; known != nil && known.Number >= item.Number {
				continue
			}
			if e := w.gone[item.Name]; e != nil && e.Number > item.Number && m.endedBy(e.Reason) {
				continue
			}
			w.members[item.Name] = m
		}
		p.mu.Unlock()
		more = page.More
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	w.loading = nil
	close(done)
	if err == nil {
		w.loaded, w.gone = true, nil
	}
	return err
}

// UnwatchPresence ends WatchPresence.
func (c *Connection) UnwatchPresence(group string) {
	p := &c.server.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unwatch(c, group)
}

// Watching is how many groups c watches.
func (c *Connection) Watching() int {
	p := &c.server.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.watches[c])
}

// unwatch forgets that c watches a group. p.mu is held.
func (p *presence) unwatch(c *Connection, group string) {
	if delete(p.watches[c], group); len(p.watches[c]) == 0 {
		delete(p.watches, c)
	}
	w := p.watched[group]
	if w == nil {
		return
	}
	if delete(w.watchers, c); len(w.watchers) == 0 {
		w.stop()
		delete(p.watched, group) // a load under way finds itself in nobody's map
	}
}

// forgetWatcher forgets a connection that has ended.
func (p *presence) forgetWatcher(c *Connection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for group := range p.watches[c] {
		p.unwatch(c, group)
	}
}

// lostEntries: what is known of watched groups may be wrong. Watchers that stay
// are told to ask anew, and this node's members are announced again.
func (s *Server) lostEntries() {
	p := &s.presence
	type again struct {
		group string
		m     *Member
	}
	var all []again
	p.mu.Lock()
	for _, w := range p.watched {
		w.stop()
		w.push(s, presenceDiff{Group: w.name, Reset: true})
	}
	clear(p.watched)
	clear(p.watches)
	for group, members := range p.here {
		for _, m := range members {
			all = append(all, again{group, &Member{ConnectionID: m.ConnectionID, State: m.State}})
		}
	}
	p.mu.Unlock()
	for _, a := range all {
		if c := s.store.find(a.m.ConnectionID); c != nil && !c.isEnding() && a.m.State != nil {
			s.announceLater(c, a.group, a.m.State, true)
		}
	}
}
