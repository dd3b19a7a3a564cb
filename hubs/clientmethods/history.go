package clientmethods

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/values"
	"github.com/signalbox/signalbox/tenants/permissions"
)

// The codes of what history is refused with.
const (
	CodeGone        = "history_gone"
	CodeUnavailable = "history_unavailable"
)

// historyForm says what an invocation of $history is.
const historyForm = "$history({group, after, since, last}): at most one of after, since and last"

// place is where in the history to begin, as clients say it.
type place struct {
	Last  *int    `json:"last"`
	After *string `json:"after"`
	Since *string `json:"since"`
}

// rewind reads p; zero when it says nothing.
func (r *request) rewind(p place) (w hubs.Rewind, err error) {
	said := 0
	if p.Last != nil {
		said++
		if w.Last = *p.Last; w.Last < 1 || w.Last > hubs.MaxRewind {
			return w, argument("last must be 1 to %d", hubs.MaxRewind)
		}
	}
	if p.After != nil {
		said++
		at, err := r.OpenPosition(*p.After)
		if err != nil {
			return w, argument("after must be a position of this hub, as publishing, history and notices give them")
		}
		w.After = &at
	}
	if p.Since != nil {
		said++
		if w.Since, err = time.Parse(time.RFC3339, *p.Since); err != nil {
			return w, argument("since must be a time as in 2030-01-31T12:00:00Z")
		}
	}
	if said > 1 {
		return w, argument("only one of last, after and since can be said")
	}
	return w, nil
}

// ParseRewind reads a rewind in the query of a connection: last:20, after:POSITION
// or since:TIME.
func ParseRewind(text string, open func(string) (hubs.Position, error)) (hubs.Rewind, error) {
	r := &request{Filter: &Filter{Config: Config{OpenPosition: open}}}
	var p place
	kind, value, _ := strings.Cut(text, ":")
	switch kind {
	case "last":
		n, err := strconv.Atoi(value)
		if err != nil {
			n = 0
		}
		p.Last = &n
	case "after":
		p.After = &value
	case "since":
		p.Since = &value
	default:
		return hubs.Rewind{}, argument("rewind must be last:NUMBER, after:POSITION or since:TIME")
	}
	return r.rewind(p)
}

// history streams the messages of a group, or of the hub, as they were accepted.
func (r *request) history() error {
	if err := r.count(0, 1, historyForm); err != nil {
		return err
	}
	var options struct {
		Group *string `json:"group"`
		place
	}
	if len(r.arguments) == 1 && !isNull(r.arguments[0]) {
		if err := values.Decode(r.arguments[0], &options); err != nil {
			return argument("the options must be like {group: \"g\", last: 20}; the method is %s", historyForm)
		}
	}
	from, err := r.rewind(options.place)
	if err != nil {
		return err
	}
	c := r.c
	selection := hubs.Selection{All: true, User: c.User(), ExceptUser: c.User()}
	group := ""
	if options.Group != nil {
		if err := hubs.CheckGroup(*options.Group); err != nil {
			return argument("group must be a group's name")
		}
		group = *options.Group
		selection = hubs.Selection{Groups: []string{group}, ExceptUser: c.User()}
	}
	selection.ExceptOwnID = c.ID()
	if err := r.allowed(permissions.ReadHistory, group); err != nil {
		return err
	}
	h, ok := c.Server().Backplane().(hubs.Historian)
	if !ok {
		return &Refusal{CodeUnavailable, hubs.ErrNoHistory.Error()}
	}
	q := hubs.HistoryQuery{Select: selection, After: from.After, Since: from.Since, Limit: 100}
	return c.ServeStream(r.m, func(ctx context.Context, send func(any) error) error {
		return r.stream(ctx, h, q, from.Last, send)
	})
}

// stream sends the items of q, or of the last so many, in their order.
func (r *request) stream(ctx context.Context, h hubs.Historian, q hubs.HistoryQuery, last int, send func(any) error) error {
	var failed error
	err := hubs.ReadHistory(ctx, h, q, last, func(page *hubs.HistoryPage) bool {
		for i, e := range page.Entries {
			item, ok, err := hubs.HistoryItem(e, r.SealPosition(page.PositionOf(i)), r.c.Protocol().Encoding())
			if !ok || err != nil {
				continue // it can't be sent to this client live either
			}
			if failed = send(item); failed != nil {
				return false
			}
		}
		return true
	})
	if failed != nil {
		return failed
	}
	return r.historyFailure(err)
}

// historyFailure says why history can't be read.
func (r *request) historyFailure(err error) error {
	var gone *hubs.HistoryGoneError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &gone):
		r.Refused(CodeGone)
		return &Refusal{CodeGone, "what came after the position is no longer kept: from=" + r.SealPosition(gone.After) + " to=" + r.SealPosition(gone.To)}
	case errors.Is(err, context.Canceled):
		return err
	}
	r.Refused(CodeUnavailable)
	return &Refusal{CodeUnavailable, "the history can't be read now"}
}

// Joined is the answer to $joinGroup with a rewind.
type Joined struct {
	Position string `json:"position"` // of the join
	Messages int    `json:"messages"` // that were sent before this answer
	Gone     *Gone  `json:"gone,omitempty"`
}

// Gone says what of a rewind is no longer kept: what came behind From, up to To.
type Gone struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// plan prepares the rewind of the entry with this reason; the answer to the
// invocation goes behind what it sends. forget reports whether it is too late.
func (r *request) plan(reason string, w hubs.Rewind) (forget func() (begun bool)) {
	id, encoding := r.m.InvocationID, r.c.Protocol().Encoding()
	return r.c.PlanRewind(reason, w, func(at hubs.Position, done hubs.Rewound) []*protocol.Message {
		if id == "" {
			return nil
		}
		end := &protocol.Message{Type: protocol.Completion, InvocationID: id}
		if done.Err != nil {
			end.Error, end.HasError = hubs.InvocationError("$joinGroup", &Refusal{CodeUnavailable, "the client is in the group, but its history can't be read now"}, false), true
			return []*protocol.Message{end}
		}
		answer := Joined{Position: r.SealPosition(at), Messages: done.Messages}
		if done.Gone != nil {
			answer.Gone = &Gone{From: r.SealPosition(done.Gone.After), To: r.SealPosition(done.Gone.To)}
		}
		var err error
		if end.Result, err = values.Encode(encoding, answer); err != nil {
			end.Error, end.HasError = "the answer can't be encoded", true
		}
		return []*protocol.Message{end}
	})
}
