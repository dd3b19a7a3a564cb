package hubs

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"
)

// MemoryBackplane is a Backplane within one process: for a hub on a single
// node, and for tests in which several Servers share one. Entries are applied
// before Publish returns.
type MemoryBackplane struct {
	mu     sync.Mutex
	epoch  string
	number uint64
	nodes  []*memoryNode
	users  map[string]map[string]time.Time // user → group → when it ends; zero = never
	keys   map[string]memoryAnswer
	oldest []string // of keys, oldest first
	kept   []*Entry // the newest, see History
}

type memoryNode struct{ Node }

type memoryAnswer struct {
	entry    Entry
	position Position
	matched  int
	expires  time.Time
}

// What a MemoryBackplane remembers of idempotency keys.
const (
	memoryKeysFor = 120 * time.Second
	memoryKeys    = 10_000
)

var _ Backplane = (*MemoryBackplane)(nil)

// NewMemoryBackplane returns an empty backplane with an epoch of its own.
func NewMemoryBackplane() *MemoryBackplane {
	return &MemoryBackplane{
		epoch: rand.Text(),
		users: make(map[string]map[string]time.Time),
		keys:  make(map[string]memoryAnswer),
	}
}

// Publish implements Backplane.
func (b *MemoryBackplane) Publish(ctx context.Context, e *Entry, o PublishOptions) (Position, error) {
	p, _, err := b.Command(ctx, e, o)
	return p, err
}

// Command implements Backplane.
func (b *MemoryBackplane) Command(ctx context.Context, e *Entry, o PublishOptions) (Position, int, error) {
	if err := ctx.Err(); err != nil {
		return Position{}, 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if o.Ack == AckReplicated {
		return Position{}, 0, fmt.Errorf("%w: this backplane has no copies", ErrNotReplicated)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if o.IdempotencyKey != "" {
		if a, ok := b.remembered(o.IdempotencyKey); ok {
			if !sameEntry(&a.entry, e) {
				return Position{}, 0, ErrIdempotencyConflict
			}
			a.position.Duplicate = true
			return a.position, a.matched, nil
		}
	}
	numbered := *e
	b.number++
	numbered.Epoch, numbered.Number, numbered.At = b.epoch, b.number, time.Now()
	b.store(&numbered)
	b.keep(&numbered)
	matched := 0
	for _, n := range b.nodes {
		matched += n.Apply(&numbered)
	}
	p := Position{Epoch: b.epoch, Number: b.number}
	if o.IdempotencyKey != "" {
		b.remember(o.IdempotencyKey, memoryAnswer{entry: *e, position: p, matched: matched, expires: time.Now().Add(memoryKeysFor)})
	}
	return p, matched, nil
}

// Ask implements Backplane.
func (b *MemoryBackplane) Ask(ctx context.Context, q Query) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	matched := 0
	for _, n := range b.nodes {
		matched += n.Answer(q)
	}
	return matched, nil
}

// List implements Backplane.
func (b *MemoryBackplane) List(ctx context.Context, q ListQuery) (Page, error) {
	if err := q.Validate(); err != nil {
		return Page{}, err
	}
	if err := ctx.Err(); err != nil {
		return Page{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	pages := make([]Page, 0, len(b.nodes))
	for _, n := range b.nodes {
		pages = append(pages, n.List(q))
	}
	return MergePages(q, pages...), nil
}

// Subscribe implements Backplane.
func (b *MemoryBackplane) Subscribe(_ context.Context, n Node) (leave func(), err error) {
	own := &memoryNode{n}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nodes = append(b.nodes, own)
	n.Begins(Position{Epoch: b.epoch, Number: b.number})
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.nodes = slices.DeleteFunc(b.nodes, func(m *memoryNode) bool { return m == own })
	}, nil
}

// UserGroups implements Backplane.
func (b *MemoryBackplane) UserGroups(_ context.Context, u string) ([]UserGroup, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var groups []UserGroup
	now := time.Now()
	for g, until := range b.users[u] {
		switch {
		case until.IsZero():
			groups = append(groups, UserGroup{Name: g})
		case now.Before(until):
			groups = append(groups, UserGroup{Name: g, Until: until, Left: until.Sub(now)})
		}
	}
	slices.SortFunc(groups, func(a, b UserGroup) int { return cmp.Compare(a.Name, b.Name) })
	return groups, nil
}

// store keeps what later connections of users join. b.mu is held.
func (b *MemoryBackplane) store(e *Entry) {
	for _, u := range e.Users {
		switch e.Kind {
		case AddUserToGroup:
			b.addUser(u, e)
		case RemoveUserFromGroup:
			for _, g := range e.Groups {
				delete(b.users[u], g)
			}
		case RemoveUserFromGroups:
			delete(b.users, u)
		}
		if len(b.users[u]) == 0 {
			delete(b.users, u)
		}
	}
}

func (b *MemoryBackplane) addUser(u string, e *Entry) {
	if e.TTLSeconds == 0 {
		return
	}
	var until time.Time
	if e.TTLSeconds > 0 {
		until = e.At.Add(time.Duration(e.TTLSeconds) * time.Second)
	}
	if b.users[u] == nil {
		b.users[u] = make(map[string]time.Time)
	}
	for _, g := range e.Groups {
		b.users[u][g] = until
	}
}

// remembered finds an answer that still counts. b.mu is held.
func (b *MemoryBackplane) remembered(key string) (memoryAnswer, bool) {
	now := time.Now()
	for len(b.oldest) > 0 && (len(b.oldest) > memoryKeys || now.After(b.keys[b.oldest[0]].expires)) {
		delete(b.keys, b.oldest[0])
		b.oldest = b.oldest[1:]
	}
	a, ok := b.keys[key]
	return a, ok
}

func (b *MemoryBackplane) remember(key string, a memoryAnswer) {
	b.keys[key] = a
	b.oldest = append(b.oldest, key)
}

// sameEntry reports whether two entries ask for the same, message included.
func sameEntry(a, b *Entry) bool {
	x, y := *a, *b
	x.Message, y.Message = nil, nil
	if !reflect.DeepEqual(x, y) || (a.Message == nil) != (b.Message == nil) {
		return false
	}
	return a.Message == nil || (a.Message.Target == b.Message.Target &&
		slices.Equal(a.Message.Arguments.Bytes, b.Message.Arguments.Bytes) &&
		reflect.DeepEqual(a.Message.Frames, b.Message.Frames))
}
