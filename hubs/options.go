package hubs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Options are the settings of a hub. Names and defaults are those of ASP.NET
// Core SignalR's HubOptions; a zero field means its default.
type Options struct {
	// KeepAliveInterval is the silence towards a client after which a ping is
	// sent. Default 15 s.
	KeepAliveInterval time.Duration
	// ClientTimeoutInterval is the silence of a client that has pinged before
	// (or, for long polling, has no poll open) after which it counts as gone.
	// Default 30 s.
	ClientTimeoutInterval time.Duration
	// HandshakeTimeout bounds the time until the handshake request is there.
	// Default 15 s.
	HandshakeTimeout time.Duration
	// MaximumReceiveMessageSize is the size in bytes of the largest single hub
	// message that is accepted from a client. Default 32,768.
	MaximumReceiveMessageSize int
	// MaximumParallelInvocationsPerClient is how many invocations of one
	// connection run at once. Default 1: one after the other.
	MaximumParallelInvocationsPerClient int
	// StreamBufferCapacity is how many items of a client's stream wait for the
	// hub method before the connection is no longer read. Default 10.
	StreamBufferCapacity int
	// MaximumMessagesPerFrame is how many hub messages a client may put into one
	// WebSocket message, items of streams aside. Default 1,000; ASP.NET Core has no
	// such limit.
	MaximumMessagesPerFrame int
	// UploadIdleTimeout is how long a client's stream may go without an item before
	// it fails. Default 5 min, where ASP.NET Core would wait for ever.
	UploadIdleTimeout time.Duration
	// CloseOnAuthenticationExpiration closes connections when their
	// Principal.Expires has come, with leave to reconnect. A poll of a long polling
	// client whose Principal expires later moves the end, see Connection.Renew.
	CloseOnAuthenticationExpiration bool
	// EnableDetailedErrors adds the text of internal errors to what clients
	// see. Off by default: only an *Error shows its text.
	EnableDetailedErrors bool

	// OutboundMessages and OutboundBytes bound what may wait for one
	// connection; a connection that needs more is closed as a slow consumer.
	// Default 1,000 messages and 1 MiB.
	OutboundMessages int
	OutboundBytes    int
	// StatefulReconnectBufferSize is how many bytes of messages are kept for a
	// client with stateful reconnect until it acknowledges them; more wait in the
	// queue. One larger message is let through when there is no other. Default
	// 100,000.
	StatefulReconnectBufferSize int
	// StatefulReconnectWindow is how long a client with stateful reconnect may
	// stay away. Default 30 s.
	StatefulReconnectWindow time.Duration
	// TellGaps keeps connections when entries are lost to this node, and sends them
	// a notice in their place ($gap); else they are closed and asked to reconnect.
	TellGaps bool
	// MaximumGroups is how many groups one connection may be in. Default 1,000.
	MaximumGroups int
	// MaximumOpenStreams is how many streams one connection may have open each way.
	// Default 10.
	MaximumOpenStreams int
	// ReceiveBytesPerSecond is what is read of one connection per second, beyond
	// ReceiveBytesBurst at once; then it is read more slowly, see Connection.Overdue.
	// Default 0: as fast as it sends.
	ReceiveBytesPerSecond int
	ReceiveBytesBurst     int
}

// withDefaults returns o with every zero field set to its default.
func (o Options) withDefaults() Options {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	num := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	def(&o.KeepAliveInterval, 15*time.Second)
	def(&o.ClientTimeoutInterval, 30*time.Second)
	def(&o.HandshakeTimeout, 15*time.Second)
	def(&o.UploadIdleTimeout, 5*time.Minute)
	num(&o.MaximumReceiveMessageSize, 32<<10)
	num(&o.MaximumParallelInvocationsPerClient, 1)
	num(&o.StreamBufferCapacity, 10)
	num(&o.MaximumMessagesPerFrame, 1000)
	num(&o.OutboundMessages, 1000)
	num(&o.OutboundBytes, 1<<20)
	num(&o.StatefulReconnectBufferSize, 100_000)
	def(&o.StatefulReconnectWindow, 30*time.Second)
	num(&o.MaximumGroups, 1000)
	num(&o.MaximumOpenStreams, 10)
	return o
}

// Validate returns an error that names every field with a value that can't work.
func (o Options) Validate() error {
	var errs []error
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"KeepAliveInterval", o.KeepAliveInterval},
		{"ClientTimeoutInterval", o.ClientTimeoutInterval},
		{"HandshakeTimeout", o.HandshakeTimeout},
		{"StatefulReconnectWindow", o.StatefulReconnectWindow},
		{"UploadIdleTimeout", o.UploadIdleTimeout},
	} {
		if d.value < 0 {
			errs = append(errs, fmt.Errorf("%s is %v: it must not be negative", d.name, d.value))
		}
	}
	for _, n := range []struct {
		name  string
		value int
	}{
		{"MaximumReceiveMessageSize", o.MaximumReceiveMessageSize},
		{"MaximumParallelInvocationsPerClient", o.MaximumParallelInvocationsPerClient},
		{"StreamBufferCapacity", o.StreamBufferCapacity},
		{"MaximumMessagesPerFrame", o.MaximumMessagesPerFrame},
		{"OutboundMessages", o.OutboundMessages},
		{"OutboundBytes", o.OutboundBytes},
		{"MaximumGroups", o.MaximumGroups},
		{"MaximumOpenStreams", o.MaximumOpenStreams},
		{"ReceiveBytesPerSecond", o.ReceiveBytesPerSecond},
		{"ReceiveBytesBurst", o.ReceiveBytesBurst},
		{"StatefulReconnectBufferSize", o.StatefulReconnectBufferSize},
	} {
		if n.value < 0 {
			errs = append(errs, fmt.Errorf("%s is %d: it must not be negative", n.name, n.value))
		}
	}
	return errors.Join(errs...)
}

// Config is what a Server is made of.
type Config struct {
	// Name is the hub's name, for logs and error texts.
	Name    string
	Options Options
	// Dispatcher receives what clients send. Nil: BroadcastOnly(Name).
	Dispatcher Dispatcher
	// Handle, when set, chooses who handles a connection instead of Dispatcher,
	// once its handshake request has come. ctx ends with the time for the
	// handshake. An error refuses the client; an *Error is shown to it, and counted
	// by who made it.
	Handle func(ctx context.Context, c *Connection, o Opening) (Handler, error)
	// Filters wrap who handles a connection, the first one outermost.
	Filters []Filter
	// Backplane carries the hub's entries. Nil: one of the Server's own, in memory.
	Backplane Backplane
	// Memberships bounds the groups of all connections together. Nil: only
	// Options.MaximumGroups does, of each.
	Memberships Memberships
	// Meter counts what is sent and received. Nil: nothing is counted.
	Meter Meter
	// PositionToken makes a text of a position, for what clients are told. Nil:
	// they are told none.
	PositionToken func(Position) string
	// LimitText words what a client is told, in the Close message, whose connection a
	// limit ends: RefusedSlowConsumer (limit is Options.OutboundBytes) or
	// RefusedTooLarge. It must not block. Nil: the texts of ASP.NET Core.
	LimitText func(connection, code string, limit int) string
	// Share is what the hub may write beside other hubs of the process. Nil: one of
	// its own, of weight 1.
	Share *Share
	// Logger gets life cycle and refusals, never payloads or tokens. Nil: silent.
	Logger *slog.Logger
	// Linger is how long the Server stays subscribed to its Backplane after its
	// last connection. Default 30 s.
	Linger time.Duration
}
