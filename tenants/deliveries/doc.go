// Package deliveries is the log of what was posted to tenants' upstreams: one
// bounded Redis stream per tenant, written by edges and read by the control
// plane. It is for people who look for a mistake, not a record: while Redis is
// away, or edges write more than it takes, entries are left out.
package deliveries
