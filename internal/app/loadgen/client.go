package loadgen

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/signalbox/signalbox/hubs/client"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// handshakeAnswer is what the service says to a handshake that it accepts.
const handshakeAnswer = "{}\x1e"

// dialer opens clients of the service.
type dialer struct {
	config Config
	http   *http.Client
	token  string
	proto  protocol.Protocol
	ping   []byte // a client's sign of life
}

// Open connects and shakes hands.
func (d *dialer) Open(ctx context.Context) (*Client, error) {
	address := d.config.URL + "/client/"
	query := url.Values{"hub": {d.config.Hub}}
	if d.config.Transport == "websockets" {
		return d.webSocket(ctx, address+"?"+query.Encode())
	}
	var answer struct{ ConnectionID, ConnectionToken string }
	if err := d.post(ctx, address+"negotiate?negotiateVersion=1&"+query.Encode(), nil, &answer); err != nil {
		return nil, fmt.Errorf("negotiate: %w", err)
	}
	query.Set("id", answer.ConnectionToken)
	address += "?" + query.Encode()
	open := d.polling
	if d.config.Transport == "sse" {
		open = d.events
	}
	c, err := open(ctx, address)
	if err != nil {
		return nil, err
	}
	c.ID = answer.ConnectionID
	return c, nil
}

// handshake is the request in the notation that all hub protocols share.
func (d *dialer) handshake() []byte {
	return []byte(`{"protocol":"` + d.proto.Name() + `","version":1}` + "\x1e")
}

func (d *dialer) webSocket(ctx context.Context, address string) (*Client, error) {
	config := client.Config{URL: address, Token: d.token, Protocol: d.proto, Direct: !d.config.Negotiate, HTTP: d.http}
	if strings.HasPrefix(address, "http://") {
		var straight Straight
		defer straight.Close()
		config.HTTP = &http.Client{Transport: &straight}
	}
	k, err := client.Dial(ctx, config)
	if err != nil {
		return nil, err
	}
	return &Client{
		ID: k.ID(),
		Read: func(found func([]byte)) error {
			for {
				frame, err := k.Frame(context.Background())
				if err != nil {
					return err
				}
				found(frame)
			}
		},
		Ping:  func(ctx context.Context) error { return k.Send(ctx, &protocol.Message{Type: protocol.Ping}) },
		Close: k.Abort,
	}, nil
}

func (d *dialer) events(ctx context.Context, address string) (*Client, error) {
	life, end := context.WithCancel(context.Background())
	res, err := d.get(life, address, "text/event-stream") //nolint:bodyclose // Client.Close does
	if err != nil {
		end()
		return nil, fmt.Errorf("open events: %w", err)
	}
	c := &Client{
		Ping:  func(ctx context.Context) error { return d.post(ctx, address, d.ping, nil) },
		Close: func() { end(); _ = res.Body.Close() },
	}
	if err := d.post(ctx, address, d.handshake(), nil); err != nil {
		c.Close()
		return nil, fmt.Errorf("send handshake: %w", err)
	}
	in := bufio.NewReaderSize(res.Body, 4<<10)
	line := func() ([]byte, error) {
		for {
			text, err := in.ReadBytes('\n')
			if err != nil {
				return nil, err
			}
			if data, ok := bytes.CutPrefix(bytes.TrimRight(text, "\r\n"), []byte("data: ")); ok {
				return data, nil
			}
		}
	}
	first, err := line()
	if err == nil {
		_, err = accepted(first)
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("read handshake: %w", err)
	}
	c.Read = func(found func([]byte)) error {
		for {
			data, err := line()
			if err != nil {
				return err
			}
			found(data)
		}
	}
	return c, nil
}

func (d *dialer) polling(ctx context.Context, address string) (*Client, error) {
	life, end := context.WithCancel(context.Background())
	poll := func() ([]byte, error) {
		res, err := d.get(life, address, "")
		if err != nil {
			return nil, err
		}
		defer func() { _ = res.Body.Close() }()
		return io.ReadAll(res.Body)
	}
	c := &Client{
		Ping:  func(ctx context.Context) error { return d.post(ctx, address, d.ping, nil) },
		Close: end,
	}
	_, err := poll() // the first answers at once: the transport is there
	if err == nil {
		err = d.post(ctx, address, d.handshake(), nil)
	}
	var first, rest []byte
	if err == nil {
		first, err = poll()
	}
	if err == nil {
		rest, err = accepted(first)
	}
	if err != nil {
		end()
		return nil, fmt.Errorf("start polling: %w", err)
	}
	c.Read = func(found func([]byte)) error {
		found(rest)
		for {
			data, err := poll()
			if err != nil {
				return err
			}
			found(data)
		}
	}
	return c, nil
}

// accepted returns what follows the answer to the handshake.
func accepted(first []byte) ([]byte, error) {
	rest, ok := bytes.CutPrefix(first, []byte(handshakeAnswer[:len(handshakeAnswer)-1]))
	if !ok {
		return nil, fmt.Errorf("handshake refused: %.200q", first)
	}
	return bytes.TrimPrefix(rest, []byte{0x1e}), nil
}

func (d *dialer) header() http.Header {
	return http.Header{"Authorization": {"Bearer " + d.token}}
}

func (d *dialer) get(ctx context.Context, address, accept string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header = d.header()
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	res, err := d.http.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		defer func() { _ = res.Body.Close() }()
		return nil, client.Refusal(res)
	}
	return res, nil
}

// post sends data and reads the answer into v, which may be nil.
func (d *dialer) post(ctx context.Context, address string, data []byte, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(data))
	if err != nil {
		return err
	}
	req.Header = d.header()
	res, err := d.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return client.Refusal(res)
	}
	if v == nil {
		_, err = io.Copy(io.Discard, res.Body)
		return err
	}
	return json.NewDecoder(res.Body).Decode(v)
}

// isRefused returns the refusal that err is.
func isRefused(err error) (*client.Refused, bool) {
	return errors.AsType[*client.Refused](err)
}
