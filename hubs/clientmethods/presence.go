package clientmethods

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/values"
	"github.com/signalbox/signalbox/tenants/permissions"
)

// The codes of what presence is refused with.
const (
	CodeNotMember     = "not_in_group"
	CodePresenceFull  = "presence_full"
	CodeStateTooLarge = "state_too_large"
	CodeUnknownNow    = "presence_unavailable"
)

// setPresence makes the client present in a group that it is in, or changes its
// state there.
func (r *request) setPresence(ctx context.Context) (any, hubs.Position, error) {
	if err := r.count(1, 2, "$setPresence(group, state?)"); err != nil {
		return nil, hubs.Position{}, err
	}
	group, err := r.group()
	if err != nil {
		return nil, hubs.Position{}, err
	}
	if err := r.allowed(permissions.JoinGroup, group); err != nil {
		return nil, hubs.Position{}, err
	}
	state := []byte("null")
	if len(r.arguments) > 1 {
		if state, err = protocol.AppendJSON(nil, r.arguments[1]); err != nil {
			return nil, hubs.Position{}, argument("state must be a value that JSON can express")
		}
	}
	members, most := r.PresenceLimits()
	if len(state) > most {
		return nil, hubs.Position{}, hubs.NewLimitError(CodeStateTooLarge, most, fmt.Sprintf("%s: the state has %d bytes as JSON; at most %d are allowed", CodeStateTooLarge, len(state), most))
	}
	b := r.c.Server().Backplane()
	if !r.c.Present(group) {
		if err := roomFor(ctx, b, group, members); err != nil {
			return nil, hubs.Position{}, err
		}
	}
	e, settle := r.c.AnnouncePresence(group, state)
	if e == nil {
		return nil, hubs.Position{}, &Refusal{CodeNotMember, "the client is not in the group: join it first"}
	}
	defer settle()
	at, err := b.Publish(ctx, e, hubs.PublishOptions{Charge: 1, Client: r.c})
	return nil, at, err
}

// roomFor says whether one more can be present in the group. It is a question to
// all nodes: of many that ask at once, a few may be let in too many.
func roomFor(ctx context.Context, b hubs.Backplane, group string, most int) error {
	n, err := b.Ask(ctx, hubs.Query{Kind: hubs.CountPresent, Name: group})
	switch {
	case err != nil && !errors.Is(err, hubs.ErrUnanswered): // then it is more than n, at least
		return fmt.Errorf("count members: %w", err)
	case n >= most:
		return hubs.NewLimitError(CodePresenceFull, most, fmt.Sprintf("%s: the group has all of its %d members that can be present", CodePresenceFull, most))
	}
	return nil
}

// clearPresence ends what setPresence began.
func (r *request) clearPresence(ctx context.Context) (any, hubs.Position, error) {
	if err := r.count(1, 1, "$clearPresence(group)"); err != nil {
		return nil, hubs.Position{}, err
	}
	group, err := r.group()
	if err != nil {
		return nil, hubs.Position{}, err
	}
	e := r.c.ClearPresence(group)
	if e == nil {
		return nil, hubs.Position{}, nil
	}
	at, err := r.c.Server().Backplane().Publish(ctx, e, hubs.PublishOptions{})
	if err != nil {
		r.c.Server().PublishPresence(e) // it isn't present any more, whatever comes
	}
	return nil, at, err
}

// Present is a connection that is present, as clients and backends are told.
type Present struct {
	ConnectionID string          `json:"connectionId"`
	UserID       string          `json:"userId,omitempty"`
	State        json.RawMessage `json:"state,omitempty"`
}

// PresentOf is the form of an item of a hubs.ListPresent.
func PresentOf(item hubs.Listed) Present {
	return Present{ConnectionID: item.Name, UserID: item.User, State: item.State}
}

// presentPage is the answer to $readPresence.
type presentPage struct {
	Members []Present `json:"members"`
	Count   int       `json:"count"`
	// Next is what after has to be for the next page.
	Next string `json:"next,omitempty"`
}

