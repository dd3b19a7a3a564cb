package backplane

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
)

//go:embed history.lua
var historySource string

// historyScript reads a part of a hub's stream; see history.lua.
var historyScript = redis.NewScript(historySource)

const (
	// scanEntries is the most of a stream that one page of history looks at: a page
	// of rare messages may be empty and have more behind it.
	scanEntries = 4096
	scanPage    = 512
	scanBytes   = 1 << 20
)

// History implements hubs.Historian. What this process has in memory is answered
// without Redis, as far as the query allows.
func (h *hubBackplane) History(ctx context.Context, q hubs.HistoryQuery) (hubs.HistoryPage, error) {
	if err := q.Validate(); err != nil {
		return hubs.HistoryPage{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, publishPatience)
	defer cancel()
	if s := h.settings(); s.Partitions.several() {
		return h.across(ctx, s, q)
	}
	return h.history(ctx, q)
}

// history is History of one stream.
func (h *hubBackplane) history(ctx context.Context, q hubs.HistoryQuery) (hubs.HistoryPage, error) {
	page, ok, err := h.remembered(ctx, q)
	if ok || err != nil {
		return page, err
	}
	h.r.stats.historyReads.Add(1)
	page, err = h.readHistory(ctx, q)
	var gone *hubs.HistoryGoneError
	if !errors.As(err, &gone) && ctx.Err() == nil {
		h.r.health.report(err)
	}
	return page, err
}

// remembered answers from memory; false when it can't.
func (h *hubBackplane) remembered(ctx context.Context, q hubs.HistoryQuery) (hubs.HistoryPage, bool, error) {
	f := h.r.feed(h.id)
	if f == nil {
		return hubs.HistoryPage{}, false, nil
	}
	if at, started := f.where(); !started || at.number == 0 {
		return hubs.HistoryPage{}, false, nil
	} else if q.Accepted {
		now, err := f.readHead(ctx)
		if err != nil {
			return hubs.HistoryPage{}, false, err
		}
		if now.epoch != at.epoch || now.number != at.number || now.ms != at.ms {
			return hubs.HistoryPage{}, false, nil
		}
	}
	if page, ok := f.recall(q, h.settings().retention()); ok {
		h.r.stats.recalled.Add(1)
		return page, true, nil
	}
	if !f.warm(ctx, h) {
		return hubs.HistoryPage{}, false, nil
	}
	page, ok := f.recall(q, h.settings().retention())
	if ok {
		h.r.stats.recalled.Add(1)
	}
	return page, ok, nil
}

// recall answers q from the window when all of the answer is there.
func (f *feed) recall(q hubs.HistoryQuery, retention time.Duration) (hubs.HistoryPage, bool) {
	f.mu.Lock()
	at := f.at
	kept := f.window.since(time.Now().Add(-retention))
	f.mu.Unlock()
	edge := hubs.Position{Epoch: at.epoch, Number: at.number}
	if len(kept) == 0 || kept[len(kept)-1].Number != at.number || kept[len(kept)-1].Epoch != at.epoch {
		if after := q.After; !q.Newest && after != nil && *after == edge {
			return hubs.HistoryPage{Edge: edge, Next: edge}, true // nothing came since
		}
		return hubs.HistoryPage{}, false
	}
	oldest := kept[0].Number
	reaches := q.After != nil && q.After.Epoch == at.epoch && q.After.Number+1 >= oldest ||
		q.After == nil && q.Since.After(kept[0].At) || oldest == 1
	if !reaches && !q.Newest {
		return hubs.HistoryPage{}, false
	}
	page, err := hubs.SelectHistory(q, kept, edge)
	if err != nil || !reaches && !page.More {
		return hubs.HistoryPage{}, false // the stream may have what is missing
	}
	return page, true
}

// warm reads what came before the window into it, once, whoever asks first.
func (f *feed) warm(ctx context.Context, h *hubBackplane) bool {
	f.warming.Lock()
	defer f.warming.Unlock()
	f.mu.Lock()
	at, warmed := f.at, f.window.warmed
	if n := len(f.window.entries); n > 0 {
		at.number = f.window.entries[0].Number - 1
	}
	f.mu.Unlock()
	if warmed {
		return true // by somebody else, meanwhile or before
	}
	var before []*hubs.Entry
	if at.number > 0 {
		part, err := h.readPart(ctx, partQuery{epoch: at.epoch, high: at.number + 1, entries: windowEntries})
		if err != nil || part.epoch != at.epoch {
			return false
		}
		next := at.number
		for _, e := range part.entries {
			if e.Number != next {
				break
			}
			before = append(before, e)
			next--
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.nodes) == 0 {
		return false
	}
	if n := len(f.window.entries); f.at.epoch != at.epoch || n > 0 && f.window.entries[0].Number != at.number+1 || n == 0 && f.at.number != at.number {
		return false // it moved on
	}
	f.window.prepend(before)
	f.window.warmed = true
	return true
}

// readHistory answers q from Redis.
func (h *hubBackplane) readHistory(ctx context.Context, q hubs.HistoryQuery) (hubs.HistoryPage, error) {
	ask := partQuery{up: !q.Newest}
	if q.After != nil && q.After.Number > 0 {
		ask.epoch, ask.low = q.After.Epoch, q.After.Number+1
	} else if !q.Since.IsZero() {
		ask.ms = uint64(max(0, q.Since.UnixMilli()))
		if time.UnixMilli(int64(ask.ms)).Before(q.Since) {
			ask.ms++
		}
	}
	if q.Newest {
		ask.epoch = "" // what is no longer kept isn't missed
	}
	if q.Before != nil && q.Before.Number > 0 {
		ask.high = q.Before.Number
	}
	if s := q.Select; len(s.Groups) == 1 && !s.Every && !s.All && s.User == "" {
		ask.group = s.Groups[0]
	}
	var page hubs.HistoryPage
	bytes := 0
	for scanned := 0; ; {
		ask.entries = min(scanPage, scanEntries-scanned)
		if ask.group != "" {
			ask.entries = min(ask.entries, q.Limit-len(page.Entries))
		}
		part, err := h.readPart(ctx, ask)
		if err != nil {
			return hubs.HistoryPage{}, err
		}
		edge := hubs.Position{Epoch: part.epoch, Number: part.newest}
		if scanned == 0 {
			page.Edge = edge
			page.Next = edge
		} else if part.epoch != ask.epoch || !q.Newest && part.oldest > ask.low {
			// What comes next went away meanwhile: who asks for the next page is told.
			page.More = true
			return page, nil
		}
		if err := q.Gone(part.oldest, edge); err != nil {
			return hubs.HistoryPage{}, err
		}
		page.Next = hubs.Position{Epoch: part.epoch, Number: part.upTo}
		page.More = part.more
		for i, e := range part.entries {
			if !q.Select.Matches(e) || q.Newest && q.After == nil && e.At.Before(q.Since) {
				continue
			}
			page.Entries = append(page.Entries, e)
			bytes += weight(e)
			if len(page.Entries) == q.Limit || bytes >= hubs.HistoryPageBytes {
				page.Next.Number = e.Number
				page.More = part.more || i+1 < len(part.entries)
				return page, nil
			}
		}
		if scanned += max(1, len(part.entries)); !part.more || scanned >= scanEntries {
			return page, nil
		}
		ask.epoch = part.epoch
		if q.Newest {
			ask.high = part.upTo
		} else {
			ask.low, ask.ms = part.upTo+1, 0
			if ask.high == 0 {
				ask.high = page.Edge.Number + 1
			}
		}
	}
}

// partQuery is what the history script is asked.
type partQuery struct {
	up        bool
	epoch     string
	low, high uint64
	ms        uint64
	group     string
	entries   int
}

// part is a piece of a stream.
type streamPart struct {
	epoch          string
	newest, oldest uint64
	indexed, more  bool
	upTo           uint64
	entries        []*hubs.Entry
}

func (h *hubBackplane) readPart(ctx context.Context, q partQuery) (streamPart, error) {
	keys := []string{h.keys().Head(), h.keys().Stream(), h.keys().Stream()}
	if q.group != "" {
		keys[2] = h.keys().GroupIndex(q.group)
	}
	direction := "down"
	if q.up {
		direction = "up"
	}
	attempt, cancel := context.WithTimeout(ctx, attemptPatience)
	defer cancel()
	values, err := historyScript.Run(attempt, h.r.client, keys, direction, q.epoch, q.low, q.ms, q.high, q.entries, scanBytes).Slice()
	if err != nil {
		return streamPart{}, fmt.Errorf("read history: %w: %w", hubs.ErrUnavailable, err)
	}
	p, err := h.parsePart(values)
	if err != nil {
		return streamPart{}, fmt.Errorf("read history: %w", err)
	}
	return p, nil
}

// parsePart reads the answer of the history script. Entries that nobody
// understands are left out; they are counted where they are carried out.
func (h *hubBackplane) parsePart(values []any) (streamPart, error) {
	if len(values) < 3 {
		return streamPart{}, fmt.Errorf("the history script answered %d values", len(values))
	}
	var p streamPart
	var errs [3]error
	p.epoch, _ = values[0].(string)
	p.newest, errs[0] = number(values[1])
	p.oldest, errs[1] = number(values[2])
	if len(values) >= 6 {
		p.indexed = values[3] == int64(1)
		p.upTo, errs[2] = number(values[4])
		p.more = values[5] == int64(1)
		for rest := values[6:]; len(rest) >= 3; rest = rest[3:] {
			if e := entryOf(rest); e != nil && e.Epoch == p.epoch {
				p.entries = append(p.entries, e)
			}
		}
	}
	return p, errors.Join(errs[:]...)
}

func number(v any) (uint64, error) {
	s, _ := v.(string)
	return strconv.ParseUint(s, 10, 64)
}

// entryOf decodes an id, an epoch and an entry.
func entryOf(values []any) *hubs.Entry {
	id, _ := values[0].(string)
	epoch, _ := values[1].(string)
	data, _ := values[2].(string)
	ms, n, _ := strings.Cut(id, "-")
	at, err1 := strconv.ParseInt(ms, 10, 64)
	num, err2 := strconv.ParseUint(n, 10, 64)
	e, _, err3 := decodeEntry([]byte(data))
	if errors.Join(err1, err2, err3) != nil {
		return nil
	}
	e.Epoch, e.Number, e.At = epoch, num, time.UnixMilli(at)
	return e
}
