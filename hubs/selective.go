package hubs

import (
	"context"

	"github.com/signalbox/signalbox/hubs/internal/unhurried"
)

// A Backplane with partitions need not carry all of them to every node: only the first,
// which has what is for all, and those in which the node has members.

// Selector is a Backplane that carries to a Selective node what is for all, and what is
// in the same partitions as the names that the node has.
type Selector interface {
	// Select returns once all that is accepted from then on for the names, of groups,
	// users or connections, reaches n, which has subscribed. It does for as long as n
	// has a name among its Members, and until release is called: so names are selected
	// before they become members, and released then. The error is ErrUnavailable, or
	// that of ctx.
	Select(ctx context.Context, n Node, names ...string) (release func(), err error)
}

// Selective is a Node that says what it has. Other nodes get all partitions.
type Selective interface {
	Node
	// Members calls f for the names of the groups, users and connections that this
	// node has, in any order and some more than once, until f reports false. f doesn't
	// block.
	Members(f func(name string) bool)
	// Joins reports whether an AddToGroup or AddUserToGroup is for connections that are
	// here. The groups of those are selected before it is applied.
	Joins(e *Entry) bool
	// Rests is called when nothing of the partition that an epoch is of is applied any
	// more, until Begins is called for it again.
	Rests(epoch string)
}

var _ Selective = (*Server)(nil)

// selected has what is for these names reach this Server until release is called.
func (s *Server) selected(ctx context.Context, names ...string) (release func(), err error) {
	sel, ok := s.Backplane().(Selector)
	if !ok || len(names) == 0 {
		return func() {}, nil
	}
	timed := unhurried.With(ctx, subscribeTimeout)
	defer timed.Stop()
	return sel.Select(timed, s, names...)
}

// names are those of a connection that has just come.
func (c *Connection) names() []string {
	names := append(make([]string, 0, 2+len(c.info.Principal.Groups)), c.ID())
	if c.User() != "" {
		names = append(names, c.User())
	}
	return append(names, c.info.Principal.Groups...)
}

// Members implements Selective.
func (s *Server) Members(f func(name string) bool) {
	if !s.presence.eachWatched(f) || !s.store.groups.names(f) || !s.store.users.names(f) {
		return
	}
	for i := range s.store.byID {
		if !s.store.byID[i].names(f) {
			return
		}
	}
}

// Joins implements Selective.
func (s *Server) Joins(e *Entry) bool {
	for _, id := range e.Connections {
		if s.store.find(id) != nil {
			return true
		}
	}
	for _, u := range e.Users {
		if s.store.users.has(u) {
			return true
		}
	}
	return false
}

// Rests implements Selective: nothing waits for the partition any more.
func (s *Server) Rests(epoch string) { s.progress.rests(epoch) }

// names calls f for the ids until it reports false, and reports that.
func (sh *connectionShard) names(f func(name string) bool) bool {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for _, c := range sh.all.members {
		if !f(c.ID()) {
			return false
		}
	}
	return true
}

// names calls f for every name until it reports false, and reports that.
func (ix *memberIndex) names(f func(name string) bool) bool {
	for i := range ix.shards {
		if !ix.shards[i].names(f) {
			return false
		}
	}
	return true
}

func (sh *memberShard) names(f func(name string) bool) bool {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for name := range sh.byName {
		if !f(name) {
			return false
		}
	}
	return true
}

// has reports whether there is a connection under name.
func (ix *memberIndex) has(name string) bool {
	sh := &ix.shards[shardOf(name)]
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.byName[name] != nil
}

// eachWatched calls f for the groups that connections watch until it reports false, and
// reports that.
func (p *presence) eachWatched(f func(name string) bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for group := range p.watched {
		if !f(group) {
			return false
		}
	}
	return true
}
