package backplane

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
)

// begun is an entry in the pipeline of its hub.
type begun struct {
	p *publisher
	q *request

	once   sync.Once
	answer answer
	err    error

	// to and tally are set for a command.
	to      address
	tally   *tally
	counted sync.Once
	matched int
	missing error
}

// Begin implements hubs.Pipeline. A command waits until answers can arrive. In a hub with
// several partitions a change of members is waited for: what is begun behind it may be in
// another.
func (h *hubBackplane) Begin(ctx context.Context, e *hubs.Entry, o hubs.PublishOptions, command bool) (hubs.Begun, error) {
	return h.handOver(ctx, e, o, command, false)
}

// handOver is Begin for a caller that may be waiting for the outcome and nothing else:
// then the first round trip may have been made when it returns.
func (h *hubBackplane) handOver(ctx context.Context, e *hubs.Entry, o hubs.PublishOptions, command, waits bool) (hubs.Begun, error) {
	settings := h.settings()
	carriedOut := false
	if settings.Partitions.several() {
		if o.IdempotencyKey != "" && len(o.IdempotencyKey) <= idempotencyKeyBytes {
			known, err := h.claim(ctx, e, o.IdempotencyKey, settings)
			if err != nil {
				return nil, fmt.Errorf("publish: %w", err)
			}
			if known != nil {
				h.r.stats.duplicates.Add(1)
				return answered(*known), nil
			}
		}
		carriedOut = !command && settings.Partitions.Count > 1 && changesMembers(e)
		command = command || carriedOut
		if err := h.enter(ctx, settings.Partitions); err != nil {
			return nil, fmt.Errorf("publish: %w", err)
		}
		h, settings = h.in(settings, settings.Partitions.route(e))
	}
	b := new(begun)
	if command {
		if err := h.r.replies.listening(ctx); err != nil {
			return nil, fmt.Errorf("command: %w", err)
		}
		b.to, b.tally = h.r.replies.ask(false)
	}
	var err error
	leads := false
	if b.p, b.q, err = h.encode(e, o, b.to, settings); err == nil {
		leads, err = b.p.begin(ctx, b.q, waits && o.Ack == hubs.AckStream && patient(ctx))
	}
	if err != nil {
		if command {
			h.r.replies.forget(b.to)
		}
		return nil, err
	}
	if leads {
		b.p.lead()
	}
	if carriedOut {
		_, _ = b.Matched(ctx) // Accepted says whether it was; who carries it out later is counted
	}
	return b, nil
}

// patient reports whether a caller has the time for a round trip that hangs.
func patient(ctx context.Context) bool {
	end, bounded := ctx.Deadline()
	return !bounded || time.Until(end) > attemptPatience
}

// Accepted implements hubs.Begun.
func (b *begun) Accepted(ctx context.Context) (hubs.Position, error) {
	b.once.Do(func() { b.answer, b.err = b.p.wait(ctx, b.q) })
	return hubs.Position{Epoch: b.answer.epoch, Number: b.answer.number, Duplicate: b.answer.duplicate}, b.err
}

// Matched implements hubs.Begun.
func (b *begun) Matched(ctx context.Context) (int, error) {
	b.counted.Do(func() {
		if b.tally == nil {
			b.missing = errors.New("matches of an entry that is no command")
			return
		}
		defer b.p.r.replies.forget(b.to)
		if _, err := b.Accepted(ctx); err != nil {
			b.missing = err
			return
		}
		if r := b.p.r; r.inbox != nil {
			b.matched, b.missing = r.gather(ctx, b.p.keys, b.tally, b.answer.edges)
		} else {
			b.matched, b.missing = r.replies.wait(ctx, b.tally, b.answer.receivers)
		}
	})
	return b.matched, b.missing
}

// answered is an entry that was published before: it matches nothing.
func answered(a answer) *begun {
	b := &begun{answer: a}
	b.once.Do(func() {})
	b.counted.Do(func() {})
	return b
}

// about says what a publish is counted for.
func (h *hubBackplane) about(e *hubs.Entry, o hubs.PublishOptions) About {
	a := About{Key: h.by.Key, User: h.by.User}
	if c := cmp.Or(o.Client, o.Origin); c != nil {
		p := c.Principal()
		a.Key, a.User = p.Credential, p.UserID
	}
	if len(e.Groups) == 1 && e.Kind == hubs.SendToGroups {
		a.Group = e.Groups[0]
	}
	if len(e.Users) == 1 && e.Kind == hubs.SendToUsers {
		a.User = e.Users[0]
	}
	if e.Message != nil {
		a.Method = e.Message.Target
	}
	return a
}

// encode returns the publisher of the hub and the request that asks it for e.
func (h *hubBackplane) encode(e *hubs.Entry, o hubs.PublishOptions, to address, settings Settings) (*publisher, *request, error) {
	if len(o.IdempotencyKey) > idempotencyKeyBytes {
		return nil, nil, fmt.Errorf("publish: idempotency key of %d bytes, the most is %d", len(o.IdempotencyKey), idempotencyKeyBytes)
	}
	if o.Charge < 0 {
		return nil, nil, errors.New("publish: negative charge")
	}
	data, hash, err := encodeEntry(e, to, o.IdempotencyKey != "")
	if err != nil {
		return nil, nil, fmt.Errorf("publish: %w", err)
	}
	p := h.r.publisher(h.id, settings)
	q := &request{entry: data, asks: to != address{}, deadline: time.Now().Add(publishPatience), done: make(chan outcome, 1), ack: o.Ack, charge: int64(o.Charge), about: h.about(e, o)}
	operation, life := "", time.Duration(0)
	switch e.Kind {
	case hubs.AddUserToGroup:
		operation, life = "add", userGroupLife
		if e.TTLSeconds >= 0 {
			life = min(time.Duration(min(e.TTLSeconds, int64(userGroupLife/time.Second)))*time.Second, userGroupLife)
		}
		if life == 0 {
			operation = "" // only connections that exist now: nothing to remember
		}
	case hubs.RemoveUserFromGroup:
		operation = "remove"
	case hubs.RemoveUserFromGroups:
		operation = "clear"
	default:
	}
	var indexes []string
	indexed := any("")
	if settings.GroupIndex {
		if e.Kind == hubs.SendToGroups {
			for _, g := range e.Groups {
				indexes = append(indexes, p.keys.GroupIndex(g))
			}
			slices.Sort(indexes)
			indexes = slices.Compact(indexes)
		}
		if indexed = len(indexes); len(indexes) > 0 {
			indexes = append(indexes, p.keys.NthGroupIndex(rand.N(redisclient.GroupIndexes)))
		}
	}
	if hash == "" && operation == "" && !settings.GroupIndex {
		return p, q, nil
	}
	q.args = []any{hash, settings.idempotency().Milliseconds(), operation, life.Milliseconds(), userGroups, indexed, userGroupBytes}
	if hash == "" {
		q.keys = append(q.keys, p.fixed[3])
	} else {
		q.keys = append(q.keys, p.keys.Idempotency(o.IdempotencyKey))
	}
	if operation != "" {
		q.keys = append(q.keys, p.keys.RememberedUsers(), p.keys.RememberedBytes())
		for _, u := range e.Users {
			q.keys = append(q.keys, p.keys.UserGroups(u))
		}
		for _, g := range e.Groups {
			q.args = append(q.args, g)
		}
	}
	q.keys = append(q.keys, indexes...)
	return p, q, nil
}
