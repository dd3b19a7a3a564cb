package pairing

import (
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// Request is a client's first request, for hubs.ConnectionInfo.Request.
type Request struct {
	// Claims are those of the token, decoded.
	Claims map[string]any
	// ForeignIssuer: the token isn't signed with an access key, so what it says to
	// the service counts nothing.
	ForeignIssuer bool
	Host          string
	Header        http.Header
	RawQuery      string
}

// maxHeaders bounds the headers that app servers are told, in bytes of names and
// values; what is beyond is left out, in alphabetical order. Azure's service takes
// no more from clients.
const maxHeaders = 16 << 10

// The headers that app servers are told beside the client's own.
const (
	headerForwardedFor = "X-Forwarded-For"
	headerHost         = "Host"
)

// withheld are the headers that are not the client's to tell app servers:
// credentials, and those of one HTTP connection alone. Azure's service keeps
// cookies back as well: they are the service's host's, not the app's
// (Azure/azure-signalr issue 473). Of X-Forwarded-For the SDK takes the first
// address for the client's: it must not be one that the client has made up.
var withheld = []string{
	"Authorization", "Proxy-Authorization", "Cookie",
	"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	headerForwardedFor, headerHost,
}

// headers are what app servers see of the request's headers; remote is host:port
// of the client.
func (r *Request) headers(remote string) map[string][]string {
	list := make(map[string][]string, len(r.Header)+2)
	if host, _, err := net.SplitHostPort(remote); err == nil {
		list[headerForwardedFor] = []string{host}
	}
	if r.Host != "" {
		list[headerHost] = []string{r.Host}
	}
	left := maxHeaders
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		// The service's own are set by who speaks to the app server.
		if slices.Contains(withheld, name) || strings.HasPrefix(name, "Sec-Websocket-") || strings.HasPrefix(name, "Asrs-") {
			continue
		}
		values := r.Header[name]
		size := len(name)
		for _, v := range values {
			size += len(v)
		}
		if left -= size; left < 0 {
			break
		}
		list[name] = slices.Clone(values)
	}
	return list
}

// query is the request's query as it came, with a leading "?" and without the
// access token and the connection token; "" when nothing is left.
func (r *Request) query() string {
	var kept []string
	for pair := range strings.SplitSeq(r.RawQuery, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		if pair == "" || strings.EqualFold(name, "access_token") || strings.EqualFold(name, "id") {
			continue
		}
		kept = append(kept, pair)
	}
	if len(kept) == 0 {
		return ""
	}
	return "?" + strings.Join(kept, "&")
}

// clientOf is c as app servers are told of it.
func clientOf(hub Hub, c *hubs.Connection, o hubs.Opening) Client {
	r, _ := o.Request.(*Request)
	if r == nil {
		r = &Request{}
	}
	client := Client{
		Hub:          hub,
		ConnectionID: c.ID(),
		Claims:       r.claims(c.User()),
		Headers:      r.headers(c.Info().RemoteAddress),
		Query:        r.query(),
		Protocol:     c.Protocol().Name(),
		// Stateful reconnect, which version 2 has beyond version 1, ends at the edge.
		Handshake: protocol.AppendHandshakeRequest(nil, protocol.HandshakeRequest{Protocol: o.Handshake.Protocol, Version: 1}),
	}
	client.Server, client.Sticky = r.sticky()
	return client
}
