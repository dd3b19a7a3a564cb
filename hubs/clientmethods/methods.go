package clientmethods

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/values"
	"github.com/signalbox/signalbox/tenants/permissions"
)

// maxMethod is the longest name of a receiver's method, in characters.
const maxMethod = 256

// Sender is what receivers are told of who sent them a message: the last argument
// of their method, after those that the sender gave. The edge writes it, so
// nobody can pass for another, or for a backend, whose messages have none.
type Sender struct {
	Group        string `json:"group"`
	UserID       string `json:"userId,omitempty"`
	ConnectionID string `json:"connectionId"`
}

func argument(format string, args ...any) error {
	return &Refusal{CodeArgument, fmt.Sprintf(format, args...)}
}

// count returns a refusal unless there are least to most arguments.
func (r *request) count(least, most int, form string) error {
	if n := len(r.arguments); n < least || n > most {
		return argument("got %d arguments; the method is %s", n, form)
	}
	return nil
}

// text returns an argument that must be a text.
func (r *request) text(i int, name string, most int) (string, error) {
	var s string
	if err := values.Decode(r.arguments[i], &s); err != nil || strings.TrimSpace(s) == "" || !utf8.ValidString(s) || utf8.RuneCountInString(s) > most {
		return "", argument("%s must be a text of 1 to %d characters that are not all blank", name, most)
	}
	return s, nil
}

// group returns the first argument.
func (r *request) group() (string, error) { return r.text(0, "group", permissions.MaxGroup) }

// joinForm says what an invocation of $joinGroup is.
const joinForm = "$joinGroup(group, {rewind: {last | after | since}, conflate: {everyMs, key}}?)"

func (r *request) joinGroup(ctx context.Context) (any, hubs.Position, error) {
	if err := r.count(1, 2, joinForm); err != nil {
		return nil, hubs.Position{}, err
	}
	group, err := r.group()
	if err != nil {
		return nil, hubs.Position{}, err
	}
	var options struct {
		Rewind   *place      `json:"rewind"`
		Conflate *conflation `json:"conflate"`
	}
	if len(r.arguments) > 1 && !isNull(r.arguments[1]) {
		if err := values.Decode(r.arguments[1], &options); err != nil {
			return nil, hubs.Position{}, argument("the options must be like {rewind: {last: 20}, conflate: {everyMs: 100, key: 0}}; the method is %s", joinForm)
		}
		if options.Rewind == nil && options.Conflate == nil {
			return nil, hubs.Position{}, argument("the options must say rewind or conflate; the method is %s", joinForm)
		}
	}
	e := &hubs.Entry{Kind: hubs.AddToGroup, Groups: []string{group}}
	if options.Conflate != nil {
		if e.Conflate, err = options.Conflate.read(); err != nil {
			return nil, hubs.Position{}, err
		}
	}
	if err := r.allowed(permissions.JoinGroup, group); err != nil {
		return nil, hubs.Position{}, err
	}
	if options.Rewind == nil {
		return r.change(ctx, e)
	}
	back, err := r.rewind(*options.Rewind)
	if err != nil {
		return nil, hubs.Position{}, err
	}
	if back == (hubs.Rewind{}) {
		return nil, hubs.Position{}, argument("rewind must say one of last, after and since")
	}
	if err := r.allowed(permissions.ReadHistory, group); err != nil {
		return nil, hubs.Position{}, err
	}
	e.Reason = rand.Text()
	forget := r.plan(e.Reason, back)
	_, at, err := r.change(ctx, e)
	if begun := forget(); begun && (err == nil || errors.Is(err, hubs.ErrUnanswered) || errors.Is(err, hubs.ErrOutcomeUnknown)) {
		return nil, at, errLater
	}
	if err == nil {
		err = fmt.Errorf("join with a rewind: %w", hubs.ErrUnanswered)
	}
	return nil, at, err
}

// conflation is a hubs.Conflation, as clients say it.
type conflation struct {
	EveryMs *int64 `json:"everyMs"`
	Key     *int   `json:"key"`
}

// read checks it.
func (c *conflation) read() (*hubs.Conflation, error) {
	how := hubs.Conflation{Key: hubs.NoKey}
	if ms := c.EveryMs; ms != nil && *ms > 0 && *ms <= hubs.MaxConflation.Milliseconds() { // or it may overflow
		how.Every = time.Duration(*c.EveryMs) * time.Millisecond
	}
	if c.Key != nil {
		if how.Key = *c.Key; how.Key < 0 {
			how.Key = hubs.MaxKey + 1
		}
	}
	if err := how.Check(); err != nil {
		return nil, argument("%s", err.Error())
	}
	return &how, nil
}

func (r *request) leaveGroup(ctx context.Context) (any, hubs.Position, error) {
	if err := r.count(1, 1, "$leaveGroup(group)"); err != nil {
		return nil, hubs.Position{}, err
	}
	group, err := r.group()
	if err != nil {
		return nil, hubs.Position{}, err
	}
	if err := r.allowed(permissions.LeaveGroup, group); err != nil {
		return nil, hubs.Position{}, err
	}
	return r.change(ctx, &hubs.Entry{Kind: hubs.RemoveFromGroup, Groups: []string{group}})
}

