// Package loadgen opens many clients of one hub, publishes to them over REST, and
// measures from before a publish to when each client has read it.
//
// It speaks the service's public protocols with nothing but an access key, so it
// can be pointed at any deployment. It is polite: a refusal with Retry-After is
// waited out and counted, connections open at a rate that can be set, and every
// run is bounded.
package loadgen
