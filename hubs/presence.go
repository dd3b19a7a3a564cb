package hubs

import (
	"context"
	"crypto/rand"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// Presence is what members of a group have said of themselves. A connection that
// wants to be seen enters with a state; it is present until it leaves the group or
// ends. Like membership, presence is known by its node alone, which tells of every
// change with an entry: so lists are asked of all nodes, and those who watch a
// group get changes in the hub's order.
//
// Every presence has a token from its beginning to its end. An end names the token
// that it ends, so one that comes late ends nothing newer; the Backplane keeps the
// tokens of a process, and when that dies, others publish the ends.

// Member is a connection that is present in a group.
type Member struct {
	ConnectionID string
	UserID       string
	State        []byte // one JSON value
	Number       uint64 // of the entry that announced it last
	Token        string
}

// presence is that of a Server's own connections, and of the groups that they
// watch.
//
// Lock order: Connection.mu, presence.mu, outbound.mu.
type presence struct {
	run string // begins every token of this Server

	mu      sync.Mutex
	tokens  uint64
	here    map[string]map[string]*Member // by group and connection id; Number 0 = on its way
	arrived map[string]int                // how many in each group aren't on their way
	watched map[string]*watchedGroup
	watches map[*Connection]map[string]struct{}
	due     []*Entry // are to be published
	working chan struct{}

	// ctx bounds what is published; stop ends it with the Server.
	ctx  context.Context
	stop context.CancelFunc
	// patience is how long one publish may take, and how long the last ones have.
	patience time.Duration
}

func newPresence() presence {
	ctx, stop := context.WithCancel(context.Background())
	return presence{
		ctx: ctx, stop: stop, patience: presencePatience,
		run: rand.Text(), here: make(map[string]map[string]*Member), arrived: make(map[string]int),
		watched: make(map[string]*watchedGroup), watches: make(map[*Connection]map[string]struct{}),
	}
}

// ends reports whether an end with this token, or with all that begin like it when
// it ends in an asterisk, is one of m.
func (m *Member) endedBy(token string) bool {
	if all, some := strings.CutSuffix(token, "*"); some {
		return strings.HasPrefix(m.Token, all)
	}
	return m.Token == token
}

// memberOf reads a PresenceSet.
func memberOf(e *Entry) *Member {
	m := &Member{ConnectionID: e.Connections[0], State: e.Message.Arguments.Bytes, Number: e.Number, Token: e.Reason}
	if len(e.Users) > 0 {
		m.UserID = e.Users[0]
	}
	return m
}

// entry announces m.
func (m *Member) entry(group string) *Entry {
	e := &Entry{
		Kind: PresenceSet, Connections: []string{m.ConnectionID}, Groups: []string{group}, Reason: m.Token,
		Message: &Broadcast{Target: presenceTarget, Arguments: protocol.Raw{Encoding: protocol.JSON, Bytes: m.State}},
	}
	if m.UserID != "" {
		e.Users = []string{m.UserID}
	}
	return e
}

// Present reports whether c is present in the group.
func (c *Connection) Present(group string) bool {
	p := &c.server.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.here[group][c.ID()] != nil
}

// AnnouncePresence returns the entry that makes c present in the group with this
// state, one JSON value; nil when c isn't in the group. When the entry has been
// published, or may have been, settle must be called.
func (c *Connection) AnnouncePresence(group string, state []byte) (e *Entry, settle func()) {
	return c.announcePresence(group, state, false)
}

// announcePresence is AnnouncePresence; again gives it another token, since others
// have ended the one before.
func (c *Connection) announcePresence(group string, state []byte, again bool) (e *Entry, settle func()) {
	p := &c.server.presence
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, in := c.groups[group]; !in || c.gone {
		return nil, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.here[group][c.ID()]
	if m == nil || again {
		p.tokens++
		if m == nil {
			c.present++
		}
		m = &Member{ConnectionID: c.ID(), UserID: c.User(), Token: p.run + "." + strconv.FormatUint(p.tokens, 36)}
		p.put(group, m)
	}
	next := Member{ConnectionID: m.ConnectionID, UserID: m.UserID, State: state, Token: m.Token}
	return next.entry(group), func() { c.settlePresence(group, next.Token) }
}

// put makes m one of this node's. p.mu is held.
func (p *presence) put(group string, m *Member) {
	if p.here[group] == nil {
		p.here[group] = make(map[string]*Member)
	}
	if before := p.here[group][m.ConnectionID]; before != nil && before.Number > 0 {
		p.arrived[group]--
	}
	p.here[group][m.ConnectionID] = m
}

// settlePresence publishes the end of an announcement whose connection left the
// group before it was accepted.
func (c *Connection) settlePresence(group, token string) {
	p := &c.server.presence
	p.mu.Lock()
	m := p.here[group][c.ID()]
	ended := m == nil || m.Token != token
	p.mu.Unlock()
	if ended {
		c.server.publishLater(endOfPresence(group, c.ID(), token))
	}
}

func endOfPresence(group, connection, token string) *Entry {
	return &Entry{Kind: PresenceGone, Connections: []string{connection}, Groups: []string{group}, Reason: token}
}

// ClearPresence ends c's presence in a group and returns the entry that says so;
// nil when it isn't present.
func (c *Connection) ClearPresence(group string) *Entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leavePresence(group)
}

// leavePresence is ClearPresence; c.mu is held.
func (c *Connection) leavePresence(group string) *Entry {
	if c.present == 0 {
		return nil
	}
	p := &c.server.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.here[group][c.ID()]
	if m == nil {
		return nil
	}
	c.present--
	if m.Number > 0 {
		p.arrived[group]--
	}
	if delete(p.here[group], c.ID()); len(p.here[group]) == 0 {
		delete(p.here, group)
		delete(p.arrived, group)
	}
	return endOfPresence(group, c.ID(), m.Token)
}

// leftGroup ends the presence of a connection that has left a group, and its
// conflation. c.mu is held.
func (c *Connection) leftGroup(group string) {
	c.endConflation(group)
	if e := c.leavePresence(group); e != nil {
		c.server.publishLater(e)
	}
}

// setPresence carries out a PresenceSet.
func (s *Server) setPresence(e *Entry) (matched int) {
	if len(e.Connections) != 1 || len(e.Groups) != 1 || e.Message == nil {
		return 0
	}
	m, group := memberOf(e), e.Groups[0]
	p := &s.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	if own := p.here[group][m.ConnectionID]; own != nil && own.Token == m.Token {
		if own.Number == 0 {
			p.arrived[group]++
		}
		own.State, own.Number = m.State, m.Number
		matched = 1
	}
	p.entered(s, group, m)
	return matched
}

// endPresence carries out a PresenceGone.
func (s *Server) endPresence(e *Entry) (matched int) {
	if len(e.Groups) != 1 {
		return 0
	}
	group := e.Groups[0]
	p := &s.presence
	p.mu.Lock()
	var again []*Member
	for _, id := range e.Connections {
		// The others took this process for dead.
		if own := p.here[group][id]; own != nil && own.Number > 0 && own.endedBy(e.Reason) {
			again = append(again, &Member{ConnectionID: id, State: own.State})
		}
		if p.left(s, group, id, e) {
			matched++
		}
	}
	p.mu.Unlock()
	for _, m := range again {
		if c := s.store.find(m.ConnectionID); c != nil {
			s.announceLater(c, group, m.State, true)
		}
	}
	return matched
}

// wishPresence carries out a PresenceWish: what a backend says of connections of
// this node that are in the group.
func (s *Server) wishPresence(e *Entry) (matched int) {
	if len(e.Groups) != 1 {
		return 0
	}
	group := e.Groups[0]
	return s.eachNamed(e.Connections, func(c *Connection) bool {
		if !c.in(group) {
			return false
		}
		if e.Message == nil {
			if end := c.ClearPresence(group); end != nil {
				s.publishLater(end)
				return true
			}
			return false
		}
		s.announceLater(c, group, e.Message.Arguments.Bytes, false)
		return true
	})
}

// announceLater makes c present without waiting.
func (s *Server) announceLater(c *Connection, group string, state []byte, again bool) {
	if e, settle := c.announcePresence(group, state, again); e != nil {
		s.publishLater(e)
		settle() // what ends it from now on is published behind it
	}
}

// listPresence offers those of the query that are present.
func (s *Server) listPresence(l *listing) {
	p := &s.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	users := make(map[string]int)
	for _, m := range p.here[l.q.Group] {
		switch {
		case m.Number == 0, l.q.User != "" && m.UserID != l.q.User, l.q.Connection != "" && m.ConnectionID != l.q.Connection:
		case l.q.Kind == ListPresent:
			l.offer(Listed{Name: m.ConnectionID, User: m.UserID, Connections: 1, State: m.State, Number: m.Number, Token: m.Token})
		case m.UserID != "":
			users[m.UserID]++
		}
	}
	l.offerAll(users)
}

// countPresent is how many connections are present in the group, or in any when it
// is "".
func (p *presence) countPresent(group string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if group != "" {
		return p.arrived[group] // everybody who enters asks
	}
	ids := make(map[string]struct{})
	for _, members := range p.here {
		for id, m := range members {
			if m.Number > 0 {
				ids[id] = struct{}{}
			}
		}
	}
	return len(ids)
}
