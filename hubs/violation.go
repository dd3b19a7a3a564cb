package hubs

import (
	"fmt"

	"github.com/signalbox/signalbox/hubs/internal/pace"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// Violation is the error of a Transport whose client broke the transport's rules
// and has been told so. The connection ends, with stateful reconnect too.
type Violation struct {
	// Code is counted with Meter.Refused.
	Code string
	// Text says which rule.
	Text string
}

// Error returns the text.
func (v *Violation) Error() string { return v.Text }

// Messages that carry nothing are free, so each connection may send so many and
// no more; stock clients send one or two in 15 s.
var (
	// idleLimit is for pings, acknowledgements and messages of unknown types.
	idleLimit = pace.Limit{PerSecond: 50, Burst: 250}
	// strayLimit is for what belongs to nothing: items, ends and answers of
	// streams and invocations that aren't open. A client whose upload nobody
	// reads any more may have many items on the way.
	strayLimit = pace.Limit{PerSecond: 5000, Burst: 100_000}
)

// idle counts a message without content; an error means that there are too many.
// Only the reader calls it.
func (c *Connection) idle(kind protocol.Type) error {
	if !c.idled.Over(clock(), idleLimit) {
		return nil
	}
	return c.flooded(kind, idleLimit, "messages without content")
}

// Stray counts a message from the client that was for nobody. Dispatchers call it
// and return its error, which is not nil when there are too many.
func (c *Connection) Stray(m *protocol.Message) error {
	if !c.strayed.Over(clock(), strayLimit) {
		return nil
	}
	return c.flooded(m.Type, strayLimit, "messages that belong to no stream or invocation")
}

func (c *Connection) flooded(kind protocol.Type, l pace.Limit, what string) error {
	c.server.meter.Refused(RefusedFlood)
	return &floodError{
		text: fmt.Sprintf("%s: more than %d %s a second, at last one of type %d. Connect again and send less.", RefusedFlood, l.PerSecond, what, kind),
	}
}

// floodError ends a connection; its text is shown.
type floodError struct{ text string }

func (e *floodError) Error() string { return e.text }

// oversizeError is a hub message beyond MaximumReceiveMessageSize.
type oversizeError struct {
	limit int
	error
}

func (e *oversizeError) Unwrap() error { return e.error }
