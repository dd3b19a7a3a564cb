package backplane

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/redisclient"
)

// The bounds of what waits for one feed. What doesn't fit is read from the
// stream later.
const (
	inboxEntries = 1024
	inboxBytes   = 8 << 20
)

// record is an entry as Redis delivers it, by doorbell or from the stream.
type record struct {
	epoch  string
	number uint64
	ms     uint64 // of the stream id: with number it finds the entry again
	entry  string
}

// knock is what a feed is told: an entry, or the doorbell's text of a question.
type knock struct {
	record
	question string
	// behind is where the hub was at least when the question was put, by who can't
	// put it in its place among the entries.
	behind position
}

func (k knock) bytes() int { return len(k.entry) + len(k.question) + 64 }

// position is the last entry that a feed has carried out.
type position struct {
	epoch  string // "" = the hub has had no entry yet
	number uint64
	ms     uint64
	// fresh is set while the hub's epoch is new to this feed: what its stream has
	// lost already was reported with the change.
	fresh bool
}

// feed follows one hub for the nodes of this process. Its work is done by one
// goroutine at a time, which exists only while there is some.
type feed struct {
	r    *Redis
	id   hubID
	keys redisclient.HubKeys
	live chan struct{} // closed once the position is known

	calls sync.Mutex    // held while nodes are called; taken before mu
	given hubs.Position // what nodes were called for last; guarded by calls

	mu     sync.Mutex
	nodes  []hubs.Node
	inbox  []knock
	bytes  int
	behind bool // the stream must be read
	// since is when the oldest came of what isn't carried out, arrived when what came
	// first after run took the inbox; zero = there is none.
	since, arrived time.Time
	running        bool
	at             position  // written by the working goroutine alone
	moved          time.Time // when at changed last
	started        bool      // at is known
	poison         bool      // a bad entry was logged
	touched        time.Time // when the head's life was last prolonged
	window         window    // the newest entries

	warming sync.Mutex // held while the window is filled from the stream
}

func (p position) public() hubs.Position { return hubs.Position{Epoch: p.epoch, Number: p.number} }

func newFeed(r *Redis, id hubID, n hubs.Node) *feed {
	return &feed{
		r: r, id: id, keys: id.keys(),
		nodes: []hubs.Node{n}, live: make(chan struct{}), touched: time.Now(), window: window{all: &r.windows, tenant: id.tenant},
	}
}

func (f *feed) join(n hubs.Node) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nodes = append(slices.Clone(f.nodes), n)
}

// leave takes n off and returns how many nodes are left.
func (f *feed) leave(n hubs.Node) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := slices.Index(f.nodes, n); i >= 0 {
		f.nodes = slices.Delete(slices.Clone(f.nodes), i, i+1)
	}
	return len(f.nodes)
}

// forget gives back what the window holds.
func (f *feed) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.window.clear()
}

// begin tells a node that has joined where it begins.
func (f *feed) begin(n hubs.Node) {
	f.calls.Lock()
	defer f.calls.Unlock()
	n.Begins(f.given)
}

// settle waits until a node that left is not being called any more.
func (f *feed) settle() {
	f.calls.Lock()
	defer f.calls.Unlock()
}

// ring takes a doorbell message, which was sent when the hub was at a position or
// beyond.
func (f *feed) ring(payload string, behind position) {
	switch {
	case payload == "":
	case payload[0] != 'E':
		f.take(knock{question: payload, behind: behind})
	default:
		if rec, ok := parseDoorbell(payload); ok {
			f.take(knock{record: rec})
		}
	}
}

// added takes a message that was read of the stream.
func (f *feed) added(m redis.XMessage) {
	rec, err := parseMessage(m)
	if err != nil || rec.number == 0 {
		f.spoiled(rec, errors.Join(err, errForeign))
		return
	}
	f.take(knock{record: rec})
}

func (f *feed) take(k knock) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waits()
	if len(f.inbox) >= inboxEntries || f.bytes+k.bytes() > inboxBytes {
		f.r.stats.overflows.Add(1)
		f.behind = true
	} else {
		f.inbox = append(f.inbox, k)
		f.bytes += k.bytes()
	}
	f.work()
}

// subscribed is called when a subscription is live: what was rung before it is
// only in the stream.
func (f *feed) subscribed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waits()
	f.behind = true
	f.work()
}

// waits notes when something came. The caller holds mu.
func (f *feed) waits() {
	switch {
	case f.since.IsZero():
		f.since = time.Now()
	case f.arrived.IsZero():
		f.arrived = time.Now()
	}
}

