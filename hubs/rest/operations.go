package rest

import (
	"errors"
	"net/http"

	"github.com/signalbox/signalbox/hubs"
)

func (h *Handler) sendToAll(w http.ResponseWriter, c *call) (int, error) {
	return h.send(w, c, &hubs.Entry{Kind: hubs.SendToAll})
}

func (h *Handler) sendToUser(w http.ResponseWriter, c *call) (int, error) {
	return h.send(w, c, &hubs.Entry{Kind: hubs.SendToUsers, Users: []string{c.user}})
}

func (h *Handler) sendToConnection(w http.ResponseWriter, c *call) (int, error) {
	return h.send(w, c, &hubs.Entry{Kind: hubs.SendToConnections, Connections: []string{c.connection}})
}

func (h *Handler) sendToGroup(w http.ResponseWriter, c *call) (int, error) {
	return h.send(w, c, &hubs.Entry{Kind: hubs.SendToGroups, Groups: []string{c.group}})
}

// send publishes the body. 202 says that the message is in the hub's stream.
func (h *Handler) send(w http.ResponseWriter, c *call, e *hubs.Entry) (int, error) {
	key, err := idempotencyKey(c.r)
	if err != nil {
		return 0, err
	}
	if e.Kind == hubs.SendToAll || e.Kind == hubs.SendToGroups {
		if e.Excluded, err = c.excluded(); err != nil {
			return 0, err
		}
	}
	ack, err := c.ack()
	if err != nil {
		return 0, err
	}
	message, size, err := c.message(w)
	if err != nil {
		return 0, err
	}
	e.Message = message
	messages := charge(size)
	dry, err := c.dryRun()
	if err != nil {
		return 0, err
	}
	if dry {
		return h.estimate(w, c, e, size)
	}
	b, err := c.bus()
	if err == nil {
		err = c.admitSend(messages, e)
	}
	if err != nil {
		return 0, err
	}
	at, err := b.Publish(c.r.Context(), e, hubs.PublishOptions{IdempotencyKey: key, Charge: messages, Ack: ack})
	if err != nil {
		return 0, err
	}
	return h.accepted(w, c, at, ack)
}

// accepted answers a send: with the message's place in the hub's order, which one
// that is only in memory doesn't have yet.
func (h *Handler) accepted(w http.ResponseWriter, c *call, at hubs.Position, ack hubs.Ack) (int, error) {
	position := ""
	if ack != hubs.AckNone {
		position = h.SealPosition(c.Tenant, c.hub, at)
		w.Header().Set(positionHeader, position)
	}
	w.Header().Set(ackHeader, ackName(ack))
	if at.Duplicate {
		w.Header().Set("Idempotent-Replay", "true")
	}
	if c.style.legacy {
		return http.StatusAccepted, nil
	}
	answer := done(http.StatusAccepted)
	answer.Position, answer.Duplicate, answer.Ack = position, at.Duplicate, ackName(ack)
	return writeJSON(w, http.StatusAccepted, answer)
}

// serviceResponse is what Azure answers successes with from 2022-06-01 on, with
// what we say of sends.
type serviceResponse struct {
	StatusCode int    `json:"statusCode"`
	Level      string `json:"level"`
	Scope      string `json:"scope"`
	ErrorKind  string `json:"errorKind"`
	IsSuccess  bool   `json:"isSuccess"`
	Position   string `json:"position,omitempty"`
	Duplicate  bool   `json:"duplicate,omitempty"`
	Ack        string `json:"ack,omitempty"`
}

func done(status int) serviceResponse {
	return serviceResponse{StatusCode: status, Level: "Info", Scope: "Request", ErrorKind: "Unknown", IsSuccess: true}
}

// change publishes a membership change without waiting for its effect: it is in
// order with all that is published later.
func (c *call) change(e *hubs.Entry) error {
	b, err := c.open(0)
	if err != nil {
		return err
	}
	_, err = b.Publish(c.r.Context(), e, hubs.PublishOptions{})
	return err
}

// command waits for the effect and returns whether anything was concerned.
func (c *call) command(e *hubs.Entry) (bool, error) {
	b, err := c.open(0)
	if err != nil {
		return false, err
	}
	_, matched, err := b.Command(c.r.Context(), e, hubs.PublishOptions{})
	if matched > 0 && errors.Is(err, hubs.ErrUnanswered) {
		err = nil // a connection is in one place, and that place has answered
	}
	return matched > 0, err
}

func (h *Handler) addConnection(_ http.ResponseWriter, c *call) (int, error) {
	how, err := c.conflation()
	if err != nil {
		return 0, err
	}
	found, err := c.command(&hubs.Entry{Kind: hubs.AddToGroup, Connections: []string{c.connection}, Groups: []string{c.group}, Conflate: how})
	if err == nil && !found {
		err = missing(codeNoConnectionToAdd, "The connection doesn't exist, or is in as many groups as it may be.")
	}
	return http.StatusOK, err
}

