// Package cli is the command line of Signalbox: everything that the console can do,
// for people on a terminal and for scripts, and a client that shows messages as they
// arrive. It calls the control plane through the client that is generated from its
// document, and the data plane as any backend and any client does.
//
// Each command says which operations it calls (operations); a test runs the examples
// of all commands against the document and compares, so that nothing of the API is
// forgotten and nothing is claimed.
package cli
