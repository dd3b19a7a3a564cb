package transport_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/transport"
)

// SEC-17: a poll is made with the credentials that the client has then, and those
// are what the connection lives by, as in ASP.NET Core.
func TestPolls_renew_the_authentication_SEC_17(t *testing.T) {
	t.Parallel()
	end := time.Now().Add(8 * time.Second) // all are connected by then, on a slow machine too
	told := make(chan string, 100)
	var s *site
	s = newSite(t, func(c *setup) {
		c.config.Options.CloseOnAuthenticationExpiration = true
		c.options.PollTimeout = 100 * time.Millisecond
		c.resolve = func(r *http.Request) (*transport.Endpoint, error) {
			ep := &transport.Endpoint{Scope: "tenant/chat", Server: s.hub}
			ep.Principal = hubs.Principal{UserID: "ann", Expires: end}
			switch r.Header.Get("X-Until") {
			case "later":
				ep.Principal.Expires = end.Add(time.Hour)
			case "sooner":
				ep.Principal.Expires = end.Add(-time.Hour)
			case "lapsed":
				ep.Lapsed = func(string) error { return nil }
				ep.Principal.Expires = end.Add(time.Hour)
			}
			ep.Renewed = func(k *hubs.Connection) { told <- k.ID() }
			return ep, nil
		}
	})
	open := func() (query, id string) {
		n := s.negotiate("")
		query = "?id=" + n.ConnectionToken
		s.do("GET", "", query, "", nil).want(t, 200, "")
		s.do("POST", "", query, handshake, nil).want(t, 200, "")
		until(t, "the answer to the handshake", func() bool { return s.do("GET", "", query, "", nil).body != "" })
		return query, n.ConnectionID
	}
	renewed, id := open()
	stale, _ := open()
	lapsed, _ := open()
	for len(told) > 0 {
		<-told
	}
	s.do("GET", "", renewed, "", header{"X-Until": "later"}).want(t, 200, "")
	if got := <-told; got != id {
		t.Errorf("told of %q, want %q", got, id)
	}
	s.do("GET", "", renewed, "", header{"X-Until": "sooner"}).want(t, 200, "")
	last := map[string]string{lapsed: s.do("GET", "", lapsed, "", header{"X-Until": "lapsed"}).body}
	for name, query := range map[string]string{"with the old credentials": stale, "with lapsed ones": lapsed} {
		until(t, "the end of the one "+name, func() bool {
			a := s.do("GET", "", query, "", nil)
			last[query] += a.body
			return a.status != http.StatusOK
		})
		if !strings.Contains(last[query], `{"type":7,"allowReconnect":true}`) {
			t.Errorf("%s: the last words are %q", name, last[query])
		}
	}
	if time.Now().Before(end) {
		t.Error("they have ended too early")
	}
	frame := s.publish("still here")
	s.polls(renewed, nil).want(t, 200, frame)
}
