// Package pairing ties each client of a hub to one of the tenant's app servers:
// what an edge needs to know of app servers, wherever they are connected.
//
// A client is paired once, when its handshake request has come, with one server
// connection of its hub. From then on the app server speaks the hub protocol
// with it: handshake response, pings, invocations and completions pass through.
// Stateful reconnect ends at the client's edge, which knows the order of all that
// the client gets. Proxy does all that for the clients of a hub on their edge.
//
// The server connection may be on this edge (package serverconn) or on another,
// over the internal link (package serverlink); Opener is the seam between.
package pairing

import (
	"context"
	"errors"
	"sync"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/tenants"
)

// The reasons why a client can't be paired.
var (
	// ErrNoServer: no app server of the hub takes clients. The client may come
	// back.
	ErrNoServer = errors.New("no app server is connected to the hub")
	// ErrServerAway: the client's token requires one app server, which isn't there.
	ErrServerAway = errors.New("the app server that the client belongs to is not connected")
	// ErrEnded: the pairing is over.
	ErrEnded = errors.New("the pairing with the app server has ended")
)

// Sticky says how much a client depends on the app server that negotiated for
// it (claims asrs.s.ssticky and asrs.s.sn of the Azure SignalR SDK).
type Sticky uint8

// The kinds of stickiness.
const (
	Anywhere  Sticky = iota // any app server will do
	Preferred               // Client.Server if it is there, else any
	Required                // Client.Server, else ErrServerAway
)

// Hub names a hub of a tenant.
type Hub struct {
	Tenant tenants.ID
	Name   string // canonical
}

// Client is a client as app servers are told of it.
type Client struct {
	Hub          Hub
	ConnectionID string
	// Claims in order; types may repeat. Names are those of .NET, long form.
	Claims []hubs.Claim
	// Headers are those of the client's first request, without credentials.
	Headers map[string][]string
	// Query is the raw query of that request with a leading "?", without the
	// access token; empty when there is none.
	Query string
	// Protocol is the name of the hub protocol that the handshake asks for.
	Protocol string
	// Handshake is the handshake request as the app server gets it, with its
	// record separator.
	Handshake []byte
	// Server is the server id of the app server that negotiated, see Sticky.
	Server string
	Sticky Sticky
	// MovedFrom is the server id that the client is migrated from, to which no
	// Opener gives it back; empty for a new client. The app server then answers the
	// handshake with nothing.
	MovedFrom string
}

// DataType tells an app server what bytes of a client are (DataMessageType of
// the service protocol). The numbers travel between edges.
type DataType uint8

// The types of data.
const (
	DataUnknown    DataType = 0
	DataHandshake  DataType = 1
	DataInvocation DataType = 2
	DataOther      DataType = 3
	DataClose      DataType = 4
)

// Opener pairs clients. Implementations: the server connections of this edge,
// those of one other edge, and the fleet's choice among all of them.
type Opener interface {
	// Open chooses a server connection for c (the least loaded that may have it)
	// and tells the app server of the client, its handshake request included. d
	// gets what comes back, from before Open returns. Errors: ErrNoServer,
	// ErrServerAway; others mean that the outcome is unknown and d gets nothing more.
	Open(ctx context.Context, c *Client, d Downstream) (Session, error)
}

// Session is one pairing, seen from the client's edge. Send is called by one
// goroutine at a time, the other methods by any.
type Session interface {
	// ServerID names the app server's process.
	ServerID() string
	// Send passes on one complete hub message of the client (or its raw bytes);
	// all of them arrive in order. It blocks while the app server is behind, and
	// fails with ErrEnded once the pairing is over. It doesn't keep payload.
	Send(ctx context.Context, payload []byte, t DataType) error
	// Hold asks the app server to stop sending to the client for a while, and with
	// false to go on. What is on its way comes nevertheless, and app servers that
	// don't know of it go on. It doesn't block. After Pause it does nothing.
	Hold(on bool)
	// Pause asks the app server to finish what it is sending to the client and
	// returns when all of it has been given to the Downstream: nothing more comes
	// until End. Send must not be called after it.
	Pause(ctx context.Context) error
	// End tells the app server that the client is gone: reason is empty for an
	// orderly leave; movedTo names the app server that has it now, empty when
	// none. After it the Downstream gets nothing. It doesn't block.
	End(reason, movedTo string)
}

// Downstream takes what an app server says to one client. Its methods are
// called from one goroutine at a time, in the order in which the app server said
// it, must not block for long, and may be called before Open returns.
type Downstream interface {
	// Deliver passes on bytes for the client: any chunk of its hub protocol. They
	// must reach the client behind the entry of the hub at after. Deliver calls
	// settled.Add(1) at once and Done once the bytes have their place in the
	// client's order, or never will: what is published to the hub after that comes
	// behind them. It doesn't keep payload.
	Deliver(after hubs.Position, payload []byte, settled *sync.WaitGroup)
	// Close ends the client at the app server's wish: reason is shown, empty when
	// there is none. The app server needs no End.
	Close(after hubs.Position, reason string)
	// Migrate says that the app server is shutting down and lets its clients move
	// to others: the client's edge pauses the session and opens another, or closes
	// the client with leave to reconnect when there is none.
	Migrate()
	// Lost says that the server connection is gone, or that the way to it is: the
	// client is closed with leave to reconnect. Nothing more comes.
	Lost(cause error)
}
