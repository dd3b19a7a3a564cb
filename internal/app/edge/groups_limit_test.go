package edge

import (
	"net/http"
	"testing"

	"github.com/signalbox/signalbox/tenants"
)

// What the limit of messages refuses, or has an app server try again, takes nothing of
// its groups' rates.
func TestGroups_are_charged_for_what_is_sent(t *testing.T) {
	t.Parallel()
	const burst = 10
	doc := limited("group_charges", func(l *tenants.Limits) {
		l.MessagesPerSecond, l.MessageBurst = 1, 1
		l.GroupPublishesPerSecond, l.GroupPublishBurst = 1, burst
	})
	c := startEdges(t, 1, doc)
	e := c.edges[0]
	app := &servers{hubs: e.hubs, limits: e.limits}
	for name, send := range map[string]func(group string) bool{
		"app server": func(group string) bool {
			wait, err := app.admit(t.Context(), doc, "chat", []string{group}, 1, nil)
			if err != nil {
				t.Fatal(err)
			}
			return wait == 0
		},
		"REST": func(group string) bool {
			target := c.base(0, doc.Slug) + "/api/hubs/chat/groups/" + group + "/:send"
			res, body := c.do(http.MethodPost, target, doc.Keys[0].Secret, `{"target":"t","arguments":[]}`, nil)
			if res.StatusCode != http.StatusAccepted && res.StatusCode != http.StatusTooManyRequests {
				t.Fatalf("%d %s", res.StatusCode, body)
			}
			return res.StatusCode == http.StatusAccepted
		},
	} {
		sent := 0
		for range 3 * burst {
			if send(name[:1]) {
				sent++
			}
		}
		for range burst {
			if e.limits.groups.Charge(doc.ID, "chat", []string{name[:1]}, &doc.Limits, func() error { return nil }) == nil {
				sent++
			}
		}
		if sent < burst {
			t.Errorf("%s: %d are sent or may be, want %d", name, sent, burst)
		}
	}
}
