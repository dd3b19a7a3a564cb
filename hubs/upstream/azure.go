package upstream

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/tenants"
)

// The media types of bodies.
const (
	jsonType        = "application/json"
	messagePackType = "application/x-msgpack"
)

// The headers of Azure SignalR Service's upstream requests.
const (
	headerConnection = "X-Asrs-Connection-Id"
	headerHub        = "X-Asrs-Hub"
	headerCategory   = "X-Asrs-Category"
	headerEvent      = "X-Asrs-Event"
	headerUser       = "X-Asrs-User-Id"
	headerClaims     = "X-Asrs-User-Claims"
	headerQuery      = "X-Asrs-Client-Query"
	headerSignature  = "X-Asrs-Signature"
)

// azurePost begins a request in Azure's format.
func (s *session) azurePost(n *now, category, event, target string) *post {
	info := s.c.Info()
	h := make(http.Header)
	h.Set(headerConnection, s.c.ID())
	h.Set(headerHub, s.d.hub)
	h.Set(headerCategory, category)
	h.Set(headerEvent, headerText(event))
	if info.Principal.UserID != "" {
		h.Set(headerUser, headerText(info.Principal.UserID))
	}
	if claims := claimsText(info.Principal.Claims); claims != "" {
		h.Set(headerClaims, claims)
	}
	if query := url.Values(info.Query).Encode(); query != "" {
		h.Set(headerQuery, "?"+query)
	}
	return &post{
		hub: s.d.hub, category: category, event: event, mode: tenants.UpstreamAzure, connection: s.c.ID(), user: info.Principal.UserID,
		url: target, header: h, sign: azureSignature(n.doc, s.c.ID()), timeout: n.timeout(), limit: maxResponse, attempt: 1,
	}
}

// claimsText lists claims as "type: value", separated by commas.
func claimsText(claims []hubs.Claim) string {
	items := make([]string, len(claims))
	for i, c := range claims {
		items[i] = c.Type + ": " + c.Value
	}
	return headerText(strings.Join(items, ","))
}

// headerText keeps a value on its line.
func headerText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// azureSignature signs the connection's id with the access keys that are good, the
// primary one first: "sha256=<hex>,sha256=<hex>". Body and time aren't signed.
func azureSignature(doc *tenants.Document, connection string) func(http.Header, time.Time) {
	return func(h http.Header, _ time.Time) {
		keys := slices.Clone(doc.GoodKeys(time.Now()))
		slices.SortStableFunc(keys, func(a, b tenants.DocKey) int { return strings.Compare(string(a.Slot), string(b.Slot)) })
		signatures := make([]string, len(keys))
		for i, k := range keys {
			mac := hmac.New(sha256.New, []byte(k.Secret))
			mac.Write([]byte(connection))
			signatures[i] = "sha256=" + hex.EncodeToString(mac.Sum(nil))
		}
		h.Set(headerSignature, strings.Join(signatures, ","))
	}
}

// azureDisconnected is the body of a disconnected event.
func azureDisconnected(reason string) []byte {
	body, err := json.Marshal(struct {
		Type  int
		Error string `json:",omitempty"`
	}{11, reason})
	if err != nil {
		panic(fmt.Sprintf("upstream: encode disconnected event: %v", err)) // a number and a string
	}
	return body
}

// postAzure posts an invocation in Azure's format and passes on the answer: the
// frame of a Completion in the client's hub protocol, or nothing.
func (k *call) postAzure(n *now) {
	s := k.s
	if k.m.Type == protocol.StreamInvocation || len(k.m.StreamIDs) > 0 {
		s.d.refuse(codeUnsupported)
		k.complete("Streams need the native mode of the hub's upstream.")
		return
	}
	target, ok := s.d.target(n, tenants.CategoryMessages, k.m.Target)
	if !ok {
		s.d.refuse(codeNoRule)
		k.complete("Invocation failed, no upstream rule is for this message.")
		return
	}
	p := s.azurePost(n, tenants.CategoryMessages, k.m.Target, target)
	proto := s.c.Protocol()
	p.header.Set("Content-Type", jsonType)
	if proto.Encoding() == protocol.MessagePack {
		p.header.Set("Content-Type", messagePackType)
	}
	framed, err := proto.Append(nil, k.m)
	if err != nil {
		s.d.refuse(codeInvalid)
		k.complete("Invocation failed, the message can't be passed on.")
		return
	}
	p.body = payload(proto, framed)
	a, f := k.send(p)
	switch {
	case f != nil && f.code == codeCancelled:
	case f != nil || a.status != http.StatusOK && a.status != http.StatusNoContent:
		k.notify(f)
		k.complete(statusText(a, f))
	case a.status == http.StatusNoContent || len(a.body) == 0:
		k.complete("")
	default:
		k.passOn(proto, a.body)
	}
}

// passOn sends a ready frame to the client, if it is the one that it waits for.
func (k *call) passOn(proto protocol.Protocol, frame []byte) {
	if k.m.InvocationID == "" {
		return
	}
	var m protocol.Message
	size, err := proto.Parse(frame, &m)
	if err != nil || size != len(frame) || m.Type != protocol.Completion || m.InvocationID != k.m.InvocationID {
		k.s.d.refuse(codeInvalid)
		k.complete("Invocation failed, the response is not one Completion of this invocation in the client's hub protocol.")
		return
	}
	k.close()
	k.s.c.SendAfter(hubs.Position{}, frame, !m.HasError)
}

// payload takes the framing off a hub message.
func payload(p protocol.Protocol, framed []byte) []byte {
	if p.Encoding() == protocol.JSON {
		return framed[:len(framed)-1] // the record separator
	}
	for i, b := range framed { // the length, a VarInt
		if b < 0x80 {
			return framed[i+1:]
		}
	}
	return nil
}