// work makes sure that somebody works. The caller holds mu.
func (f *feed) work() {
	if !f.running {
		f.running = f.r.start(f.run)
	}
}

// run works until nothing waits.
func (f *feed) run() {
	pause := retryPause
	for done := false; ; {
		f.mu.Lock()
		if done {
			f.since = f.arrived
		}
		f.arrived, done = time.Time{}, true
		if len(f.nodes) == 0 || f.r.ctx.Err() != nil || !f.behind && len(f.inbox) == 0 {
			f.inbox, f.bytes = nil, 0
			f.since = time.Time{}
			f.running = false
			f.mu.Unlock()
			return
		}
		behind, inbox := f.behind || !f.started, f.inbox
		f.behind = false
		f.inbox, f.bytes = nil, 0
		f.mu.Unlock()

		if behind {
			if err := f.catchUp(); err != nil {
				level := slog.LevelDebug
				if pause == retryPause {
					level = slog.LevelWarn // once per outage
				}
				f.r.log.Log(f.r.ctx, level, "hub stream can't be read", "tenant", f.id.tenant, "hub", f.id.hub, "error", err)
				f.r.health.report(err)
				f.requeue(inbox)
				done = false
				f.wait(pause/2 + rand.N(pause))
				pause = min(2*pause, reconnectMost)
				continue
			}
			pause = retryPause
		}
		for i, k := range inbox {
			// What was rung before the stream was read is either behind the position
			// now or gone.
			if !f.message(k, behind) && !behind {
				f.requeue(inbox[i:])
				done = false
				break
			}
		}
	}
}

// requeue marks the feed behind. Entries among the messages come back from the
// stream; questions are kept for after that.
func (f *feed) requeue(knocks []knock) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.behind = true
	var questions []knock
	for _, k := range knocks {
		if k.question != "" && len(questions)+len(f.inbox) < inboxEntries {
			questions = append(questions, k)
			f.bytes += k.bytes()
		}
	}
	f.inbox = append(questions, f.inbox...)
}

func (f *feed) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-f.r.ctx.Done():
	}
}

// message handles one message; it reports false when the stream has to be read
// first. With caughtUp it has just been.
func (f *feed) message(k knock, caughtUp bool) bool {
	if k.question == "" {
		if k.epoch == "" {
			k.epoch = f.at.epoch // an entry that can't be read keeps its place
		}
		return f.accept(k.record, false)
	}
	if b := k.behind; !caughtUp && b.epoch != "" && (b.epoch != f.at.epoch || b.number > f.at.number) {
		return false
	}
	switch k.question[0] {
	case 'Q':
		q, reply, err := decodeQuery(k.question[1:])
		if err != nil {
			f.spoiled(record{}, err)
			return true
		}
		f.r.replies.answer(reply, f.each(hubs.Position{}, func(n hubs.Node) int { return n.Answer(q) }))
	case 'L':
		f.list(k.question[1:])
	}
	return true
}

// list answers with this process's part of a page. When a node of it fails there
// is no answer, so that nobody takes the rest for all.
func (f *feed) list(payload string) {
	q, reply, err := decodeList(payload)
	if err != nil {
		f.spoiled(record{}, err)
		return
	}
	asked := 0
	var pages []hubs.Page
	f.each(hubs.Position{}, func(n hubs.Node) int {
		asked++
		pages = append(pages, n.List(q))
		return 0
	})
	if len(pages) == asked {
		f.r.replies.answerList(reply, hubs.MergePages(q, pages...))
	}
}

// parseDoorbell splits "Eepoch number ms entry".
func parseDoorbell(payload string) (record, bool) {
	head := strings.SplitN(payload[1:], " ", 4)
	if len(head) != 4 {
		return record{}, false
	}
	number, err1 := strconv.ParseUint(head[1], 10, 64)
	ms, err2 := strconv.ParseUint(head[2], 10, 64)
	return record{epoch: head[0], number: number, ms: ms, entry: head[3]}, err1 == nil && err2 == nil && number > 0
}

