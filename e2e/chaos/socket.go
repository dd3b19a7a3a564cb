package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// The transports by the names of negotiation.
const (
	webSockets   = "WebSockets"
	serverEvents = "ServerSentEvents"
	longPolling  = "LongPolling"
)

// serverTimeout is how long a stock client puts up with silence.
const serverTimeout = 30 * time.Second

// socket is one transport connection. Reads and writes may be at the same time.
type socket interface {
	// Read returns whole hub messages.
	Read(ctx context.Context) ([]byte, error)
	Write(ctx context.Context, data []byte) error
	Close()
}

// web is the HTTP client of all connections; it follows nothing and keeps few.
var web = &http.Client{Transport: &http.Transport{
	DialContext:         (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
	MaxIdleConnsPerHost: 256,
	IdleConnTimeout:     5 * time.Second,
}}

// refusedError is an answer that isn't the one that was asked for.
type refusedError struct {
	status int
	after  string
	text   string
}

func (e *refusedError) Error() string { return fmt.Sprintf("%d: %s", e.status, e.text) }

// errGone: the service has ended the connection in the orderly way.
var errGone = errors.New("the connection is gone")

func request(ctx context.Context, method, address, token string, body []byte) (*http.Response, error) {
	return requestAs(ctx, method, address, token, "", body)
}

// requestAs is request for an answer of one kind; "" = any.
func requestAs(ctx context.Context, method, address, token, accept string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	return answered(req)
}

// answered sends a request; an answer that isn't a success is a *refusedError.
func answered(req *http.Request) (*http.Response, error) {
	res, err := web.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode < 300 {
		return res, nil
	}
	text, _ := io.ReadAll(io.LimitReader(res.Body, 800))
	_ = res.Body.Close()
	return nil, &refusedError{status: res.StatusCode, after: res.Header.Get("Retry-After"), text: strings.TrimSpace(string(text))}
}

// negotiate returns the connection token.
func negotiate(ctx context.Context, base, hub, token string, stateful bool) (string, error) {
	address := base + "/client/negotiate?negotiateVersion=1&hub=" + url.QueryEscape(hub)
	if stateful {
		address += "&useStatefulReconnect=true"
	}
	res, err := request(ctx, http.MethodPost, address, token, nil)
	if err != nil {
		return "", err
	}
	defer res.Body.Close() //nolint:errcheck // it is read
	var answer struct{ ConnectionToken string }
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return "", fmt.Errorf("read negotiation: %w", err)
	}
	return answer.ConnectionToken, nil
}

// dial opens a transport for a negotiated connection at base; later is where each
// further request goes.
func dial(ctx context.Context, transport, base, hub, id, token string, binary bool, later func() string) (socket, error) {
	path := "/client/?hub=" + url.QueryEscape(hub) + "&id=" + url.QueryEscape(id)
	further := func() string { return later() + path }
	switch transport {
	case webSockets:
		return dialWebSocket(ctx, base+path, token, binary)
	case serverEvents:
		return dialEvents(ctx, base+path, token, further)
	default:
		return dialPolling(ctx, base+path, token, further)
	}
}

type webSocket struct {
	conn *websocket.Conn
	kind websocket.MessageType
}

func dialWebSocket(ctx context.Context, address, token string, binary bool) (socket, error) {
	conn, res, err := websocket.Dial(ctx, address, &websocket.DialOptions{HTTPClient: web, HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}}) //nolint:bodyclose // Dial has closed it
	if err != nil {
		if res != nil && res.StatusCode >= 300 {
			text, _ := io.ReadAll(io.LimitReader(res.Body, 400))
			return nil, &refusedError{status: res.StatusCode, after: res.Header.Get("Retry-After"), text: string(text)}
		}
		return nil, err
	}
	conn.SetReadLimit(-1)
	s := &webSocket{conn: conn, kind: websocket.MessageText}
	if binary {
		s.kind = websocket.MessageBinary
	}
	return s, nil
}

func (s *webSocket) Read(ctx context.Context) ([]byte, error) {
	_, data, err := s.conn.Read(ctx)
	return data, err
}

func (s *webSocket) Write(ctx context.Context, data []byte) error {
	return s.conn.Write(ctx, s.kind, data)
}

func (s *webSocket) Close() { _ = s.conn.CloseNow() }

// posted writes by requests of its own.
type posted struct {
	further func() string
	token   string
	life    context.Context
	end     context.CancelFunc
}

func (s *posted) Write(ctx context.Context, data []byte) error {
	res, err := request(ctx, http.MethodPost, s.further(), s.token, data)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return errors.Join(err, res.Body.Close())
}

type events struct {
	posted
	body io.Closer
	in   *bufio.Reader
}

func dialEvents(ctx context.Context, address, token string, further func() string) (socket, error) {
	life, end := context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, end)
	defer stop()
	res, err := requestAs(life, http.MethodGet, address, token, "text/event-stream", nil) //nolint:bodyclose // events.Close does
	if err != nil {
		end()
		return nil, err
	}
	return &events{posted: posted{further: further, token: token, life: life, end: end}, body: res.Body, in: bufio.NewReaderSize(res.Body, 4<<10)}, nil
}

func (s *events) Read(ctx context.Context) ([]byte, error) {
	stop := context.AfterFunc(ctx, s.end) // a Close would wait for the read
	defer stop()
	for {
		text, err := s.in.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		if data, ok := bytes.CutPrefix(bytes.TrimRight(text, "\r\n"), []byte("data: ")); ok {
			return data, nil
		}
	}
}

func (s *events) Close() { s.end(); _ = s.body.Close() }

type polling struct{ posted }

func dialPolling(ctx context.Context, address, token string, further func() string) (socket, error) {
	life, end := context.WithCancel(context.Background())
	s := &polling{posted{further: further, token: token, life: life, end: end}}
	if _, err := s.poll(ctx, address); err != nil { // the first answers at once
		end()
		return nil, err
	}
	return s, nil
}

func (s *polling) Read(ctx context.Context) ([]byte, error) { return s.poll(ctx, s.further()) }

func (s *polling) poll(ctx context.Context, address string) ([]byte, error) {
	// A poll may take 90 s; a server that says nothing at all is the poll's end.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(s.life, cancel)
	defer stop()
	res, err := request(ctx, http.MethodGet, address, s.token, nil)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close() //nolint:errcheck // it is read
	if res.StatusCode == http.StatusNoContent {
		return nil, errGone
	}
	return io.ReadAll(res.Body)
}

// Close also tells the service, as stock clients do: no poll that ends would. An edge
// that finds no owner is passed over, or the connection would last until its time-out
// and every row that has such an edge would wait for that.
func (s *polling) Close() {
	s.end()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	for range edgeCount {
		res, err := request(ctx, http.MethodDelete, s.further(), s.token, nil)
		if err == nil {
			_ = res.Body.Close()
		}
		var refused *refusedError
		if !errors.As(err, &refused) || refused.status != http.StatusNotFound {
			return
		}
	}
}
