package hubs

import "slices"

// Apply carries an entry out for this Server's connections. It implements Node.
func (s *Server) Apply(e *Entry) (matched int) {
	s.beginFanOut()
	defer s.endFanOut()
	s.progress.begins(e)
	defer s.progress.applied(e) // what waits for it must not wait for ever
	return s.apply(e)
}

func (s *Server) apply(e *Entry) (matched int) {
	s.applied++
	s.endBefore(e)
	switch e.Kind {
	case 0:
		return 0 // nobody understands what has this place
	case SendToAll, SendToGroups, SendToUsers, SendToConnections:
		return s.deliver(e)
	case AddToGroup:
		return s.eachNamed(e.Connections, func(c *Connection) bool { return s.joinAll(c, e) })
	case RemoveFromGroup:
		return s.eachNamed(e.Connections, func(c *Connection) bool { return leaveEach(c, e.Groups) })
	case RemoveFromAllGroups:
		return s.eachNamed(e.Connections, func(c *Connection) bool { c.leaveAll(false); return true })
	case AddUserToGroup:
		return s.eachUser(e.Users, func(c *Connection) bool { return s.joinAll(c, e) })
	case RemoveUserFromGroup:
		return s.eachUser(e.Users, func(c *Connection) bool { return leaveEach(c, e.Groups) })
	case RemoveUserFromGroups:
		return s.eachUser(e.Users, func(c *Connection) bool { c.leaveAll(false); return true })
	case CloseConnections:
		return s.closeNamed(e)
	case InvokeConnection:
		return s.askNamed(e)
	case PresenceSet:
		return s.setPresence(e)
	case PresenceGone:
		return s.endPresence(e)
	case PresenceWish:
		return s.wishPresence(e)
	case ClientResult:
		return 0 // who asked has a Node of its own for it
	}
	s.log.Warn("entry of an unknown kind skipped", "hub", s.name, "kind", int(e.Kind), "number", e.Number)
	return 0
}

// Answer counts this Server's connections that match. It implements Node.
func (s *Server) Answer(q Query) (matched int) {
	s.endNow(0)
	count := func(c *Connection) {
		if !c.isEnding() {
			matched++
		}
	}
	switch q.Kind {
	case CountConnection:
		if c := s.store.find(q.Name); c != nil {
			count(c)
		}
	case CountGroup:
		s.store.groups.each(q.Name, count)
	case CountUser:
		s.store.users.each(q.Name, count)
	case CountUserInGroup:
		for _, c := range s.store.users.snapshot(q.User) {
			if c.in(q.Name) {
				count(c)
			}
		}
	case CountConnections:
		s.store.each(count)
	case CountPresent:
		return s.presence.countPresent(q.Name)
	}
	return matched
}

// delivery is one entry on its way into the queues of connections.
type delivery struct {
	s       *Server
	e       *Entry
	frames  [2]frameOf // by hub protocol; there are two
	matched int
	dedupe  bool // a connection may be reached in more than one way
	// conflate: those that are in its groups with conflation get it so now.
	conflate bool
	keys     []keyed // as far as they were asked for
	// groups are the entry's, when there are several, and groupsBytes their size.
	groups      names
	groupsBytes int

	excluded, excludedUsers names
}

// names is a set of ids that is asked for every recipient.
type names struct {
	few  []string
	many map[string]struct{} // instead, when there are more than smallList
}

func namesOf(list []string) names {
	if len(list) <= smallList {
		return names{few: list}
	}
	many := make(map[string]struct{}, len(list))
	for _, n := range list {
		many[n] = struct{}{}
	}
	return names{many: many}
}

func (n names) has(name string) bool {
	if n.many != nil {
		_, ok := n.many[name]
		return ok
	}
	return slices.Contains(n.few, name)
}

type frameOf struct {
	protocol string
	item     queued
	broken   bool
}

// deliver queues the entry's message for every connection it is for. It costs
// no allocation per connection once queues have grown.
func (s *Server) deliver(e *Entry) int {
	if e.Message == nil {
		return 0
	}
	d := delivery{s: s, e: e, excluded: namesOf(e.Excluded), excludedUsers: namesOf(e.ExcludedUsers)}
	defer s.flushDue() // also when one connection's frame panics: the others have theirs queued
	switch e.Kind {
	case SendToAll:
		s.toAll(d.to)
	case SendToGroups:
		s.deliverToGroups(&d)
	case SendToUsers:
		d.dedupe = len(e.Users) > 1
		for _, u := range e.Users {
			s.toMembers(&s.store.users, u, nil, d.to)
		}
	case SendToConnections:
		d.dedupe = len(e.Connections) > 1
		for _, id := range e.Connections {
			if c := s.store.find(id); c != nil {
				d.to(c)
			}
		}
	}
	return d.matched
}

