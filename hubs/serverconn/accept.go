package serverconn

import (
	"context"
	"errors"
	"net/http"

	"github.com/coder/websocket"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/serviceprotocol"
	"github.com/signalbox/signalbox/tenants"
)

// spare is how many server connections beyond Config.MaxConnections are taken in to be
// told why they are refused: SDKs log the error of the handshake, but not the body
// of an HTTP answer.
const spare = 20

// Accept makes the request a server connection and serves it on a goroutine of its
// own. The request is authenticated: a says for whom it is.
func (p *Pool) Accept(w http.ResponseWriter, r *http.Request, a Admission) {
	refusal, err := p.admit(a.Hub.Tenant)
	if err != nil {
		status := http.StatusServiceUnavailable
		if !errors.Is(err, errClosing) {
			a.Refused(codeConnections)
			status = http.StatusTooManyRequests
		}
		w.Header().Set("Retry-After", "5")
		http.Error(w, err.Error(), status)
		return
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // the token is in a header, which no page of another origin can set
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil { // it has been answered
		p.release(a.Hub.Tenant, nil)
		return
	}
	k := newConnection(p, ws, a)
	k.refusal = refusal
	if !p.enter(k) {
		p.release(a.Hub.Tenant, nil)
		_ = ws.Close(websocket.StatusGoingAway, "")
		return
	}
	go func() {
		defer p.release(a.Hub.Tenant, k)
		k.run()
	}()
}

// shakeHands reads the handshake request and answers it: the first message in
// either direction.
func (k *connection) shakeHands(reader *serviceprotocol.Reader) error {
	m, err := reader.Next()
	if err != nil {
		if k.ctx.Err() != nil {
			return context.Cause(k.ctx)
		}
		k.admission.Refused(codeHandshake)
		var broken *serviceprotocol.Error
		if errors.As(err, &broken) {
			k.out.force(&serviceprotocol.HandshakeResponse{Error: broken.Message})
		}
		return err
	}
	if err := k.checkHandshake(m); err != nil {
		var refused *refusal
		if errors.As(err, &refused) {
			k.admission.Refused(refused.code)
			k.out.force(&serviceprotocol.HandshakeResponse{Error: refused.Error()})
		}
		return err
	}
	k.stream.silent = k.pool.cfg.Timing.Silent
	k.out.force(&serviceprotocol.HandshakeResponse{ConnectionID: k.id})
	k.shaken.Store(true)
	return nil
}

// checkHandshake takes over what the request says, or returns a *refusal.
func (k *connection) checkHandshake(m serviceprotocol.Message) error {
	h, ok := m.(*serviceprotocol.HandshakeRequest)
	switch {
	case !ok:
		return refuse(codeHandshake, "The first message must be a handshake request.")
	case h.Version != serviceprotocol.Version:
		return refuse(codeHandshake, "Version mismatch: version %d of the service protocol is supported.", serviceprotocol.Version)
	case h.ConnectionType < serviceprotocol.ConnectionDefault || h.ConnectionType > serviceprotocol.ConnectionWeak:
		return refuse(codeHandshake, "Unknown connection type: 0 (default), 1 (on demand) and 2 (weak) are supported.")
	case len(h.Target) > maxTarget:
		return refuse(codeHandshake, "The target is longer than %d bytes.", maxTarget)
	case h.MigrationLevel < serviceprotocol.MigrationOff || h.MigrationLevel > serviceprotocol.MigrationAny:
		return refuse(codeHandshake, "Unknown migration level: 0 to 2 are supported.")
	case k.refusal != nil:
		return k.refusal
	case h.ConnectionType != serviceprotocol.ConnectionWeak && !TakesClients(k.admission.Handler):
		return refuse(codeHandler, "The hub's handler is %q: set it to %q or %q to let app servers serve its clients.",
			k.admission.Handler, tenants.HandlerAuto, tenants.HandlerAppServer)
	}
	k.kind, k.level = h.ConnectionType, h.MigrationLevel
	return nil
}

// TakesClients reports whether clients of hubs with that setting may be given to
// app servers. Without it, app servers can send through weak connections only.
func TakesClients(h tenants.Handler) bool {
	return h == "" || h == tenants.HandlerAuto || h == tenants.HandlerAppServer
}

// ServerID returns the id of an app server: what its token says, else what its
// header says, else a fresh one. The error is shown.
func ServerID(token, header string) (string, error) {
	for _, id := range []string{token, header} {
		if id != "" {
			if err := checkText("server id", id, maxServer); err != nil {
				return "", err
			}
			return id, nil
		}
	}
	return "anonymous_" + hubs.NewConnectionID(), nil
}
