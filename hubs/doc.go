// Package hubs serves SignalR hubs: connections, groups, users, invocations and
// broadcasts, for one hub at a time and any number of nodes.
//
// It is usable on its own, on any net/http router. It knows nothing of tenants,
// databases or Redis: what a larger service adds comes in through Backplane,
// Dispatcher, Filter and Meter.
//
// # A hub is a Go type
//
// Register makes a Dispatcher of a value's exported methods: arguments and
// results are Go types, streams go both ways, FromContext reaches other clients,
// Invoke asks one of them for an answer.
//
//	type Chat struct{}
//
//	func (*Chat) Say(ctx context.Context, room, text string) error {
//		return hubs.FromContext(ctx).Group(room).Send(ctx, "message", text)
//	}
//
// Package filters has ready-made Filters, hubgen writes strongly typed clients,
// and examples/chat is a whole program.
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
// hands each message through the Filters to the Dispatcher. That of Register has
// a bounded queue and runs invocations beside the reader, in their order.
//
// What goes to one client alone (completions, stream items, messages to the
// caller) isn't published. It waits on its node for the entries that the same
// method published before, so that all of it is seen in the order of the program.
//
// # Hub servers elsewhere
//
// Config.Handle may give a connection to a Proxy instead of a Dispatcher: another
// process then speaks the hub protocol with the client. Entries, limits, filters
// and stateful reconnect stay here; what the hub server sends comes back through
// Connection.Forward, in its place among the entries.
//
// # Promises
//
//   - A connection counts as connected only after the node is subscribed:
//     whatever is published after the handshake's answer reaches it.
//   - Every connection sees messages in the order of the entries, each once,
//     without a hole. One that reads too slowly is closed, never thinned out.
//     The exception is a group that it is in with Conflation, by its own wish.
//   - At rest a connection has one goroutine, its reader, and no buffer.
//   - Only an *Error shows its text to a client, unless
//     Options.EnableDetailedErrors is set.
//
// # Locks
//
// In this order: Server.mu, Connection.mu, a shard of the store, progress.mu,
// outbound.mu, a transport's own and the wheel's; calls.mu is never held with one of them. No lock is held while a filter or dispatcher is called or
// a socket is written to.
package hubs