func (s *Server) deliverToGroups(d *delivery) {
	if len(d.e.Groups) == 1 {
		d.conflate = true
		s.toMembers(&s.store.groups, d.e.Groups[0], (*Connection).in, d.to)
		return
	}
	// Who is in one of the groups without conflation gets it as it is.
	d.dedupe = true
	defer func() { s.conflating = emptied(s.conflating) }()
	for _, g := range d.e.Groups {
		s.toMembers(&s.store.groups, g, (*Connection).in, func(c *Connection) {
			if c.conflates(g) {
				s.conflating = append(s.conflating, c)
				return
			}
			d.to(c)
		})
	}
	if len(s.conflating) == 0 {
		return
	}
	d.conflate, d.groups = true, namesOf(d.e.Groups)
	for _, g := range d.e.Groups {
		d.groupsBytes += len(g)
	}
	before := s.applied
	s.applied++ // stamps those that have had their turn here
	for _, c := range s.conflating {
		s.reached++
		s.slice()
		if !slices.ContainsFunc(d.e.Groups, c.in) {
			continue // it has left since
		}
		switch c.stamp {
		case s.applied:
		case before:
			c.stamp = s.applied
			if !d.excludes(c) {
				c.supersede(d)
			}
		default:
			d.to(c)
		}
	}
}

// emptied returns the list to use for the next entry.
func emptied(list []*Connection) []*Connection {
	clear(list)
	if cap(list) > readyKept {
		return nil
	}
	return list[:0]
}

// excludes reports whether the entry isn't for c although it is for its groups.
func (d *delivery) excludes(c *Connection) bool {
	return d.excluded.has(c.ID()) || (c.User() != "" && d.excludedUsers.has(c.User()))
}

// to queues the message for c unless c is excluded or has it already.
func (d *delivery) to(c *Connection) {
	if d.dedupe {
		if c.stamp == d.s.applied {
			return
		}
		c.stamp = d.s.applied
	}
	if d.excludes(c) {
		return
	}
	item, ok := d.item(c)
	if !ok {
		return
	}
	d.matched++
	if c.enqueueEntry(item, d) {
		d.s.due = append(d.s.due, c)
	}
}

// item returns the message as a frame of c's hub protocol.
func (d *delivery) item(c *Connection) (queued, bool) {
	name := c.proto.Name()
	for i := range d.frames {
		f := &d.frames[i]
		if f.protocol == "" {
			f.protocol = name
			frame, err := d.e.Message.Frame(c.proto)
			if err != nil {
				f.broken = true
				d.s.log.Error("broadcast can't be encoded", "hub", d.s.name, "protocol", name, "error", err)
			}
			f.item = queued{frame: frame, units: Units(len(frame)), shared: d.share(frame), tally: d.s.tally(d.e)}
		}
		if f.protocol == name {
			return f.item, !f.broken
		}
	}
	frame, err := d.e.Message.Frame(c.proto)
	return queued{frame: frame, units: Units(len(frame)), tally: d.s.tally(d.e)}, err == nil
}

// eachNamed calls f for the connections with these ids that are here and counts
// those for which it reports true.
func (s *Server) eachNamed(ids []string, f func(*Connection) bool) (matched int) {
	for _, id := range ids {
		if c := s.store.find(id); c != nil && !c.isEnding() && f(c) {
			matched++
		}
	}
	return matched
}

// eachUser is eachNamed for every connection of the users.
func (s *Server) eachUser(users []string, f func(*Connection) bool) (matched int) {
	for _, u := range users {
		for _, c := range s.store.users.snapshot(u) {
			if f(c) {
				matched++
			}
		}
	}
	return matched
}

// joinAll joins the entry's groups and reports whether c is in all of them now.
func (s *Server) joinAll(c *Connection, e *Entry) bool {
	limit := s.options.Load().MaximumGroups
	all := true
	rewind := c.planned(e)
	if rewind != nil {
		rewind.begin(c)
	}
	for _, g := range e.Groups {
		if !c.join(g, limit, e.endOf(c, g)) {
			all = false
		} else if e.Kind == AddToGroup && e.Conflate != nil {
			c.setConflation(g, *e.Conflate)
		}
	}
	if rewind != nil {
		rewind.ready(c, all)
	}
	return all
}

func leaveEach(c *Connection, groups []string) bool {
	for _, g := range groups {
		c.leave(g)
	}
	return true
}

// closeNamed closes what a CloseConnections entry names.
func (s *Server) closeNamed(e *Entry) (matched int) {
	var named []*Connection
	switch {
	case len(e.Connections) > 0:
		for _, id := range e.Connections {
			if c := s.store.find(id); c != nil {
				named = append(named, c)
			}
		}
	case len(e.Users) > 0:
		for _, u := range e.Users {
			named = append(named, s.store.users.snapshot(u)...)
		}
	case len(e.Groups) > 0:
		for _, g := range e.Groups {
			named = append(named, s.store.groups.snapshot(g)...)
		}
	default:
		named = s.store.snapshot()
	}
	excluded, excludedUsers := namesOf(e.Excluded), namesOf(e.ExcludedUsers)
	for _, c := range named {
		if excluded.has(c.ID()) || (c.User() != "" && excludedUsers.has(c.User())) || c.isEnding() {
			continue
		}
		c.Close(e.Reason, e.AllowReconnect)
		matched++
	}
	return matched
}
