// Package rest is the REST data plane: send messages, change groups, ask what
// exists and close connections. Paths, verbs and status codes are those of
// Azure SignalR Service, in its v1 form (/api/v1/...) and in that of
// 2022-06-01 and later (/api/hubs/.../:send), so that its SDKs and plain HTTP
// clients work unmodified.
//
// Who may do what is decided outside: Config.Scope authenticates a request and
// says for which tenant it is. The package holds no state and is safe for
// concurrent use.
//
// A send that was answered with 202 is in the hub's stream; the header
// X-Signalbox-Position names its place. Idempotency-Key makes repeats safe.
package rest
