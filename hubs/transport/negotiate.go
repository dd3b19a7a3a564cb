package transport

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/signalbox/signalbox/hubs"
)

// The versions of negotiation (TransportProtocols.md, "POST
// [endpoint-base]/negotiate request"). Version 1 tells connection id and
// connection token apart.
const (
	minNegotiateVersion = 0
	maxNegotiateVersion = 1
)

// negotiated is the answer. Old ASP.NET SignalR is recognized by a key named
// ProtocolVersion, which must therefore never be sent.
type negotiated struct {
	version int
	// id and token are base64url; token "" = there is none.
	id, token string
	// resumable is told only when the client has asked for it.
	resumable  bool
	transports []hubs.TransportKind
}

// text is the answer in JSON. Nothing in it needs to be escaped.
func (n *negotiated) text() []byte {
	b := make([]byte, 0, 512)
	b = append(b, `{"negotiateVersion":`...)
	b = strconv.AppendInt(b, int64(n.version), 10)
	b = append(append(append(b, `,"connectionId":"`...), n.id...), '"')
	if n.token != "" {
		b = append(append(append(b, `,"connectionToken":"`...), n.token...), '"')
	}
	if n.resumable {
		b = append(b, `,"useStatefulReconnect":true`...)
	}
	b = append(b, `,"availableTransports":[`...)
	for i, kind := range n.transports {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, `{"transport":"`...), kind...), `","transferFormats":[`...)
		for j, format := range kind.Formats() {
			if j > 0 {
				b = append(b, ',')
			}
			b = append(append(append(b, '"'), format...), '"')
		}
		b = append(b, "]}"...)
	}
	return append(b, "]}"...)
}

type negotiationError struct {
	Error string `json:"error"`
}

// negotiate answers with a new connection token. Nothing is kept: the token is
// the reservation.
func (h *Handler) negotiate(q *request) {
	version := 0
	if text := q.param("negotiateVersion"); text != "" {
		var err error
		if version, err = strconv.Atoi(text); err != nil {
			writeJSON(q.w, negotiationError{"The client requested a non-integer protocol version."})
			return
		}
	}
	if version < minNegotiateVersion {
		writeJSON(q.w, negotiationError{fmt.Sprintf("The client requested version '%d', but the server does not support this version.", version)})
		return
	}
	token := newConnectionToken(q.ep.Principal.UserID, h.opt.Clock().Add(h.opt.TokenLife))
	token.resumable = q.ep.StatefulReconnect && q.ep.allows(hubs.WebSockets) && strings.EqualFold(q.param("useStatefulReconnect"), "true")
	sealed := h.tokens.seal(token, q.ep.Scope)
	answer := negotiated{version: min(version, maxNegotiateVersion), id: token.connectionID(), token: sealed, resumable: token.resumable}
	if answer.version == 0 {
		// There is one id only, and it is what opens the connection.
		answer.id, answer.token = sealed, ""
	}
	for _, k := range []hubs.TransportKind{hubs.WebSockets, hubs.ServerSentEvents, hubs.LongPolling} {
		if q.ep.allows(k) {
			answer.transports = append(answer.transports, k)
		}
	}
	q.w.Header().Set("Content-Type", "application/json")
	writeBytes(q.w, http.StatusOK, answer.text())
}
