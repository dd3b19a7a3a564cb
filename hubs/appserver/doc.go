// Package appserver runs the hubs of package hubs behind Signalbox, or behind
// any other service that speaks the Azure SignalR service protocol: the service
// holds the clients, this program answers them over a few outgoing connections.
//
// A hub that is mounted on a router
//
//	err := transport.Mount(mux, "/chat", hub)
//
// is put behind the service by changing that line:
//
//	app, err := appserver.Mount(ctx, mux, "/chat", hub, connectionString)
//
// Nothing else of the program changes: methods, streams, groups, users, client
// results and Context work as before. What remains on the router is negotiation,
// which authenticates a client and sends it to the service.
//
// # What differs
//
//   - Groups and users are kept by the service: Connection.Groups is empty,
//     Context.List reaches no further than the service answers.
//   - Stateful reconnect is between the client and the service; the hub isn't told.
//   - How a client is connected is not known: its transport counts as WebSockets.
//   - Program order holds as in one process for what one invocation sends, and
//     for what one goroutine sends outside of invocations while its server
//     connection lasts.
//
// # Server connections
//
// An App keeps Options.Connections connections and makes lost ones again, after
// 1, 2, 4 … 60 s. Each client belongs to one of them: when that is lost, the
// service asks the client to reconnect. When the program stops, it lets its
// clients move to other app servers of the hub first: see App.Shutdown.
//
// An App is safe for concurrent use. Lock order: App.mu, client.mu, link.mu.
package appserver
