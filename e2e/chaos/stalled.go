package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// stalledClient has shaken hands and reads nothing ever after.
type stalledClient struct {
	conn *websocket.Conn
}

var stalledUsers atomic.Int64

// stall connects one over a WebSocket whose buffers are small.
func stall(ctx context.Context, w *world, t *tenant, edge int, groups ...string) (*stalledClient, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	// A user of its own: one has few connections.
	token, err := mint(t, fmt.Sprintf("stalled-%d", stalledUsers.Add(1)), groups, nil)
	if err != nil {
		return nil, err
	}
	base := "http://" + w.edgeAddrs[edge] + "/t/" + t.slug
	id, err := negotiate(ctx, base, hubName, token, false)
	if err != nil {
		return nil, err
	}
	small := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if tcp, ok := conn.(*net.TCPConn); ok {
			err = tcp.SetReadBuffer(4 << 10)
		}
		return conn, err
	}}}
	conn, res, err := websocket.Dial(ctx, base+"/client/?hub="+hubName+"&id="+url.QueryEscape(id), &websocket.DialOptions{HTTPClient: small, HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}}) //nolint:bodyclose // Dial has closed it
	if res != nil && res.StatusCode >= 300 {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 800))
		return nil, &refusedError{status: res.StatusCode, text: string(text)}
	}
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	if err := conn.Write(ctx, websocket.MessageText, protocol.AppendHandshakeRequest(nil, protocol.HandshakeRequest{Protocol: "json", Version: 1})); err != nil {
		return nil, err
	}
	if _, _, err := conn.Read(ctx); err != nil {
		return nil, err
	}
	return &stalledClient{conn: conn}, nil
}

func (s *stalledClient) close() { _ = s.conn.CloseNow() }