// readPresence lists who is present in a group, page by page.
func (r *request) readPresence(ctx context.Context) (any, hubs.Position, error) {
	const form = "$readPresence(group, {after, limit}?)"
	if err := r.count(1, 2, form); err != nil {
		return nil, hubs.Position{}, err
	}
	group, err := r.group()
	if err != nil {
		return nil, hubs.Position{}, err
	}
	options := struct {
		After string `json:"after"`
		Limit int    `json:"limit"`
	}{Limit: 200}
	if len(r.arguments) > 1 && !isNull(r.arguments[1]) {
		if err := values.Decode(r.arguments[1], &options); err != nil {
			return nil, hubs.Position{}, argument("the options must be like {limit: 100}; the method is %s", form)
		}
	}
	if options.Limit < 1 || options.Limit > 200 {
		return nil, hubs.Position{}, argument("limit must be 1 to 200")
	}
	if err := r.allowed(permissions.ReadPresence, group); err != nil {
		return nil, hubs.Position{}, err
	}
	b := r.c.Server().Backplane()
	page, err := b.List(ctx, hubs.ListQuery{Kind: hubs.ListPresent, Group: group, After: options.After, Limit: options.Limit})
	if err != nil {
		return nil, hubs.Position{}, unknownNow(err)
	}
	count, err := b.Ask(ctx, hubs.Query{Kind: hubs.CountPresent, Name: group})
	if err != nil {
		return nil, hubs.Position{}, unknownNow(err)
	}
	answer := presentPage{Members: make([]Present, 0, len(page.Items)), Count: count}
	for _, item := range page.Items {
		answer.Members = append(answer.Members, PresentOf(item))
	}
	if page.More {
		answer.Next = page.Items[len(page.Items)-1].Name
	}
	raw, err := rawOf(r.c.Protocol().Encoding(), answer)
	return raw, hubs.Position{}, err
}

// rawOf encodes what holds JSON in the client's encoding.
func rawOf(encoding protocol.Encoding, v any) (protocol.Raw, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return protocol.Raw{}, fmt.Errorf("encode answer: %w", err)
	}
	return values.Encode(encoding, protocol.Raw{Encoding: protocol.JSON, Bytes: text})
}

// unknownNow is the refusal when not every edge could be asked. Those of an edge
// that died count until its lease has run out.
func unknownNow(err error) error {
	if errors.Is(err, hubs.ErrUnanswered) || errors.Is(err, hubs.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		return &Refusal{CodeUnknownNow, "not every edge can be asked now who is present; try again in a moment"}
	}
	return err
}

// watchPresence answers with all who are present in a group; $presence tells of
// what changes from then on.
func (r *request) watchPresence(ctx context.Context) (any, hubs.Position, error) {
	if err := r.count(1, 1, "$watchPresence(group)"); err != nil {
		return nil, hubs.Position{}, err
	}
	group, err := r.group()
	if err != nil {
		return nil, hubs.Position{}, err
	}
	if err := r.allowed(permissions.ReadPresence, group); err != nil {
		return nil, hubs.Position{}, err
	}
	if most := r.c.Server().Options().MaximumGroups; r.c.Watching() >= most {
		return nil, hubs.Position{}, &Refusal{hubs.RefusedGroups, fmt.Sprintf("a connection can watch at most %d groups", most)}
	}
	err = r.c.WatchPresence(ctx, group, func(members []byte, count int) error {
		if r.m.InvocationID == "" {
			return nil
		}
		result, err := rawOf(r.c.Protocol().Encoding(), struct {
			Members json.RawMessage `json:"members"`
			Count   int             `json:"count"`
		}{members, count})
		if err != nil {
			return err
		}
		return r.c.Send(&protocol.Message{Type: protocol.Completion, InvocationID: r.m.InvocationID, Result: result})
	})
	switch {
	case errors.Is(err, hubs.ErrSnapshotTooLarge):
		return nil, hubs.Position{}, &Refusal{CodePresenceFull, err.Error() + " can be watched; read them page by page with $readPresence"}
	case err != nil:
		return nil, hubs.Position{}, unknownNow(err)
	}
	return nil, hubs.Position{}, errLater
}

// unwatchPresence ends watchPresence.
func (r *request) unwatchPresence(context.Context) (any, hubs.Position, error) {
	if err := r.count(1, 1, "$unwatchPresence(group)"); err != nil {
		return nil, hubs.Position{}, err
	}
	group, err := r.group()
	if err != nil {
		return nil, hubs.Position{}, err
	}
	r.c.UnwatchPresence(group)
	return nil, hubs.Position{}, nil
}
