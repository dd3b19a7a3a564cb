package hubs

import (
	"encoding/json"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// GapMethod is the client's method that is told of a gap. A client without it logs
// a warning and goes on.
const GapMethod = "$gap"

// GapNotice is the argument of GapMethod: what was accepted behind From and not
// behind To has not been, and will not be, delivered. The tokens are those of
// Config.PositionToken.
type GapNotice struct {
	From   string `json:"from"`
	To     string `json:"to"`
	Reason string `json:"reason"` // that of Gap
}

// gapNotice returns the invocation of GapMethod.
func (s *Server) gapNotice(reason string, last, next Position) *protocol.Message {
	argument, err := json.Marshal([]GapNotice{{From: s.token(last), To: s.token(next), Reason: reason}})
	if err != nil {
		panic(err) // texts always marshal
	}
	return &protocol.Message{Type: protocol.Invocation, Target: GapMethod, Arguments: protocol.Raw{Encoding: protocol.JSON, Bytes: argument}}
}
