// Package history keeps what publishers and clients saw in one run, and checks
// that it could have been: nothing lost in silence, nothing twice, one order,
// nothing from elsewhere.
//
// It judges from the outside alone. A publisher knows when it asked and what it
// was told; a client knows what came while it was connected, and that it had to
// connect anew. What a client missed while it knew that it was away is no loss.
package history

import (
	"slices"
	"sync"
	"time"
)

// Outcome is what a publisher was told in the end.
type Outcome int

// The outcomes. Unknown stands for every answer that doesn't say whether the
// message was accepted, and for none.
const (
	Unknown Outcome = iota
	Accepted
	Refused
)

// ID names a message: publishers number theirs from 1, without gaps.
type ID struct {
	Tenant    string
	Publisher string
	N         int
}

// Message is one publish.
type Message struct {
	ID      ID
	Group   string
	Began   time.Time // before the first attempt
	Outcome Outcome
}

// Receipt is one message as a client read it.
type Receipt struct {
	ID    ID // as the payload says, the tenant too
	Group string
	At    time.Time
}

// Ending is how a life ended.
type Ending int

// The endings. Open is a life that the run itself ended, after everything had had
// the time to arrive.
const (
	Open    Ending = iota
	Closed         // the service said so
	Broken         // the transport broke, or was silent for too long
	Refusal        // it never began
)

// Life is one unbroken stay of a client: from the answer to its handshake, by
// which it is in its groups, until it knows that it has to begin anew. A stateful
// reconnect doesn't end it.
type Life struct {
	Client string
	Tenant string
	Groups []string
	// Edge and Transport are for people who read violations.
	Edge, Transport string
	Began, Ended    time.Time
	Ending          Ending
	Reason          string
	Receipts        []Receipt // in the order of arrival
}

// History is one run. Its methods are safe for concurrent use until it is read.
type History struct {
	mu       sync.Mutex
	Messages []Message
	Lives    []*Life
	// Fork is when the service lost the end of its history and began another, if it
	// did: who connects then may get again what is in the first, in another order.
	Fork time.Time
}

// Published adds a message with its final outcome.
func (h *History) Published(m Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Messages = append(h.Messages, m)
}

// Lived adds a life that has ended.
func (h *History) Lived(l *Life) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.Lives = append(h.Lives, l)
}

// Count returns how many messages have the outcome.
func (h *History) Count(o Outcome) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range h.Messages {
		if m.Outcome == o {
			n++
		}
	}
	return n
}

// forked reports whether a life is one of after the fork.
func (h *History) forked(l *Life) bool { return !h.Fork.IsZero() && !l.Began.Before(h.Fork) }

// WasRead reports whether any client has read the message.
func (h *History) WasRead(id ID) bool {
	return slices.ContainsFunc(h.Lives, func(l *Life) bool {
		return slices.ContainsFunc(l.Receipts, func(r Receipt) bool { return r.ID == id })
	})
}
