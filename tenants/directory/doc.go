// Package directory carries tenant documents from the control plane to the
// edges. A Publisher writes sealed documents to Redis; each edge keeps those it
// needs in memory in a Directory and learns of changes within a second.
//
// A document in memory is never blocked by Redis or the control plane being
// away, and an older revision never replaces a newer one, wherever either comes
// from. Only when Redis has lost its documents, or can't be reached, does a
// Directory ask the control plane (Source), rate-limited.
package directory
