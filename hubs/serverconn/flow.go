package serverconn

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/signalbox/signalbox/hubs"
)

// What of one flow may be on its way to the hub.
const (
	flowEntries = 64
	flowBytes   = 4 << 20
)

// settlePatience bounds the wait until bytes have their place with their clients;
// links between edges that don't answer for so long are cut long before.
const settlePatience = 20 * time.Second

// errUnsettled: the edge of a client doesn't say what became of its bytes.
var errUnsettled = errors.New("a client's edge doesn't answer")

// flow is the order of what one server connection does. begin, deliver and settled
// are the reader's; a goroutine of its own collects outcomes while there are any
// to come.
type flow struct {
	backplane func() hubs.Backplane
	outage    time.Duration
	// given is told what was given up.
	given func(i *item, err error)
	work  *sync.WaitGroup

	begun atomic.Uint64 // entries so far

	// behind are the bytes given to clients since the last entry. Only the reader's.
	behind *sync.WaitGroup

	mu        sync.Mutex
	queue     []*item // begun and not collected, oldest first
	bytes     int
	running   bool  // collect runs
	repeating bool  // what failed is begun again: nothing else is
	stuck     *item // couldn't be begun: until that is settled nothing else is
	away      time.Time
	last      []accepted    // the newest of each partition of the hub
	moved     chan struct{} // closed when the queue shrinks
}

// accepted is an entry that was.
type accepted struct {
	at   hubs.Position
	when time.Time
}

// appliedBy is when the edges that have a client have applied what was accepted, or have
// lost it and said so: nothing needs to follow it any more. The newest entry is followed
// in any case.
const appliedBy = 30 * time.Second

// accept notes that an entry was accepted. f.mu is held.
func (f *flow) accept(at hubs.Position) {
	now := time.Now()
	if len(f.last) == 1 && f.last[0].at.Epoch == at.Epoch { // as in all hubs of one partition
		f.last[0] = accepted{at, now}
		return
	}
	f.last = slices.DeleteFunc(f.last, func(a accepted) bool {
		return now.Sub(a.when) > appliedBy || hubs.PartitionOf(a.at.Epoch) == hubs.PartitionOf(at.Epoch)
	})
	f.last = append(f.last, accepted{at, now})
}

// item is one entry of the flow.
type item struct {
	entry   *hubs.Entry
	options hubs.PublishOptions
	command bool // its outcome is told by an ack: it isn't repeated
	about   string
	size    int

	begun hubs.Begun // nil: failed
	err   error

	once sync.Once
	at   hubs.Position
}

// accepted waits for the outcome.
func (i *item) accepted(ctx context.Context) error {
	i.once.Do(func() {
		if i.err == nil {
			i.at, i.err = i.begun.Accepted(ctx)
		}
	})
	return i.err
}

// begin hands an entry over when everything before it has its place.
func (f *flow) begin(ctx context.Context, i *item) error {
	if err := f.settled(ctx); err != nil {
		return err
	}
	f.mu.Lock()
	for f.repeating || f.stuck != nil || len(f.queue) >= flowEntries || len(f.queue) > 0 && f.bytes+i.size > flowBytes {
		if err := f.wait(ctx); err != nil {
			return err
		}
	}
	defer f.mu.Unlock()
	i.begun, i.err = hubs.Begin(ctx, f.backplane(), i.entry, i.options, i.command)
	if i.err != nil {
		f.stuck = i
	}
	f.begun.Add(1)
	f.queue = append(f.queue, i)
	f.bytes += i.size
	if !f.running {
		f.running = true
		f.work.Go(func() { f.collect(ctx) })
	}
	return nil
}

