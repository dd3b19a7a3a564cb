package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/signalbox/signalbox/internal/app/loadgen"
)

// centrifugeService is the load that loadgen makes, for serveCentrifuge: one
// publish in JSON over HTTP, clients in centrifuge's JSON protocol. Clients go to
// the first of the servers, publishes to the last.
type centrifugeService struct {
	http  *http.Client
	urls  []string
	turn  chan int
	group int // size of a group, 0 = one for all
}

func newCentrifugeService(groupSize int, urls ...string) *centrifugeService {
	s := &centrifugeService{urls: urls, group: groupSize, turn: make(chan int, 1), http: &http.Client{
		Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext, MaxIdleConnsPerHost: 256, DisableCompression: true},
		Timeout:   time.Minute,
	}}
	s.turn <- 0
	return s
}

func channel(group int) string { return "load" + strconv.Itoa(group) }

// Open implements loadgen.Service: the client is in its group from the start.
func (s *centrifugeService) Open(ctx context.Context) (*loadgen.Client, error) {
	n := <-s.turn
	s.turn <- n + 1
	group := 0
	if s.group > 0 {
		group = n / s.group
	}
	base := s.urls[0]
	var straight loadgen.Straight // as for ours
	defer straight.Close()
	ws, res, err := websocket.Dial(ctx, base+"/connection", &websocket.DialOptions{HTTPClient: &http.Client{Transport: &straight}})
	if err != nil {
		if res != nil && res.Body != nil {
			_ = res.Body.Close()
		}
		return nil, err
	}
	ws.SetReadLimit(-1)
	commands := `{"id":1,"connect":{}}` + "\n" + `{"id":2,"subscribe":{"channel":"` + channel(group) + `"}}`
	if err := ws.Write(ctx, websocket.MessageText, []byte(commands)); err != nil {
		return nil, err
	}
	var answers []byte
	for !bytes.Contains(answers, []byte(`"id":2`)) {
		_, data, err := ws.Read(ctx)
		if err != nil {
			return nil, err
		}
		answers = append(answers, data...)
	}
	if bytes.Contains(answers, []byte(`"error"`)) {
		return nil, fmt.Errorf("refused: %s", answers)
	}
	return &loadgen.Client{
		Read: func(found func([]byte)) error {
			buf := bytes.NewBuffer(nil)
			for {
				_, r, err := ws.Reader(context.Background())
				if err != nil {
					return err
				}
				buf.Reset()
				if _, err := buf.ReadFrom(r); err != nil {
					return err
				}
				if data := buf.Bytes(); len(data) == 2 { // "{}" is a ping
					if err := ws.Write(context.Background(), websocket.MessageText, data); err != nil {
						return err
					}
					continue
				}
				found(buf.Bytes())
			}
		},
		Ping:  func(context.Context) error { return nil }, // the server pings
		Close: func() { _ = ws.CloseNow() },
	}, nil
}

// Join implements loadgen.Service.
func (s *centrifugeService) Join(context.Context, *loadgen.Client, int) error { return nil }

// Publish implements loadgen.Service.
func (s *centrifugeService) Publish(ctx context.Context, key, text string, group int) error {
	address := s.urls[len(s.urls)-1] + "/publish?channel=" + url.QueryEscape(channel(group))
	body := `{"target":"load","arguments":["` + text + `"]}`
	if key != "" {
		body = `{"target":"load","arguments":["` + key + `","` + text + `"]}`
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		return err
	}
	res, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusAccepted {
		return errors.New(res.Status)
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err
}
