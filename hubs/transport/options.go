package transport

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/signalbox/signalbox/hubs"
)

// Endpoint is what one request is for, as Options.Resolve finds it.
type Endpoint struct {
	// Server serves the hub.
	Server *hubs.Server
	// Principal is the authenticated user of the request.
	Principal hubs.Principal
	// Scope names the hub among all hubs that share Options.TokenKey: a
	// connection token of one scope is unknown in every other. A multi-tenant
	// service uses "tenantID/hub".
	Scope string
	// Origins are the browser origins whose pages may use the endpoint, exactly;
	// empty = any. The URL's own origin always may. It is judged after Resolve, so
	// that nobody without a token learns anything by it, and before Complete.
	Origins []string
	// Complete, when set, fills in the rest of the Endpoint for a page that may use it:
	// what is charged, made or told for others stays out of Resolve. An *Error is the
	// response.
	Complete func(*Endpoint) error
	// Transports are the allowed transports; empty = all.
	Transports []hubs.TransportKind
	// RequireNegotiation refuses WebSockets without a connection token.
	RequireNegotiation bool
	// StatefulReconnect lets clients that ask for it come back to their
	// connection when their WebSocket is lost.
	StatefulReconnect bool
	// HandshakeTimeout is how long the client may take for its handshake; 0 = as
	// long as the hub's options say.
	HandshakeTimeout time.Duration
	// PollTimeout is how long a poll without data stays open at most; 0 = as long
	// as Options says. A longer one than that counts for nothing.
	PollTimeout time.Duration
	// Lapsed, when set, says that what the request was authenticated with has run
	// out since: it is good for nothing but a connection that is there and lives by
	// something newer. It is asked by the node that serves the connection, and its
	// error is the answer; without such a connection, too.
	Lapsed func(connectionID string) error
	// Renewed, when set, is told of each further poll of a connection, which its
	// client makes with the credentials that it has then. Lapsed ones are not told.
	Renewed func(*hubs.Connection)
	// Rewind goes into hubs.ConnectionInfo.
	Rewind *hubs.Rewind
	// Request goes into hubs.ConnectionInfo.
	Request any
	// Query is the query of the request's URL where Resolve has parsed it; nil = it
	// hasn't. It is not changed.
	Query url.Values
	// Admit, when set, is asked once for each new connection, after Ownership
	// and before the transport begins; an *Error is the response. The returned
	// function is called when the connection has ended.
	Admit func(ctx context.Context, connectionID string) (done func(), err error)
}

// allows reports whether the endpoint offers k.
func (e *Endpoint) allows(k hubs.TransportKind) bool {
	return len(e.Transports) == 0 || slices.Contains(e.Transports, k)
}

// The codes that go to Options.Refused.
const (
	RefusedGuesses   = "connection_token_guesses" // forged connection tokens, many of them
	RefusedOrigin    = "origin_not_allowed"
	RefusedOtherUser = "wrong_user" // a connection token of another user
	RefusedBody      = "body_too_large"
	RefusedSlowBody  = hubs.RefusedTimeout
)

// Error is a refusal with an HTTP status and a text for the client.
type Error struct {
	Status int
	Text   string
	// Header is added to the response, for Retry-After and the like.
	Header http.Header
}

// Error returns the text.
func (e *Error) Error() string { return e.Text }

// Options are what a Handler is made of.
type Options struct {
	// Resolve authenticates a request and finds its hub. An *Error is sent as
	// it is; any other error is logged and answered with 500. Required.
	Resolve func(*http.Request) (*Endpoint, error)
	// TokenKey seals connection tokens: 32 bytes, the same on every node that
	// serves the scopes. Nil: random, for a single node.
	TokenKey []byte
	// FormerTokenKeys have sealed tokens before TokenKey, or will; they are still good.
	FormerTokenKeys [][]byte
	// Ownership says which node serves a connection. Nil: this one does.
	Ownership Ownership
	// KeepHeaders are the request headers that ConnectionInfo shows. Nil: user
	// agents, language and origin. Credentials are never kept.
	KeepHeaders []string
	// Refused is told the code of every request that the Handler itself refused,
	// whatever Resolve thought of it; those of Resolve and Endpoint.Admit are theirs
	// to count. Nil: nobody is.
	Refused func(r *http.Request, code string)
	// Logger gets failures; never tokens, queries or payloads. Nil: silent.
	Logger *slog.Logger

	// Clock is the time by which connection tokens expire: the same on every node that
	// serves the scopes. Nil: that of this process.
	Clock func() time.Time
	// TokenLife is how long a connection token may stay unused. Default 15 s.
	TokenLife time.Duration
	// PollTimeout is how long a poll without data stays open. Default 90 s.
	PollTimeout time.Duration
	// BodyTimeout bounds the reading of one POST, and of one WebSocket message
	// from its first frame on. Default 10 s.
	BodyTimeout time.Duration
	// ForgedTokensPerMinute is how many connection tokens that were never issued
	// one address may present in a minute before it gets 429. Default 20.
	ForgedTokensPerMinute int
	// MaxBodyBytes bounds one POST, which may hold many messages. Default 32 MiB.
	MaxBodyBytes int64
}

// withDefaults returns o with defaults filled in, or what is wrong with it.
func (o Options) withDefaults() (Options, error) {
	if o.Resolve == nil {
		return o, errors.New("transport: Options.Resolve is required")
	}
	if o.TokenKey == nil {
		o.TokenKey = make([]byte, 32)
		_, _ = rand.Read(o.TokenKey) // never fails
	}
	for _, key := range append([][]byte{o.TokenKey}, o.FormerTokenKeys...) {
		if len(key) != 32 {
			return o, fmt.Errorf("transport: a key of Options.TokenKey and FormerTokenKeys has %d bytes: it must have 32", len(key))
		}
	}
	if o.Ownership == nil {
		o.Ownership = NewLocalOwnership()
	}
	if o.KeepHeaders == nil {
		o.KeepHeaders = []string{"User-Agent", "X-SignalR-User-Agent", "Accept-Language", "Origin"}
	}
	if o.Refused == nil {
		o.Refused = func(*http.Request, string) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.TokenLife <= 0 {
		o.TokenLife = 15 * time.Second
	}
	if o.PollTimeout <= 0 {
		o.PollTimeout = 90 * time.Second
	}
	if o.BodyTimeout <= 0 {
		o.BodyTimeout = 10 * time.Second
	}
	if o.ForgedTokensPerMinute <= 0 {
		o.ForgedTokensPerMinute = 20
	}
	if o.MaxBodyBytes <= 0 {
		o.MaxBodyBytes = 32 << 20
	}
	return o, nil
}
