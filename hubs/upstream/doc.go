// Package upstream serves the clients of a hub with webhooks: what clients call,
// and that they come and go, is posted to URLs of the tenant, and the answers go
// back to the clients (serverless mode).
//
// There are two formats. Azure's is that of Azure SignalR Service, so that
// existing functions work: hub messages as they are on the wire, and a signature
// of the connection id. The native one is JSON both ways, signed as Standard
// Webhooks are, with streams in both directions and events that are retried.
//
// Messages of one connection are posted in order, one after the other. Whatever
// goes wrong with an upstream is answered with an error to the client that
// waits, counted for the tenant and written to its delivery log. An upstream
// that fails is left alone for a time, and no tenant's upstream holds up
// another's.
//
// Here nothing is stored but, for a moment, who has left (Redis); what an edge
// still had to say about connections is lost when the edge dies.
package upstream
