package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/coder/websocket"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// Config says where to connect, and as whom.
type Config struct {
	// URL is a hub's client address, as https://acme.example.com/client/?hub=chat.
	URL string
	// Token is sent as a bearer; "" = none.
	Token string
	// Protocol is the hub protocol; nil = JSON.
	Protocol protocol.Protocol
	// Direct opens the WebSocket without negotiating before: one round trip less, and
	// the connection doesn't learn its id.
	Direct bool
	// UserAgent is sent with both requests; "" = Go's.
	UserAgent string
	// HTTP makes the requests; nil = http.DefaultClient. A Timeout of it would end
	// connections.
	HTTP *http.Client
}

// Conn is one connection. One goroutine may read and others write at a time.
type Conn struct {
	id    string
	ws    *websocket.Conn
	proto protocol.Protocol
	kind  websocket.MessageType

	frame   bytes.Buffer // what Frame has returned last
	pending []byte       // of the frame or of what came with the handshake: not parsed yet
	message protocol.Message
}

// maxAnswer bounds the answer to negotiate and the text of a refusal that is read.
const maxAnswer = 64 << 10

// Dial connects and shakes hands. A request that is refused is a *Refused, a
// handshake a *protocol.HandshakeError. ctx bounds only the dialing.
func Dial(ctx context.Context, c Config) (*Conn, error) {
	address, err := url.Parse(c.URL)
	if err != nil {
		return nil, fmt.Errorf("read client URL: %w", err)
	}
	if c.HTTP == nil {
		c.HTTP = http.DefaultClient
	}
	if c.Protocol == nil {
		c.Protocol = protocol.NewJSON()
	}
	id := ""
	if !c.Direct {
		answer, err := c.negotiate(ctx, *address)
		if err != nil {
			return nil, fmt.Errorf("negotiate: %w", err)
		}
		id = answer.ConnectionID
		query := address.Query()
		query.Set("id", answer.ConnectionToken)
		address.RawQuery = query.Encode()
	}
	ws, res, err := websocket.Dial(ctx, address.String(), &websocket.DialOptions{HTTPClient: c.HTTP, HTTPHeader: c.header()}) //nolint:bodyclose // Dial has closed it
	if err != nil {
		if res != nil {
			return nil, Refusal(res)
		}
		return nil, fmt.Errorf("open WebSocket: %w", err)
	}
	ws.SetReadLimit(-1) // the service bounds what it sends
	k := &Conn{id: id, ws: ws, proto: c.Protocol, kind: websocket.MessageText}
	if c.Protocol.TransferFormat() == protocol.Binary {
		k.kind = websocket.MessageBinary
	}
	if err := k.shakeHands(ctx); err != nil {
		k.Abort()
		return nil, err
	}
	return k, nil
}

// negotiated is what matters of the answer (TransportProtocols.md, "POST
// [endpoint-base]/negotiate request").
type negotiated struct {
	ConnectionID, ConnectionToken string
	Error                         string
}

func (c Config) negotiate(ctx context.Context, address url.URL) (answer negotiated, err error) {
	address.Path = strings.TrimSuffix(address.Path, "/") + "/negotiate"
	query := address.Query()
	query.Set("negotiateVersion", "1")
	address.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address.String(), http.NoBody)
	if err != nil {
		return answer, err
	}
	req.Header = c.header()
	res, err := c.HTTP.Do(req)
	if err != nil {
		return answer, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return answer, Refusal(res)
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(&answer); err != nil {
		return answer, fmt.Errorf("read answer: %w", err)
	}
	if answer.Error != "" {
		return answer, errors.New(answer.Error)
	}
	return answer, nil
}

func (c Config) header() http.Header {
	h := http.Header{}
	if c.Token != "" {
		h.Set("Authorization", "Bearer "+c.Token)
	}
	if c.UserAgent != "" {
		h.Set("User-Agent", c.UserAgent)
	}
	return h
}