func (h *Handler) removeConnection(_ http.ResponseWriter, c *call) (int, error) {
	found, err := c.command(&hubs.Entry{Kind: hubs.RemoveFromGroup, Connections: []string{c.connection}, Groups: []string{c.group}})
	if err == nil && !found && c.version < goneIsDone {
		err = missing(codeNoConnectionToAdd, "The connection doesn't exist.")
	}
	return http.StatusOK, err
}

func (h *Handler) leaveAllGroups(_ http.ResponseWriter, c *call) (int, error) {
	return http.StatusOK, c.change(&hubs.Entry{Kind: hubs.RemoveFromAllGroups, Connections: []string{c.connection}})
}

func (h *Handler) addUser(_ http.ResponseWriter, c *call) (int, error) {
	ttl, err := c.ttl()
	if err != nil {
		return 0, err
	}
	return c.style.pick(http.StatusAccepted, http.StatusOK),
		c.change(&hubs.Entry{Kind: hubs.AddUserToGroup, Users: []string{c.user}, Groups: []string{c.group}, TTLSeconds: ttl})
}

func (h *Handler) removeUser(_ http.ResponseWriter, c *call) (int, error) {
	return c.style.pick(http.StatusAccepted, http.StatusNoContent),
		c.change(&hubs.Entry{Kind: hubs.RemoveUserFromGroup, Users: []string{c.user}, Groups: []string{c.group}})
}

func (h *Handler) removeUserFromAll(_ http.ResponseWriter, c *call) (int, error) {
	return c.style.pick(http.StatusAccepted, http.StatusNoContent),
		c.change(&hubs.Entry{Kind: hubs.RemoveUserFromGroups, Users: []string{c.user}})
}

func (h *Handler) connectionExists(_ http.ResponseWriter, c *call) (int, error) {
	return c.exists(hubs.Query{Kind: hubs.CountConnection, Name: c.connection}, codeNoConnection, "The connection doesn't exist.")
}

func (h *Handler) groupExists(_ http.ResponseWriter, c *call) (int, error) {
	return c.exists(hubs.Query{Kind: hubs.CountGroup, Name: c.group}, codeNoGroup, "No connection is in the group.")
}

func (h *Handler) userExists(_ http.ResponseWriter, c *call) (int, error) {
	return c.exists(hubs.Query{Kind: hubs.CountUser, Name: c.user}, codeNoUser, "The user has no connection.")
}

func (h *Handler) userInGroup(_ http.ResponseWriter, c *call) (int, error) {
	return c.exists(hubs.Query{Kind: hubs.CountUserInGroup, Name: c.group, User: c.user}, codeNotInGroup, "No connection of the user is in the group.")
}

func (c *call) exists(q hubs.Query, code, message string) (int, error) {
	b, err := c.open(0)
	if err != nil {
		return 0, err
	}
	count, err := b.Ask(c.r.Context(), q)
	switch {
	case count > 0: // one is enough, whoever didn't answer
		return http.StatusOK, nil
	case err != nil:
		return 0, err
	}
	return 0, missing(code, message)
}

func (h *Handler) closeConnection(_ http.ResponseWriter, c *call) (int, error) {
	reason, err := c.reason()
	if err != nil {
		return 0, err
	}
	e := &hubs.Entry{Kind: hubs.CloseConnections, Connections: []string{c.connection}, Reason: reason}
	if c.style.legacy {
		return http.StatusAccepted, c.change(e)
	}
	found, err := c.command(e)
	if err == nil && !found {
		err = missing(codeNoConnection, "The connection doesn't exist.")
	}
	return http.StatusOK, err
}

func (h *Handler) closeAll(_ http.ResponseWriter, c *call) (int, error) {
	return c.closeMany(&hubs.Entry{})
}

func (h *Handler) closeUser(_ http.ResponseWriter, c *call) (int, error) {
	return c.closeMany(&hubs.Entry{Users: []string{c.user}})
}

func (h *Handler) closeGroup(_ http.ResponseWriter, c *call) (int, error) {
	return c.closeMany(&hubs.Entry{Groups: []string{c.group}})
}

func (c *call) closeMany(e *hubs.Entry) (int, error) {
	var err error
	e.Kind = hubs.CloseConnections
	if e.Reason, err = c.reason(); err != nil {
		return 0, err
	}
	if e.Excluded, err = c.excluded(); err != nil {
		return 0, err
	}
	return http.StatusNoContent, c.change(e)
}
