package appserver

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/signalbox/signalbox/hubs"
)

// Migration says what becomes of clients when the app server stops.
type Migration uint8

// The migrations.
const (
	// MigrateClients lets the service move them to other app servers of the hub;
	// those that can't move are asked to reconnect when Options.ShutdownTimeout ends.
	MigrateClients Migration = iota
	// DropClients asks them to reconnect at once.
	DropClients
	// AwaitClients lets them stay until they leave or Options.ShutdownTimeout ends.
	AwaitClients
)

// Stickiness says how much clients depend on the app server that negotiated
// with them.
type Stickiness uint8

// The kinds of stickiness.
const (
	AnyServer     Stickiness = iota // the service chooses
	PreferServer                    // this one if it is there
	RequireServer                   // this one or none
)

// Options are the settings of an App; a zero field means its default.
type Options struct {
	// Connections is how many server connections are kept. Default 5.
	Connections int
	// MaxConnections bounds them together with those that the service asks for.
	// Default 4 more than Connections.
	MaxConnections int
	// Application is put before the hub's name where several applications share
	// one service. Letters, digits and underscores. Default none.
	Application string
	// ServerName begins the id of this app server. Default the host's name.
	ServerName string

	// Authenticate tells who sends a request to negotiate; an error refuses it
	// with 401. Nil: clients have no user.
	Authenticate func(*http.Request) (hubs.Principal, error)
	// TokenLife is how long the token is good that a client gets from negotiation.
	// Default 1 h.
	TokenLife time.Duration
	// Transports are the transports that clients may use; empty = all.
	Transports []hubs.TransportKind
	// CloseOnExpiry ends clients when their Principal.Expires has come.
	CloseOnExpiry bool
	// Sticky ties clients to the app server that negotiated with them.
	Sticky Stickiness

	// Migration is what becomes of clients at Shutdown. Default MigrateClients.
	Migration Migration
	// ShutdownTimeout bounds the Shutdown that the end of Connect's context starts.
	// Default 30 s.
	ShutdownTimeout time.Duration
	// ClientBuffer bounds what a client may send ahead of the hub, in bytes; one
	// that sends more is closed. Default 4 MiB.
	ClientBuffer int
	// HTTPClient makes the server connections. Default http.DefaultClient.
	HTTPClient *http.Client
	// Logger gets life cycle and failures; never payloads, tokens or keys. Nil: silent.
	Logger *slog.Logger
}

// withDefaults returns o with defaults filled in, or an error that names every
// field with a value that can't work.
func (o Options) withDefaults() (Options, error) {
	var errs []error
	for name, n := range map[string]int{"Connections": o.Connections, "MaxConnections": o.MaxConnections, "ClientBuffer": o.ClientBuffer} {
		if n < 0 {
			errs = append(errs, fmt.Errorf("Options.%s is %d: it must not be negative", name, n))
		}
	}
	for name, d := range map[string]time.Duration{"TokenLife": o.TokenLife, "ShutdownTimeout": o.ShutdownTimeout} {
		if d < 0 {
			errs = append(errs, fmt.Errorf("Options.%s is %v: it must not be negative", name, d))
		}
	}
	if o.Migration > AwaitClients {
		errs = append(errs, fmt.Errorf("Options.Migration is %d, which is none", o.Migration))
	}
	if o.Sticky > RequireServer {
		errs = append(errs, fmt.Errorf("Options.Sticky is %d, which is none", o.Sticky))
	}
	if o.Connections == 0 {
		o.Connections = 5
	}
	if o.MaxConnections == 0 {
		o.MaxConnections = o.Connections + 4
	}
	if o.ServerName == "" {
		o.ServerName, _ = os.Hostname() // empty is as good a name
	}
	if o.TokenLife == 0 {
		o.TokenLife = time.Hour
	}
	if o.ShutdownTimeout == 0 {
		o.ShutdownTimeout = 30 * time.Second
	}
	if o.ClientBuffer == 0 {
		o.ClientBuffer = 4 << 20
	}
	if o.HTTPClient == nil {
		o.HTTPClient = http.DefaultClient
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, errors.Join(errs...)
}
