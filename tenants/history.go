package tenants

import (
	"fmt"
	"slices"

	"github.com/signalbox/signalbox/internal/fault"
)

// History says what a hub keeps of its messages for clients that come back. What
// is left out, 0, is what the plan allows.
type History struct {
	Seconds  int   `json:"seconds,omitempty"`  // at least 180
	Messages int   `json:"messages,omitempty"` // the newest so many
	Bytes    int64 `json:"bytes,omitempty"`
	// GroupIndex makes reading the history of one group cheap, and each message to a
	// group a little dearer.
	GroupIndex bool `json:"group_index,omitempty"`
}

// Gaps says what clients see of messages that were lost to their edge.
type Gaps string

// The ways.
const (
	CloseGaps Gaps = "close" // connections are closed and asked to reconnect
	TellGaps  Gaps = "tell"  // they go on, with a notice in the place of what is lost
)

// The bounds of a hub's history whatever the plan.
const (
	MinHistorySeconds  = 180
	minHistoryMessages = 100
	maxHistoryMessages = 100_000
	minHistoryBytes    = 64 << 10
	maxHistorySeconds  = 7 * 24 * 3600
)

// problems are what is wrong with h and g.
func (h History) problems(g Gaps) (fields []fault.Field) {
	for _, n := range []struct {
		name             string
		value, low, high int64
	}{
		{"history.seconds", int64(h.Seconds), MinHistorySeconds, maxHistorySeconds},
		{"history.messages", int64(h.Messages), minHistoryMessages, maxHistoryMessages},
		{"history.bytes", h.Bytes, minHistoryBytes, 1 << 40},
	} {
		if n.value != 0 && (n.value < n.low || n.value > n.high) {
			fields = append(fields, fault.Field{Name: n.name, Message: "is out of range", Accepted: fmt.Sprintf("0 for what the plan allows, or %d to %d", n.low, n.high)})
		}
	}
	if !slices.Contains([]Gaps{"", CloseGaps, TellGaps}, g) {
		fields = append(fields, fault.Field{Name: "gaps", Message: "is no way to deal with gaps", Accepted: "close, tell"})
	}
	return fields
}

// within returns an error that names what the plan doesn't allow.
func (h History) within(l Limits) error {
	var fields []fault.Field
	if most := max(l.RetentionSeconds, MinHistorySeconds); h.Seconds > most {
		fields = append(fields, fault.Field{Name: "history.seconds", Message: "is more than the plan allows (retention_seconds)", Accepted: fmt.Sprintf("up to %d", most)})
	}
	if most := int64(l.HistoryBytes); h.Bytes > most {
		fields = append(fields, fault.Field{Name: "history.bytes", Message: "is more than the plan allows (history_bytes)", Accepted: fmt.Sprintf("up to %d", most)})
	}
	if len(fields) > 0 {
		return fault.InvalidFields(fields...)
	}
	return nil
}