// accept is the one place where entries are put in order: live ones and those
// of a catch-up. It reports false when rec doesn't follow the position, so that
// the stream must be read; from the stream itself that is a loss.
func (f *feed) accept(rec record, fromStream bool) bool {
	at := f.at
	switch {
	case rec.epoch != at.epoch && (at.epoch != "" || rec.number != 1):
		return false
	case rec.epoch == at.epoch && rec.number <= at.number:
		// Seen already; unless its number was given twice, which a failover to a
		// replica that lagged behind can do.
		return rec.ms <= at.ms
	case rec.epoch == at.epoch && rec.number != at.number+1:
		if !fromStream {
			return false
		}
		if !at.fresh {
			f.lost(hubs.Gap{Reason: "trimmed", From: at.number + 1, To: rec.number - 1, Last: at.public(), Next: hubs.Position{Epoch: rec.epoch, Number: rec.number - 1}})
		}
	}
	f.move(position{epoch: rec.epoch, number: rec.number, ms: rec.ms})
	f.apply(rec)
	return true
}

// apply decodes and carries out one entry. An entry that nobody understands
// must not stop the hub: it is counted and passed over.
func (f *feed) apply(rec record) {
	e, reply, err := decodeEntry([]byte(rec.entry))
	if err != nil {
		f.spoiled(rec, err)
		e = &hubs.Entry{} // keeps its place
	}
	e.Epoch, e.Number, e.At = rec.epoch, rec.number, time.UnixMilli(int64(rec.ms))
	f.mu.Lock()
	if len(f.nodes) > 0 {
		f.window.add(e)
	}
	f.mu.Unlock()
	matched := f.carryOut(e)
	if err != nil {
		return
	}
	f.r.stats.entries.Add(1)
	if reply != (address{}) {
		f.r.replies.answer(reply, matched)
	}
}

// carryOut has the nodes apply an entry, those of a partition when they are prepared for
// it. They may wait for that, but not while calls is held: others need it to begin.
func (f *feed) carryOut(e *hubs.Entry) (matched int) {
	apply := func(n hubs.Node) int { return n.Apply(e) }
	if f.id.part == "" {
		return f.each(e.Position(), apply)
	}
	for same := false; !same; {
		nodes := f.members()
		var done []func()
		for _, n := range nodes {
			if p, ok := n.(preparer); ok {
				if d := p.prepare(e); d != nil {
					done = append(done, d)
				}
			}
		}
		f.calls.Lock()
		if same = slices.Equal(nodes, f.members()); same {
			matched = f.call(nodes, e.Position(), apply)
		}
		f.calls.Unlock()
		for _, d := range done {
			d()
		}
	}
	return matched
}

// each calls the nodes one after another, for the entry at a position if that has a
// number, and sums what they return. A panic counts as a poisonous entry.
func (f *feed) each(at hubs.Position, call func(hubs.Node) int) (matched int) {
	f.calls.Lock()
	defer f.calls.Unlock()
	return f.call(f.members(), at, call)
}

// call is each for these nodes. f.calls is held.
func (f *feed) call(nodes []hubs.Node, at hubs.Position, call func(hubs.Node) int) (matched int) {
	if at.Number > 0 {
		f.given = at
	}
	for _, n := range nodes {
		func() {
			defer func() {
				if p := recover(); p != nil {
					f.spoiled(record{epoch: at.Epoch, number: at.Number}, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
				}
			}()
			matched += call(n)
		}()
	}
	return matched
}

func (f *feed) spoiled(rec record, err error) {
	f.r.stats.poison.Add(1)
	f.mu.Lock()
	logged := f.poison
	f.poison = true
	f.mu.Unlock()
	if !logged {
		f.r.log.Error("hub entry is passed over", "tenant", f.id.tenant, "hub", f.id.hub,
			"epoch", rec.epoch, "number", rec.number, "error", err)
	}
}

// lost tells the nodes that entries are gone for good.
func (f *feed) lost(g hubs.Gap) {
	if g.Reason == "trimmed" {
		f.r.stats.gaps.Add(1)
		f.r.stats.missing.Add(g.To - g.From + 1)
	} else {
		f.r.stats.epochs.Add(1)
	}
	f.r.log.Warn("hub entries are lost", "tenant", f.id.tenant, "hub", f.id.hub, "reason", g.Reason, "from", g.From, "to", g.To)
	f.calls.Lock()
	f.given = g.Next
	f.calls.Unlock()
	f.each(hubs.Position{}, func(n hubs.Node) int {
		n.Lost(g)
		return 0
	})
}

func (f *feed) members() []hubs.Node {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.nodes // never changed in place
}

func (f *feed) move(to position) {
	f.mu.Lock()
	f.at, f.moved = to, time.Now()
	f.mu.Unlock()
}

// where returns the position, and false when it isn't known yet.
func (f *feed) where() (position, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at, f.started
}
