package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/tenants"
)

// message is the body of a request in the native mode.
type message struct {
	Type string `json:"type"`
	// ID is that of the webhook-id header: the same for every attempt.
	ID           string  `json:"id"`
	Hub          string  `json:"hub"`
	ConnectionID string  `json:"connection_id"`
	UserID       string  `json:"user_id,omitempty"`
	Claims       []claim `json:"claims,omitempty"`
	// Sequence numbers the messages of a connection, from 1.
	Sequence uint64 `json:"sequence"`
	At       string `json:"at"`

	// Of connected and disconnected.
	Query    map[string][]string `json:"query,omitempty"`
	Replaces string              `json:"replaces,omitempty"`
	Error    string              `json:"error,omitempty"`

	// Of invocation.
	Target       string          `json:"target,omitempty"`
	InvocationID string          `json:"invocation_id,omitempty"`
	Arguments    json.RawMessage `json:"arguments,omitempty"`
	Stream       bool            `json:"stream,omitempty"`
	Uploads      []string        `json:"uploads,omitempty"`

	// Of items.
	Items []uploadItem `json:"items,omitempty"`
	Ended []uploadEnd  `json:"ended,omitempty"`
	Last  bool         `json:"last,omitempty"`
}

type claim struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// The types of messages.
const (
	typeInvocation = "invocation"
	typeItems      = "items"
)

// nativePost begins a request in the native format and completes m.
func (s *session) nativePost(n *now, category, event, target string, m message) (*post, error) {
	p := s.c.Principal()
	m.Sequence = s.posted.Add(1)
	m.ID = s.c.ID() + "." + strconv.FormatUint(m.Sequence, 10)
	m.Hub, m.ConnectionID, m.UserID = s.d.hub, s.c.ID(), p.UserID
	m.At = time.Now().UTC().Format(time.RFC3339Nano)
	for _, c := range p.Claims {
		m.Claims = append(m.Claims, claim(c))
	}
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false) // what clients send goes out as it came
	if err := e.Encode(m); err != nil {
		return nil, fmt.Errorf("encode message: %w", err)
	}
	h := make(http.Header)
	h.Set("Content-Type", jsonType)
	return &post{
		hub: s.d.hub, category: category, event: event, mode: tenants.UpstreamNative, connection: s.c.ID(), user: p.UserID, messageID: m.ID,
		url: target, header: h, sign: nativeSignature(n.doc, m.ID, bytes.TrimSuffix(body.Bytes(), []byte("\n"))),
		body: bytes.TrimSuffix(body.Bytes(), []byte("\n")), timeout: n.timeout(), limit: maxResponse, attempt: 1,
	}, nil
}

// nativeSignature signs as Standard Webhooks does, with every secret in force.
func nativeSignature(doc *tenants.Document, id string, body []byte) func(http.Header, time.Time) {
	return func(h http.Header, at time.Time) {
		var signatures []string
		for _, s := range doc.WebhookSecrets {
			if s.Expires != 0 && at.Unix() >= s.Expires {
				continue
			}
			w, err := standardwebhooks.NewWebhook(s.Secret)
			if err != nil {
				continue // the control plane makes them: they are base64
			}
			if signature, err := w.Sign(id, at, body); err == nil {
				signatures = append(signatures, signature)
			}
		}
		h.Set(standardwebhooks.HeaderWebhookID, id)
		h.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(at.Unix(), 10))
		h.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	}
}

// connectedNative tells of a connection. An upstream may refuse it; one that
// fails is told again later, and the connection goes on.
func (s *session) connectedNative(ctx context.Context, n *now, target string) error {
	m := message{Type: tenants.EventConnected, Query: s.c.Info().Query, Replaces: s.returned(ctx)}
	p, err := s.nativePost(n, tenants.CategoryConnections, tenants.EventConnected, target, m)
	if err != nil {
		return err
	}
	p.limit, p.retries = maxEventResponse, true
	a, f := s.d.tenant.send(ctx, p)
	switch {
	case f == nil && (a.status == http.StatusUnauthorized || a.status == http.StatusForbidden):
		return hubs.NewError(errorText(a, "The upstream refused the connection."))
	case f != nil && f.code != codeCancelled, f == nil && !a.ok():
		s.d.tenant.events.again(&event{post: p, native: true})
	}
	return nil
}

// disconnectedNative tells of the end of a connection, once it is sure that the
// user isn't back in a moment.
func (s *session) disconnectedNative(n *now, target, reason string) {
	p, err := s.nativePost(n, tenants.CategoryConnections, tenants.EventDisconnected, target, message{Type: tenants.EventDisconnected, Error: reason})
	if err != nil {
		s.d.g.logger.Error("disconnected event not encoded", "tenant_id", s.d.tenant.id, "hub", s.d.hub, "error", err)
		return
	}
	p.limit, p.retries = maxEventResponse, true
	e := &event{post: p, native: true}
	if grace := time.Duration(n.upstream.ReconnectSeconds) * time.Second; grace > 0 && s.depart(grace) {
		s.d.tenant.events.later(e, grace, func() bool { return s.gone() })
		return
	}
	s.d.tenant.events.add(e)
}

