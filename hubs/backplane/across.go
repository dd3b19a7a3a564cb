package backplane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs"
)

// The history of a hub with partitions is that of those which can have what is asked
// for, merged by time. Each of them is in its own order; a page ends at a place in all
// of them.

// selected are the partitions that can have what a selection means.
func (p Partitions) selected(s hubs.Selection) []int {
	var some []int
	if s.Every {
		for i := range p.Count {
			some = append(some, i)
		}
		return some
	}
	some = append(some, 0) // has what is for all, and for several that aren't together
	for _, g := range s.Groups {
		some = append(some, p.of(g))
	}
	if s.User != "" {
		some = append(some, p.of(s.User))
	}
	slices.Sort(some)
	return slices.Compact(some)
}

// branch is what is read of one partition.
type branch struct {
	h     *hubBackplane
	q     hubs.HistoryQuery
	until time.Time // entries after it aren't meant; zero = all are
	// untold: the place behind which to read says nothing of this partition.
	untold bool
	page   hubs.HistoryPage
	gone   bool
	err    error
	taken  int // of the page's entries
}

// across answers q from the partitions of the hub.
func (h *hubBackplane) across(ctx context.Context, s Settings, q hubs.HistoryQuery) (hubs.HistoryPage, error) {
	if err := h.enter(ctx, s.Partitions); err != nil {
		return hubs.HistoryPage{}, fmt.Errorf("read history: %w", err)
	}
	var branches []*branch
	for _, i := range s.Partitions.selected(q.Select) {
		b := &branch{q: q}
		b.h, _ = h.in(s, i)
		branches = append(branches, b)
	}
	if err := h.begin(ctx, s, q, branches); err != nil {
		return hubs.HistoryPage{}, err
	}
	var work sync.WaitGroup
	for _, b := range branches {
		work.Go(func() { b.err = b.read(ctx) })
	}
	work.Wait()
	gone := false
	for _, b := range branches {
		if b.err != nil {
			return hubs.HistoryPage{}, b.err
		}
		gone = gone || b.gone
	}
	if gone {
		return hubs.HistoryPage{}, goneAcross(q, branches)
	}
	return merge(q, branches), nil
}

// begin gives each branch its part of the places that q names. A partition that a place
// says nothing of is read by the time of what it does say.
func (h *hubBackplane) begin(ctx context.Context, s Settings, q hubs.HistoryQuery, branches []*branch) error {
	if q.After != nil && q.After.Number > 0 {
		if err := h.after(ctx, s, *q.After, branches); err != nil {
			return err
		}
	}
	if q.Before == nil || q.Before.Number == 0 {
		return nil
	}
	parts := q.Before.Partitions()
	if !s.Partitions.ours(parts) { // of when it had others: nothing of that is kept
		for _, b := range branches {
			b.q.Before = &hubs.Position{Epoch: q.Before.Epoch, Number: q.Before.Number}
		}
		return nil
	}
	for _, b := range branches {
		i := slices.IndexFunc(parts, func(p hubs.Position) bool { return b.h.has(p.Epoch) })
		switch {
		case i == 0:
			b.q.Before = &parts[0]
		case i > 0: // what is at the others isn't behind the place
			before := parts[i]
			before.Number++
			b.q.Before = &before
		default:
			at, err := h.timeOf(ctx, s, parts)
			if err != nil {
				return err
			}
			if b.q.Before, b.until = nil, at; at.IsZero() {
				b.q.Before = &hubs.Position{Epoch: q.Before.Epoch, Number: q.Before.Number} // it isn't kept any more
			}
		}
	}
	return nil
}

// after is begin for the place behind which a history begins.
func (h *hubBackplane) after(ctx context.Context, s Settings, after hubs.Position, branches []*branch) error {
	parts := after.Partitions()
	ours := s.Partitions.ours(parts)
	for _, b := range branches {
		i := slices.IndexFunc(parts, func(p hubs.Position) bool { return b.h.has(p.Epoch) })
		switch {
		case i >= 0:
			b.q.After = &parts[i]
		case !ours: // of other partitions than the hub has now: all that was there is gone
			b.q.After = &hubs.Position{Epoch: after.Epoch, Number: after.Number}
		default:
			at, err := h.timeOf(ctx, s, parts)
			if err != nil {
				return err
			}
			b.q.After, b.untold = nil, true
			if !at.IsZero() {
				b.q.Since = hubs.SinceInOthers(at)
			}
		}
	}
	return nil
}

// has reports whether an epoch is one of the partition's.
func (h *hubBackplane) has(epoch string) bool { return strings.HasSuffix(epoch, h.id.noEpoch()) }

// has reports whether an epoch is of one of the partitions.
func (p Partitions) has(epoch string) bool {
	_, name, _ := strings.Cut(epoch, ".")
	return slices.Contains(p.names(), name)
}

// ours reports whether one of the parts is of these partitions.
func (p Partitions) ours(parts []hubs.Position) bool {
	return slices.ContainsFunc(parts, func(part hubs.Position) bool { return p.has(part.Epoch) })
}

