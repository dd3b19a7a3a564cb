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

// Tallies is what a Meter implements that tells deliveries apart by what they were
// for. What Delivered counts is counted in Tallies as well, right after it: in one of
// TallyTo, and in one of TallyOf.
type Tallies interface {
	// TallyOf returns where the deliveries of an entry's message are counted; nil stands
	// for what one connection alone is sent, such as completions. It is called for each
	// entry that reaches a connection.
	TallyOf(e *Entry) Tally
	// TallyTo returns where what is delivered to a connection is counted. It is called
	// once for each connection, before its handshake.
	TallyTo(c *Connection) Tally
}

// Tally counts delivered messages, in steps of 64 KiB. It is called by many goroutines
// on the hot path and must not block.
type Tally interface{ Add(messages int) }

// tally is where the deliveries of the entry are counted; nil = nowhere.
func (s *Server) tally(e *Entry) Tally {
	if s.tallies == nil {
		return nil
	}
	return s.tallies.TallyOf(e)
}

// meterWritten counts what of items, which have been written, is a delivery.
func (c *Connection) meterWritten(items []queued) {
	units, bytes := 0, 0
	for i := range items {
		if items[i].units > 0 {
			units += items[i].units
			bytes += len(items[i].frame)
		}
	}
	if units == 0 {
		return
	}
	c.server.meter.Delivered(units, bytes)
	if c.tally == nil {
		return
	}
	c.tally.Add(units)
	of, n := items[0].tally, 0 // most batches are of few entries
	for i := range items {
		if items[i].units <= 0 {
			continue
		}
		if items[i].tally != of {
			c.addTo(of, n)
			of, n = items[i].tally, 0
		}
		n += items[i].units
	}
	c.addTo(of, n)
}

// addTo adds to the tally of an entry, or of none.
func (c *Connection) addTo(of Tally, n int) {
	if n == 0 {
		return
	}
	if of == nil {
		of = c.server.untold
	}
	of.Add(n)
}

// The codes that this package gives to Meter.Refused.
const (
	RefusedHandshake    = "handshake_failed"
	RefusedNoHandler    = "no_handler"
	RefusedInvocation   = "invocation_failed" // without an *Error
	RefusedConnection   = "connection_refused"
	RefusedSlowConsumer = "slow_consumer"
	RefusedProtocol     = "protocol_error"
	RefusedTooLarge     = "message_too_large"
	RefusedFlood        = "message_flood"
	RefusedTimeout      = "client_timeout"
	RefusedIdleStream   = "stream_idle"
	RefusedGroups       = "too_many_groups"
	RefusedStreams      = "too_many_streams"
	RefusedMemberships  = "group_limit" // by Config.Memberships
	RefusedRetiring     = "connection_retires"
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