func (k *Conn) shakeHands(ctx context.Context) error {
	hello := protocol.AppendHandshakeRequest(nil, protocol.HandshakeRequest{Protocol: k.proto.Name(), Version: protocol.MinVersion})
	if err := k.ws.Write(ctx, websocket.MessageText, hello); err != nil {
		return fmt.Errorf("send handshake: %w", err)
	}
	first, err := k.Frame(ctx)
	if err != nil {
		return fmt.Errorf("read handshake: %w", err)
	}
	refused, n, err := protocol.ParseHandshakeResponse(first)
	switch {
	case err != nil:
		return fmt.Errorf("read handshake: %w", err)
	case n == 0:
		return fmt.Errorf("read handshake: %w", io.ErrUnexpectedEOF)
	case refused != "":
		return &protocol.HandshakeError{Message: refused}
	}
	k.pending = first[n:]
	return nil
}

// ID is the connection's id, "" when it didn't negotiate.
func (k *Conn) ID() string { return k.id }

// Frame returns what came in the next WebSocket message, whole hub messages, without
// looking into it. It is good until the next call. Frame and Next are not for one
// connection both: what has come with the handshake's answer is the first frame.
func (k *Conn) Frame(ctx context.Context) ([]byte, error) {
	if rest := k.pending; len(rest) > 0 {
		k.pending = nil
		return rest, nil
	}
	_, r, err := k.ws.Reader(ctx)
	if err != nil {
		return nil, err
	}
	k.frame.Reset()
	if _, err := k.frame.ReadFrom(r); err != nil {
		return nil, err
	}
	return k.frame.Bytes(), nil
}

// Next returns the next hub message, which is good until the call after it. The error
// is that of the connection's end; see CloseStatus.
func (k *Conn) Next(ctx context.Context) (*protocol.Message, error) {
	for {
		if len(k.pending) > 0 {
			n, err := k.proto.Parse(k.pending, &k.message)
			if err != nil {
				return nil, err
			}
			if n > 0 {
				k.pending = k.pending[n:]
				return &k.message, nil
			}
			return nil, io.ErrUnexpectedEOF // over WebSockets messages come whole
		}
		frame, err := k.Frame(ctx)
		if err != nil {
			return nil, err
		}
		k.pending = frame
	}
}

// Send writes a hub message.
func (k *Conn) Send(ctx context.Context, m *protocol.Message) error {
	data, err := k.proto.Append(nil, m)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	return k.ws.Write(ctx, k.kind, data)
}

// Alive sends a sign of life to the service and waits for one of its WebSocket; Next
// must be running.
func (k *Conn) Alive(ctx context.Context) error {
	if err := k.Send(ctx, &protocol.Message{Type: protocol.Ping}); err != nil {
		return err
	}
	return k.ws.Ping(ctx)
}

// Close says goodbye, so that the service knows that the client isn't coming back.
func (k *Conn) Close() { _ = k.ws.Close(websocket.StatusNormalClosure, "") } // it ends either way

// Abort ends the connection without a word.
func (k *Conn) Abort() { _ = k.ws.CloseNow() } // it ends either way

// CloseStatus is the status of RFC 6455, section 7.4, with which the service has ended
// the WebSocket; 0 when err says nothing of one.
func CloseStatus(err error) int { return max(0, int(websocket.CloseStatus(err))) }

// Refused is an answer that isn't the one that was asked for.
type Refused struct {
	Status     int
	RetryAfter string // the header
	Text       string // at most 64 KiB of it
}

// Error says how the request was refused.
func (e *Refused) Error() string {
	return fmt.Sprintf("refused with %d: %s", e.Status, e.Text)
}

// Refusal reads what an answer says that refuses a request.
func Refusal(res *http.Response) *Refused {
	text, _ := io.ReadAll(io.LimitReader(res.Body, maxAnswer)) // what has come tells more than why no more did
	return &Refused{Status: res.StatusCode, RetryAfter: res.Header.Get("Retry-After"), Text: strings.TrimSpace(string(text))}
}