// change changes the membership of the client. It is in force when it returns.
func (r *request) change(ctx context.Context, e *hubs.Entry) (any, hubs.Position, error) {
	if e.Kind == hubs.AddToGroup {
		// Before it is metered: what is refused is not.
		if err := r.c.RoomFor(e.Groups[0]); err != nil {
			return nil, hubs.Position{}, err
		}
	}
	e.Connections = []string{r.c.ID()}
	server := r.c.Server()
	options := hubs.PublishOptions{Charge: 1, Client: r.c}
	for range joinTries {
		own := *e // which is the backplane's from now on
		at, matched, err := server.Backplane().Command(ctx, &own, options)
		if err != nil {
			return nil, hubs.Position{}, err
		}
		if e.Kind != hubs.AddToGroup || matched > 0 {
			return nil, at, nil
		}
		// It has been counted where the connection is.
		if err := r.c.CanJoin(); err != nil {
			return nil, hubs.Position{}, err
		}
		options.Charge = 0 // there is room by now
	}
	return nil, hubs.Position{}, hubs.Errorf("%s: the connection joined no group", hubs.RefusedGroups)
}

// joinTries is how often a join is tried for which there was no room, and then was.
const joinTries = 3

func (r *request) sendToGroup(ctx context.Context) (any, hubs.Position, error) {
	const form = "$sendToGroup(group, method, arguments?, {noEcho}?)"
	if err := r.count(2, 4, form); err != nil {
		return nil, hubs.Position{}, err
	}
	group, err := r.group()
	if err != nil {
		return nil, hubs.Position{}, err
	}
	method, err := r.text(1, "method", maxMethod)
	switch {
	case err != nil:
		return nil, hubs.Position{}, err
	case Is(method):
		return nil, hubs.Position{}, argument("method must not begin with $: such names are the service's own")
	}
	e := &hubs.Entry{Kind: hubs.SendToGroups, Groups: []string{group}, Message: &hubs.Broadcast{Target: method}}
	if len(r.arguments) > 3 {
		var options struct {
			NoEcho bool `json:"noEcho"`
		}
		if err := values.Decode(r.arguments[3], &options); err != nil {
			return nil, hubs.Position{}, argument("the options must be like {noEcho: true}")
		}
		if options.NoEcho {
			e.Excluded = []string{r.c.ID()}
		}
	}
	if err := r.allowed(permissions.SendToGroup, group); err != nil {
		return nil, hubs.Position{}, err
	}
	if e.Message.Arguments, err = r.message(group); err != nil {
		return nil, hubs.Position{}, err
	}
	if r.Publish != nil {
		if err := r.Publish(ctx, group); err != nil {
			return nil, hubs.Position{}, err
		}
	}
	at, err := r.c.Server().Backplane().Publish(ctx, e, hubs.PublishOptions{Charge: hubs.Units(len(e.Message.Arguments.Bytes)), Client: r.c})
	if err != nil {
		return nil, hubs.Position{}, err
	}
	return r.SealPosition(at), at, nil
}

// message makes the arguments of the receivers' method.
func (r *request) message(group string) (protocol.Raw, error) {
	var all []protocol.Raw
	if len(r.arguments) > 2 && !isNull(r.arguments[2]) {
		if _, err := protocol.CountArguments(r.arguments[2]); err != nil {
			return protocol.Raw{}, argument("arguments must be an array of at most %d values", protocol.MaxArguments-1)
		}
		all = protocol.AppendElements(nil, r.arguments[2])
	}
	if len(all) >= protocol.MaxArguments {
		return protocol.Raw{}, argument("arguments must be an array of at most %d values", protocol.MaxArguments-1)
	}
	encoding := r.m.Arguments.Encoding
	sender, err := values.Encode(encoding, Sender{Group: group, UserID: r.c.User(), ConnectionID: r.c.ID()})
	if err != nil {
		return protocol.Raw{}, err
	}
	raw, err := protocol.NewArguments(encoding, append(all, sender)...)
	if err != nil {
		return protocol.Raw{}, err
	}
	// Some receivers get it in the other notation: what has no such form must fail
	// here and not on the way to them.
	if encoding == protocol.JSON {
		_, err = protocol.AppendMessagePack(nil, raw)
	} else {
		_, err = protocol.AppendJSON(nil, raw)
	}
	if err != nil {
		return protocol.Raw{}, argument("arguments hold a value that not every client could be sent")
	}
	return raw, nil
}

func isNull(r protocol.Raw) bool {
	return r.Encoding == protocol.JSON && string(r.Bytes) == "null" || r.Encoding == protocol.MessagePack && len(r.Bytes) == 1 && r.Bytes[0] == 0xc0
}

// Refreshed is the answer to $refreshToken.
type Refreshed struct {
	// ExpiresAt is when the connection ends unless it is refreshed again, in RFC
	// 3339; absent when it outlives its token.
	ExpiresAt string `json:"expiresAt,omitempty"`
}

func (r *request) refreshToken(ctx context.Context) (any, hubs.Position, error) {
	if err := r.count(1, 1, "$refreshToken(token)"); err != nil {
		return nil, hubs.Position{}, err
	}
	var token string
	if err := values.Decode(r.arguments[0], &token); err != nil || token == "" {
		return nil, hubs.Position{}, argument("token must be a text")
	}
	expires, err := r.Refresh(ctx, r.c, token)
	if err != nil {
		return nil, hubs.Position{}, err
	}
	var answer Refreshed
	if !expires.IsZero() {
		answer.ExpiresAt = expires.UTC().Format(time.RFC3339)
	}
	return answer, hubs.Position{}, nil
}
