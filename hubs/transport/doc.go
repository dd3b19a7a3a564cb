// Package transport serves the three transports of SignalR over net/http:
// negotiation, WebSockets, Server-Sent Events and long polling
// (TransportProtocols.md). It carries bytes between clients and hubs.Server and
// knows nothing of hub messages.
//
// No session is sticky: a connection token is sealed, so that any node can open
// it, and the node that gets the first request of a transport owns the
// connection. Requests that reach another node are handed over by Ownership.
//
// Statuses and texts are those of ASP.NET Core's HttpConnectionDispatcher.
package transport
