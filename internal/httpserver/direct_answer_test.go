package httpserver

import (
	"net"
	"testing"
	"time"
)

// deadlined notes until when what is written must have left.
type deadlined struct {
	net.Conn
	until, written time.Time
}

func (c *deadlined) SetWriteDeadline(t time.Time) error {
	c.until = t
	return nil
}

func (c *deadlined) Write(p []byte) (int, error) {
	c.written = c.until
	return len(p), nil
}

// A client that reads no answers holds nobody for long, nor what a large one took.
func TestDirect_answers_leave_in_time_or_not(t *testing.T) {
	conn := new(deadlined)
	h := newHand(nil)
	w := &directAnswer{h: h, conn: conn}
	if err := w.SetWriteDeadline(time.Unix(1, 0)); err != nil || !conn.until.IsZero() {
		t.Errorf("a handler that is done when it leaves has it fail: %v, %v", conn.until, err)
	}
	if _, err := w.Write(make([]byte, 2*keptAnswer)); err != nil {
		t.Fatal(err)
	}
	if !w.finish(false) || time.Until(conn.written) > answerTimeout || conn.written.IsZero() || !conn.until.IsZero() {
		t.Errorf("to leave until %v, then until %v", conn.written, conn.until)
	}
	if kept := h.answer.head.Cap() + h.answer.body.Cap(); kept > 2*keptAnswer {
		t.Errorf("%d bytes are kept", kept)
	}
}
