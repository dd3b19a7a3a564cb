package upstream_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/upstream"
	"github.com/signalbox/signalbox/tenants"
)

// An answer may say what it follows: what the upstream sent to the hub meanwhile
// reaches the client first.
func TestAnswersFollowAPosition(t *testing.T) {
	t.Parallel()
	for _, mode := range []tenants.UpstreamMode{tenants.UpstreamNative, tenants.UpstreamAzure} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			var next hubs.Position
			open := func(id tenants.ID, hub, token string) (hubs.Position, error) {
				switch {
				case id != tenantID || hub != hubName:
					t.Errorf("position of %s %s", id, hub)
				case token == "next":
					return next, nil
				case token == "never":
					return hubs.Position{Epoch: next.Epoch, Number: next.Number + 1000}, nil
				}
				return hubs.Position{}, errors.New("forged")
			}
			w := newWorld(t, mode, answers(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Signalbox-Position", r.URL.Path[len("/chat/messages/"):])
				w.WriteHeader(http.StatusNoContent)
			}), setting{config: func(c *upstream.Config) { c.Position = open }})
			c := w.connect(protocol.NewJSON(), "con1")
			push := func() hubs.Position {
				at, err := w.server.Backplane().Publish(t.Context(), &hubs.Entry{Kind: hubs.SendToAll, Message: &hubs.Broadcast{Target: "news", Arguments: jsonList("[]")}}, hubs.PublishOptions{})
				if err != nil {
					t.Fatal(err)
				}
				return at
			}
			at := push()
			if m := c.receive(); m.Target != "news" {
				t.Fatalf("got %+v", m)
			}
			next = hubs.Position{Epoch: at.Epoch, Number: at.Number + 1}
			w.event("connected")

			c.invoke("1", "next", "[]")
			w.next() // it answers while nothing has been sent yet
			push()
			if m := c.receive(); m.Target != "news" {
				t.Fatalf("got %+v before the push", m)
			}
			if got := c.completion("1"); got != "" {
				t.Errorf("completion %q", got)
			}
			for _, method := range []string{"never", "forged"} {
				c.invoke("2", method, "[]")
				if got := c.completion("2"); got == "" {
					t.Errorf("%s: the call succeeded", method)
				}
			}
			w.ledger.until(t, "both refusals", func(l *ledger) bool { return l.refused["upstream_position"] == 2 })
		})
	}
}
