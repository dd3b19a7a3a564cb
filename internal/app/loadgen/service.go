package loadgen

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
)

// Service is what is put under load. Its methods are called by many goroutines;
// an error of type *Refused with a status of 429 or 503 is waited out.
type Service interface {
	// Open connects a client that gets what is published from when it is in a
	// group, or from now on when there are none.
	Open(ctx context.Context) (*Client, error)
	// Join puts a client into a group and returns when it counts.
	Join(ctx context.Context, c *Client, group int) error
	// Publish sends a text to a group, or to all when there are none; key, if it has
	// one, is an argument before it. It returns when the service has accepted it.
	Publish(ctx context.Context, key, text string, group int) error
}

// Client is one connection.
type Client struct {
	ID string
	// Read gives what has come to found until the connection ends. A text that
	// was published must not be cut in two.
	Read func(found func(data []byte)) error
	// Ping is a sign of life.
	Ping  func(ctx context.Context) error
	Close func()
}

// signalboxService is Signalbox.
type signalboxService struct {
	*dialer
	*publisher
}

// signalbox returns the service that config names; end gives back what it used.
func signalbox(config Config) (s Service, end func(), err error) {
	key := tenants.DocKey{ID: "loadgen", Secret: config.Key}
	token, err := accesstoken.MintClient(key, config.URL, accesstoken.ClientOptions{Hub: config.Hub, UserID: "loadgen"}, time.Now())
	if err != nil {
		return nil, nil, fmt.Errorf("make the clients' token: %w", err)
	}
	proto, _ := protocol.ByName(config.Protocol)
	ping, err := proto.Append(nil, &protocol.Message{Type: protocol.Ping})
	if err != nil {
		return nil, nil, err
	}
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		MaxIdleConnsPerHost: opening + publishers,
		DisableCompression:  true,
	}
	return signalboxService{
		&dialer{config: config, http: &http.Client{Transport: transport}, token: token.Token, proto: proto, ping: ping},
		&publisher{config: config, http: &http.Client{Transport: transport, Timeout: time.Minute}},
	}, transport.CloseIdleConnections, nil
}
