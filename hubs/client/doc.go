// Package client is a SignalR client over WebSockets: it negotiates, connects, shakes
// hands in either hub protocol, and reads and writes hub messages. What a message
// means, answers to invocations and coming back after a loss are left to its user.
package client
