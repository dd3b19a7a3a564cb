package history

import (
	"fmt"
	"slices"
	"strings"
)

// Invariant is the id of a promise that a history can break.
type Invariant string

// The invariants.
const (
	NoSilentLoss Invariant = "I1"
	NoDuplicate  Invariant = "I2"
	Order        Invariant = "I3"
	NoPhantom    Invariant = "I4"
	Isolation    Invariant = "I5"
	Honesty      Invariant = "I6"
)

// Violation is one way in which a history breaks an invariant.
type Violation struct {
	Invariant Invariant
	Text      string
}

func (v Violation) String() string { return string(v.Invariant) + ": " + v.Text }

// enough is how many violations of one invariant are told one by one.
const enough = 5

// checker is one check of one history.
type checker struct {
	h        *History
	messages map[ID]Message
	found    []Violation
	counts   map[Invariant]int
}

// Check returns what the history violates, at most five of each invariant with a
// line for how many more there are; nil when it could have been.
func Check(h *History) []Violation {
	c := &checker{h: h, messages: make(map[ID]Message, len(h.Messages)), counts: make(map[Invariant]int)}
	for _, m := range h.Messages {
		if _, twice := c.messages[m.ID]; twice {
			c.violated(NoPhantom, "publisher %s has two messages %d: the history itself is wrong", m.ID.Publisher, m.ID.N)
		}
		c.messages[m.ID] = m
	}
	for _, l := range h.Lives {
		c.receipts(l)
	}
	byTenant := make(map[string][]*Life)
	for _, l := range h.Lives {
		byTenant[l.Tenant] = append(byTenant[l.Tenant], l)
	}
	for _, lives := range byTenant {
		for _, forked := range []bool{false, true} {
			if same := slices.DeleteFunc(slices.Clone(lives), func(l *Life) bool { return h.forked(l) != forked }); len(same) > 0 {
				c.oneOrder(same)
			}
		}
		c.losses(lives)
	}
	for invariant, n := range c.counts {
		if n > enough {
			c.found = append(c.found, Violation{invariant, fmt.Sprintf("and %d more", n-enough)})
		}
	}
	slices.SortStableFunc(c.found, func(a, b Violation) int { return strings.Compare(string(a.Invariant), string(b.Invariant)) })
	return c.found
}

func (c *checker) violated(i Invariant, format string, args ...any) {
	c.counts[i]++
	if c.counts[i] <= enough {
		c.found = append(c.found, Violation{i, fmt.Sprintf(format, args...)})
	}
}

// receipts checks what one life says by itself.
func (c *checker) receipts(l *Life) {
	seen := make(map[ID]bool, len(l.Receipts))
	last := make(map[string]int)
	for _, r := range l.Receipts {
		if r.ID.Tenant != l.Tenant {
			c.violated(Isolation, "%s of tenant %s got %v of tenant %s", l, l.Tenant, r.ID, r.ID.Tenant)
			continue
		}
		m, published := c.messages[r.ID]
		switch {
		case !published:
			c.violated(NoPhantom, "%s got %v, which nobody published", l, r.ID)
			continue
		case m.Group != r.Group:
			c.violated(NoPhantom, "%s got %v as one to group %s, it was published to %s", l, r.ID, r.Group, m.Group)
		case !slices.Contains(l.Groups, r.Group):
			c.violated(Isolation, "%s got %v to group %s, in which it isn't", l, r.ID, r.Group)
		case m.Outcome == Refused:
			c.violated(Honesty, "%s got %v, which the publisher was told is refused", l, r.ID)
		}
		if seen[r.ID] {
			c.violated(NoDuplicate, "%s got %v twice", l, r.ID)
			continue
		}
		seen[r.ID] = true
		if m.Outcome == Accepted {
			// One that was given up may be accepted behind its successor.
			if r.ID.N <= last[r.ID.Publisher] {
				c.violated(Order, "%s got %v behind number %d of the same publisher", l, r.ID, last[r.ID.Publisher])
			}
			last[r.ID.Publisher] = max(last[r.ID.Publisher], r.ID.N)
		}
	}
}

