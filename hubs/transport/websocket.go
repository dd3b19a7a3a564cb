package transport

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/coder/websocket"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// unnegotiated serves a WebSocket without a connection token (skipNegotiation):
// a new connection that no other request can ever name.
func (h *Handler) unnegotiated(q *request) {
	if !q.ep.allows(hubs.WebSockets) {
		writeText(q.w, http.StatusNotFound, string(hubs.WebSockets)+" transport not supported by this end point type")
		return
	}
	q.id = hubs.NewConnectionID()
	done, err := q.admit()
	if err != nil {
		h.writeError(q.w, err)
		return
	}
	h.serveWebSocket(q, nil, done)
}

// serveWebSocket upgrades the request and has the connection served to its end, on
// goroutines of its own: the request, its stack and net/http's buffers are let
// go of, which is most of what an idle connection would cost. end is called
// when it has ended. all is nil but for stateful reconnect.
func (h *Handler) serveWebSocket(q *request, all *sockets, end func()) {
	ws, err := h.upgrade(q)
	if err != nil {
		end() // it has been answered
		return
	}
	ws.resumable = all != nil
	all.begin(ws)
	id, server := q.id, q.ep.Server // all that is kept of the request: it holds a token
	h.serving.Add(1)
	server.Start(context.Background(), h.info(q), ws, func(err error) {
		defer h.serving.Done()
		defer end()
		defer all.end()
		defer ws.free()
		h.ended(err, server, id, hubs.WebSockets)
	})
}

// upgrade makes the request a WebSocket; when it fails, it has answered.
func (h *Handler) upgrade(q *request) (*webSocket, error) {
	up := &upgrader{ResponseWriter: q.w, messageTimeout: h.opt.BodyTimeout}
	conn, err := websocket.Accept(up, q.r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // checkOrigin has done it, by the hub's own list
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		return nil, err
	}
	// The hub bounds single messages; a WebSocket message may hold many.
	conn.SetReadLimit(-1)
	return &webSocket{conn: conn, net: up.conn}, nil
}

// ended logs why a connection ended, where somebody may want to know.
func (h *Handler) ended(err error, s *hubs.Server, id string, kind hubs.TransportKind) {
	if err != nil {
		h.opt.Logger.Debug("connection ended", "hub", s.Name(), "connection", id, "transport", string(kind), "cause", err)
	}
}

// webSocket is the hubs.Transport over one WebSocket.
type webSocket struct {
	conn   *websocket.Conn
	net    *patientConn
	format websocket.MessageType
	// resumable: the client may come back unless it closes with status 1000.
	resumable bool

	// Only the reader uses these.
	messages uint64 // begun
	message  io.Reader
	isText   bool
	text     text
}

var (
	_ hubs.Framed = (*webSocket)(nil)
	_ hubs.Trying = (*webSocket)(nil)
)

func (*webSocket) Kind() hubs.TransportKind { return hubs.WebSockets }

func (ws *webSocket) SetFormat(f protocol.TransferFormat) {
	if f == protocol.Binary {
		ws.format = websocket.MessageBinary
	}
}

func (ws *webSocket) Wait() error {
	if ws.message != nil {
		return nil
	}
	kind, r, err := ws.conn.Reader(context.Background())
	if err != nil {
		return ws.readError(err)
	}
	ws.net.messageBegins()
	ws.messages++
	// As in ASP.NET Core, either kind of message may carry either protocol.
	ws.message, ws.isText = r, kind == websocket.MessageText
	return nil
}

func (ws *webSocket) Read(p []byte) (int, error) {
	if ws.message == nil {
		return 0, nil
	}
	n, err := ws.message.Read(p)
	ended := errors.Is(err, io.EOF)
	switch {
	case err != nil && !ended:
		// What came before the socket's end is still masked: nothing can be said of it.
		return 0, ws.readError(err)
	case ws.isText && !ws.text.valid(p[:n]):
		return 0, ws.readError(errInvalidUTF8)
	case !ended:
		return n, nil
	case ws.isText && !ws.text.ends():
		if ws.net.failed { // its end looks like the message's
			return 0, ws.readError(io.ErrUnexpectedEOF)
		}
		return 0, ws.readError(errInvalidUTF8)
	}
	ws.message = nil
	ws.net.messageEnds()
	return n, nil
}

// readError closes the WebSocket of a client that broke the rules of frames. It
// is io.EOF when the client closed the WebSocket without a complaint. Clients with stateful reconnect close without a status when they give up a
// socket and mean to come back.
func (ws *webSocket) readError(err error) error {
	var wrong *frameError
	if errors.As(err, &wrong) {
		ws.net.stopReading()
		ws.net.over.Store(true)
		_ = ws.conn.Close(wrong.status, wrong.text)
		return &hubs.Violation{Code: wrong.code, Text: wrong.text}
	}
	switch websocket.CloseStatus(err) {
	case websocket.StatusNormalClosure:
		return io.EOF
	case websocket.StatusGoingAway, websocket.StatusNoStatusRcvd:
		if !ws.resumable {
			return io.EOF
		}
	}
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF // the socket closed without a close frame
	}
	return err
}

// Frame implements hubs.Framed: a WebSocket message counts, in however many
// frames it came.
func (ws *webSocket) Frame() uint64 { return ws.messages }

// messageType is the kind of message that carries what is sent.
func (ws *webSocket) messageType() websocket.MessageType {
	if ws.format == 0 {
		return websocket.MessageText
	}
	return ws.format
}

func (ws *webSocket) Write(p []byte) error {
	ws.net.cork(len(p))
	err := ws.conn.Write(context.Background(), ws.messageType(), p)
	if werr := ws.net.uncork(); err == nil {
		err = werr
	}
	return err
}

// WriteShared implements hubs.Sharing. The clients of one hub protocol have one kind
// of message.
func (ws *webSocket) WriteShared(s *hubs.Shared) error {
	message, err := ws.made(s)
	if err != nil {
		return err
	}
	return ws.net.writeWhole(message)
}

// TryShared implements hubs.Trying.
func (ws *webSocket) TryShared(s *hubs.Shared) (sent, behind bool, err error) {
	message, err := ws.made(s)
	if err != nil {
		return false, false, err
	}
	return ws.net.tryWhole(message)
}

// Rest implements hubs.Trying.
func (ws *webSocket) Rest() error { return ws.net.writeRest() }

// made is the message as it goes over the wire.
func (ws *webSocket) made(s *hubs.Shared) ([]byte, error) {
	return s.Made(func(p []byte) ([]byte, error) {
		press, err := pressed()
		if err != nil {
			return nil, err
		}
		return press.make(ws.messageType(), p)
	})
}

func (ws *webSocket) Close(e hubs.Ending) {
	status := websocket.StatusNormalClosure
	switch e {
	case hubs.EndFailed:
		status = websocket.StatusInternalError
	case hubs.EndPolicy:
		status = websocket.StatusPolicyViolation
	case hubs.EndTooLarge:
		status = websocket.StatusMessageTooBig
	}
	ws.net.over.Store(true)
	// It waits up to 5 s for the client's close frame, then drops the socket.
	_ = ws.conn.Close(status, "")
}

func (ws *webSocket) Abort() { _ = ws.net.cut() }

// free frees what a broken connection has left behind; the socket is closed.
func (ws *webSocket) free() { _ = ws.conn.CloseNow() }
