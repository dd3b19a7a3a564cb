// Package accesstoken mints and verifies the JSON Web Tokens that a tenant's
// access keys sign: client tokens (connect to a hub), server tokens (an app
// server connects to the service) and REST tokens. It also reads and writes
// connection strings, which carry such a key.
//
// The formats are those of Azure SignalR Service, so that its SDKs work
// unmodified; the rules for what is accepted are stricter (see Verify). Nothing
// is cached and nothing is looked up: the caller has found the tenant before,
// from the URL alone, and passes its keys.
package accesstoken
