package rest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/internal/fault"
)

// The bounds of a batch.
const (
	// maxNames is how many groups, users or connections one message may be for.
	maxNames = 100
)

// outgoing is a message with whom it is for: one of the lists, or everybody.
type outgoing struct {
	Groups      []string        `json:"groups"`
	Users       []string        `json:"users"`
	Connections []string        `json:"connections"`
	Excluded    []string        `json:"excluded"`
	Target      string          `json:"target"`
	Arguments   json.RawMessage `json:"arguments"`
	// IdempotencyKey is that of this message alone.
	IdempotencyKey string `json:"idempotencyKey"`
}

// batchResult is what became of one message.
type batchResult struct {
	Status    int    `json:"status"`
	Position  string `json:"position,omitempty"`
	Duplicate bool   `json:"duplicate,omitempty"`
	Ack       string `json:"ack,omitempty"`
	Code      string `json:"code,omitempty"`
	Message   string `json:"message,omitempty"`
	Target    string `json:"target,omitempty"` // the field at fault
}

// batchAnswer is the answer to a batch.
type batchAnswer struct {
	Accepted int           `json:"accepted"`
	Results  []batchResult `json:"results"`
}

// errNotTried is the error of messages behind one that a limit or an outage has
// stopped: so what is accepted keeps its order when the rest is repeated.
var errNotTried = fault.New(fault.Unavailable, "Not tried, since a message before it failed. Repeat it with the same key.").WithCode("not_tried")

// sendBatch publishes messages in their order and tells of each what became of
// it. One that isn't valid doesn't stop the others; a limit or an outage does.
func (h *Handler) sendBatch(w http.ResponseWriter, c *call) (int, error) {
	key, err := idempotencyKey(c.r)
	if err != nil {
		return 0, err
	}
	ack, err := c.ack()
	if err != nil {
		return 0, err
	}
	_, body, err := c.body(w, mediaJSON)
	if err != nil {
		return 0, err
	}
	var batch struct {
		Messages []outgoing `json:"messages"`
	}
	if err := decodeJSON(body, &batch); err != nil {
		return 0, err
	}
	if n, most := len(batch.Messages), c.Limits.MaxBatchItems; n == 0 || n > most {
		return 0, fault.InvalidFields(fault.Field{Name: "messages", Message: fmt.Sprintf("There are %d messages.", n), Accepted: fmt.Sprintf("1 to %d", most)}).WithLimit(c.limit("max_batch_items"))
	}
	b, err := c.bus()
	if err != nil {
		return 0, err
	}
	answer := batchAnswer{Results: make([]batchResult, len(batch.Messages))}
	stopped := false
	for i := range batch.Messages {
		m := &batch.Messages[i]
		if m.IdempotencyKey == "" && key != "" {
			sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s", i, key))
			m.IdempotencyKey = "batch." + base64.RawURLEncoding.EncodeToString(sum[:])
		}
		at, err := hubs.Position{}, error(errNotTried)
		if !stopped {
			at, err = h.sendOne(c, b, m, ack)
			stopped = err != nil && stops(err)
		}
		answer.Results[i] = h.batchResult(w, c, at, ack, err)
		if err == nil {
			answer.Accepted++
		}
	}
	status := http.StatusOK
	if answer.Accepted < len(answer.Results) {
		status = http.StatusMultiStatus
	}
	return writeJSON(w, status, answer)
}

// stops reports whether an error is likely to meet the next message, too.
func stops(err error) bool {
	var limit *LimitError
	return errors.As(err, &limit) || errors.Is(err, hubs.ErrUnavailable) || errors.Is(err, hubs.ErrOutcomeUnknown) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// sendOne checks and publishes one message of a batch.
func (h *Handler) sendOne(c *call, b hubs.Backplane, m *outgoing, ack hubs.Ack) (hubs.Position, error) {
	e, size, err := m.entry()
	if err != nil {
		return hubs.Position{}, err
	}
	if m.IdempotencyKey != "" && !keyOK(m.IdempotencyKey) {
		return hubs.Position{}, invalid("idempotencyKey", "The key is not valid.", keyRule)
	}
	if err := c.fits(size); err != nil {
		return hubs.Position{}, err
	}
	if err := c.admitSend(charge(size), e); err != nil {
		return hubs.Position{}, err
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), callPatience)
	defer cancel()
	return b.Publish(ctx, e, hubs.PublishOptions{IdempotencyKey: m.IdempotencyKey, Charge: charge(size), Ack: ack})
}

