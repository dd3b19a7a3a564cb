// Package quota holds tenants to their fleet-wide limits: how many connections
// they have at once, and how many messages they send per second.
//
// Both are counted in Redis for all edges together, and both are cheap: requests
// for connections that arrive while Redis is being asked are answered by one
// question together, and messages are taken from blocks that each edge leases
// ahead of need. When Redis is away, each edge goes on with the share it had;
// nobody is cut off and nobody gets much more than the limit.
//
// All of it is safe for concurrent use.
package quota
