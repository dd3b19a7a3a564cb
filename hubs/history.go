package hubs

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tinylib/msgp/msgp"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// The bounds of one read of a hub's history.
const (
	// MaxHistoryPage is the most entries that one page has.
	MaxHistoryPage = 1000
	// HistoryPageBytes is about where a page ends, whatever its limit.
	HistoryPageBytes = 1 << 20
)

// Historian is a Backplane that keeps entries for a while.
type Historian interface {
	// History returns one page of what is kept. It fails with a *HistoryGoneError
	// when some of what was asked for isn't kept any more, and with ErrUnavailable.
	// The entries are shared and must not be changed.
	History(ctx context.Context, q HistoryQuery) (HistoryPage, error)
}

// HistoryQuery asks for the messages of a hub, in their order. Positions without a
// number are the beginning of what is kept.
type HistoryQuery struct {
	Select Selection
	// After leaves out everything up to the entry at this position; nil = begin
	// with the oldest that is kept.
	After *Position
	// Since leaves out what was accepted before; it is only looked at without After.
	Since time.Time
	// Before leaves out the entry at this position and all behind it; nil = up to
	// the newest.
	Before *Position
	// Newest returns the newest entries before Before first, down to After or the
	// oldest that is kept; After isn't missed when it is no longer kept.
	Newest bool
	// Limit is the most entries, 1 to MaxHistoryPage. A page may have fewer and
	// still not be the last.
	Limit int
	// Accepted asks for all that had been accepted when the call was made, on
	// whatever node; else what this node has carried out by then is enough.
	Accepted bool
}

// Validate refuses a query that makes no sense.
func (q HistoryQuery) Validate() error {
	if q.Limit < 1 || q.Limit > MaxHistoryPage {
		return fmt.Errorf("history: limit %d: 1 to %d", q.Limit, MaxHistoryPage)
	}
	return nil
}

// HistoryPage is a part of a hub's history.
type HistoryPage struct {
	Entries []*Entry
	// Positions are where readers go on who have had the page up to an entry; nil =
	// at the entry.
	Positions []Position
	// Next is where the page ends: what follows is After it, or Before it with
	// Newest.
	Next Position
	// More is set when there may be more behind Next.
	More bool
	// Edge is the newest entry of the hub that there was.
	Edge Position
}

// HistoryGoneError is why a hub's history can't be read from a position on: what
// came behind it has been trimmed, or the hub began anew.
type HistoryGoneError struct {
	After Position // what was asked for: all behind it, up to To, is missing
	To    Position // what is kept begins behind it
}

// Error says what is missing.
func (e *HistoryGoneError) Error() string {
	return fmt.Sprintf("what came behind %s/%d is kept only from behind %s/%d on", e.After.Epoch, e.After.Number, e.To.Epoch, e.To.Number)
}

// Selection says which messages of a hub are meant. The zero Selection is none.
type Selection struct {
	Every       bool     // all messages, whomever they are for
	All         bool     // those to all clients
	Groups      []string // those to one of the groups
	User        string   // those to the user; "" = none
	ExceptUser  string   // but not those that leave this user out
	ExceptOwnID string   // nor those that leave this connection out
}

// Matches reports whether e is a message that is meant.
func (s Selection) Matches(e *Entry) bool {
	switch e.Kind {
	case SendToAll:
		if !s.Every && !s.All {
			return false
		}
	case SendToGroups:
		if !s.Every && !slices.ContainsFunc(s.Groups, func(g string) bool { return slices.Contains(e.Groups, g) }) {
			return false
		}
	case SendToUsers:
		if !s.Every && (s.User == "" || !slices.Contains(e.Users, s.User)) {
			return false
		}
	case SendToConnections:
		if !s.Every {
			return false
		}
	default:
		return false
	}
	if s.ExceptUser != "" && slices.Contains(e.ExcludedUsers, s.ExceptUser) {
		return false
	}
	return s.ExceptOwnID == "" || !slices.Contains(e.Excluded, s.ExceptOwnID)
}

// Invocation returns the message as target and arguments; ok is false when it is
// no invocation, but a frame of another kind.
func (b *Broadcast) Invocation() (target string, arguments protocol.Raw, ok bool) {
	if b.Target != "" {
		return b.Target, b.Arguments, true
	}
	var m protocol.Message
	if !b.parseFrame(&m) {
		return "", protocol.Raw{}, false
	}
	return m.Target, m.Arguments, true
}

// HistoryTime is how times are written in items: RFC 3339 with milliseconds, UTC.
const HistoryTime = "2006-01-02T15:04:05.000Z"

// HistoryItem returns the message of e as clients get it in a history, in the
// encoding of their hub protocol: an object of position, time, target and
// arguments. ok is false when the message is no invocation.
func HistoryItem(e *Entry, position string, encoding protocol.Encoding) (item protocol.Raw, ok bool, err error) {
	target, arguments, ok := e.Message.Invocation()
	if !ok {
		return protocol.Raw{}, false, nil
	}
	texts := [...]string{"position", position, "time", e.At.UTC().Format(HistoryTime), "target", target}
	if encoding == protocol.MessagePack {
		b := msgp.AppendMapHeader(nil, 4)
		for _, s := range texts {
			b = msgp.AppendString(b, s)
		}
		b, err = protocol.AppendMessagePack(msgp.AppendString(b, "arguments"), arguments)
		return protocol.Raw{Encoding: encoding, Bytes: b}, true, err
	}
	b := []byte("{")
	for i, s := range texts {
		if b, err = jsontext.AppendQuote(b, s); err != nil {
			return protocol.Raw{}, true, err
		}
		b = append(b, ":,"[i%2])
	}
	b, err = protocol.AppendJSON(append(b, `"arguments":`...), arguments)
	return protocol.Raw{Encoding: encoding, Bytes: append(b, '}')}, true, err
}

// Position is where e is in its hub's order.
func (e *Entry) Position() Position { return Position{Epoch: e.Epoch, Number: e.Number} }

// EachPage calls f with the pages of q until the end that the history had at the
// first of them, f returns false, or an error. It returns that end.
func EachPage(ctx context.Context, h Historian, q HistoryQuery, f func(*HistoryPage) bool) (Position, error) {
	var edge Position
	for first := true; ; first = false {
		page, err := h.History(ctx, q)
		if err != nil {
			return edge, err
		}
		if first {
			edge = page.Edge
			if q.Before == nil {
				before := edge.behind()
				q.Before = &before
			}
		}
		if !f(&page) || !page.More {
			return edge, nil
		}
		next := page.Next
		if q.Newest {
			q.Before = &next
		} else {
			q.After = &next
		}
	}
}
