// Package serverconn serves the server connections of one edge: the WebSockets
// that tenants' app servers open to /server/, over which they speak the Azure
// SignalR service protocol (package serviceprotocol).
//
// A Pool has the server connections of all hubs. It is the pairing.Opener for
// what is connected here: a client is given to the server connection with the
// fewest clients, from any edge. What an app server asks for beyond its own
// clients (sends, groups, questions, closes, client results) concerns the whole
// hub and goes through the hub's Backplane.
//
// # Order
//
// Each server connection is one flow: one goroutine reads it and carries out one
// message after the other. Entries are begun without waiting for those before,
// so they fill the hub's pipeline; bytes for one client wait until the positions
// of all entries before them are known, and an entry waits until the bytes before
// it have their place with their clients. So a client sees everything of one
// server connection in the order in which the app server sent it.
//
// # Pressure
//
// An app server that doesn't read holds up its own clients: Session.Send waits,
// and after Timing.Stalled the server connection is cut. One that sends more than
// its tenant may isn't read for as long as that takes. What can't be carried out
// is counted and told to the app server: in the command's ack, else by a
// ServiceEvent, which SDKs log.
package serverconn
