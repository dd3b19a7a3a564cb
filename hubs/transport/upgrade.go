package transport

import (
	"crypto/sha1" //nolint:gosec // RFC 6455 asks for it; nothing is kept secret with it
	"encoding/base64"
	"net/http"
	"strings"
	"time"
)

// acceptGUID goes into the answer to an upgrade (RFC 6455, 4.2.2).
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// keyBytes is how long a client's key is.
const keyBytes = 16

// upgrade makes the request a WebSocket; when it reports false, it has answered.
// checkOrigin has judged the origin. No extension and no subprotocol is agreed to.
func (h *Handler) upgrade(q *request) (*webSocket, bool) {
	header := q.w.Header()
	if status, text := upgradable(q.r, header); status != 0 {
		writeText(q.w, status, text)
		return nil, false
	}
	sum := sha1.Sum([]byte(strings.TrimSpace(q.r.Header.Get("Sec-WebSocket-Key")) + acceptGUID)) //nolint:gosec // see above
	header.Set("Connection", "Upgrade")
	header.Set("Upgrade", "websocket")
	header.Set("Sec-WebSocket-Accept", base64.StdEncoding.EncodeToString(sum[:]))
	q.w.WriteHeader(http.StatusSwitchingProtocols)
	conn, buffered, err := http.NewResponseController(q.w).Hijack()
	if err != nil {
		h.opt.Logger.Error("request can't become a WebSocket", "error", err)
		return nil, false
	}
	_ = conn.SetDeadline(time.Time{}) // a closed connection says so at the next read
	ws := &webSocket{conn: conn, messageTimeout: h.opt.BodyTimeout}
	if n := buffered.Reader.Buffered(); n > 0 { // net/http's buffers are let go of
		ws.raw = make([]byte, n)
		_, _ = buffered.Read(ws.raw) // from memory
	}
	return ws, true
}

// upgradable returns how to refuse a request that is no good upgrade (RFC 6455,
// 4.2.1), with what it may need in the answer's header; 0 when it is good.
func upgradable(r *http.Request, answer http.Header) (status int, text string) {
	needed := func(text string) (int, string) {
		answer.Set("Connection", "Upgrade")
		answer.Set("Upgrade", "websocket")
		return http.StatusUpgradeRequired, text
	}
	keys := r.Header.Values("Sec-WebSocket-Key")
	switch {
	case !r.ProtoAtLeast(1, 1):
		return needed("A WebSocket needs HTTP/1.1.")
	case !headerHas(r.Header, "Connection", "Upgrade"):
		return needed("A WebSocket needs the header Connection: Upgrade.")
	case !headerHas(r.Header, "Upgrade", "websocket"):
		return needed("A WebSocket needs the header Upgrade: websocket.")
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		answer.Set("Sec-WebSocket-Version", "13")
		return http.StatusBadRequest, "The WebSocket version is not supported: it must be 13."
	case len(keys) != 1:
		return http.StatusBadRequest, "A WebSocket needs exactly one header Sec-WebSocket-Key."
	}
	if key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(keys[0])); err != nil || len(key) != keyBytes {
		return http.StatusBadRequest, "Sec-WebSocket-Key must be 16 bytes in base64."
	}
	return 0, ""
}
