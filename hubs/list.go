package hubs

import (
	"cmp"
	"container/heap"
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
)

// ListKind is what a ListQuery asks for.
type ListKind uint8

// The kinds of lists. The numbers travel between nodes: never reuse one.
const (
	ListConnections ListKind = 1 // those of the hub, in Group, of User, or both
	ListUsers       ListKind = 2 // who have a connection to the hub, or one in Group
	ListGroups      ListKind = 3 // those with a member, of User, or of Connection
	ListPresent     ListKind = 4 // connections that are present in Group, of User or Connection
	ListPresentUser ListKind = 5 // users who are present in Group
)

// The bounds of a page.
const (
	MaxListed       = 1000      // names
	MaxListedHashes = 10_000    // names, when they are Hashed
	maxListedBytes  = 256 << 10 // of what one node answers
	maxAfterBytes   = 4 << 10   // of the longest name
	listedOverhead  = 15        // bytes of one Listed beside its names, at most
)

// ListQuery asks every node of a hub for its part of one page. What is listed is
// in the order of the bytes of its names, which never change, so whatever is
// there from the first page to the last is listed exactly once.
type ListQuery struct {
	Kind       ListKind
	Group      string // "" = any
	User       string // "" = any
	Connection string // "" = any
	// After is the last name of the page before; empty for the first page.
	After string
	// Limit is how many names to return at most: 1 to MaxListed, or to
	// MaxListedHashes.
	Limit int
	// Hashed asks for hashes of the names in their place, all of one size: to count
	// distinct names.
	Hashed bool
}

// Listed is one connection, user or group.
type Listed struct {
	Name        string // the connection's id, the user's id, the group's name, or its hash
	User        string // of a connection; "" = it has none
	Connections int    // of the user or in the group, as far as the query asks for them; 1 for a connection

	// Of ListPresent alone: see Member.
	State  []byte
	Number uint64
	Token  string
}

// Page is a part of a list, in order.
type Page struct {
	Items []Listed
	// More is set when there may be more behind the last item. A page without
	// items has none.
	More bool
}

// Validate says what is wrong with a query that no node can answer.
func (q ListQuery) Validate() error {
	most := MaxListed
	if q.Hashed {
		most = MaxListedHashes
	}
	switch {
	case q.Kind < ListConnections || q.Kind > ListPresentUser:
		return fmt.Errorf("list of unknown kind %d", q.Kind)
	case q.Limit < 1 || q.Limit > most:
		return fmt.Errorf("list of %d names, it must be 1 to %d", q.Limit, most)
	case len(q.After) > maxAfterBytes:
		return fmt.Errorf("list after a name of %d bytes, the most is %d", len(q.After), maxAfterBytes)
	}
	return nil
}

// MergePages makes one page of the answers of all nodes. It may change them.
func MergePages(q ListQuery, pages ...Page) Page {
	// What is behind the end of a part that goes on isn't complete.
	var end string
	cut := false
	var all []Listed
	for _, p := range pages {
		if p.More && len(p.Items) > 0 {
			if last := p.Items[len(p.Items)-1].Name; !cut || last < end {
				end, cut = last, true
			}
		}
		all = append(all, p.Items...)
	}
	slices.SortStableFunc(all, func(a, b Listed) int { return cmp.Compare(a.Name, b.Name) })
	out := Page{More: cut}
	for _, item := range all {
		if last := len(out.Items) - 1; last >= 0 && out.Items[last].Name == item.Name {
			if q.Kind != ListConnections && q.Kind != ListPresent {
				out.Items[last].Connections += item.Connections
			}
			continue
		}
		if cut && item.Name > end {
			break
		}
		if len(out.Items) == q.Limit {
			out.More = true
			break
		}
		out.Items = append(out.Items, item)
	}
	return out
}

// CountListed returns how many distinct names q lists; After, Limit and Hashed
// don't matter. Its cost grows with their number: bound it by ctx.
func CountListed(ctx context.Context, b Backplane, q ListQuery) (int, error) {
	q.After, q.Limit, q.Hashed = "", MaxListedHashes, true
	count := 0
	for {
		p, err := b.List(ctx, q)
		if err != nil {
			return 0, err
		}
		count += len(p.Items)
		if !p.More {
			return count, nil
		}
		q.After = p.Items[len(p.Items)-1].Name
	}
}

