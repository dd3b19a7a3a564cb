// Package hubs serves SignalR hubs: connections, groups, users, invocations and
// broadcasts, for one hub at a time and any number of nodes.
//
// It is usable on its own, on any net/http router. It knows nothing of tenants,
// databases or Redis: what a larger service adds comes in through Backplane,
// Dispatcher, Filter and Meter.
//
// # How a message travels
//
// A Server is one hub on one node. Whatever clients can observe the order of is
// an Entry that somebody publishes to the hub's Backplane; the Backplane calls
// Server.Apply on every node, in the same order everywhere. Apply puts a shared
// frame, encoded once per hub protocol, into the bounded queue of each
// connection that it is for, and never waits for a client. Few writers serve
// the queues of all connections: what is queued for one leaves in one write.
//
// In the other direction Server.Serve reads one connection on one goroutine and
// hands each message through the Filters to the Dispatcher.
//
// # Promises
//
//   - A connection counts as connected only after the node is subscribed:
//     whatever is published after the handshake's answer reaches it.
//   - Every connection sees messages in the order of the entries, each once,
//     without a hole. One that reads too slowly is closed, never thinned out.
//   - At rest a connection has one goroutine, its reader, and no buffer.
//   - Only an *Error shows its text to a client, unless
//     Options.EnableDetailedErrors is set.
//
// # Locks
//
// In this order: Server.mu, Connection.mu, a shard of the store, outbound.mu,
// a transport's own. No lock is held while a filter or dispatcher is called or
// a socket is written to.
package hubs
