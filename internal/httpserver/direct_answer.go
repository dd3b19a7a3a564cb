package httpserver

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// errOver is for who writes to an answer that has been given.
var errOver = errors.New("the request has been answered")

var (
	// ofTheConnection are headers that directAnswer writes itself.
	ofTheConnection = map[string]bool{"Content-Length": true, "Transfer-Encoding": true}
	// notOfUnmodified are those that an answer of this status doesn't have.
	notOfUnmodified = map[string]bool{"Content-Length": true, "Transfer-Encoding": true, "Content-Type": true}
)

const (
	// answerTimeout is how long an answer may take to leave: a client that reads none
	// of them would hold a goroutine for as long as it likes.
	answerTimeout = 30 * time.Second
	// keptAnswer is how large a hand's buffers may be in bytes to be used again.
	keptAnswer = 64 << 10
)

// directBuffers are what a hand puts answers together in.
type directBuffers struct{ head, body bytes.Buffer }

// directAnswer is the ResponseWriter of a request that is served directly. It collects
// the answer, which leaves in one write, and it can be hijacked. Informational answers
// aren't sent, nor can an answer be flushed before its end.
type directAnswer struct {
	h      *hand
	conn   net.Conn
	header http.Header
	status int  // 0 = not said yet; what follows is set with it, late headers are none
	sniff  bool // the type is the body's that its beginning looks like
	length int  // of the body, as the header promises; -1 = it doesn't
	last   bool // the connection ends with the answer
	over   bool // it is given, or has been hijacked
}

// Header implements http.ResponseWriter.
func (w *directAnswer) Header() http.Header {
	if w.header == nil {
		w.header = make(http.Header, 8)
	}
	return w.header
}

// WriteHeader implements http.ResponseWriter.
func (w *directAnswer) WriteHeader(status int) {
	if w.over || w.status != 0 {
		return
	}
	if status < 100 || status > 999 {
		panic(fmt.Sprintf("invalid status %d", status)) // as net/http does
	}
	if status < 200 && status != http.StatusSwitchingProtocols {
		return
	}
	w.status = status
	w.last = slices.Contains(w.header["Connection"], "close")
	w.length = -1
	if length, err := strconv.Atoi(w.header.Get("Content-Length")); err == nil && length >= 0 {
		w.length = length
	}
	_, typed := w.header["Content-Type"]
	w.sniff = !typed && w.header.Get("Content-Encoding") == ""
	body, head := &w.h.answer.body, &w.h.answer.head
	body.Reset()
	head.Reset()
	head.WriteString("HTTP/1.1 ")
	head.WriteString(strconv.Itoa(status))
	head.WriteByte(' ')
	if text := http.StatusText(status); text != "" {
		head.WriteString(text)
	} else {
		head.WriteString("status code " + strconv.Itoa(status))
	}
	head.WriteString("\r\n")
	omitted := ofTheConnection
	if status == http.StatusNotModified {
		omitted = notOfUnmodified
	}
	_ = w.header.WriteSubset(head, omitted) // to memory
	if _, dated := w.header["Date"]; !dated {
		head.WriteString("Date: ")
		head.Write(time.Now().UTC().AppendFormat(head.AvailableBuffer(), http.TimeFormat))
		head.WriteString("\r\n")
	}
}

// Write implements http.ResponseWriter.
func (w *directAnswer) Write(p []byte) (int, error) {
	if w.over {
		return 0, errOver
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	body := &w.h.answer.body
	switch {
	case len(p) == 0:
		return 0, nil
	case w.empty():
		return 0, http.ErrBodyNotAllowed
	case w.length >= 0 && body.Len()+len(p) > w.length:
		w.last = true
		return 0, http.ErrContentLength
	}
	return body.Write(p)
}

// empty reports whether the status allows no body.
func (w *directAnswer) empty() bool {
	return w.status < 200 || w.status == http.StatusNoContent || w.status == http.StatusNotModified
}

// finish sends the answer and reports whether the connection may go on; ending: it may
// not. An answer of another length than its header promises isn't sent.
func (w *directAnswer) finish(ending bool) bool {
	if w.status == 0 {
		w.over = false // it is only empty
		w.WriteHeader(http.StatusOK)
		w.over = true
	}
	answer := &w.h.answer
	defer func() {
		if answer.head.Cap() > keptAnswer {
			*answer = directBuffers{}
		}
	}()
	head, body := &answer.head, &answer.body
	if !w.empty() {
		if w.length >= 0 && w.length != body.Len() {
			return false
		}
		head.WriteString("Content-Length: ")
		head.Write(strconv.AppendInt(head.AvailableBuffer(), int64(body.Len()), 10))
		head.WriteString("\r\n")
		if w.sniff && body.Len() > 0 {
			head.WriteString("Content-Type: " + http.DetectContentType(body.Bytes()) + "\r\n")
		}
	}
	if ending && !w.last && w.status != http.StatusSwitchingProtocols {
		head.WriteString("Connection: close\r\n")
	}
	head.WriteString("\r\n")
	head.Write(body.Bytes())
	_ = w.conn.SetWriteDeadline(time.Now().Add(answerTimeout)) // a closed connection says so at the write
	_, err := w.conn.Write(head.Bytes())
	_ = w.conn.SetWriteDeadline(time.Time{}) // nor does a handler's hold for what comes
	return err == nil && !w.last && w.status != http.StatusSwitchingProtocols
}

// Hijack implements http.Hijacker. The buffers are as small as they may be; what was
// read behind the request is in the reader's.
func (w *directAnswer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	h := w.h
	switch {
	case w.over:
		return nil, nil, http.ErrHijacked
	case w.status != 0 && w.status != http.StatusSwitchingProtocols:
		return nil, nil, errors.New("an answer has begun")
	}
	h.unwatch(w.conn)
	if err := w.conn.SetDeadline(time.Time{}); err != nil {
		return nil, nil, err
	}
	if w.status != 0 {
		h.answer.head.WriteString("\r\n")
		if _, err := w.conn.Write(h.answer.head.Bytes()); err != nil {
			return nil, nil, err
		}
	}
	w.over = true
	var from io.Reader = w.conn
	in := bufio.NewReaderSize(from, max(16, h.have))
	if h.have > 0 {
		early := append([]byte(nil), h.buf[:h.have]...)
		in.Reset(io.MultiReader(bytes.NewReader(early), from))
		_, _ = in.Peek(len(early)) // from memory
	}
	h.d.release(h)
	return w.conn, bufio.NewReadWriter(in, bufio.NewWriterSize(w.conn, 16)), nil
}

// SetReadDeadline is for http.ResponseController.
func (w *directAnswer) SetReadDeadline(time.Time) error { return nil } // there is no body

// SetWriteDeadline is for http.ResponseController. The answer leaves after its handler.
func (w *directAnswer) SetWriteDeadline(time.Time) error { return nil }
