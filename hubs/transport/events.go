package transport

import (
	"bytes"
	"net/http"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// serveEvents answers with an event stream and serves the connection to its end.
func (h *Handler) serveEvents(q *request, in *pipe) {
	header := q.w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("X-Accel-Buffering", "no") // proxies must not collect events
	if q.r.ProtoMajor == 1 {
		header.Set("Connection", "close") // the last write's deadline outlives the stream
	}
	t := &eventStream{w: q.w, ctl: http.NewResponseController(q.w), in: in}
	_ = t.ctl.SetReadDeadline(time.Time{}) // the request may last for days
	q.w.WriteHeader(http.StatusOK)
	// A comment, so that the client learns at once that the stream is open.
	if err := t.send([]byte(":\r\n\r\n")); err != nil {
		return
	}
	defer t.finish()
	h.ended(q.ep.Server.Serve(q.r.Context(), h.info(q), t), q.ep.Server, q.id, hubs.ServerSentEvents)
}

// eventStream is the hubs.Transport over Server-Sent Events one way and POSTs
// the other.
type eventStream struct {
	w   http.ResponseWriter
	ctl *http.ResponseController
	in  *pipe

	mu       sync.Mutex // held while writing
	finished bool
}

var _ hubs.Transport = (*eventStream)(nil)

func (*eventStream) Kind() hubs.TransportKind          { return hubs.ServerSentEvents }
func (*eventStream) SetFormat(protocol.TransferFormat) {} // there is only text
func (t *eventStream) Wait() error                     { return t.in.wait() }
func (t *eventStream) Read(p []byte) (int, error)      { return t.in.read(p), nil }
func (t *eventStream) Close(hubs.Ending)               { t.in.end(errEnded) }

func (t *eventStream) Write(p []byte) error {
	buf := getFrameBuffer()
	defer putFrameBuffer(buf)
	*buf = appendEvent(*buf, p)
	return t.send(*buf)
}

func (t *eventStream) send(b []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.finished {
		return errEnded
	}
	_ = t.ctl.SetWriteDeadline(time.Now().Add(writeTimeout)) // not every server can
	if _, err := t.w.Write(b); err != nil {
		return err
	}
	return t.ctl.Flush()
}

// Abort makes a write that is under way fail.
func (t *eventStream) Abort() {
	t.in.end(errEnded)
	_ = t.ctl.SetWriteDeadline(time.Unix(1, 0))
}

// finish waits for the last write: the ResponseWriter ends with the request.
func (t *eventStream) finish() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.finished = true
	_ = t.ctl.SetWriteDeadline(time.Now().Add(writeTimeout))
}

// appendEvent writes p as one event, each of its lines as a line of data
// (ServerSentEventsMessageFormatter): whatever is in p, it can't end the event
// or begin another field. CR, LF and CRLF all end a line.
func appendEvent(dst, p []byte) []byte {
	for {
		end := bytes.IndexAny(p, "\r\n")
		line := p
		if end >= 0 {
			line = p[:end]
		}
		dst = append(dst, "data: "...)
		dst = append(dst, line...)
		dst = append(dst, "\r\n"...)
		if end < 0 {
			return append(dst, "\r\n"...)
		}
		if p[end] == '\r' && end+1 < len(p) && p[end+1] == '\n' {
			end++
		}
		p = p[end+1:]
	}
}
