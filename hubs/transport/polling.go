package transport

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// lastPollWithin is how long the id of an ended connection still answers 204 to
// a last poll, by which clients know an orderly end, before it is unknown.
const lastPollWithin = 5 * time.Second

// pollingState is the hubs.Transport over long polling: polls one way, POSTs
// the other.
type pollingState struct {
	in *pipe
	// served is closed when Serve has returned, told when the client has seen a
	// 204 or doesn't want one.
	served, told chan struct{}

	mu      sync.Mutex
	current *poll
	latest  *poll     // the poll that began last, open or not
	early   []byte    // written when there was no poll any more; for the next one
	seen    time.Time // when the last poll began or ended
	wake    func()
	ended   bool
	aborted bool // ended without a word: to polls from then on the id is unknown
	tell    sync.Once
}

// poll is a GET that waits for data.
type poll struct{ answer chan pollAnswer }

// pollAnswer is what a poll is answered with: 204 when the connection is over
// for it.
type pollAnswer struct {
	data  []byte
	ended bool
}

var (
	_ hubs.Transport    = (*pollingState)(nil)
	_ hubs.Intermittent = (*pollingState)(nil)
)

func newPollingState(in *pipe) *pollingState {
	return &pollingState{in: in, served: make(chan struct{}), told: make(chan struct{}), seen: time.Now()}
}

func (*pollingState) Kind() hubs.TransportKind          { return hubs.LongPolling }
func (*pollingState) SetFormat(protocol.TransferFormat) {} // bodies are bytes either way
func (p *pollingState) Wait() error                     { return p.in.wait() }
func (p *pollingState) Read(b []byte) (int, error)      { return p.in.read(b), nil }
func (p *pollingState) Close(hubs.Ending)               { p.over(errEnded) }

// Abort also drops what no poll has fetched, and no last poll is waited for.
func (p *pollingState) Abort() {
	p.mu.Lock()
	if !p.ended {
		p.early, p.aborted = nil, true
		p.tell.Do(func() { close(p.told) })
	}
	p.mu.Unlock()
	p.over(errEnded)
}

func (p *pollingState) OnReady(wake func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wake = wake
}

func (p *pollingState) Ready() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current != nil
}

func (p *pollingState) Lapsed(timeout time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current == nil && time.Since(p.seen) > timeout
}

func (p *pollingState) Write(b []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return errEnded
	}
	if p.current == nil {
		// The client gave its poll up after Ready was asked.
		p.early = append(p.early, b...)
		return nil
	}
	p.answerCurrent(pollAnswer{data: append([]byte(nil), b...)})
	return nil
}

// answerCurrent ends the open poll. p.mu is held.
func (p *pollingState) answerCurrent(a pollAnswer) {
	if p.current != nil {
		p.current.answer <- a
		p.current = nil
		p.seen = time.Now()
	}
}

// over ends the connection: the open poll gets a 204.
func (p *pollingState) over(err error) {
	p.mu.Lock()
	p.ended = true
	if p.current != nil {
		p.answerCurrent(pollAnswer{ended: true})
		p.tell.Do(func() { close(p.told) })
	}
	p.mu.Unlock()
	p.in.end(err)
}

// leave ends the connection by the client's wish.
func (p *pollingState) leave() {
	p.tell.Do(func() { close(p.told) })
	p.over(io.EOF)
}

// begin opens a poll; an older one ends with 204. It returns nil when the
// connection is over: see refuse.
func (p *pollingState) begin() *poll {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answerCurrent(pollAnswer{ended: true})
	if p.aborted || p.ended && p.early == nil {
		p.tell.Do(func() { close(p.told) })
		return nil
	}
	own := &poll{answer: make(chan pollAnswer, 1)}
	p.current, p.latest, p.seen = own, own, time.Now()
	if p.early != nil {
		p.answerCurrent(pollAnswer{data: p.early})
		p.early = nil
	}
	return own
}

// putBack keeps the answer to a poll whose client had left before any of it was
// written. It reports false when a later poll has begun: that one may have been
// answered already, and the order would be lost.
func (p *pollingState) putBack(own *poll, data []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.latest != own {
		return false
	}
	p.early = append(data, p.early...)
	return true
}

// withdraw takes a poll back and reports whether it had no answer yet.
func (p *pollingState) withdraw(own *poll) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != own {
		return false
	}
	p.current, p.seen = nil, time.Now()
	return true
}

// startPolling answers the first poll at once, which tells the client that the
// connection is there, and serves the connection apart from any request.
func (h *Handler) startPolling(q *request, c *connection, end func()) {
	h.serving.Add(1)
	go h.serveApart(q.ep.Server, h.info(q), q.id, c, end)
	_ = writePoll(q.w, nil) // a client that is gone sends no second poll
}

// serveApart serves a connection that polls to its end; info is kept no longer than
// the hub needs it, since it holds the first request.
func (h *Handler) serveApart(server *hubs.Server, info hubs.ConnectionInfo, id string, c *connection, end func()) {
	defer h.serving.Done()
	err := server.Serve(context.Background(), info, c.poll)
	close(c.poll.served)
	h.ended(err, server, id, hubs.LongPolling)
	last := time.NewTimer(lastPollWithin)
	defer last.Stop()
	select {
	case <-c.poll.told:
	case <-last.C:
	}
	end()
}

// servePoll answers a poll with what is queued, as soon as there is something.
func (h *Handler) servePoll(q *request, p *pollingState) {
	own := p.begin()
	if own == nil {
		p.refuse(q.w)
		return
	}
	p.wakeWriter()
	patience := h.opt.PollTimeout
	if q.ep.PollTimeout > 0 {
		patience = min(patience, q.ep.PollTimeout)
	}
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	var a pollAnswer
	select {
	case a = <-own.answer:
	case <-timeout.C:
		if !p.withdraw(own) {
			a = <-own.answer
		}
	case <-q.r.Context().Done():
		if p.withdraw(own) {
			return
		}
		a = <-own.answer
	}
	switch {
	case a.ended:
		q.w.WriteHeader(http.StatusNoContent)
		return
	case len(a.data) > 0 && q.r.Context().Err() != nil:
		if !p.putBack(own, a.data) {
			p.Abort()
		}
		return
	}
	ctl := http.NewResponseController(q.w)
	_ = ctl.SetWriteDeadline(time.Now().Add(writeTimeout)) // not every server can
	err := writePoll(q.w, a.data)
	if err == nil {
		err = ctl.Flush()
	}
	_ = ctl.SetWriteDeadline(time.Time{}) // the socket serves other requests
	if err != nil {
		// What was taken from the queue for this poll is lost: going on would
		// leave a hole in the middle.
		p.Abort()
	}
}

// refuse answers a poll for a connection that is over. 204 stands for an orderly
// end; an aborted connection is unknown, as it will be once it is taken down.
func (p *pollingState) refuse(w http.ResponseWriter) {
	p.mu.Lock()
	aborted := p.aborted
	p.mu.Unlock()
	if aborted {
		writeText(w, http.StatusNotFound, textUnknownID)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (p *pollingState) wakeWriter() {
	p.mu.Lock()
	wake := p.wake
	p.mu.Unlock()
	if wake != nil {
		wake()
	}
}

func writePoll(w http.ResponseWriter, data []byte) error {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(data)
	return err
}
