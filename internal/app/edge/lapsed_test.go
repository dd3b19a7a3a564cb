package edge

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
)

// polled is a connection by long polling, request by request.
type polled struct {
	c     *cluster
	slug  string
	id    string
	token string
}

func (c *cluster) poll(edge int, d *tenants.Document, token string) *polled {
	c.t.Helper()
	p := &polled{c: c, slug: d.Slug, token: token}
	res, body := c.do(http.MethodPost, c.base(edge, d.Slug)+"/client/negotiate?negotiateVersion=1&hub=chat", token, "", nil)
	var n struct{ ConnectionToken string }
	if json.Unmarshal([]byte(body), &n) != nil || res.StatusCode != http.StatusOK {
		c.t.Fatalf("negotiate: %d %s", res.StatusCode, body)
	}
	p.id = n.ConnectionToken
	p.wants(edge, http.MethodGet, token, "", http.StatusOK)
	p.wants(edge, http.MethodPost, token, `{"protocol":"json","version":1}`+separator, http.StatusOK)
	return p
}

func (p *polled) status(edge int, method, token, body string) int {
	res, _ := p.c.do(method, p.c.base(edge, p.slug)+"/client/?hub=chat&id="+url.QueryEscape(p.id), token, body, nil)
	return res.StatusCode
}

func (p *polled) wants(edge int, method, token, body string, status int) {
	p.c.t.Helper()
	if got := p.status(edge, method, token, body); got != status {
		p.c.t.Fatalf("%s on edge %d: %d, want %d", method, edge, got, status)
	}
}

const ping = `{"type":6}` + separator

// Stock clients go on sending the token that they connected with. Once it has
// expired it is good for the connection alone that has been refreshed meanwhile.
func TestRequestsAfterARefresh(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startEdges(t, 2, demo)
	mint := func(user string, at time.Time) string {
		m, err := accesstoken.MintClient(demo.Keys[0], "http://localhost/t/demo", accesstoken.ClientOptions{Hub: "chat", UserID: user, Life: time.Hour}, at)
		if err != nil {
			t.Fatal(err)
		}
		return m.Token
	}
	// They are good for some seconds more, by the leeway for clocks.
	almost := time.Now().Add(-time.Hour - accesstoken.Leeway + 7*time.Second)
	first, others := mint("ann", almost), mint("bob", almost)
	waiting := c.poll(0, demo, first)
	goes, stays := c.poll(0, demo, first), c.poll(1, demo, first)
	unused := &polled{c: c, slug: "demo"}
	_, body := c.do(http.MethodPost, c.base(0, "demo")+"/client/negotiate?negotiateVersion=1&hub=chat", first, "", nil)
	var n struct{ ConnectionToken string }
	if err := json.Unmarshal([]byte(body), &n); err != nil {
		t.Fatal(err)
	}
	unused.id = n.ConnectionToken
	call := fmt.Sprintf(`{"type":1,"invocationId":"1","target":"$refreshToken","arguments":[%q]}`, mint("ann", time.Now()))
	stays.wants(1, http.MethodPost, first, call+separator, http.StatusOK)
	c.eventually("the first token has expired", func() bool { return goes.status(0, http.MethodPost, first, ping) == http.StatusUnauthorized })

	for edge := range c.edges { // the one that has the connection, and one that passes it on
		stays.wants(edge, http.MethodPost, first, ping, http.StatusOK)
		stays.wants(edge, http.MethodPost, others, ping, http.StatusForbidden)
		stays.wants(edge, http.MethodPost, first+"x", ping, http.StatusUnauthorized)
		goes.wants(edge, http.MethodPost, first, ping, http.StatusUnauthorized)
		waiting.wants(edge, http.MethodGet, first, "", http.StatusUnauthorized)
		unused.wants(edge, http.MethodGet, first, "", http.StatusNotFound)
		if status := c.negotiates(edge, demo, first); status != http.StatusUnauthorized {
			t.Errorf("negotiate on edge %d: %d", edge, status)
		}
	}
	res, answers := c.do(http.MethodGet, c.base(0, "demo")+"/client/?hub=chat&id="+url.QueryEscape(stays.id), first, "", nil)
	if res.StatusCode != http.StatusOK || !strings.Contains(answers, `"invocationId":"1"`) {
		t.Errorf("the poll after the refresh: %d %s", res.StatusCode, answers)
	}
	// Revoked is revoked, whatever the connection lives by.
	after := document("demo", 2)
	after.Revocations = []tenants.DocRevocation{revoked(tenants.RevokedUser, "ann", almost)}
	c.publish(after)
	c.eventually("the first token is revoked", func() bool { return stays.status(1, http.MethodPost, first, ping) == http.StatusUnauthorized })
}