// timeOf is when the first of the parts was accepted; zero when one of them isn't kept.
func (h *hubBackplane) timeOf(ctx context.Context, s Settings, parts []hubs.Position) (at time.Time, err error) {
	for i := range s.Partitions.Count {
		of, _ := h.in(s, i)
		n := slices.IndexFunc(parts, func(p hubs.Position) bool { return p.Number > 0 && of.has(p.Epoch) })
		if n < 0 {
			continue
		}
		part, err := of.readPart(ctx, partQuery{up: true, epoch: parts[n].Epoch, low: parts[n].Number, entries: 1})
		if err != nil || len(part.entries) == 0 || part.entries[0].Number != parts[n].Number {
			return time.Time{}, err
		}
		if at.IsZero() || part.entries[0].At.Before(at) {
			at = part.entries[0].At
		}
	}
	return at, nil
}

// read reads the branch's page.
func (b *branch) read(ctx context.Context) error {
	if before := b.q.Before; before != nil && before.Epoch == b.h.id.noEpoch() {
		// It ends where the partition had had no entry.
		b.page = hubs.HistoryPage{Next: hubs.Position{Epoch: before.Epoch}, Edge: hubs.Position{Epoch: before.Epoch}}
		return nil
	}
	if after := b.q.After; !b.q.Newest && (b.untold || after != nil && after.Number == 0) {
		// It begins where the partition had had no entry, or at a time: is all that there?
		part, err := b.h.readPart(ctx, partQuery{up: true, entries: 1})
		if err != nil {
			return err
		}
		if part.oldest > 1 && (!b.untold || len(part.entries) == 0 || part.entries[0].At.After(b.q.Since)) {
			b.gone = true
			b.page.Edge = hubs.Position{Epoch: part.epoch, Number: part.oldest - 1}
			return nil
		}
		b.q.After = nil
	}
	page, err := b.h.history(ctx, b.q)
	var gone *hubs.HistoryGoneError
	if errors.As(err, &gone) {
		b.gone, b.page.Edge = true, gone.To
		if b.page.Edge.Epoch == "" {
			b.page.Edge.Epoch = b.h.id.noEpoch()
		}
		return nil
	}
	if err != nil {
		return err
	}
	if !b.until.IsZero() {
		page.Entries = slices.DeleteFunc(slices.Clone(page.Entries), func(e *hubs.Entry) bool { return e.At.After(b.until) })
	}
	for _, p := range []*hubs.Position{&page.Next, &page.Edge} {
		if p.Epoch == "" {
			p.Epoch = b.h.id.noEpoch()
		}
	}
	b.page = page
	return nil
}

// goneAcross tells of what isn't kept any more, in whatever partition: where that begins
// again, and of the others where q began.
func goneAcross(q hubs.HistoryQuery, branches []*branch) error {
	to := make([]hubs.Position, 0, len(branches))
	for _, b := range branches {
		switch {
		case b.gone:
			to = append(to, b.page.Edge)
		case b.q.After != nil:
			to = append(to, *b.q.After)
		case len(b.page.Entries) > 0 && !q.Newest:
			first := b.page.Entries[0].Position()
			first.Number--
			to = append(to, first)
		default:
			to = append(to, b.page.Next)
		}
	}
	e := &hubs.HistoryGoneError{To: hubs.AcrossPartitions(to...)}
	if q.After != nil {
		e.After = *q.After
		e.After.Duplicate = false
	}
	return e
}

// merge makes one page of those of the branches.
func merge(q hubs.HistoryQuery, branches []*branch) hubs.HistoryPage {
	var page hubs.HistoryPage
	edges := make([]hubs.Position, 0, len(branches))
	for _, b := range branches {
		edges = append(edges, b.page.Edge)
	}
	page.Edge = hubs.AcrossPartitions(edges...)
	bytes := 0
	for len(page.Entries) < q.Limit && bytes < hubs.HistoryPageBytes {
		next := -1
		for i, b := range branches {
			if b.taken == len(b.page.Entries) {
				if b.page.More { // what comes next in it isn't known
					next = -1
					break
				}
				continue
			}
			if next < 0 || earlier(q.Newest, b.page.Entries[b.taken], branches[next].page.Entries[branches[next].taken]) {
				next = i
			}
		}
		if next < 0 {
			break
		}
		b := branches[next]
		e := b.page.Entries[b.taken]
		b.taken++
		page.Entries = append(page.Entries, e)
		bytes += weight(e)
		if !q.Newest {
			page.Positions = append(page.Positions, place(branches, next, false))
		}
	}
	for _, b := range branches {
		page.More = page.More || b.page.More || b.taken < len(b.page.Entries)
	}
	page.Next = place(branches, 0, q.Newest)
	return page
}

// earlier reports whether a comes before b in a page.
func earlier(newest bool, a, b *hubs.Entry) bool {
	if newest {
		return a.At.After(b.At)
	}
	return a.At.Before(b.At)
}

// place is behind what was taken of each branch, with one of them as its own. Read
// downwards it is before that.
func place(branches []*branch, own int, down bool) hubs.Position {
	parts := make([]hubs.Position, 0, len(branches))
	add := func(b *branch, own bool) {
		at := b.page.Next
		switch {
		case b.taken == len(b.page.Entries):
		case down:
			at = b.page.Entries[b.taken].Position()
			at.Number++
		default:
			at = b.page.Entries[b.taken].Position()
			at.Number--
		}
		if down && !own && at.Number > 0 {
			at.Number-- // see hubs.AcrossPartitions: only the own is left out
		}
		parts = append(parts, at)
	}
	add(branches[own], true)
	for i, b := range branches {
		if i != own {
			add(b, false)
		}
	}
	return hubs.AcrossPartitions(parts...)
}
