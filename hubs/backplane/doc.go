// Package backplane carries the entries of hubs between processes over Redis.
//
// Each hub is one Redis Stream: the stream is the truth. One script appends an
// entry, numbers it and rings the hub's doorbell, a Pub/Sub channel that
// carries the same entry. A doorbell only hurries: a follower accepts an entry
// when its number follows the last one, and reads the stream in every other
// case (a gap, a new connection, a slow sweep). So a lost doorbell delays and
// never loses. Entries that the stream no longer holds, or another epoch, are
// reported to the node as Lost, never skipped in silence.
//
// Order: the entries of a hub have one total order. Publishes of one process
// to one hub are accepted in the order of the calls, also across broken
// connections: each has a sequence number, and the script refuses a straggler
// that arrives after a later one.
//
// All methods are safe for concurrent use. A node's methods are called from one
// goroutine at a time.
package backplane
