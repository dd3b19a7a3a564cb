package hubs

import "time"

// unit is the size in bytes up to which a message counts as one.
const unit = 64 << 10

// Units returns how many messages one message of size bytes is counted as: one
// for every 64 KiB begun, and one for an empty message.
func Units(size int) int {
	if size <= unit {
		return 1
	}
	return (size + unit - 1) / unit
}

// Meter counts what a hub does. Its methods are called by many goroutines, also
// on the hot path: they must not block.
type Meter interface {
	// ConnectionOpened is called when a connection has passed the handshake.
	ConnectionOpened(c *Connection)
	// ConnectionClosed is called once for every opened connection.
	ConnectionClosed(c *Connection, open time.Duration)
	// Delivered counts what one write brought to one client: messages in steps
	// of 64 KiB and their bytes. Pings, handshakes, Close messages and refusals
	// are not in it.
	Delivered(messages, bytes int)
	// Received counts bytes of hub messages from clients.
	Received(bytes int)
	// Refused counts something that wasn't carried out, by the code of the
	// reason (lower snake case).
	Refused(code string)
}

// The codes that this package gives to Meter.Refused.
const (
	RefusedHandshake    = "handshake_failed"
	RefusedNoHandler    = "no_handler"
	RefusedInvocation   = "invocation_failed" // without an *Error
	RefusedConnection   = "connection_refused"
	RefusedSlowConsumer = "slow_consumer"
	RefusedProtocol     = "protocol_error"
	RefusedFlood        = "message_flood"
	RefusedTimeout      = "client_timeout"
	RefusedIdleStream   = "stream_idle"
	RefusedGroups       = "too_many_groups"
	RefusedStreams      = "too_many_streams"
	RefusedMemberships  = "group_limit" // by Config.Memberships
	RefusedGap          = "history_gone"
	RefusedGapTold      = "gap_notice" // instead, with Options.TellGaps
)

// noMeter counts nothing.
type noMeter struct{}

func (noMeter) ConnectionOpened(*Connection)                {}
func (noMeter) ConnectionClosed(*Connection, time.Duration) {}
func (noMeter) Delivered(int, int)                          {}
func (noMeter) Received(int)                                {}
func (noMeter) Refused(string)                              {}
