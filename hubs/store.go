package hubs

import (
	"hash/maphash"
	"sync"
)

// storeShards is a power of two.
const storeShards = 16

var storeSeed = maphash.MakeSeed()

func shardOf(key string) int { return int(maphash.String(storeSeed, key) & (storeShards - 1)) }

// store finds the connections of one Server: by id, by user, by group.
//
// Locks: see the package documentation. No shard lock is held while another is
// taken.
type store struct {
	byID   [storeShards]connectionShard
	users  memberIndex
	groups memberIndex
}

// connectionShard holds the connections whose ids hash to it. The slice makes
// walking over all of them cheap.
type connectionShard struct {
	mu   sync.RWMutex
	byID map[string]*Connection
	all  memberList
}

// add makes c findable; it reports false when its id is taken.
func (s *store) add(c *Connection) bool {
	sh := &s.byID[shardOf(c.ID())]
	sh.mu.Lock()
	if _, taken := sh.byID[c.ID()]; taken {
		sh.mu.Unlock()
		return false
	}
	if sh.byID == nil {
		sh.byID = make(map[string]*Connection)
	}
	sh.byID[c.ID()] = c
	sh.all.add(c)
	sh.mu.Unlock()
	if c.User() != "" {
		s.users.add(c.User(), c)
	}
	return true
}

// remove undoes add.
func (s *store) remove(c *Connection) {
	sh := &s.byID[shardOf(c.ID())]
	sh.mu.Lock()
	if sh.byID[c.ID()] != c {
		sh.mu.Unlock()
		return
	}
	delete(sh.byID, c.ID())
	sh.all.remove(c)
	sh.mu.Unlock()
	if c.User() != "" {
		s.users.remove(c.User(), c)
	}
}

// find returns the connection with this id, or nil.
func (s *store) find(id string) *Connection {
	sh := &s.byID[shardOf(id)]
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.byID[id]
}

// each calls f for every connection, holding a shard's read lock: f must not
// block.
func (s *store) each(f func(*Connection)) {
	for i := range s.byID {
		sh := &s.byID[i]
		sh.mu.RLock()
		for _, c := range sh.all.members {
			f(c)
		}
		sh.mu.RUnlock()
	}
}

// snapshot returns all connections, for calls that may block or take locks.
func (s *store) snapshot() []*Connection {
	var all []*Connection
	s.each(func(c *Connection) { all = append(all, c) })
	return all
}

// memberIndex is a map from a name to the connections under it.
type memberIndex struct {
	shards [storeShards]memberShard
}

type memberShard struct {
	mu     sync.RWMutex
	byName map[string]*memberList
}

func (ix *memberIndex) add(name string, c *Connection) {
	sh := &ix.shards[shardOf(name)]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	list := sh.byName[name]
	if list == nil {
		if sh.byName == nil {
			sh.byName = make(map[string]*memberList)
		}
		list = &memberList{}
		sh.byName[name] = list
	}
	list.add(c)
}

func (ix *memberIndex) remove(name string, c *Connection) {
	sh := &ix.shards[shardOf(name)]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	list := sh.byName[name]
	if list == nil {
		return
	}
	list.remove(c)
	if len(list.members) == 0 {
		delete(sh.byName, name)
	}
}

// each calls f for every connection under name, holding the shard's read lock:
// f must not block.
func (ix *memberIndex) each(name string, f func(*Connection)) {
	sh := &ix.shards[shardOf(name)]
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	if list := sh.byName[name]; list != nil {
		for _, c := range list.members {
			f(c)
		}
	}
}

// eachName calls f for every name with the connections under it, holding a
// shard's read lock: f must not block and not keep them.
func (ix *memberIndex) eachName(f func(name string, members []*Connection)) {
	for i := range ix.shards {
		sh := &ix.shards[i]
		sh.mu.RLock()
		for name, list := range sh.byName {
			f(name, list.members)
		}
		sh.mu.RUnlock()
	}
}

// snapshot returns the connections under name.
func (ix *memberIndex) snapshot(name string) []*Connection {
	var all []*Connection
	ix.each(name, func(c *Connection) { all = append(all, c) })
	return all
}

// smallList is the number of members up to which a search beats a map.
const smallList = 8

// memberList is a set of connections that is fast to walk over.
type memberList struct {
	members []*Connection
	index   map[*Connection]int // only above smallList
}

func (l *memberList) position(c *Connection) int {
	if l.index != nil {
		if i, ok := l.index[c]; ok {
			return i
		}
		return -1
	}
	for i, m := range l.members {
		if m == c {
			return i
		}
	}
	return -1
}

func (l *memberList) add(c *Connection) {
	if l.position(c) >= 0 {
		return
	}
	l.members = append(l.members, c)
	switch {
	case l.index != nil:
		l.index[c] = len(l.members) - 1
	case len(l.members) > smallList:
		l.index = make(map[*Connection]int, 2*smallList)
		for i, m := range l.members {
			l.index[m] = i
		}
	}
}

func (l *memberList) remove(c *Connection) {
	i := l.position(c)
	if i < 0 {
		return
	}
	end := len(l.members) - 1
	moved := l.members[end]
	l.members[i], l.members[end] = moved, nil
	l.members = l.members[:end]
	if l.index != nil {
		l.index[moved] = i
		delete(l.index, c)
	}
	if cap(l.members) > 4*smallList && len(l.members) < cap(l.members)/4 {
		l.members = append(make([]*Connection, 0, 2*len(l.members)), l.members...)
	}
}