// oneOrder checks that there is an order of all messages in which every life got
// its own: that the union of what each saw has no circle.
func (c *checker) oneOrder(lives []*Life) {
	next := make(map[ID]map[ID]bool)
	before := make(map[ID]int)
	for _, l := range lives {
		for i, r := range l.Receipts {
			if next[r.ID] == nil {
				next[r.ID] = make(map[ID]bool)
			}
			if i == 0 {
				continue
			}
			p := l.Receipts[i-1].ID
			if p != r.ID && !next[p][r.ID] {
				next[p][r.ID] = true
				before[r.ID]++
			}
		}
	}
	var free []ID
	for id := range next {
		if before[id] == 0 {
			free = append(free, id)
		}
	}
	left := len(next)
	for len(free) > 0 {
		id := free[len(free)-1]
		free = free[:len(free)-1]
		left--
		for n := range next[id] {
			if before[n]--; before[n] == 0 {
				free = append(free, n)
			}
		}
	}
	if left > 0 {
		c.violated(Order, "there is no order of tenant %s's messages in which all clients got theirs: %d messages are in or behind a circle", lives[0].Tenant, left)
	}
}

// losses finds accepted messages that a life should have got and didn't. In a
// life that lasted, all that were published in it; in one that ended, those before
// something that it got: the end itself is what tells of the others.
func (c *checker) losses(lives []*Life) {
	places := make([]map[ID]int, len(lives))
	readers := make(map[ID][]int)
	for i, l := range lives {
		places[i] = make(map[ID]int, len(l.Receipts))
		for p, r := range l.Receipts {
			if _, twice := places[i][r.ID]; !twice {
				places[i][r.ID] = p
				readers[r.ID] = append(readers[r.ID], i)
			}
		}
	}
	// common is how far the life in k has anything that the life in l has, too.
	type pair struct{ k, l int }
	memo := make(map[pair]int)
	common := func(k, l int) int {
		if n, known := memo[pair{k, l}]; known {
			return n
		}
		n := -1
		for p := len(lives[k].Receipts) - 1; p >= 0; p-- {
			if _, has := places[l][lives[k].Receipts[p].ID]; has {
				n = p
				break
			}
		}
		memo[pair{k, l}] = n
		return n
	}
	for i, l := range lives {
		newest := make(map[string]int) // by publisher
		for id := range places[i] {
			if c.messages[id].Outcome == Accepted {
				newest[id.Publisher] = max(newest[id.Publisher], id.N)
			}
		}
		for _, m := range c.h.Messages {
			if m.Outcome != Accepted || m.ID.Tenant != l.Tenant || m.Began.Before(l.Began) || !slices.Contains(l.Groups, m.Group) {
				continue
			}
			if _, got := places[i][m.ID]; got {
				continue
			}
			switch {
			case l.Ending == Open:
				if m.Began.Before(l.Ended) {
					c.violated(NoSilentLoss, "%s never got %v to %s and was never told to begin anew", l, m.ID, m.Group)
				}
			case m.ID.N < newest[m.ID.Publisher]:
				c.violated(NoSilentLoss, "%s got number %d of the publisher and not %v before it", l, newest[m.ID.Publisher], m.ID)
			default:
				for _, k := range readers[m.ID] {
					// What was lost with the end of one history may be accepted again in the next.
					if c.h.forked(lives[k]) == c.h.forked(l) && common(k, i) > places[k][m.ID] {
						c.violated(NoSilentLoss, "%s lacks %v, which %s got before something that both got", l, m.ID, lives[k])
						break
					}
				}
			}
		}
	}
}

func (l *Life) String() string {
	return fmt.Sprintf("%s (%s on %s since %s, %s)", l.Client, l.Transport, l.Edge, l.Began.Format("15:04:05.000"), l.Ending)
}

func (e Ending) String() string {
	return [...]string{"open", "closed", "broken", "refused"}[e]
}

func (id ID) String() string { return fmt.Sprintf("%s/%s/%d", id.Tenant, id.Publisher, id.N) }
