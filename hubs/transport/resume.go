package transport

import (
	"net/http"
	"sync"

	"github.com/signalbox/signalbox/hubs"
)

// sockets are the WebSockets of one connection with stateful reconnect, one
// after the other. The hub fences each as soon as there is a newer one; here
// they are freed.
type sockets struct {
	mu      sync.Mutex
	current *webSocket
}

// begin notes the first socket.
func (s *sockets) begin(ws *webSocket) {
	if s != nil {
		s.current = ws
	}
}

// attach gives the connection ws in place of the socket before it.
func (s *sockets) attach(server *hubs.Server, id string, ws *webSocket) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := server.Resume(id, ws); err != nil {
		return err
	}
	s.current.free()
	s.current = ws
	return nil
}

// end frees the last socket.
func (s *sockets) end() {
	if s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.current.free()
	}
}

// resume gives a connection of this node the WebSocket that its client has come
// back with. It has been made sure that it is the same user's.
func (h *Handler) resume(q *request, all *sockets) {
	if !q.ep.Server.Resumable(q.id) {
		// It didn't agree on stateful reconnect, or is on its way in or out.
		writeText(q.w, http.StatusConflict, "")
		return
	}
	ws, err := h.upgrade(q)
	if err != nil {
		return // it has been answered
	}
	ws.resumable = true
	if err := all.attach(q.ep.Server, q.id, ws); err != nil {
		ws.free() // the connection has just ended: its id is unknown to the next request
		return
	}
	h.opt.Logger.Debug("connection resumed", "hub", q.ep.Server.Name(), "connection", q.id, "relayed", q.relayed)
}