// batchPatience bounds the work for a batch.
const batchPatience = 20 * time.Second

func (h *Handler) batchResult(w http.ResponseWriter, c *call, at hubs.Position, ack hubs.Ack, err error) batchResult {
	if err != nil {
		c.refused(err)
		d := h.answerFor(w, c.r, err)
		return batchResult{Status: d.Status, Code: d.Code, Message: d.Message, Target: d.Target}
	}
	result := batchResult{Status: http.StatusAccepted, Duplicate: at.Duplicate, Ack: ackName(ack)}
	if ack != hubs.AckNone {
		result.Position = h.SealPosition(c.Tenant, c.hub, at)
	}
	return result
}

// entry checks a message and returns it as what is published, with its size.
func (m *outgoing) entry() (*hubs.Entry, int, error) {
	e := &hubs.Entry{Kind: hubs.SendToAll}
	lists := 0
	for _, l := range []struct {
		kind  hubs.Kind
		field string
		names []string
		check func(string) error
		to    *[]string
	}{
		{hubs.SendToGroups, "groups", m.Groups, hubs.CheckGroup, &e.Groups},
		{hubs.SendToUsers, "users", m.Users, hubs.CheckUser, &e.Users},
		{hubs.SendToConnections, "connections", m.Connections, hubs.CheckConnectionID, &e.Connections},
	} {
		if l.names == nil {
			continue
		}
		if lists++; lists > 1 {
			return nil, 0, invalid(l.field, "A message is for groups, users or connections, not for several of these.", "one list, or none for everybody")
		}
		if len(l.names) == 0 || len(l.names) > maxNames {
			return nil, 0, invalid(l.field, fmt.Sprintf("There are %d names.", len(l.names)), fmt.Sprintf("1 to %d", maxNames))
		}
		for _, name := range l.names {
			if err := l.check(name); err != nil {
				return nil, 0, misnamed(l.field, err)
			}
		}
		e.Kind, *l.to = l.kind, l.names
	}
	if len(m.Excluded) > 0 && e.Kind != hubs.SendToAll && e.Kind != hubs.SendToGroups {
		return nil, 0, invalid("excluded", "Only messages to everybody or to groups leave connections out.", "")
	}
	if err := checkExcluded(m.Excluded); err != nil {
		return nil, 0, err
	}
	e.Excluded = m.Excluded
	var err error
	e.Message, err = broadcastOf(m.Target, m.Arguments)
	if err != nil {
		return nil, 0, err
	}
	return e, len(m.Target) + len(e.Message.Arguments.Bytes), nil
}

// broadcastOf checks a target and its arguments, which may be missing.
func broadcastOf(target string, arguments json.RawMessage) (*hubs.Broadcast, error) {
	if target == "" {
		return nil, missingTarget()
	}
	m := &hubs.Broadcast{Target: target, Arguments: protocol.Raw{Encoding: protocol.JSON, Bytes: []byte("[]")}}
	if len(arguments) == 0 || string(arguments) == "null" {
		return m, nil
	}
	m.Arguments.Bytes = arguments
	return m, checkArguments(m.Arguments)
}

// decodeJSON reads a body whose fields may be in any casing.
func decodeJSON(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		return invalid("body", "There is more after the JSON value.", "")
	}
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) && kind.Field != "" {
		return invalid(shorten(kind.Field), "The value has the wrong type: "+kind.Value+".", kind.Type.String())
	}
	if field, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown {
		return invalid(shorten(strings.Trim(field, `"`)), "There is no such field.", "")
	}
	return invalid("body", fmt.Sprintf("The body is not valid JSON of the documented form (byte %d).", d.InputOffset()), "")
}
