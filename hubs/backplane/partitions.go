package backplane

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
)

// Partitions say in how many streams a hub is kept. Each is one for all of this
// package: it has its own numbers, epochs, doorbell, publishers and feeds. The hub's
// backplane sends each entry to one of them, and reads and follows all.
//
// Whenever the number is changed the generation grows, and with it all streams are
// other ones. The old ones are sealed before anybody uses the new: so who hasn't heard
// of the change is refused, and nothing is accepted that those who have don't get.
type Partitions struct {
	// Generation is how often the number was changed; 0 = never: the hub is one
	// stream with the hub's own name.
	Generation int
	Count      int // 1 to hubs.MaxPartitions; it isn't looked at in generation 0
}

func (p Partitions) several() bool { return p.Generation > 0 }

// names are those of the partitions, as hubID has them.
func (p Partitions) names() []string {
	if !p.several() {
		return []string{""}
	}
	names := make([]string, p.Count)
	for i := range names {
		names[i] = p.name(i)
	}
	return names
}

func (p Partitions) name(i int) string { return strconv.Itoa(p.Generation) + "." + strconv.Itoa(i) }

// of is the partition of a group, a user or a connection.
func (p Partitions) of(name string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // never fails
	return int(h.Sum32() % uint32(p.Count))
}

// ofAll is the partition of several of them: theirs, or the first when they have several.
// So a message for them is one entry, with one number, that a connection gets once.
func (p Partitions) ofAll(names []string) int {
	if len(names) == 0 {
		return 0
	}
	first := p.of(names[0])
	for _, n := range names[1:] {
		if p.of(n) != first {
			return 0
		}
	}
	return first
}

// route is the partition that an entry goes to: that of all whom it is for, else the first.
// An edge follows those that its connections' ids, users and groups are in. So what makes
// connections join groups goes to those of the connections: the edge may not follow the
// groups' yet.
func (p Partitions) route(e *hubs.Entry) int {
	if p.Count < 2 {
		return 0
	}
	switch e.Kind {
	case hubs.SendToUsers:
		return p.ofAll(e.Users)
	case hubs.SendToConnections, hubs.InvokeConnection, hubs.AddToGroup, hubs.RemoveFromGroup, hubs.RemoveFromAllGroups:
		return p.ofAll(e.Connections)
	case hubs.SendToGroups, hubs.PresenceSet, hubs.PresenceGone, hubs.PresenceWish:
		return p.ofAll(e.Groups)
	case hubs.CloseConnections:
		switch {
		case len(e.Connections) > 0:
			return p.ofAll(e.Connections)
		case len(e.Users) > 0:
			return p.ofAll(e.Users)
		}
		return p.ofAll(e.Groups)
	}
	// What is for all, and what is kept of a user: it is where the keys of that are. And the
	// answers of clients, for nodes that have no members.
	return 0
}

// changesMembers reports whether an entry puts connections into groups or takes them out.
// In a hub with several partitions its publish is answered when all nodes have carried it
// out: what comes next may be in another.
func changesMembers(e *hubs.Entry) bool {
	switch e.Kind {
	case hubs.AddToGroup, hubs.RemoveFromGroup, hubs.RemoveFromAllGroups, hubs.AddUserToGroup, hubs.RemoveUserFromGroup, hubs.RemoveUserFromGroups:
		return true
	}
	return false
}

// in returns the backplane of one partition and its settings: its part of what the hub
// may keep.
func (h *hubBackplane) in(s Settings, i int) (*hubBackplane, Settings) {
	id := h.id
	id.part = s.Partitions.name(i)
	if n := s.Partitions.Count; n > 1 {
		s.Messages = max(1, defaulted(s.Messages, h.r.cfg.StreamEntries)/n)
		s.Bytes = max(1, defaulted(s.Bytes, h.r.cfg.StreamBytes)/int64(n))
	}
	s.Partitions = Partitions{}
	return &hubBackplane{r: h.r, id: id, settings: func() Settings { return s }, by: h.by}, s
}

// asked returns the partition whose order a question has its place in; h itself when
// the hub is one stream.
func (h *hubBackplane) asked(ctx context.Context, q hubs.Query) (*hubBackplane, error) {
	name := q.Name
	if q.Kind == hubs.CountConnections {
		name = ""
	}
	return h.partitionOf(ctx, name)
}

// listed is asked for a list.
func (h *hubBackplane) listed(ctx context.Context, q hubs.ListQuery) (*hubBackplane, error) {
	return h.partitionOf(ctx, q.Group)
}

// partitionOf returns the partition of a name, the first for none.
func (h *hubBackplane) partitionOf(ctx context.Context, name string) (*hubBackplane, error) {
	s := h.settings()
	if !s.Partitions.several() {
		return h, nil
	}
	if err := h.enter(ctx, s.Partitions); err != nil {
		return nil, err
	}
	i := 0
	if name != "" {
		i = s.Partitions.of(name)
	}
	h, _ = h.in(s, i)
	return h, nil
}

