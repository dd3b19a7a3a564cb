package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/internal/fault"
)

// The codes of what presence is refused with.
const (
	codeNotMember     = "not_in_group"
	codePresenceFull  = "presence_full"
	codeStateTooLarge = "state_too_large"
)

// presentMember is a connection that is present in a group, in a list.
type presentMember struct {
	member
	State json.RawMessage `json:"state"`
}

// countPresent answers how many connections are present in a group, or in any.
func (h *Handler) countPresent(w http.ResponseWriter, c *call) (int, error) {
	b, err := c.open(0)
	if err != nil {
		return 0, err
	}
	count, err := b.Ask(c.r.Context(), hubs.Query{Kind: hubs.CountPresent, Name: c.group})
	if err != nil {
		return 0, err
	}
	return writeJSON(w, http.StatusOK, struct {
		Count int `json:"count"`
	}{count})
}

// setPresence makes a connection, or those of a user that are in the group, present
// with the state in the body.
func (h *Handler) setPresence(w http.ResponseWriter, c *call) (int, error) {
	_, state, err := c.body(w, mediaJSON)
	if err != nil {
		return 0, err
	}
	if !json.Valid(state) {
		return 0, invalid("body", "The state is not valid JSON.", "one JSON value")
	}
	if most := c.Presence.StateBytes; len(state) > most {
		return 0, fault.New(fault.TooLarge, fmt.Sprintf("The state has %d bytes; at most %d are allowed.", len(state), most)).WithLimit(c.limit("max_presence_state_bytes"))
	}
	raw := protocol.Raw{Encoding: protocol.JSON, Bytes: state}
	if _, err := protocol.AppendMessagePack(nil, raw); err != nil {
		return 0, invalid("body", "The state can't be sent to every client.", "one JSON value whose numbers are 64-bit")
	}
	return h.wishPresence(w, c, &hubs.Broadcast{Arguments: raw})
}

// clearPresence ends what setPresence began.
func (h *Handler) clearPresence(w http.ResponseWriter, c *call) (int, error) {
	return h.wishPresence(w, c, nil)
}

// wishPresence has the edges of the connections carry it out.
func (h *Handler) wishPresence(_ http.ResponseWriter, c *call, state *hubs.Broadcast) (int, error) {
	b, err := c.open(0)
	if err != nil {
		return 0, err
	}
	ids := []string{c.connection}
	if c.user != "" {
		// As many as may be named in one entry: a user has few.
		page, err := b.List(c.r.Context(), hubs.ListQuery{Kind: hubs.ListConnections, Group: c.group, User: c.user, Limit: hubs.MaxListed})
		if err != nil {
			return 0, err
		}
		ids = ids[:0]
		for _, item := range page.Items {
			ids = append(ids, item.Name)
		}
	}
	if state != nil {
		if err := c.roomFor(b, ids); err != nil {
			return 0, err
		}
	}
	found := false
	if len(ids) > 0 {
		if found, err = c.command(&hubs.Entry{Kind: hubs.PresenceWish, Connections: ids, Groups: []string{c.group}, Message: state}); err != nil {
			return 0, err
		}
	}
	if !found && state != nil {
		return 0, fault.New(fault.NotFound, "No such connection is in the group: it must join first.").WithCode(codeNotMember)
	}
	return http.StatusNoContent, nil
}

// roomFor refuses members beyond the limit; those that are present already are none.
func (c *call) roomFor(b hubs.Backplane, ids []string) error {
	ctx, most := c.r.Context(), c.Presence.Members
	count, err := b.Ask(ctx, hubs.Query{Kind: hubs.CountPresent, Name: c.group})
	if err != nil || count+len(ids) <= most {
		return err
	}
	page, err := b.List(ctx, hubs.ListQuery{Kind: hubs.ListPresent, Group: c.group, User: c.user, Connection: c.connection, Limit: hubs.MaxListed})
	if err != nil {
		return err
	}
	for _, id := range ids {
		if !slices.ContainsFunc(page.Items, func(there hubs.Listed) bool { return there.Name == id }) {
			count++
		}
	}
	if count > most {
		return fault.New(fault.Conflict, fmt.Sprintf("At most %d members of a group can be present.", most)).WithCode(codePresenceFull)
	}
	return nil
}
