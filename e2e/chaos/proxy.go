package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strconv"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/signalbox/signalbox/internal/embedded"
)

// route is one TCP connection's way from a process to another, through a proxy
// that can spoil it.
type route struct {
	proxy  *toxiproxy.Proxy
	listen string
	toxics int
}

// proxies makes the routes of one world.
type proxies struct {
	server *toxiproxy.ApiServer
	all    []*route
}

func newProxies() *proxies {
	return &proxies{server: toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())}
}

// add makes a route to upstream, a port of this machine.
func (p *proxies) add(name string, upstream int) (*route, error) {
	port, err := embedded.FreePort()
	if err != nil {
		return nil, err
	}
	r := &route{listen: loopback(port), proxy: toxiproxy.NewProxy(p.server, name, loopback(port), loopback(upstream))}
	if err := r.proxy.Start(); err != nil {
		return nil, fmt.Errorf("start proxy %s: %w", name, err)
	}
	p.all = append(p.all, r)
	return r, nil
}

func (p *proxies) close() {
	for _, r := range p.all {
		r.proxy.Stop()
	}
}

// toxic spoils the route until clean: kind and attributes are toxiproxy's, stream
// is "upstream" (away from who dialled) or "downstream".
func (r *route) toxic(kind, stream string, attributes map[string]any) error {
	r.toxics++
	text, err := json.Marshal(map[string]any{"name": kind + strconv.Itoa(r.toxics), "type": kind, "stream": stream, "toxicity": 1, "attributes": attributes})
	if err != nil {
		return err
	}
	if _, err := r.proxy.Toxics.AddToxicJson(bytes.NewReader(text)); err != nil {
		return fmt.Errorf("add toxic %s: %w", kind, err)
	}
	return nil
}

// blackHole swallows what goes in the direction without a word: no reset, no end.
func (r *route) blackHole(stream string) error {
	return r.toxic("timeout", stream, map[string]any{"timeout": 0})
}

// silence swallows both directions.
func (r *route) silence() error {
	if err := r.blackHole("upstream"); err != nil {
		return err
	}
	return r.blackHole("downstream")
}

// delay makes each direction slower by half of ms.
func (r *route) delay(ms, jitter int) error {
	for _, stream := range []string{"upstream", "downstream"} {
		if err := r.toxic("latency", stream, map[string]any{"latency": ms / 2, "jitter": jitter / 2}); err != nil {
			return err
		}
	}
	return nil
}

// cut resets what is connected and refuses what comes; mend ends it.
func (r *route) cut() { r.proxy.Stop() }

func (r *route) mend() error {
	if err := r.proxy.Start(); err != nil {
		return fmt.Errorf("start proxy again: %w", err)
	}
	return nil
}

// clean takes all toxics off.
func (r *route) clean() { r.proxy.Toxics.ResetToxics(context.Background()) }

// to points the route at another server; what is connected is reset.
func (r *route) to(port int) error {
	r.proxy.Stop()
	r.proxy.Upstream = loopback(port)
	return r.mend()
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
