// Package hubs serves SignalR hubs: connections, groups, users, invocations and
// broadcasts, for one hub at a time and any number of nodes.
//
// It is usable on its own, on any net/http router. It knows nothing of tenants,
// databases or Redis: what a larger service adds comes in through Backplane,
// Dispatcher, Filter and Meter.
package hubs
