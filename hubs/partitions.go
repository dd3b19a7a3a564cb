package hubs

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Backplane may keep a hub in several streams, its partitions, each with numbers
// and an epoch of its own. Order holds within each of them. The epochs of a
// partition end in the generation of the hub's partitions and its number, each behind a
// full stop: so whoever has a Position knows which
// partition it is of, and a hub without partitions has but one, with the number 0.
//
// A place in the whole hub is then a vector: the Position that AcrossPartitions makes
// of one of each partition. It travels as any other.

// MaxPartitions is the most that a hub has.
const MaxPartitions = 16

// The vector's Epoch lists its parts, epoch and number of each.
const (
	partSeparator   = ","
	numberSeparator = ":"
	numberBase      = 36
)

// PartitionOf returns the number of the partition that an epoch belongs to.
func PartitionOf(epoch string) int {
	i := strings.LastIndexByte(epoch, '.')
	if i < 0 {
		return 0
	}
	n, err := strconv.Atoi(epoch[i+1:])
	if err != nil || n < 0 || n >= MaxPartitions {
		return 0
	}
	return n
}

// generationOf returns how often the partitions of an epoch's hub had been changed: all
// epochs of a generation are over when there is a later one.
func generationOf(epoch string) int {
	i := strings.LastIndexByte(epoch, '.')
	if i < 0 {
		return 0
	}
	n, err := strconv.Atoi(epoch[strings.LastIndexByte(epoch[:i], '.')+1 : i])
	if err != nil {
		return 0
	}
	return n
}

// AcrossPartitions returns the place that parts are together, at most one of each
// partition. The first is the place's own: as the end of a history it is left out, of
// the others what is at them isn't.
func AcrossPartitions(parts ...Position) Position {
	if len(parts) == 0 {
		return Position{}
	}
	if len(parts) == 1 {
		return parts[0]
	}
	var b strings.Builder
	var sum uint64
	for i, p := range parts {
		if i > 0 {
			b.WriteString(partSeparator)
		}
		b.WriteString(p.Epoch)
		b.WriteString(numberSeparator)
		b.WriteString(strconv.FormatUint(p.Number, numberBase))
		sum += p.Number
	}
	return Position{Epoch: b.String(), Number: max(1, sum)}
}

// isVector reports whether p is a place in several partitions.
func (p Position) isVector() bool { return strings.Contains(p.Epoch, partSeparator) }

// Partitions returns the parts of p, the first of them its own; p itself when it is in one
// partition alone.
func (p Position) Partitions() []Position {
	if !p.isVector() {
		return []Position{p}
	}
	texts := strings.Split(p.Epoch, partSeparator)
	parts := make([]Position, 0, len(texts))
	for _, text := range texts {
		epoch, number, _ := strings.Cut(text, numberSeparator)
		n, err := strconv.ParseUint(number, numberBase, 64)
		if err != nil {
			continue // nobody made it who shouldn't: tokens are sealed
		}
		parts = append(parts, Position{Epoch: epoch, Number: n})
	}
	return parts
}

// behind is the position that, as the end of a history, leaves p in.
func (p Position) behind() Position {
	parts := p.Partitions()
	parts[0].Number++
	return AcrossPartitions(parts...)
}

// in returns the part of p that is of an epoch.
func (p Position) in(epoch string) (part Position, ok bool) {
	for _, part := range p.Partitions() {
		if part.Epoch == epoch {
			return part, true
		}
	}
	return Position{}, false
}

// sameEpochs reports whether no partition that p and q are both in has begun anew between
// them. What was empty at the one has not.
func (p Position) sameEpochs(q Position) bool {
	if !p.isVector() && !q.isVector() {
		return p.Epoch == q.Epoch
	}
	for _, a := range p.Partitions() {
		for _, b := range q.Partitions() {
			if PartitionOf(a.Epoch) == PartitionOf(b.Epoch) && a.Epoch != b.Epoch && a.Number > 0 && b.Number > 0 {
				return false
			}
		}
	}
	return true
}

// join returns where both p and q have been reached. Of one partition the later
// counts, and q when they are of different epochs.
func (p Position) join(q Position) Position {
	if p.Number == 0 || p.Epoch == q.Epoch && !q.isVector() {
		if p.Number > q.Number {
			return p
		}
		return q
	}
	parts := p.Partitions()
	for _, next := range q.Partitions() {
		generation := generationOf(next.Epoch)
		parts = slices.DeleteFunc(parts, func(o Position) bool { return generationOf(o.Epoch) < generation })
		i := slices.IndexFunc(parts, func(o Position) bool { return PartitionOf(o.Epoch) == PartitionOf(next.Epoch) })
		switch {
		case i < 0:
			parts = append(parts, next)
		case parts[i].Epoch != next.Epoch || parts[i].Number < next.Number:
			parts[i] = next
		}
	}
	return AcrossPartitions(parts...)
}

// JoinPositions returns the place at which both p and q have been reached; of
// different epochs of a partition q's counts. A Position without a number is nowhere.
func JoinPositions(p, q Position) Position {
	if q.Number == 0 {
		return p
	}
	p.Duplicate, q.Duplicate = false, false
	return p.join(q)
}

// PositionOf is where the page's entry with this index is: what a reader goes on
// behind who has had the page up to it.
func (p *HistoryPage) PositionOf(i int) Position {
	if p.Positions != nil {
		return p.Positions[i]
	}
	return p.Entries[i].Position()
}

// clockSlack is how much the clocks and the order of two partitions may be apart
// where a place in one is found by the time of a place in another.
const clockSlack = 5 * time.Second

// SinceInOthers is from when on the entries of other partitions may have been accepted
// behind an entry of one that was accepted at a time.
func SinceInOthers(at time.Time) time.Time { return at.Add(-clockSlack) }
