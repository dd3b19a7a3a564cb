package hubs

import (
	"context"
	"fmt"
	"slices"
)

// memoryHistory is how many entries a MemoryBackplane keeps.
const memoryHistory = 1000

var _ Historian = (*MemoryBackplane)(nil)

// keep remembers e for History. b.mu is held.
func (b *MemoryBackplane) keep(e *Entry) {
	if len(b.kept) == 2*memoryHistory {
		b.kept = slices.Clone(b.kept[memoryHistory:]) // readers have the other one
	}
	b.kept = append(b.kept, e)
}

// History implements Historian. The newest 1,000 entries are kept.
func (b *MemoryBackplane) History(ctx context.Context, q HistoryQuery) (HistoryPage, error) {
	if err := q.Validate(); err != nil {
		return HistoryPage{}, err
	}
	if err := ctx.Err(); err != nil {
		return HistoryPage{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	b.mu.Lock()
	kept := b.kept[max(0, len(b.kept)-memoryHistory):]
	edge := Position{Epoch: b.epoch, Number: b.number}
	b.mu.Unlock()
	return SelectHistory(q, kept, edge)
}

// SelectHistory answers q from entries that follow each other up to edge, which
// are all that is kept. It is for Backplanes.
func SelectHistory(q HistoryQuery, kept []*Entry, edge Position) (HistoryPage, error) {
	oldest := edge.Number - uint64(len(kept)) + 1
	if err := q.Gone(oldest, edge); err != nil {
		return HistoryPage{}, err
	}
	low, high := q.bounds(oldest, edge)
	page := HistoryPage{Edge: edge, Next: Position{Epoch: edge.Epoch}}
	if q.Newest {
		page.Next.Number = low
	} else {
		page.Next.Number = max(low, high) - 1
	}
	bytes := 0
	for i := range max(low, high) - low {
		n := low + i
		if q.Newest {
			n = high - 1 - i
		}
		e := kept[n-oldest]
		if !q.Select.Matches(e) || q.After == nil && e.At.Before(q.Since) {
			continue
		}
		page.Entries = append(page.Entries, e)
		bytes += e.size()
		if last := i+1 == high-low; !last && (len(page.Entries) == q.Limit || bytes >= HistoryPageBytes) {
			page.More, page.Next.Number = true, n
			break
		}
	}
	return page, nil
}

// Gone returns a *HistoryGoneError when q begins with what is not kept: oldest is
// the first that is.
func (q HistoryQuery) Gone(oldest uint64, edge Position) error {
	if b := q.Before; b != nil && b.Number > 0 && b.Epoch != edge.Epoch {
		return &HistoryGoneError{After: Position{Epoch: b.Epoch}, To: Position{Epoch: edge.Epoch, Number: oldest - 1}}
	}
	if q.Newest || q.After == nil || q.After.Number == 0 {
		return nil
	}
	after := Position{Epoch: q.After.Epoch, Number: q.After.Number}
	if after.Epoch != edge.Epoch || after.Number+1 < oldest {
		return &HistoryGoneError{After: after, To: Position{Epoch: edge.Epoch, Number: oldest - 1}}
	}
	if after.Number > edge.Number { // the hub went back behind it
		return &HistoryGoneError{After: after, To: edge}
	}
	return nil
}

// bounds are the numbers that q is about, the second exclusive.
func (q HistoryQuery) bounds(oldest uint64, edge Position) (low, high uint64) {
	low, high = oldest, edge.Number+1
	if q.After != nil && q.After.Epoch == edge.Epoch {
		low = max(low, q.After.Number+1)
	}
	if q.Before != nil && q.Before.Epoch == edge.Epoch && q.Before.Number > 0 {
		high = min(high, q.Before.Number)
	}
	return low, max(low, high)
}

// size is about what e weighs in a page.
func (e *Entry) size() int {
	if e.Message == nil {
		return 0
	}
	n := len(e.Message.Target) + len(e.Message.Arguments.Bytes)
	if n == 0 {
		for _, f := range e.Message.Frames {
			n = max(n, len(f))
		}
	}
	return n
}
