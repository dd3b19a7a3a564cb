package cli

import (
	"context"
	"encoding/json"
	"errors"
	"hash/fnv"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// Messages that arrive don't say where in the hub's order they are; the history does.
// A trail is a position of that order and what has arrived behind it, so that after a
// loss the history from there on tells what is missing: whatever hasn't arrived.

// maxLast is the most that --last may ask for.
const maxLast = 10_000

// Of how the history is read.
const (
	historyPage = 1000
	// maxBehind bounds the pages of one catching up, maxLook those of moving on.
	maxBehind = 100_000
	maxLook   = 20
	// maxSeen bounds what is remembered of what has arrived.
	maxSeen = 1 << 20
)

// historyItem is one message of a hub's history (docs/rest.md).
type historyItem struct {
	Position    string          `json:"position"`
	Time        string          `json:"time"`
	Target      string          `json:"target"`
	Arguments   json.RawMessage `json:"arguments"`
	Groups      []string        `json:"groups,omitempty"`
	Users       []string        `json:"users,omitempty"`
	Connections []string        `json:"connections,omitempty"`
}

// trail is how far a listener is.
type trail struct {
	plane  *dataPlane
	hub    string
	groups []string
	user   string

	base string   // all up to here has been printed
	seen []uint64 // the marks of what has arrived behind it, in order
	late string   // the position of a message that hadn't arrived when last looked at
}

// goneError says that a part of the history is no longer kept.
type goneError struct{ From, To string }

// Error says so.
func (e *goneError) Error() string { return "history_gone: from " + e.From + " to " + e.To }

// mine tells whether a message is for this listener.
func (t *trail) mine(item historyItem) bool {
	switch {
	case len(item.Groups) > 0:
		return slices.ContainsFunc(item.Groups, func(g string) bool { return slices.Contains(t.groups, g) })
	case len(item.Users) > 0:
		return t.user != "" && slices.Contains(item.Users, t.user)
	}
	return len(item.Connections) == 0
}

// markOf stands for a message's content, in whatever notation it came.
func markOf(target string, arguments json.RawMessage) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(target)) // a hash takes all
	var values any
	if json.Unmarshal(arguments, &values) == nil {
		if same, err := json.Marshal(values); err == nil {
			arguments = same
		}
	}
	_, _ = h.Write([]byte{0})
	_, _ = h.Write(arguments)
	return h.Sum64()
}

// behind returns what follows mark in marks, and whether it is there.
func behind(marks []uint64, mark uint64) ([]uint64, bool) {
	if i := slices.Index(marks, mark); i >= 0 {
		return marks[i+1:], true
	}
	return marks, false
}

// saw notes that a message has arrived.
func (t *trail) saw(mark uint64) {
	if len(t.seen) < maxSeen {
		t.seen = append(t.seen, mark)
	}
}

// page reads one page of the history.
func (t *trail) page(ctx context.Context, query url.Values) (items []historyItem, position string, more bool, err error) {
	var answer struct {
		Messages []historyItem
		Position string
		More     bool
	}
	err = t.plane.ask(ctx, http.MethodGet, hubPath(t.hub, "messages"), query, nil, nil, &answer)
	return answer.Messages, answer.Position, answer.More, err
}

// look reads some of what the hub keeps behind a position, and where that ends.
func (t *trail) look(ctx context.Context, after string) (all []historyItem, next string, err error) {
	pages := 0
	err = t.each(ctx, url.Values{"after": {after}}, func(items []historyItem, position string) error {
		all, next = append(all, items...), position
		if pages++; pages == maxLook {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return all, next, err
}

// each walks through the pages of the history, oldest first. It fails with a
// *goneError.
func (t *trail) each(ctx context.Context, query url.Values, page func([]historyItem, string) error) error {
	for range maxBehind {
		query.Set("limit", strconv.Itoa(historyPage))
		items, position, more, err := t.page(ctx, query)
		if refused, ok := errors.AsType[*Problem](err); ok && refused.Code == "history_gone" {
			return &goneError{From: refused.From, To: refused.To}
		}
		if err != nil {
			return err
		}
		if err := page(items, position); err != nil || !more {
			return err
		}
		query.Del("since")
		query.Set("after", position)
	}
	return nil // the next time goes on from there
}

// head makes the newest position of the hub the base.
func (t *trail) head(ctx context.Context) error {
	// Nothing was accepted after tomorrow, so the page ends where the hub is.
	tomorrow := time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)
	return t.each(ctx, url.Values{"since": {tomorrow}}, func(_ []historyItem, position string) error {
		t.base = position
		return nil
	})
}

// from prints what was accepted since a time, and makes its end the base.
func (t *trail) from(ctx context.Context, since time.Time, print func(historyItem) error) error {
	return t.each(ctx, url.Values{"since": {since.Format(time.RFC3339)}}, func(items []historyItem, position string) error {
		for _, item := range items {
			if t.mine(item) {
				if err := print(item); err != nil {
					return err
				}
			}
		}
		t.base = position
		return nil
	})
}

// newest reads the last so many messages for this listener, oldest first, and makes
// their end the base.
func (t *trail) newest(ctx context.Context, most int) ([]historyItem, error) {
	if err := t.head(ctx); err != nil {
		return nil, err
	}
	var found []historyItem
	err := t.back(ctx, url.Values{}, func(items []historyItem, first bool) bool {
		if first && len(items) > 0 {
			t.base = items[0].Position // what has come since head isn't read again
		}
		for _, item := range items {
			if t.mine(item) && len(found) < most {
				found = append(found, item)
			}
		}
		return len(found) < most
	})
	slices.Reverse(found)
	return found, err
}

// last reads the last so many messages, oldest first.
func (t *trail) last(ctx context.Context, query url.Values, most int) ([]historyItem, error) {
	var found []historyItem
	err := t.back(ctx, query, func(items []historyItem, _ bool) bool {
		found = append(found, items[:min(len(items), most-len(found))]...)
		return len(found) < most
	})
	slices.Reverse(found)
	return found, err
}

// back walks through the pages of the history, newest first, while more says so.
func (t *trail) back(ctx context.Context, query url.Values, more func(items []historyItem, first bool) bool) error {
	query.Set("order", "desc")
	query.Set("limit", strconv.Itoa(historyPage))
	for i := range maxBehind {
		items, position, left, err := t.page(ctx, query)
		if err != nil {
			return err
		}
		if !more(items, i == 0) || !left {
			return nil
		}
		query.Set("before", position)
	}
	return nil
}

// advance moves the base on over what has arrived, so that neither the way back nor
// what is remembered becomes long. What hasn't arrived when it is seen for the second
// time isn't for this connection: it was left out.
func (t *trail) advance(items []historyItem, next string) {
	for _, item := range items {
		if t.mine(item) {
			rest, found := behind(t.seen, markOf(item.Target, item.Arguments))
			if !found && t.late != item.Position {
				t.late = item.Position
				return
			}
			t.seen = rest
		}
		t.base = item.Position
	}
	t.base = next
}
