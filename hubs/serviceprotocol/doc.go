// Package serviceprotocol is the codec of the Azure SignalR service protocol,
// version 1: what a tenant's app servers and the service say to each other over
// a server connection (specs/ServiceProtocol.md of the Azure SignalR SDK; where
// that text and the SDK's code differ, the code counts).
//
// A message is a length prefix and a MessagePack array whose first item is its
// Type. The frames of a WebSocket are a stream of bytes: Reader puts messages
// together, Append writes them.
//
// Reading is lenient, as peers of many ages are out there: every length that a
// message ever had, unknown extension keys, items at the end and whole types
// are passed over. Writing is strict: exactly the form of today's SDK, and only
// the extension keys that apply, since older readers lose their place in the
// message otherwise (package strict reads as they do).
//
// Nothing is allocated for what has not arrived: a length or a count is checked
// against the bytes that are there and against MaxItems first. Messages are not
// safe for concurrent use; Parse, Append and the pings keep no state.
package serviceprotocol
