package loadgen

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
)

// Service is what is put under load. Its methods are called by many goroutines;
// an error of type *client.Refused with a status of 429 or 503 is waited out.
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

// userConnections is how many connections one user has: no more than the smallest
// plan gives to a user.
const userConnections = 20

// signalboxService is Signalbox.
type signalboxService struct {
	users []*dialer
	next  atomic.Uint64
	*publisher
}

// Open connects the next user.
func (s *signalboxService) Open(ctx context.Context) (*Client, error) {
	return s.users[s.next.Add(1)%uint64(len(s.users))].Open(ctx)
}

// signalbox returns the service that config names; end gives back what it used.
func signalbox(config Config) (s Service, end func(), err error) {
	key := tenants.DocKey{ID: "loadgen", Secret: config.Key}
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
	service := &signalboxService{publisher: &publisher{config: config, http: &http.Client{Transport: transport, Timeout: time.Minute}}}
	name := "loadgen-" + rand.Text() + "-" // of its own: others may be at work beside this one
	for i := range (config.Connections + userConnections - 1) / userConnections {
		token, err := accesstoken.MintClient(key, config.URL, accesstoken.ClientOptions{Hub: config.Hub, UserID: name + strconv.Itoa(i)}, time.Now())
		if err != nil {
			return nil, nil, fmt.Errorf("make the clients' token: %w", err)
		}
		service.users = append(service.users, &dialer{config: config, http: &http.Client{Transport: transport}, token: token.Token, proto: proto, ping: ping})
	}
	return service, transport.CloseIdleConnections, nil
}
