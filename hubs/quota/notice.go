package quota

import (
	"encoding/json"

	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/internal/fault"
)

// notice is the invocation of NoticeMethod: its argument is a fault.Limit.
func (r *Refusal) notice() *protocol.Message {
	argument, err := json.Marshal([]fault.Limit{r.Limit})
	if err != nil {
		panic(err) // texts and numbers always marshal
	}
	return &protocol.Message{Type: protocol.Invocation, Target: NoticeMethod, Arguments: protocol.Raw{Encoding: protocol.JSON, Bytes: argument}}
}
