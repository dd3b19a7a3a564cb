// Package serverlink pairs clients with app servers that are connected to other
// edges.
//
// A Registry knows which edges have server connections of a hub: each edge
// writes its own to Redis, and hears of the others'. A Fleet implements
// pairing.Opener over all of them: it chooses an edge, and passes the pairing
// on over a link unless the edge is this one.
//
// A link is one TLS connection (both sides are members of the fleet) between
// the edge that has clients, which dials, and the edge that has server
// connections. It carries the pairings of many tenants in frames; a few links
// join two edges, a tenant's pairings are all on one of them. What makes it safe
// to share:
//
//   - What is queued for a link is kept by tenant, and the tenants take turns.
//     A tenant whose queue is full waits; the others don't.
//   - Each side runs what a pairing is told on a goroutine of that pairing, so
//     that the reader of the link never waits for a client or an app server.
//     Bytes that the other side hasn't consumed are bounded per pairing: Send
//     waits, and a client that its own edge can't follow is given up.
//   - Both sides ping. A link that isn't answered for Timing.DeadAfter is cut, as
//     one that is reset is at once: clients on it are Lost, their app servers are
//     told that they have gone.
//
// Order: the frames of one pairing stay in order in both directions. A Deliver
// is settled once the client's edge says so, see pairing.Downstream.
//
// Nothing here keeps state beyond the life of a link: a pairing whose link is
// gone is over.
package serverlink
