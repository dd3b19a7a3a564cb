// Package edge is the data-plane process put together: it resolves the tenant
// of each request from its URL, verifies tokens, serves client connections and
// the REST data plane, holds tenants to their limits and records their usage.
//
// An edge keeps nothing on disk and never opens a database connection. Any edge
// serves any tenant; several of them share Redis and the fleet secret, nothing
// else.
package edge
