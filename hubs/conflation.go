package hubs

import (
	"crypto/sha256"
	"slices"
	"strings"
	"time"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// A connection may be in a group with conflation: of the messages to the group it
// gets, for each key, the newest every so often. Others wait in no queue: what
// waits is replaced by what is newer until a writer takes it, so a client that
// reads slowly gets fewer values and isn't closed for them. Values are due on the
// wheel's ticks; there is no timer or goroutine of a connection.

// Conflation says how a connection gets the messages to a group: for each key one
// that is the newest, and the next no sooner than Every later.
//
// The first message with a key goes out at once; what comes within Every replaces
// what waits, and the newest always arrives. Messages leave in the order of the
// hub within one tick, and those with one key always. They may come behind what was
// accepted after them and isn't conflated. Leaving the group, and a Close message,
// send what waits first; a client that is cut off gets nothing more.
//
// A message to several groups isn't conflated for a connection that is in one of
// them without. Otherwise it counts for the one with the shortest Every, whatever
// their order, and takes the place of what waits with its key for any of them.
type Conflation struct {
	// Every is from MinConflation to MaxConflation, kept to within one tick of 50 ms.
	Every time.Duration
	// Key is the index, from 0, of the argument whose value is the key together with
	// the method's name; NoKey = the name alone, as for messages without such an
	// argument.
	Key int
}

// The bounds of a Conflation.
const (
	MinConflation = 10 * time.Millisecond
	MaxConflation = 10 * time.Second
	NoKey         = -1
	MaxKey        = protocol.MaxArguments - 1
)

// Of what waits for one connection in all its groups, the values of the oldest key
// are sent early beyond maxConflated keys or Options.OutboundBytes bytes; then, as
// anything else, they fill the queue.
const maxConflated = 2048

// conflateSlack is how much earlier than Every a value may be due: a tick that
// comes just too soon would have it wait for one more.
const conflateSlack = int64(wheelTick / 2)

// longKey is the longest key, in bytes, that is kept as it is.
const longKey = 128

// Check returns an *Error that says what is wrong with c.
func (c Conflation) Check() error {
	if c.Every < MinConflation || c.Every > MaxConflation {
		return Errorf("conflate.everyMs must be %d to %d", MinConflation.Milliseconds(), MaxConflation.Milliseconds())
	}
	if c.Key < NoKey || c.Key > MaxKey {
		return Errorf("conflate.key must be the index of an argument, 0 to %d, or absent", MaxKey)
	}
	return nil
}

// conflation is what a connection has of it. It is guarded by outbound.mu.
type conflation struct {
	groups  map[string]*conflatedGroup
	ready   []*latest // due, in the order in which they became so
	keys    int
	several int   // values that wait and have groups
	bytes   int   // of values that wait
	check   int64 // clock() when the wheel looks; 0 = whenever it does anyway
}

// conflatedGroup is one group that a connection is in with conflation.
type conflatedGroup struct {
	Conflation
	name    string
	values  map[string]*latest
	cooling []*latest // those that were sent less than Every ago, the earliest first
}

// latest is what is known of one key: since when its last value is out, and the
// newest that waits. It is in ready or in its group's cooling.
type latest struct {
	group *conflatedGroup
	key   string
	sent  int64 // clock() when a writer took the last value
	ready bool

	waits  bool
	item   queued   // shared, as in queues
	order  uint64   // Server.applied
	groups []string // the message's, unless it is for the group alone
	size   int      // what it counts of conflation.bytes
}

func (l *latest) due() int64 { return l.sent + int64(l.group.Every) - conflateSlack }

func inOrder(a, b *latest) int {
	switch {
	case a.order < b.order:
		return -1
	case a.order > b.order:
		return 1
	}
	return 0
}

// conflates reports whether the connection is in the group with conflation.
func (c *Connection) conflates(group string) bool {
	x := c.out.conflation.Load()
	if x == nil {
		return false
	}
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return x.groups[group] != nil
}

// setConflation has what is sent to a group that the connection is in conflated
// from now on; what waits stays.
func (c *Connection) setConflation(group string, how Conflation) {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	x := o.conflation.Load()
	if x == nil {
		x = &conflation{groups: make(map[string]*conflatedGroup, 1)}
		o.conflation.Store(x)
	}
	if g := x.groups[group]; g != nil {
		g.Conflation = how
		return
	}
	x.groups[group] = &conflatedGroup{Conflation: how, name: group, values: make(map[string]*latest)}
}

// endConflation sends what waits of a group that the connection leaves.
func (c *Connection) endConflation(group string) {
	o := &c.out
	x := o.conflation.Load()
	if x == nil {
		return
	}
	o.mu.Lock()
	schedule := false
	if g := x.groups[group]; g != nil {
		for _, item := range x.empty(g) {
			if !c.hasRoom(item) {
				schedule = c.tooSlow()
				break
			}
			schedule = o.push(item) || schedule
		}
		delete(x.groups, group)
	}
	o.mu.Unlock()
	if schedule {
		writers.schedule(c)
	}
}

// empty returns what waits of a group, or of all when g is nil, in order, and
// forgets the keys.
func (x *conflation) empty(g *conflatedGroup) []queued {
	var all []*latest
	for _, each := range x.groups {
		if g != nil && each != g {
			continue
		}
		for _, l := range each.values {
			if l.waits {
				all = append(all, l)
			}
		}
		x.keys -= len(each.values)
		clear(each.values)
		each.cooling = nil
	}
	x.ready = slices.DeleteFunc(x.ready, func(l *latest) bool { return g == nil || l.group == g })
	slices.SortFunc(all, inOrder)
	items := make([]queued, 0, len(all))
	for _, l := range all {
		items = append(items, x.take(l))
	}
	return items
}

// clear forgets what waits, not how groups are conflated.
func (x *conflation) clear() {
	for _, g := range x.groups {
		clear(g.values)
		g.cooling = nil
	}
	x.ready, x.keys, x.several, x.bytes = nil, 0, 0, 0
}

// take returns l's value, which waits no more.
func (x *conflation) take(l *latest) queued {
	item := l.item
	x.bytes -= l.size
	if l.groups != nil {
		x.several--
	}
	l.item, l.groups, l.waits = queued{}, nil, false
	return item
}

// conflate takes in a message to a group that c is in with conflation, and reports
// false when c isn't, or the message has to go the common way. c.out.mu is held.
func (c *Connection) conflate(x *conflation, item queued, d *delivery) (taken, schedule bool) {
	o := &c.out
	g := x.place(d)
	if g == nil {
		return false, false
	}
	if _, ok := d.key(g.Key); !ok {
		return false, false
	}
	g = x.supersede(d, g)
	if o.detour != nil {
		return false, false // it comes behind the history that is on its way, or is part of it
	}
	key, _ := d.key(g.Key)
	l := g.values[key]
	if l == nil {
		if x.keys >= maxConflated {
			if schedule = c.evict(x, g); o.ending {
				return true, schedule
			}
		}
		l = &latest{group: g, key: key, ready: true}
		g.values[key] = l
		x.keys++
		x.ready = append(x.ready, l)
	}
	l.item, l.order, l.waits, l.size = item, d.s.applied, true, len(item.frame)
	if len(d.e.Groups) > 1 || g.name != d.e.Groups[0] {
		l.groups = d.e.Groups
		l.size += d.groupsBytes
		x.several++
	}
	x.bytes += l.size
	for most := c.server.options.Load().OutboundBytes; x.bytes > most && !o.ending; {
		schedule = c.evict(x, g) || schedule
	}
	if len(x.ready) > 0 && !o.ending {
		schedule = o.begin() || schedule
	}
	return true, schedule
}

// place returns the group that the message counts for: of those that the connection
// is in with conflation the one with the shortest Every, and of equals the first by
// name. It is nil when there is none.
func (x *conflation) place(d *delivery) *conflatedGroup {
	if len(d.e.Groups) == 1 {
		return x.groups[d.e.Groups[0]]
	}
	var place *conflatedGroup
	for _, name := range d.e.Groups {
		if g := x.groups[name]; g != nil && (place == nil || g.before(place)) {
			place = g
		}
	}
	return place
}

// before reports whether g and not other is the place of a message to both.
func (g *conflatedGroup) before(other *conflatedGroup) bool {
	return g.Every < other.Every || g.Every == other.Every && g.name < other.name
}

// supersede drops what waits with the message's key for one of its groups. It returns
// the group in whose turn the message goes out: g, or one with a shorter Every that
// has been keeping such a value. g may be nil.
func (x *conflation) supersede(d *delivery, g *conflatedGroup) *conflatedGroup {
	if g != nil && x.several == 0 && len(d.e.Groups) == 1 {
		g.drop(x, d)
		return g
	}
	for _, other := range x.groups {
		if other.drop(x, d) && g != nil && other.before(g) {
			g = other
		}
	}
	return g
}

// drop is supersede for the values of one group; it reports whether there was one.
func (g *conflatedGroup) drop(x *conflation, d *delivery) bool {
	key, ok := d.key(g.Key)
	if !ok {
		return false
	}
	l := g.values[key]
	if l == nil || !l.waits || !d.isFor(g.name) && !slices.ContainsFunc(l.groups, d.isFor) {
		return false
	}
	x.take(l)
	return true
}

// isFor reports whether the message is for a group.
func (d *delivery) isFor(group string) bool {
	return group == d.e.Groups[0] || d.groups.has(group)
}

// supersede drops what waits with the key of a message that the connection has got
// by another way.
func (c *Connection) supersede(d *delivery) {
	if x := c.out.conflation.Load(); x != nil {
		c.out.mu.Lock()
		defer c.out.mu.Unlock()
		x.supersede(d, nil)
	}
}

// evict sends the value of the oldest key, of g if there is one, before its time.
// c.out.mu is held.
func (c *Connection) evict(x *conflation, g *conflatedGroup) (schedule bool) {
	if len(g.values) == 0 {
		for _, other := range x.groups {
			if len(other.values) > 0 {
				g = other
				break
			}
		}
	}
	var l *latest
	if len(g.cooling) > 0 {
		l, g.cooling = g.cooling[0], g.cooling[1:]
	} else {
		i := slices.IndexFunc(x.ready, func(l *latest) bool { return l.group == g })
		l, x.ready = x.ready[i], slices.Delete(x.ready, i, i+1)
	}
	delete(g.values, l.key)
	x.keys--
	if !l.waits {
		return false
	}
	item := x.take(l)
	if !c.hasRoom(item) {
		return c.tooSlow()
	}
	return c.out.push(item)
}

// pull moves values that are due to the queue, as many as one write has room for.
// c.out.mu is held.
func (c *Connection) pull(x *conflation) {
	o := &c.out
	limit, most := batchBytes, batchMessages
	switch r := c.resume; {
	case r != nil && r.on:
		// What the client hasn't room for can still be replaced.
		if limit = min(limit, c.server.options.Load().StatefulReconnectBufferSize-r.unacked-o.bytes); limit <= 0 || r.away {
			return
		}
	case c.intermittent != nil:
		limit, most = int(^uint(0)>>1), len(x.ready) // as in writeBatch
	}
	n, size := 0, 0
	for n < len(x.ready) && n < most && (n == 0 || size+len(x.ready[n].item.frame) <= limit) {
		size += len(x.ready[n].item.frame)
		n++
	}
	if n == 0 {
		return
	}
	slices.SortFunc(x.ready[:n], inOrder)
	now := clock()
	for _, l := range x.ready[:n] {
		l.ready, l.sent = false, now
		l.group.cooling = append(l.group.cooling, l)
		if l.waits {
			item := x.take(l)
			item.beside = true
			o.push(item)
		}
		c.lookAt(x, l.due(), now)
	}
	rest := copy(x.ready, x.ready[n:])
	clear(x.ready[rest:])
	x.ready = x.ready[:rest]
}

// lookAt has the wheel look no later than at. c.out.mu is held.
func (c *Connection) lookAt(x *conflation, at, now int64) {
	if x.check == 0 || at < x.check {
		x.check = at
		timers.hurry(c, time.Duration(at-now))
	}
}

// checkConflated makes values ready whose time has come and returns when to look
// again.
func (c *Connection) checkConflated(x *conflation, now int64) time.Duration {
	o := &c.out
	o.mu.Lock()
	old := len(x.ready)
	x.check = 0
	for _, g := range x.groups {
		n := 0
		for ; n < len(g.cooling) && g.cooling[n].due() <= now; n++ {
			l := g.cooling[n]
			if l.ready = l.waits; l.ready {
				x.ready = append(x.ready, l)
				continue
			}
			delete(g.values, l.key)
			x.keys--
		}
		clear(g.cooling[:n])
		if g.cooling = g.cooling[n:]; len(g.cooling) == 0 {
			g.cooling = nil
			continue
		}
		if at := g.cooling[0].due(); x.check == 0 || at < x.check {
			x.check = at
		}
	}
	slices.SortFunc(x.ready[old:], inOrder)
	next := maxCheck
	if x.check != 0 {
		next = time.Duration(x.check - now)
	}
	schedule := len(x.ready) > 0 && o.begin()
	o.mu.Unlock()
	if schedule {
		writers.schedule(c)
	}
	return next
}

// waiting reports whether there is something to write. o.mu is held.
func (o *outbound) waiting() bool {
	if len(o.queue) > 0 {
		return true
	}
	x := o.conflation.Load()
	return x != nil && len(x.ready) > 0
}

// keyed is the key that a message has for connections with this index.
type keyed struct {
	index int
	key   string
}

// key returns the message's key, and false when it is no invocation.
func (d *delivery) key(index int) (string, bool) {
	for _, k := range d.keys {
		if k.index == index {
			return k.key, k.key != ""
		}
	}
	key := keyOf(d.e.Message, index)
	d.keys = append(d.keys, keyed{index, key})
	return key, key != ""
}

// keyOf returns "" for what is no invocation. Equal values are equal keys in either
// encoding.
func keyOf(b *Broadcast, index int) string {
	target, arguments, ok := b.Invocation()
	if !ok {
		return ""
	}
	var key strings.Builder
	key.WriteString(target)
	key.WriteByte(0)
	i := 0
	for argument := range protocol.Elements(arguments) {
		if i == index {
			text, err := protocol.AppendJSON(nil, argument)
			if err != nil {
				text = argument.Bytes
			}
			key.Write(text)
		}
		if i++; i > index {
			break
		}
	}
	if key.Len() <= longKey {
		return key.String()
	}
	sum := sha256.Sum256([]byte(key.String()))
	return string(sum[:])
}
