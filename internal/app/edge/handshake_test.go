package edge

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"
)

// The token says how long its bearer may take for the handshake; without that
// it would be 15 s.
func TestHandshakeTimeoutOfTheToken(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startCluster(t, demo)
	claims := jwt.MapClaims{"aud": "http://localhost/t/demo/client/?hub=chat", "exp": time.Now().Add(time.Hour).Unix(), "asrs.s.cht": "1"}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(demo.Keys[0].Secret))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
	defer cancel()
	var ws *websocket.Conn
	c.eventually("a client to be let in", func() bool { // at once, unless Redis is taken for away
		ws, _, err = websocket.Dial(ctx, c.base(0, "demo")+"/client/?hub=chat", &websocket.DialOptions{
			HTTPHeader: http.Header{"Authorization": {"Bearer " + token}},
		})
		return err == nil
	})
	defer ws.CloseNow()
	if _, data, err := ws.Read(ctx); err != nil || !strings.Contains(string(data), "Handshake was canceled.") {
		t.Fatalf("got %q, %v", data, err)
	}
}

// The token says how long a poll without data stays open; without that it would be
// 90 s.
func TestPollIntervalOfTheToken(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startCluster(t, demo)
	claims := jwt.MapClaims{"aud": "http://localhost/t/demo/client/?hub=chat", "exp": time.Now().Add(time.Hour).Unix(), "asrs.s.ttl": "1"}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(demo.Keys[0].Secret))
	if err != nil {
		t.Fatal(err)
	}
	_, body := c.do(http.MethodPost, c.base(0, "demo")+"/client/negotiate?hub=chat&negotiateVersion=1", token, "", nil)
	var n struct{ ConnectionToken string }
	if err := json.Unmarshal([]byte(body), &n); err != nil || n.ConnectionToken == "" {
		t.Fatalf("negotiated %s, %v", body, err)
	}
	at := c.base(0, "demo") + "/client/?hub=chat&id=" + url.QueryEscape(n.ConnectionToken)
	for _, what := range []string{"the first poll", "a poll without data"} { // which waits for the handshake
		if res, got := c.do(http.MethodGet, at, token, "", nil); res.StatusCode != http.StatusOK || got != "" {
			t.Errorf("%s: %d %q", what, res.StatusCode, got)
		}
	}
}
