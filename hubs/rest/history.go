package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/internal/fault"
)

// historyGone is the kind of error for what is no longer kept.
const historyGone fault.Kind = "history_gone"

const (
	codeHistoryGone = "history_gone"
	historyPage     = 100
)

// historyItem is one message of a hub's history. Unlike clients, backends see
// whom it was for.
type historyItem struct {
	Position    string          `json:"position"`
	Time        string          `json:"time"`
	Target      string          `json:"target"`
	Arguments   json.RawMessage `json:"arguments"`
	Groups      []string        `json:"groups,omitempty"`
	Users       []string        `json:"users,omitempty"`
	Connections []string        `json:"connections,omitempty"`
}

// historyAnswer is one page.
type historyAnswer struct {
	Messages []historyItem `json:"messages"`
	// Position is where the page ends: the after, or before, of the next.
	Position string `json:"position"`
	More     bool   `json:"more"`
	NextLink string `json:"nextLink,omitempty"`
}

// goneError carries what a 410 says.
type goneError struct {
	fault    *fault.Error
	from, to string
}

// Error is the fault's.
func (e *goneError) Error() string { return e.fault.Error() }

// Unwrap returns the fault.
func (e *goneError) Unwrap() error { return e.fault }

// messages answers with the messages of the hub, or of one group, as they were
// accepted.
func (h *Handler) messages(w http.ResponseWriter, c *call) (int, error) {
	q, err := h.historyQuery(c)
	if err != nil {
		return 0, err
	}
	b, err := c.open(0)
	if err != nil {
		return 0, err
	}
	keeper, ok := b.(hubs.Historian)
	if !ok {
		return 0, fault.New(notSupported, "This hub keeps no history.").WithCode(codeNotSupported)
	}
	page, err := keeper.History(c.r.Context(), q)
	var gone *hubs.HistoryGoneError
	if errors.As(err, &gone) {
		return 0, &goneError{
			fault: fault.New(historyGone, "What came after the position is no longer kept. Go on after the position in `to`; what lies between is lost.").WithCode(codeHistoryGone),
			from:  h.SealPosition(c.Tenant, c.hub, gone.After), to: h.SealPosition(c.Tenant, c.hub, gone.To),
		}
	}
	if err != nil {
		return 0, err
	}
	answer := historyAnswer{Messages: make([]historyItem, 0, len(page.Entries)), Position: h.SealPosition(c.Tenant, c.hub, page.Next), More: page.More}
	for i, e := range page.Entries {
		if item, ok := h.historyItem(c, e, page.PositionOf(i)); ok {
			answer.Messages = append(answer.Messages, item)
		}
	}
	if page.More {
		query := c.r.URL.Query()
		query.Del("since")
		if q.Newest {
			query.Set("before", answer.Position)
		} else {
			query.Set("after", answer.Position)
		}
		answer.NextLink = c.Base + c.r.URL.EscapedPath() + "?" + query.Encode()
	}
	return writeJSON(w, http.StatusOK, answer)
}

func (h *Handler) historyQuery(c *call) (q hubs.HistoryQuery, err error) {
	query := c.r.URL.Query()
	q = hubs.HistoryQuery{Select: hubs.Selection{Every: true}, Accepted: true}
	if q.Limit, err = c.number("limit", historyPage, hubs.MaxHistoryPage); err != nil {
		return q, err
	}
	if query.Has("group") {
		group := query.Get("group")
		if err := hubs.CheckGroup(group); err != nil {
			return q, misnamed("group", err)
		}
		q.Select = hubs.Selection{Groups: []string{group}}
	}
	for name, to := range map[string]**hubs.Position{"after": &q.After, "before": &q.Before} {
		if query.Has(name) {
			at, err := h.OpenPosition(c.Tenant, c.hub, query.Get(name))
			if err != nil {
				return q, invalid(name, "It is no position of this hub.", "a position as sends, history and notices give them")
			}
			*to = &at
		}
	}
	if query.Has("since") {
		if q.Since, err = time.Parse(time.RFC3339, query.Get("since")); err != nil {
			return q, invalid("since", "It is no time.", "a time as in 2030-01-31T12:00:00Z")
		}
		if q.After != nil {
			return q, invalid("since", "There is an after, too.", "one of after and since")
		}
	}
	switch order := query.Get("order"); {
	case order == "desc":
		q.Newest = true
	case query.Has("order") && order != "asc":
		return q, invalid("order", "There is no such order.", "asc (oldest first), desc (newest first)")
	}
	return q, nil
}

// historyItem is false for what is no invocation, such as an item of a stream.
func (h *Handler) historyItem(c *call, e *hubs.Entry, at hubs.Position) (historyItem, bool) {
	target, arguments, ok := e.Message.Invocation()
	if !ok {
		return historyItem{}, false
	}
	values, err := protocol.AppendJSON(nil, arguments)
	if err != nil {
		return historyItem{}, false // it reached nobody either who reads JSON
	}
	return historyItem{
		Position: h.SealPosition(c.Tenant, c.hub, at), Time: e.At.UTC().Format(hubs.HistoryTime),
		Target: target, Arguments: bytes.TrimSpace(values), Groups: e.Groups, Users: e.Users, Connections: e.Connections,
	}, true
}
