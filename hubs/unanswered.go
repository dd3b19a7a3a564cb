package hubs

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// maxUnanswered is how many of a client's calls to its hub server are remembered.
// What is beyond is passed on like the rest; nobody answers for the hub server there.
const maxUnanswered = 1000

// unanswered are the invocations of a client that its hub server has been given and
// hasn't completed.
type unanswered struct {
	mu    sync.Mutex
	calls map[string]bool // by invocation id; false for streams
	runs  int             // of calls, those that are true
	none  chan struct{}   // closed when runs is 0; nil while nobody waits
}

// Asked notes a message that is about to reach the client's hub server, see
// ProxySession.Message: of those that want an answer it counts as unanswered.
func (c *Connection) Asked(m *protocol.Message) {
	if c.proxied == nil || m.InvocationID == "" || m.Type != protocol.Invocation && m.Type != protocol.StreamInvocation {
		return
	}
	u := &c.proxied.unanswered
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, again := u.calls[m.InvocationID]; again || len(u.calls) >= maxUnanswered {
		return
	}
	if u.calls == nil {
		u.calls = make(map[string]bool)
	}
	runs := m.Type == protocol.Invocation
	u.calls[string([]byte(m.InvocationID))] = runs // the message is used again
	if runs {
		u.runs++
	}
}

// completed notes the hub server's last word on an invocation.
func (u *unanswered) completed(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	runs := u.calls[id]
	delete(u.calls, id)
	if len(u.calls) == 0 {
		u.calls = nil
	}
	if runs {
		u.ran()
	}
}

// ran counts a call off. u.mu is held.
func (u *unanswered) ran() {
	if u.runs--; u.runs == 0 && u.none != nil {
		close(u.none)
		u.none = nil
	}
}

// some reports whether there are any.
func (u *unanswered) some() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.calls) > 0
}

// take forgets all and returns their ids.
func (u *unanswered) take() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	ids := slices.Sorted(maps.Keys(u.calls))
	u.calls = nil
	for u.runs > 0 {
		u.ran()
	}
	return ids
}

// AwaitAnswers waits until the client's hub server has completed the invocations that
// it has been given, streams excepted, or until ctx is done.
func (c *Connection) AwaitAnswers(ctx context.Context) {
	if c.proxied == nil {
		return
	}
	u := &c.proxied.unanswered
	u.mu.Lock()
	if u.runs == 0 {
		u.mu.Unlock()
		return
	}
	if u.none == nil {
		u.none = make(chan struct{})
	}
	none := u.none
	u.mu.Unlock()
	select {
	case <-none:
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
}

// FailInvocations completes what the client's hub server has left unanswered, streams
// too, with an error that is shown. It returns how many there were.
func (c *Connection) FailInvocations(text string) int {
	if c.proxied == nil {
		return 0
	}
	ids := c.proxied.unanswered.take()
	for _, id := range ids {
		frame, err := c.proto.Append(nil, &protocol.Message{Type: protocol.Completion, InvocationID: id, HasError: true, Error: text})
		if err != nil || !c.addBacklog(len(frame)) {
			break // there is nothing in it that can't be encoded
		}
		c.doAfter(waitingFrame{item: queued{frame: frame, passed: true}})
	}
	return len(ids)
}