// wait waits until the queue has shrunk; f.mu is held, and again after it unless
// it fails.
func (f *flow) wait(ctx context.Context) error {
	if f.moved == nil {
		f.moved = make(chan struct{})
	}
	moved := f.moved
	f.mu.Unlock()
	select {
	case <-moved:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	f.mu.Lock()
	return nil
}

// position waits until all outcomes are known and returns that of the newest entry.
func (f *flow) position(ctx context.Context) (hubs.Position, error) {
	f.mu.Lock()
	for len(f.queue) > 0 {
		if err := f.wait(ctx); err != nil {
			return hubs.Position{}, err
		}
	}
	defer f.mu.Unlock()
	var at hubs.Position
	for i, a := range f.last {
		if i == len(f.last)-1 || time.Since(a.when) < appliedBy {
			at = hubs.JoinPositions(at, a.at)
		}
	}
	return at, nil
}

// following gives do the position to follow, and what is to be told when that has
// come about.
func (f *flow) following(ctx context.Context, do func(after hubs.Position, settled *sync.WaitGroup)) error {
	after, err := f.position(ctx)
	if err != nil {
		return err
	}
	if f.behind == nil {
		f.behind = new(sync.WaitGroup)
	}
	do(after, f.behind)
	return nil
}

// settled waits until all bytes so far have their place with their clients.
func (f *flow) settled(ctx context.Context) error {
	behind := f.behind
	if behind == nil {
		return nil
	}
	f.behind = nil
	done := make(chan struct{})
	go func() {
		behind.Wait()
		close(done)
	}()
	patience := time.NewTimer(settlePatience)
	defer patience.Stop()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-patience.C:
		return errUnsettled
	}
}

// collect takes outcomes in order until none is to come. What has been begun is
// waited for when the server connection is gone, too.
func (f *flow) collect(ctx context.Context) {
	lasting := context.WithoutCancel(ctx)
	for {
		f.mu.Lock()
		if len(f.queue) == 0 {
			f.queue, f.running = nil, false
			f.mu.Unlock()
			return
		}
		i := f.queue[0]
		f.mu.Unlock()
		err := i.accepted(lasting)
		if err != nil && f.repeatable(i, err) {
			f.repeat(ctx)
			continue
		}
		f.take(i)
	}
}

// take removes the oldest item, whose outcome is known.
func (f *flow) take(i *item) {
	if i.err != nil && !i.command {
		f.given(i, i.err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue[0] = nil
	f.queue = f.queue[1:]
	f.bytes -= i.size
	if f.stuck == i {
		f.stuck = nil
	}
	if i.err == nil {
		f.accept(i.at)
		f.away = time.Time{}
	}
	f.signal()
}

// signal wakes who waits for the queue. f.mu is held.
func (f *flow) signal() {
	if f.moved != nil {
		close(f.moved)
		f.moved = nil
	}
}

// repeatable reports whether i was certainly not published, may be yet, and is
// still in time.
func (f *flow) repeatable(i *item, err error) bool {
	if i.command || !errors.Is(err, hubs.ErrUnavailable) || errors.Is(err, hubs.ErrOutcomeUnknown) {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away.IsZero() {
		f.away = time.Now()
	}
	return time.Since(f.away) < f.outage
}

// The time between two attempts to begin an entry again.
const (
	repeatPause = 20 * time.Millisecond
	repeatMost  = 500 * time.Millisecond
)

// repeat takes all that is queued and begins what has failed again, one after the
// other, while nothing new is begun. What stands before an entry that was accepted
// would change places: it is given up.
func (f *flow) repeat(ctx context.Context) {
	f.mu.Lock()
	f.repeating = true
	list := slices.Clone(f.queue)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.repeating = false
		f.signal()
	}()
	lasting := context.WithoutCancel(ctx)
	from := 0
	for n, i := range list {
		if i.accepted(lasting) == nil {
			from = n + 1
		}
	}
	for n, i := range list {
		for pause := repeatPause; n >= from && i.err != nil && f.repeatable(i, i.err) && ctx.Err() == nil; pause = min(2*pause, repeatMost) {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			if i.begun, i.err = hubs.Begin(lasting, f.backplane(), i.entry, i.options, false); i.err == nil {
				i.at, i.err = i.begun.Accepted(lasting)
			}
		}
		f.take(i)
	}
}

// outcomeText says what became of an entry that failed.
func outcomeText(err error) *refusal {
	var overload *hubs.OverloadError
	switch {
	case errors.As(err, &overload):
		return refuse(overload.Code, "%s", overload.Text)
	case errors.Is(err, hubs.ErrOutcomeUnknown):
		return refuse(codeUnknown, "the message bus didn't answer; it may or may not have been carried out")
	case errors.Is(err, hubs.ErrEntryTooLarge):
		return refuse(codeTooLarge, "it is larger than the message bus carries")
	case errors.Is(err, hubs.ErrUnavailable):
		return refuse(codeUnavailable, "the message bus is away; it was not carried out")
	}
	return refuse(codeUnavailable, "it was not carried out")
}