// errSealed: the hub has other partitions than this process knows of. Nothing was
// published; what is newer is on its way here.
var errSealed = errors.New("the hub has other partitions by now")

// closedNumber is the number of a head with which the publish script of the version
// before fails before it does anything.
const closedNumber = "inf"

// sealStream closes a stream for good: the publish script appends nothing any more, but
// answers repeats of what it has. The stream stays, for whoever reads it together with
// others. KEYS: head, accepted. ARGV: how long that is remembered, in ms.
var sealStream = redis.NewScript(`
if redis.call('TYPE', KEYS[1]).ok == 'string' then return 0 end -- the version before did it
if redis.call('HEXISTS', KEYS[1], 'sealed') == 1 then return 0 end
local at = redis.call('HGET', KEYS[1], 'at')
if at then
  local _, _, _, _, minute, total = struct.unpack('>I8I8I8I8I8I8', at)
  if total > 0 then
    redis.call('HSET', KEYS[2], string.format('%d', minute), string.format('%d', total))
    redis.call('PEXPIRE', KEYS[2], 7200000)
  end
end
redis.call('HDEL', KEYS[1], 'at')
redis.call('HSET', KEYS[1], 'sealed', 1, 'number', '` + closedNumber + `', 'ms', 0)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1`)

// replacePartitions notes the partitions in force, unless they are others than were
// sealed. KEYS: the note. ARGV: generation that was sealed, generation, number.
var replacePartitions = redis.NewScript(`
if (redis.call('HGET', KEYS[1], 'generation') or '0') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'generation', ARGV[2], 'count', ARGV[3])
return 1`)

// partitionsInForce returns those of a hub that Redis knows.
func (r *Redis) partitionsInForce(ctx context.Context, id hubID) (p Partitions, err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptPatience)
	defer cancel()
	values, err := r.client.HMGet(ctx, redisclient.Hub(id.tenant, id.hub).Partitions(), "generation", "count").Result()
	if err != nil {
		return Partitions{}, fmt.Errorf("read partitions: %w: %w", hubs.ErrUnavailable, err)
	}
	if values[0] == nil {
		return Partitions{}, nil
	}
	for i, to := range []*int{&p.Generation, &p.Count} {
		text, _ := values[i].(string)
		if *to, err = strconv.Atoi(text); err != nil {
			return Partitions{}, fmt.Errorf("read partitions: %w", err)
		}
	}
	if p.Generation < 1 || p.Count < 1 || p.Count > hubs.MaxPartitions {
		return Partitions{}, fmt.Errorf("%d partitions of generation %d", p.Count, p.Generation)
	}
	return p, nil
}

// enter makes sure that the partitions are in force: that nothing is accepted in those
// before. It asks Redis once for each hub and generation.
func (h *hubBackplane) enter(ctx context.Context, p Partitions) error {
	base := hubID{tenant: h.id.tenant, hub: h.id.hub}
	h.r.mu.Lock()
	known := h.r.inForce[base]
	h.r.mu.Unlock()
	if known == p.Generation {
		return nil
	}
	if p.Count < 1 || p.Count > hubs.MaxPartitions {
		return fmt.Errorf("a hub of %d partitions: 1 to %d", p.Count, hubs.MaxPartitions)
	}
	for {
		now, err := h.r.partitionsInForce(ctx, base)
		if err != nil {
			return err
		}
		if now.Generation > p.Generation {
			return fmt.Errorf("%w: %w", hubs.ErrUnavailable, errSealed)
		}
		if now.Generation == p.Generation {
			h.r.mu.Lock()
			h.r.inForce[base] = max(h.r.inForce[base], p.Generation)
			h.r.mu.Unlock()
			return nil
		}
		if err := h.r.replacePartitions(ctx, base, now, p); err != nil {
			return fmt.Errorf("change partitions: %w: %w", hubs.ErrUnavailable, err)
		}
	}
}

// replacePartitions seals the partitions of a hub and puts others in force. Several
// processes may do it at a time.
func (r *Redis) replacePartitions(ctx context.Context, id hubID, from, to Partitions) error {
	ctx, cancel := context.WithTimeout(ctx, attemptPatience)
	defer cancel()
	for _, part := range from.names() {
		id.part = part
		k := id.keys()
		if err := sealStream.Run(ctx, r.client, []string{k.Head(), k.Accepted()}, headLife.Milliseconds()).Err(); err != nil {
			return err
		}
	}
	return replacePartitions.Run(ctx, r.client, []string{id.keys().Partitions()}, from.Generation, to.Generation, to.Count).Err()
}

// forgetPartitions drops what is known of hubs that nobody uses here: their tenant may
// be gone.
func (r *Redis) forgetPartitions() {
	r.mu.Lock()
	defer r.mu.Unlock()
	used := make(map[hubID]struct{}, len(r.inForce))
	for key := range r.followers {
		used[key.id] = struct{}{}
	}
	for id := range r.pipelines {
		id.part = ""
		used[id] = struct{}{}
	}
	for id := range r.inForce {
		if _, is := used[id]; !is {
			delete(r.inForce, id)
		}
	}
}
