package transport

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs"
)

var bodyBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// post takes in what a client of Server-Sent Events or long polling sends. The
// answer means that all of it has been taken in, not that it has been handled.
func (h *Handler) post(q *request, c *connection) {
	if c.kind == hubs.WebSockets {
		writeText(q.w, http.StatusMethodNotAllowed, textPostWebSocket)
		return
	}
	deadline := time.Now().Add(h.opt.BodyTimeout)
	_ = http.NewResponseController(q.w).SetReadDeadline(deadline) // not every server can
	ctx, cancel := context.WithDeadline(q.r.Context(), deadline)
	defer cancel()
	switch err := h.takeIn(ctx, q, c.in); {
	case err == nil:
		writeText(q.w, http.StatusOK, "")
	case errors.Is(err, errEnded):
		writeText(q.w, http.StatusNotFound, textUnknownID)
	case isTooLarge(err):
		h.opt.Refused(q.r, RefusedBody)
		writeText(q.w, http.StatusRequestEntityTooLarge, "")
	default:
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
			h.opt.Refused(q.r, RefusedSlowBody)
		}
		writeText(q.w, http.StatusBadRequest, "")
	}
}

func isTooLarge(err error) bool {
	var e *http.MaxBytesError
	return errors.As(err, &e)
}

// takeIn feeds one body to the connection. A body that breaks off before its
// first block was fed leaves no trace; one that breaks off later has left half
// a message in the stream, so the connection can't go on.
func (h *Handler) takeIn(ctx context.Context, q *request, in *pipe) error {
	select {
	case in.turn <- struct{}{}:
		defer func() { <-in.turn }()
	case <-in.done:
		return errEnded
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	block := bodyBuffers.Get().(*[]byte)
	defer bodyBuffers.Put(block)
	body := http.MaxBytesReader(q.w, q.r.Body, h.opt.MaxBodyBytes)
	fed := false
	for {
		n, last, err := readBlock(body, *block)
		if err == nil && n > 0 {
			err = in.feed(ctx, (*block)[:n])
		}
		if err != nil {
			if fed {
				in.end(err)
			}
			return err
		}
		fed = true
		if last {
			return nil
		}
	}
}

// readBlock fills b as far as the body goes; last is set at the body's end. A
// body that is cut off is an error, which io.ReadFull can't tell from its end.
func readBlock(body io.Reader, b []byte) (n int, last bool, err error) {
	for n < len(b) {
		m, err := body.Read(b[n:])
		n += m
		if errors.Is(err, io.EOF) {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}

// delete ends a long polling connection; its OnDisconnected has run, or is
// about to, when the answer is sent.
func (h *Handler) delete(q *request, c *connection) {
	if c.kind != hubs.LongPolling {
		writeText(q.w, http.StatusBadRequest, textDelete)
		return
	}
	c.poll.leave()
	select {
	case <-c.poll.served:
	case <-q.r.Context().Done():
	}
	writeText(q.w, http.StatusAccepted, "")
}
