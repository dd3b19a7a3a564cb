package upstream

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/signalbox/signalbox/tenants"
)

// Presence is news of who is present in a group.
type Presence struct {
	ID           string // the same whenever it is told again
	Joined       bool   // else the member has left
	Group        string
	UserID       string
	ConnectionID string // of a member without a user
}

// presenceMessage is the body of its request.
type presenceMessage struct {
	Type         string `json:"type"`
	ID           string `json:"id"`
	Hub          string `json:"hub"`
	Group        string `json:"group"`
	UserID       string `json:"user_id,omitempty"`
	ConnectionID string `json:"connection_id,omitempty"`
	At           string `json:"at"`
}

// Presence has a hub's upstream told of e, as of other events. told is called once that
// is done, or nobody has to do it any more.
func (g *Gateway) Presence(doc *tenants.Document, hub string, e Presence, told func()) {
	name := tenants.EventLeft
	if e.Joined {
		name = tenants.EventJoined
	}
	u := doc.Hubs[hub].Upstream
	if !u.Presence(hub) || doc.Status != tenants.Active {
		told()
		return
	}
	settings := u.WithDefaults()
	rule, ok := settings.Match(hub, tenants.CategoryPresence, name)
	target := ""
	if ok {
		target, ok = rule.Expand(hub, tenants.CategoryPresence, name)
	}
	body, err := json.Marshal(presenceMessage{
		Type: "presence." + name, ID: e.ID, Hub: hub, Group: e.Group, UserID: e.UserID, ConnectionID: e.ConnectionID,
		At: time.Now().UTC().Format(time.RFC3339Nano),
	})
	if !ok || err != nil {
		told()
		return
	}
	t := g.tenantOf(doc.ID)
	n := now{doc: doc, upstream: settings}
	t.events.add(&event{
		native: true,
		post: &post{
			hub: hub, category: tenants.CategoryPresence, event: name, mode: tenants.UpstreamNative, connection: e.ConnectionID, user: e.UserID,
			messageID: e.ID, url: target, header: http.Header{"Content-Type": {jsonType}}, sign: nativeSignature(doc, e.ID, body), body: body,
			timeout: n.timeout(), limit: maxEventResponse, attempt: 1, retries: true,
		},
		ended: func(done bool) {
			g.leave(t)
			if done {
				told()
			}
		},
	})
}
