package transport

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
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
	Version         int    `json:"negotiateVersion"`
	ConnectionID    string `json:"connectionId"`
	ConnectionToken string `json:"connectionToken,omitempty"`
	// StatefulReconnect is sent only when the client has asked for it.
	StatefulReconnect bool                 `json:"useStatefulReconnect,omitempty"`
	Transports        []availableTransport `json:"availableTransports"`
}

type availableTransport struct {
	Transport       hubs.TransportKind        `json:"transport"`
	TransferFormats []protocol.TransferFormat `json:"transferFormats"`
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
	token := newConnectionToken(q.ep.Principal.UserID, time.Now().Add(h.opt.TokenLife))
	token.resumable = q.ep.StatefulReconnect && q.ep.allows(hubs.WebSockets) && strings.EqualFold(q.param("useStatefulReconnect"), "true")
	sealed := h.tokens.seal(token, q.ep.Scope)
	answer := negotiated{
		Version:         min(version, maxNegotiateVersion),
		ConnectionID:    token.connectionID(),
		ConnectionToken: sealed,

		StatefulReconnect: token.resumable,
	}
	if answer.Version == 0 {
		// There is one id only, and it is what opens the connection.
		answer.ConnectionID, answer.ConnectionToken = sealed, ""
	}
	for _, k := range []hubs.TransportKind{hubs.WebSockets, hubs.ServerSentEvents, hubs.LongPolling} {
		if q.ep.allows(k) {
			answer.Transports = append(answer.Transports, availableTransport{k, k.Formats()})
		}
	}
	writeJSON(q.w, answer)
}

func writeJSON(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		writeText(w, http.StatusInternalServerError, "")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	writeText(w, http.StatusOK, string(body))
}
