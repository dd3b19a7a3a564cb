package edge

import (
	"context"
	"fmt"
	"net"
	"net/url"
)

// advertised is the host:port that other edges get for the internal listener,
// which is bound to bound. A listener on every interface has no address to give
// away; then it is this machine's own address on the way to Redis: the network
// that all edges share. In a container without a shell nobody else could tell.
func (c Config) advertised(ctx context.Context, bound string) (string, error) {
	if c.Advertise != "" {
		return c.Advertise, nil
	}
	host, port, err := net.SplitHostPort(bound)
	if err != nil {
		return "", fmt.Errorf("internal address: %w", err)
	}
	if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() {
		return bound, nil
	}
	redis, err := url.Parse(c.RedisURL)
	if err != nil {
		return "", fmt.Errorf("find own address: %w", err)
	}
	target := redis.Host
	if redis.Port() == "" {
		target = net.JoinHostPort(redis.Hostname(), "6379")
	}
	// A UDP socket is only given its route here: nothing is sent.
	conn, err := new(net.Dialer).DialContext(ctx, "udp", target)
	if err != nil {
		return "", fmt.Errorf("find own address: %w", err)
	}
	defer func() { _ = conn.Close() }()
	own, _, err := net.SplitHostPort(conn.LocalAddr().String())
	if err != nil {
		return "", fmt.Errorf("find own address: %w", err)
	}
	return net.JoinHostPort(own, port), nil
}