// postNative posts an invocation in the native format. Streams go on beside the
// calls that follow.
func (k *call) postNative(n *now) {
	a, f, ok := k.invokeNative(n)
	switch {
	case !ok: // answered
		k.release()
	case k.uploads != nil:
		if f != nil || !a.ok() {
			k.fail(a, f)
			k.release()
			return
		}
		k.detach(func() { k.forward(n) })
	case f == nil && a.stream != nil:
		k.detach(func() { k.copyStream(a) })
	default:
		k.answer(a, f)
		k.release()
	}
}

// invokeNative posts the invocation; ok is false when it never was.
func (k *call) invokeNative(n *now) (a *answer, f *failure, ok bool) {
	s := k.s
	target, ok := s.d.target(n, tenants.CategoryMessages, k.m.Target)
	if !ok {
		s.d.refuse(codeNoRule)
		k.complete(hubs.InvocationError(k.m.Target, hubs.NewError("No rule of the hub's upstream is for this message."), false))
		return nil, nil, false
	}
	arguments, err := protocol.AppendJSON(nil, k.m.Arguments)
	var p *post
	if err == nil {
		p, err = s.nativePost(n, tenants.CategoryMessages, k.m.Target, target, message{
			Type: typeInvocation, Target: k.m.Target, InvocationID: k.m.InvocationID, Arguments: arguments,
			Stream: k.m.Type == protocol.StreamInvocation, Uploads: k.m.StreamIDs,
		})
	}
	if err != nil {
		s.d.refuse(codeInvalid)
		k.complete(hubs.InvocationError(k.m.Target, hubs.NewError("The arguments have no form in JSON."), false))
		return nil, nil, false //nolint:nilerr // the client was told
	}
	if k.uploads == nil {
		k.asksForAnswer(p)
	}
	a, f = k.send(p)
	return a, f, true
}

// asksForAnswer makes the answer to p that of the call.
func (k *call) asksForAnswer(p *post) {
	p.header.Set("Accept", jsonType)
	if k.m.Type == protocol.StreamInvocation {
		p.header.Set("Accept", "application/x-ndjson, text/event-stream, application/json")
		p.streams = func(contentType string) bool { return streamForm(contentType) != notStreamed }
	}
}

// answer completes the call with what the upstream has answered.
func (k *call) answer(a *answer, f *failure) {
	switch {
	case f != nil || !a.ok():
		k.fail(a, f)
	case len(a.body) == 0:
		k.complete("")
	case k.m.Type == protocol.StreamInvocation:
		k.copyList(a)
	case !isJSON(a.contentType):
		k.invalid("The upstream's answer is not application/json.")
	default:
		v := protocol.Raw{Encoding: protocol.JSON, Bytes: a.body}
		if v.Check() != nil || k.result(v) != nil {
			k.invalid("The upstream's answer is not one JSON value.")
		}
	}
}

// fail completes the call with what went wrong.
func (k *call) fail(a *answer, f *failure) {
	if f != nil && f.code == codeCancelled {
		if k.s.ctx.Err() == nil {
			k.complete("") // the client cancelled its stream
		}
		return
	}
	k.notify(f)
	text := failureText(a, f)
	if a != nil {
		text = errorText(a, text)
	}
	k.complete(hubs.InvocationError(k.m.Target, hubs.NewError(text), false))
}

// invalid completes the call whose answer can't be used.
func (k *call) invalid(text string) {
	k.s.d.refuse(codeInvalid)
	k.complete(hubs.InvocationError(k.m.Target, hubs.NewError(text), false))
}

// maxErrorText bounds what an upstream may tell a client, in characters.
const maxErrorText = 500

// errorText is what the upstream wants the client to be told: the detail, else
// the title, of problem JSON (RFC 9457), or "error" of other JSON, of answers
// from 400 to 499. What other answers say is for the tenant, in its log.
func errorText(a *answer, otherwise string) string {
	var said struct {
		Detail string `json:"detail"`
		Title  string `json:"title"`
		Error  string `json:"error"`
	}
	if a.status < 400 || a.status > 499 || !isJSON(a.contentType) || json.Unmarshal(a.body, &said) != nil {
		return otherwise
	}
	for _, text := range []string{said.Detail, said.Title, said.Error} {
		if text = shown(text); text != "" {
			return text
		}
	}
	return otherwise
}

// shown returns text of one line, without what can't be seen.
func shown(text string) string {
	text = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if !unicode.IsSpace(r) && !unicode.IsPrint(r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, text)), " ")
	if runes := []rune(text); len(runes) > maxErrorText {
		return string(runes[:maxErrorText]) + "…"
	}
	return text
}

// isJSON reports whether a Content-Type is one of JSON; a missing one counts.
func isJSON(contentType string) bool {
	if contentType == "" {
		return true
	}
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && (t == jsonType || strings.HasPrefix(t, "application/") && strings.HasSuffix(t, "+json"))
}

// errStreamText is an error that an upstream put into its stream.
type errStreamText struct{ text string }

func (e *errStreamText) Error() string { return e.text }

var errItemTooLarge = errors.New("an item of the upstream's stream is larger than 65536 bytes")
