package hubs

import (
	"errors"
	"time"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// What a Backplane needs that carries invocations of clients and their answers
// in another way than as entries.

// ExpectAnswer waits for the answer to an invocation that somebody else sends to
// the client, for at most within. settle is called once, on the goroutine that
// reads the client: with the answer, which it must not keep, or with an error
// when the connection ends. It isn't called when nothing comes.
func (c *Connection) ExpectAnswer(id string, within time.Duration, settle func(ClientAnswer, error)) error {
	return c.callsOf().expect(id, &pendingResult{until: clock() + int64(within), settle: settle})
}

// AnswerEntry returns the entry that brings the answer of a client to the node
// that has published an InvokeConnection with this id, or why there is none: err
// is ErrNoConnection, ErrDisconnected, or counts as ErrAnswerLost. That node
// applies the entry; it needs no number.
func AnswerEntry(connection, id string, a ClientAnswer, err error) *Entry {
	kind, value := kindOf(a)
	switch {
	case errors.Is(err, ErrNoConnection), errors.Is(err, ErrDisconnected):
		kind, value = answerGone, protocol.Raw{}
	case err != nil:
		kind, value = answerLost, protocol.Raw{}
	}
	arguments := []protocol.Raw{}
	if value.Present() {
		arguments = append(arguments, value)
	}
	raw, err := protocol.NewArguments(value.Encoding, arguments...)
	if err != nil {
		kind, raw = answerLost, protocol.Raw{Encoding: protocol.JSON, Bytes: []byte("[]")}
	}
	return &Entry{Kind: ClientResult, Connections: []string{connection}, Reason: id, Message: &Broadcast{Target: kind, Arguments: raw}}
}
