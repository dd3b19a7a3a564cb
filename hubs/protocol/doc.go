// Package protocol reads and writes SignalR hub messages: the handshake and the
// JSON and MessagePack hub protocols, versions 1 and 2.
//
// It parses the envelope only. Arguments, items and results stay raw bytes until
// somebody needs them, so numbers and dates pass through untouched. Every input
// is bounded before it is parsed: no declared length is believed beyond the bytes
// at hand and nesting is limited to MaxDepth.
//
// Everything here is safe for concurrent use and imports nothing of the module.
package protocol
