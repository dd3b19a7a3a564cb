package transport_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/signalbox/signalbox/hubs/transport"
)

func TestOrigins(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(s *setup) {
		s.endpoint.Origins = []string{"https://good.example"}
	})
	open := newSite(t, nil)
	t.Run("N-19 a preflight is answered without a token", func(t *testing.T) {
		a := s.do("OPTIONS", "/negotiate", "", "", header{
			"Origin": "https://good.example", "Access-Control-Request-Method": "POST",
			"Access-Control-Request-Headers": "authorization,x-requested-with,x-signalr-user-agent", "Authorization": "Bearer nobody",
		})
		if a.status != 204 || a.header.Get("Access-Control-Allow-Origin") != "https://good.example" ||
			a.header.Get("Access-Control-Allow-Credentials") != "true" ||
			a.header.Get("Access-Control-Allow-Headers") != "authorization,x-requested-with,x-signalr-user-agent" ||
			!strings.Contains(a.header.Get("Access-Control-Allow-Methods"), "DELETE") || a.header.Get("Vary") != "Origin" {
			t.Errorf("answered %d %v", a.status, a.header)
		}
	})
	t.Run("an error can be read by the page", func(t *testing.T) {
		a := s.do("POST", "/negotiate", "", "", header{"Origin": "https://good.example", "Authorization": "Bearer nobody"})
		if a.status != 401 || a.header.Get("Access-Control-Allow-Origin") != "https://good.example" {
			t.Errorf("answered %d %v", a.status, a.header)
		}
	})
	t.Run("SEC-30 other origins are refused everywhere", func(t *testing.T) {
		for _, origin := range []string{
			"https://evil.example", "null", "https://good.example.evil.com", "http://good.example", "https://good.example:8443", "https://good.example/", "https://a@good.example", "good.example", "*",
			"https://xn--god-5ja.example", "https://go\u043ed.example", "https://goｏd.example", "https://good.example.", "https://good.example https://evil.example", "https://sub.good.example",
		} {
			for _, m := range []string{"GET", "POST", "DELETE"} {
				a := s.do(m, "", "?id=x", "", header{"Origin": origin})
				if a.status != 403 || a.header.Get("Access-Control-Allow-Origin") != "" || a.header.Get("Access-Control-Allow-Credentials") != "" || !strings.Contains(a.header.Get("Vary"), "Origin") {
					t.Errorf("%s from %s: answered %d %v", m, origin, a.status, a.header)
				}
			}
			query := "?id=" + s.negotiate("").ConnectionToken
			s.do("GET", "", query, "", header{"Origin": origin, "Accept": "text/event-stream"}).want(t, 403, "This origin is not allowed.")
			s.do("GET", "", query, "", header{"Origin": origin}).want(t, 403, "This origin is not allowed.")
			s.do("POST", "/negotiate", "", "", header{"Origin": origin}).want(t, 403, "This origin is not allowed.")
			if _, resp, err := s.dial("", header{"Origin": origin}); err == nil || resp.StatusCode != 403 {
				t.Errorf("WebSocket from %s: %v, %v", origin, resp, err)
			}
		}
	})
	t.Run("SEC-49 without a good token every origin is answered alike", func(t *testing.T) {
		for _, at := range []*site{s, open} {
			for _, origin := range []string{"https://good.example", "https://evil.example", "null"} {
				a := at.do("OPTIONS", "/negotiate", "", "", header{"Origin": origin, "Access-Control-Request-Method": "POST"})
				if a.status != 204 || a.header.Get("Access-Control-Allow-Origin") != origin || a.header.Get("Access-Control-Allow-Credentials") != "true" {
					t.Errorf("a preflight from %s: answered %d %v", origin, a.status, a.header)
				}
				a = at.do("POST", "/negotiate", "", "", header{"Origin": origin, "Authorization": "Bearer nobody"})
				if a.status != 401 || a.header.Get("Access-Control-Allow-Origin") != origin {
					t.Errorf("a bad token from %s: answered %d %v", origin, a.status, a.header)
				}
			}
		}
	})
	t.Run("SEC-30 allowed origins, its own and none are served", func(t *testing.T) {
		own := strings.TrimSuffix(s.url, "/client")
		for _, origin := range []string{"https://good.example", "HTTPS://GOOD.example", own, ""} {
			h := header{}
			if origin != "" {
				h["Origin"] = origin
			}
			// What differs by the origin says so to caches, where it is good news, too.
			query := "?id=" + s.negotiate("").ConnectionToken
			for _, ask := range [][4]string{
				{"POST", "/negotiate"}, {"GET", "", query}, {"POST", "", query, handshake}, {"GET", "", query}, {"DELETE", "", query},
			} {
				a := s.do(ask[0], ask[1], ask[2], ask[3], h)
				if a.status/100 != 2 || a.header.Get("Access-Control-Allow-Origin") != origin || a.header.Get("Vary") != "Origin" {
					t.Errorf("%s%s of %q: answered %d %v", ask[0], ask[1], origin, a.status, a.header)
				}
			}
			events := s.events("?id="+s.negotiate("").ConnectionToken, h).resp
			if events.StatusCode != 200 || events.Header.Get("Access-Control-Allow-Origin") != origin || events.Header.Get("Vary") != "Origin" {
				t.Errorf("events of %q: answered %d %v", origin, events.StatusCode, events.Header)
			}
			if _, resp, err := s.dial("", h); err != nil {
				t.Errorf("WebSocket from %q: %v, %v", origin, resp, err)
			}
			// Whoever says no origin, or an allowed one, needs a token as everybody does.
			h["Authorization"] = "Bearer nobody"
			if a := s.do("POST", "/negotiate", "", "", h); a.status != 401 || a.header.Get("Vary") != "Origin" {
				t.Errorf("%q without a good token: answered %d %v", origin, a.status, a.header)
			}
			if _, resp, err := s.dial("", h); err == nil || resp.StatusCode != 401 {
				t.Errorf("WebSocket from %q without a good token: %v, %v", origin, resp, err)
			}
		}
	})
	t.Run("SEC-30 without a list every origin is echoed, never a wildcard", func(t *testing.T) {
		a := open.do("POST", "/negotiate", "", "", header{"Origin": "https://any.example"})
		if a.header.Get("Access-Control-Allow-Origin") != "https://any.example" {
			t.Errorf("header is %v", a.header)
		}
	})
}

// SEC-30: a page that came without TLS isn't the page of a URL with it.
func TestOrigins_of_TLS(t *testing.T) {
	t.Parallel()
	h, err := transport.NewHandler(transport.Options{
		Resolve: func(*http.Request) (*transport.Endpoint, error) {
			return &transport.Endpoint{Scope: "chat", Origins: []string{"https://good.example"}}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(h)
	defer server.Close()
	for origin, want := range map[string]int{
		server.URL: http.StatusOK, strings.Replace(server.URL, "https", "http", 1): http.StatusForbidden, "https://good.example": http.StatusOK,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/chat/negotiate", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", origin)
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s is answered %d, want %d", origin, resp.StatusCode, want)
		}
	}
}
