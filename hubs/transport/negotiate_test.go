package transport_test

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
)

func TestNegotiate(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	parse := func(t *testing.T, a answer) (n negotiation, keys []string) {
		t.Helper()
		var all map[string]any
		if err := json.Unmarshal([]byte(a.body), &n); err != nil {
			t.Fatalf("%q: %v", a.body, err)
		}
		if err := json.Unmarshal([]byte(a.body), &all); err != nil {
			t.Fatal(err)
		}
		for k := range all {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		return n, keys
	}
	t.Run("N-01 version 1 has id and token", func(t *testing.T) {
		a := s.do("POST", "/negotiate", "?negotiateVersion=1", "", nil)
		n, keys := parse(t, a)
		if a.status != 200 || a.header.Get("Content-Type") != "application/json" || a.header.Get("Content-Length") != strconv.Itoa(len(a.body)) {
			t.Errorf("answered %d %v", a.status, a.header)
		}
		if n.NegotiateVersion != 1 || n.ConnectionID == "" || n.ConnectionToken == "" || n.ConnectionID == n.ConnectionToken {
			t.Errorf("negotiated %+v", n)
		}
		if want := []string{"availableTransports", "connectionId", "connectionToken", "negotiateVersion"}; !slices.Equal(keys, want) {
			t.Errorf("keys are %q, want %q", keys, want)
		}
	})
	t.Run("N-02 transports and formats in the order of preference", func(t *testing.T) {
		want := `"availableTransports":[{"transport":"WebSockets","transferFormats":["Text","Binary"]},` +
			`{"transport":"ServerSentEvents","transferFormats":["Text"]},{"transport":"LongPolling","transferFormats":["Text","Binary"]}]`
		if a := s.do("POST", "/negotiate", "?negotiateVersion=1", "", nil); !strings.Contains(a.body, want) {
			t.Errorf("answered %s", a.body)
		}
	})
	t.Run("N-03 version 0 has an id only, which opens the connection", func(t *testing.T) {
		n, keys := parse(t, s.do("POST", "/negotiate", "", "", nil))
		if want := []string{"availableTransports", "connectionId", "negotiateVersion"}; !slices.Equal(keys, want) || n.NegotiateVersion != 0 {
			t.Errorf("negotiated %+v with keys %q", n, keys)
		}
		s.do("GET", "", "?id="+n.ConnectionID, "", nil).want(t, 200, "")
	})
	t.Run("N-04 a version above the server's is answered with the server's", func(t *testing.T) {
		if n, _ := parse(t, s.do("POST", "/negotiate", "?negotiateVersion=7", "", nil)); n.NegotiateVersion != 1 || n.ConnectionToken == "" {
			t.Errorf("negotiated %+v", n)
		}
	})
	t.Run("N-05 a version that is no integer is an error in a 200", func(t *testing.T) {
		s.do("POST", "/negotiate", "?negotiateVersion=one", "", nil).want(t, 200, `{"error":"The client requested a non-integer protocol version."}`)
	})
	t.Run("N-06 a version below the server's is an error in a 200", func(t *testing.T) {
		s.do("POST", "/negotiate", "?negotiateVersion=-1", "", nil).want(t, 200,
			`{"error":"The client requested version '-1', but the server does not support this version."}`)
	})
	t.Run("N-07 a method other than POST is refused", func(t *testing.T) {
		for _, m := range []string{"GET", "PUT", "DELETE", "PATCH"} {
			a := s.do(m, "/negotiate", "", "", nil)
			a.want(t, 405, "")
			if a.header.Get("Content-Type") != "text/plain" {
				t.Errorf("%s: content type is %q", m, a.header.Get("Content-Type"))
			}
		}
	})
	t.Run("N-08 ids are unique and have 128 bits", func(t *testing.T) {
		ids, tokens := map[string]bool{}, map[string]bool{}
		for range 50 {
			n := s.negotiate("")
			ids[n.ConnectionID], tokens[n.ConnectionToken] = true, true
			if len(n.ConnectionID) != 22 {
				t.Errorf("id %q has %d characters, want 22", n.ConnectionID, len(n.ConnectionID))
			}
		}
		if len(ids) != 50 || len(tokens) != 50 {
			t.Errorf("%d ids and %d tokens of 50", len(ids), len(tokens))
		}
	})
	t.Run("N-09 SEC-10 the public id opens nothing", func(t *testing.T) {
		n := s.negotiate("")
		for _, m := range []string{"GET", "POST", "DELETE"} {
			s.do(m, "", "?id="+n.ConnectionID, "", nil).want(t, 404, "No Connection with that ID")
		}
	})
	t.Run("N-10 query keys in any case", func(t *testing.T) {
		if n, _ := parse(t, s.do("POST", "/negotiate", "?NegotiateVersion=1", "", nil)); n.ConnectionToken == "" {
			t.Errorf("negotiated %+v", n)
		}
	})
	t.Run("only allowed transports are offered", func(t *testing.T) {
		s := newSite(t, func(s *setup) { s.endpoint.Transports = []hubs.TransportKind{hubs.LongPolling, hubs.WebSockets} })
		n := s.negotiate("")
		if len(n.AvailableTransports) != 2 || n.AvailableTransports[0].Transport != "WebSockets" || n.AvailableTransports[1].Transport != "LongPolling" {
			t.Errorf("offered %+v", n.AvailableTransports)
		}
	})
	t.Run("A-01 who is refused by Resolve gets its status", func(t *testing.T) {
		s.do("POST", "/negotiate", "?negotiateVersion=1", "", as("nobody")).want(t, 401, "no")
	})
}

func TestRequestsWithoutAConnection(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	t.Run("T-01 SEC-13 no id", func(t *testing.T) {
		for _, m := range []string{"GET", "POST", "DELETE"} {
			a := s.do(m, "", "", "", nil)
			a.want(t, 400, "Connection ID required")
			if a.header.Get("Content-Type") != "text/plain" {
				t.Errorf("%s: content type is %q", m, a.header.Get("Content-Type"))
			}
		}
		s.do("GET", "", "", "", header{"Accept": "text/event-stream"}).want(t, 400, "Connection ID required")
	})
	t.Run("T-02 SEC-13 unknown id", func(t *testing.T) {
		for _, id := range []string{"x", strings.Repeat("A", 115), strings.Repeat("A", 10_000), "%00", "💥"} {
			for _, m := range []string{"GET", "POST", "DELETE"} {
				s.do(m, "", "?id="+id, "", nil).want(t, 404, "No Connection with that ID")
			}
			s.do("GET", "", "?id="+id, "", header{"Accept": "text/event-stream"}).want(t, 404, "No Connection with that ID")
		}
	})
	t.Run("T-04 other methods", func(t *testing.T) {
		for _, m := range []string{"PUT", "PATCH", "HEAD", "OPTIONS"} {
			if a := s.do(m, "", "", "", nil); a.status != 405 {
				t.Errorf("%s: answered %d", m, a.status)
			}
		}
	})
	t.Run("T-21 POST and DELETE before any transport", func(t *testing.T) {
		n := s.negotiate("")
		s.do("POST", "", "?id="+n.ConnectionToken, "x", nil).want(t, 404, "No Connection with that ID")
		s.do("DELETE", "", "?id="+n.ConnectionToken, "", nil).want(t, 404, "No Connection with that ID")
	})
	t.Run("a token's age is by the clock that all nodes share", func(t *testing.T) {
		var ahead atomic.Int64 // of this process' clock
		s := newSite(t, func(s *setup) {
			s.options.Clock = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		})
		n := s.negotiate("")
		ahead.Store(int64(5 * time.Minute))
		s.do("GET", "", "?id="+n.ConnectionToken, "", nil).want(t, 404, "No Connection with that ID")
		if fresh := s.negotiate(""); s.do("GET", "", "?id="+fresh.ConnectionToken, "", nil).status != 200 {
			t.Error("a token that is new by that clock isn't accepted")
		}
	})
	t.Run("N-18 a token that was unused for too long is unknown", func(t *testing.T) {
		s := newSite(t, func(s *setup) { s.options.TokenLife = 1 })
		n := s.negotiate("")
		s.do("GET", "", "?id="+n.ConnectionToken, "", nil).want(t, 404, "No Connection with that ID")
	})
}

func TestUsersAndScopes(t *testing.T) {
	t.Parallel()
	key := make([]byte, 32)
	s := newSite(t, func(s *setup) { s.options.TokenKey = key })
	other := newSite(t, func(s *setup) { s.options.TokenKey = key; s.endpoint.Scope = "other/chat" })
	events := header{"Accept": "text/event-stream", "Authorization": "Bearer ada"}
	with := func(h header, user string) header {
		c := header{"Authorization": "Bearer " + user}
		if v := h["Accept"]; v != "" {
			c["Accept"] = v
		}
		return c
	}

	n := s.negotiate("ada")
	query := "?id=" + n.ConnectionToken
	s.do("GET", "", query, "", as("ada")).want(t, 200, "")
	s.do("POST", "", query, handshake, as("ada")).want(t, 200, "")
	s.do("GET", "", query, "", as("ada")).want(t, 200, "{}\x1e")

	t.Run("SEC-12 another user is refused with 403 on every request, nobody with 401", func(t *testing.T) {
		for _, m := range []string{"GET", "POST", "DELETE"} {
			s.do(m, "", query, "x", as("bob")).want(t, 403, "This connection belongs to another user.")
			s.do(m, "", query, "x", nil).want(t, 403, "This connection belongs to another user.")
			s.do(m, "", query, "x", as("nobody")).want(t, 401, "no")
		}
		fresh := s.negotiate("ada")
		for _, h := range []header{events, nil} {
			s.do("GET", "", "?id="+fresh.ConnectionToken, "", with(h, "bob")).want(t, 403, "This connection belongs to another user.")
		}
		if _, resp, err := s.dial("?id="+fresh.ConnectionToken, as("bob")); err == nil || resp.StatusCode != 403 {
			t.Errorf("dial: %v, %v", resp, err)
		}
	})
	t.Run("SEC-12 the token is unknown in another scope", func(t *testing.T) {
		for _, m := range []string{"GET", "POST", "DELETE"} {
			other.do(m, "", query, "x", as("ada")).want(t, 404, "No Connection with that ID")
		}
	})
	t.Run("SEC-12 the connection is undisturbed", func(t *testing.T) {
		frame := s.publish("still here")
		s.do("GET", "", query, "", as("ada")).want(t, 200, frame)
		c, ok := s.hub.Connection(n.ConnectionID)
		if !ok || c.User() != "ada" {
			t.Errorf("the connection's user has changed")
		}
	})
}
