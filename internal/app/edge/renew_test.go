package edge

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
)

// SEC-17: a client that polls with a newer token lives by that one: by its end, and
// by its revocation. The poll may reach any edge.
func TestPollsWithANewerToken_SEC17(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startEdges(t, 2, demo)
	mint := func(at time.Time) accesstoken.Minted {
		m, err := accesstoken.MintClient(demo.Keys[0], "http://localhost/t/demo", accesstoken.ClientOptions{Hub: "chat", UserID: "ann", Life: time.Hour, CloseOnExpiry: true}, at)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	almost := time.Now().Add(-time.Hour + 8*time.Second)
	newer := mint(time.Now())
	first, second := mint(almost).Token, newer.Token
	renewed, stale := c.poll(0, demo, first), c.poll(1, demo, first)
	renewed.wants(0, http.MethodGet, first, "", http.StatusOK) // the handshake's answer
	c.send(0, demo, "chat", "m", "x")                          // so that no poll waits
	renewed.wants(1, http.MethodGet, second, "", http.StatusOK)
	ends := func(p *polled, edge int, word string) {
		t.Helper()
		var said string
		c.eventually("the end with "+word, func() bool {
			_, body := c.do(http.MethodGet, c.base(edge, "demo")+"/client/?hub=chat&id="+url.QueryEscape(p.id), first, "", nil)
			said += body
			return strings.Contains(said, word)
		})
	}
	ends(stale, 1, `{"type":7,"allowReconnect":true}`)
	renewed.wants(0, http.MethodPost, second, ping, http.StatusOK)
	renewed.wants(1, http.MethodPost, first, ping, http.StatusOK) // good for a minute more, by the leeway

	after := document("demo", 2)
	after.Revocations = []tenants.DocRevocation{revoked(tenants.RevokedToken, newer.ID, time.Now().Add(time.Second))}
	c.publish(after)
	ends(renewed, 0, reasonTokenRevoked)
}