// List returns this Server's part of a page. It implements Node.
func (s *Server) List(q ListQuery) Page {
	s.endNow(0)
	l := listing{q: q}
	switch q.Kind {
	case ListConnections:
		s.listConnections(&l)
	case ListUsers:
		if q.Group == "" {
			s.store.users.eachName(func(user string, members []*Connection) { l.offer(Listed{Name: user, Connections: alive(members)}) })
			break
		}
		users := make(map[string]int)
		s.store.groups.each(q.Group, func(c *Connection) {
			if c.User() != "" && !c.isEnding() {
				users[c.User()]++
			}
		})
		l.offerAll(users)
	case ListGroups:
		s.listGroups(&l)
	case ListPresent, ListPresentUser:
		s.listPresence(&l)
	}
	return l.page()
}

func (s *Server) listConnections(l *listing) {
	offer := func(c *Connection) {
		if !c.isEnding() {
			l.offer(Listed{Name: c.ID(), User: c.User(), Connections: 1})
		}
	}
	switch q := l.q; {
	case q.User != "":
		for _, c := range s.store.users.snapshot(q.User) {
			if q.Group == "" || c.in(q.Group) {
				offer(c)
			}
		}
	case q.Group != "":
		s.store.groups.each(q.Group, offer)
	default:
		s.store.each(offer)
	}
}

func (s *Server) listGroups(l *listing) {
	var of []*Connection
	switch q := l.q; {
	case q.Connection != "":
		if c := s.store.find(q.Connection); c != nil {
			of = append(of, c)
		}
	case q.User != "":
		of = s.store.users.snapshot(q.User)
	default:
		s.store.groups.eachName(func(group string, members []*Connection) { l.offer(Listed{Name: group, Connections: alive(members)}) })
		return
	}
	groups := make(map[string]int)
	for _, c := range of {
		if c.isEnding() {
			continue
		}
		for _, g := range c.Groups() {
			groups[g]++
		}
	}
	l.offerAll(groups)
}

func alive(members []*Connection) (n int) {
	for _, c := range members {
		if !c.isEnding() {
			n++
		}
	}
	return n
}

// listing keeps the first names of a page: a heap with the last of them on top.
type listing struct {
	q     ListQuery
	items []Listed
	more  bool
}

func (l *listing) Len() int           { return len(l.items) }
func (l *listing) Less(i, j int) bool { return l.items[i].Name > l.items[j].Name }
func (l *listing) Swap(i, j int)      { l.items[i], l.items[j] = l.items[j], l.items[i] }
func (l *listing) Push(x any)         { l.items = append(l.items, x.(Listed)) }
func (l *listing) Pop() any {
	last := l.items[len(l.items)-1]
	l.items = l.items[:len(l.items)-1]
	return last
}

// offer puts one thing on the page if it belongs there.
func (l *listing) offer(item Listed) {
	if item.Connections == 0 {
		return
	}
	if l.q.Hashed {
		item = Listed{Name: hashOf(item.Name), Connections: item.Connections}
	}
	switch {
	case item.Name <= l.q.After:
	case len(l.items) < l.q.Limit:
		heap.Push(l, item)
	case item.Name < l.items[0].Name:
		l.items[0] = item
		heap.Fix(l, 0)
		l.more = true
	default:
		l.more = true
	}
}

func (l *listing) offerAll(counts map[string]int) {
	for name, n := range counts {
		l.offer(Listed{Name: name, Connections: n})
	}
}

// page returns what was kept, as much as an answer may hold.
func (l *listing) page() Page {
	slices.SortFunc(l.items, func(a, b Listed) int { return cmp.Compare(a.Name, b.Name) })
	bytes := 0
	for i, item := range l.items {
		bytes += len(item.Name) + len(item.User) + len(item.State) + len(item.Token) + listedOverhead
		if bytes > maxListedBytes && i > 0 {
			return Page{Items: l.items[:i:i], More: true}
		}
	}
	return Page{Items: l.items, More: l.more}
}

// hashOf is the same on every node.
func hashOf(name string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // never fails
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], h.Sum64())
	return string(b[:])
}
