package quota

import (
	"encoding/json"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/internal/fault"
)

// Notify tells a connection of a call that waits for no answer and was refused by a limit
// behind the Filter.
func Notify(c *hubs.Connection, m *protocol.Message, l fault.Limit) {
	p := pacesOf(c)
	p.mu.Lock()
	due := p.notice(m, l.Limit, time.Now())
	p.mu.Unlock()
	if due {
		_ = c.Send(noticeOf(l)) // has nothing that can't be encoded
	}
}

// notice reports whether a refused call is to be told of, as one that waits for no answer;
// p.mu is held.
func (p *paces) notice(m *protocol.Message, limit string, now time.Time) bool {
	if last, told := p.noticed[limit]; m.InvocationID != "" || told && now.Sub(last) < noticeEvery {
		return false
	}
	if p.noticed == nil {
		p.noticed = make(map[string]time.Time, 1)
	}
	p.noticed[limit] = now // names of the table: few
	return true
}

// noticeOf is the invocation of NoticeMethod.
func noticeOf(l fault.Limit) *protocol.Message {
	argument, err := json.Marshal([]fault.Limit{l})
	if err != nil {
		panic(err) // texts and numbers always marshal
	}
	return &protocol.Message{Type: protocol.Invocation, Target: NoticeMethod, Arguments: protocol.Raw{Encoding: protocol.JSON, Bytes: argument}}
}
