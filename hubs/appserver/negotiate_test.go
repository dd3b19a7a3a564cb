package appserver_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/appserver"
)

type answer struct {
	URL         string `json:"url"`
	AccessToken string `json:"accessToken"`
	Transports  []any  `json:"availableTransports"`
}

// negotiate posts to path and returns the answer with its token's claims.
func negotiate(t *testing.T, app *appserver.App, path string) (answer, jwt.MapClaims) {
	t.Helper()
	w := httptest.NewRecorder()
	app.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, nil))
	var a answer
	if err := json.Unmarshal(w.Body.Bytes(), &a); w.Code != http.StatusOK || err != nil {
		t.Fatalf("status %d, %s, %v", w.Code, w.Body, err)
	}
	claims := jwt.MapClaims{}
	if _, err := jwt.ParseWithClaims(a.AccessToken, claims, func(*jwt.Token) (any, error) { return []byte(accessKey), nil }); err != nil {
		t.Fatal(err)
	}
	return a, claims
}

func TestNegotiate_sends_the_client_to_the_service(t *testing.T) {
	t.Parallel()
	s := newService(t)
	expires := time.Now().Add(time.Hour).Truncate(time.Second)
	app := start(t, s, newHub(t, newChat(), hubs.Options{EnableDetailedErrors: true, HandshakeTimeout: 5 * time.Second}), appserver.Options{
		Sticky: appserver.RequireServer, Transports: []hubs.TransportKind{hubs.WebSockets, hubs.LongPolling}, CloseOnExpiry: true, TokenLife: time.Minute,
		Authenticate: func(r *http.Request) (hubs.Principal, error) {
			return hubs.Principal{UserID: r.URL.Query().Get("user"), Expires: expires, Claims: []hubs.Claim{
				{Type: "role", Value: "a"}, {Type: "role", Value: "b"}, {Type: "sub", Value: "s"}, {Type: "exp", Value: "soon"},
			}}, nil
		},
	})
	if err := app.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	a, claims := negotiate(t, app, "/app/chat/negotiate?negotiateVersion=1&user=ann&access_token=x&hub=evil")
	at, err := url.Parse(a.URL)
	if err != nil {
		t.Fatal(err)
	}
	if want := s.http.URL + "/client/"; at.Scheme+"://"+at.Host+at.Path != want || len(a.Transports) != 0 {
		t.Errorf("got %s and %v, want %s", a.URL, a.Transports, want)
	}
	if diff := cmp.Diff(url.Values{"hub": {"chat"}, "asrs.op": {"/app/chat"}, "negotiateVersion": {"1"}, "user": {"ann"}}, at.Query()); diff != "" {
		t.Error(diff)
	}
	for _, name := range []string{"exp", "iat", "nbf"} {
		if n, ok := claims[name].(float64); !ok || time.Until(time.Unix(int64(n), 0)) > 2*time.Minute {
			t.Errorf("%s is %v", name, claims[name])
		}
		delete(claims, name)
	}
	want := jwt.MapClaims{
		"aud": "http://127.0.0.1/client/?hub=chat", "asrs.s.uid": "ann", "role": []any{"a", "b"}, "asrs.u.sub": "s", "asrs.u.exp": "soon",
		"asrs.s.sn": app.ID(), "asrs.s.ssticky": "Required", "asrs.s.htt": 5.0, "asrs.s.coae": "true", "asrs.s.aeo": float64(expires.Unix()),
		"asrs.s.derror": "True", "asrs.s.cht": 5.0,
	}
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Error(diff)
	}
}

func TestNegotiate_takes_the_client_endpoint_and_the_application(t *testing.T) {
	t.Parallel()
	s := newService(t)
	app, err := appserver.Connect(t.Context(), newHub(t, newChat(), hubs.Options{}),
		"endpoint=http://127.0.0.1/t/acme/;Port="+s.http.URL[strings.LastIndex(s.http.URL, ":")+1:]+";accesskey="+accessKey+";ClientEndpoint=https://rt.example:8443;ServerEndpoint="+s.http.URL,
		appserver.Options{Connections: 1, Application: "App"})
	if err != nil {
		t.Fatal(err)
	}
	p := s.connection()
	if err := app.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p.request.URL.Query().Get("hub") != "app_chat" || p.claims["aud"] != "http://127.0.0.1/t/acme/server/?hub=app_chat" {
		t.Errorf("connected to %s with %v", p.request.URL, p.claims)
	}
	a, claims := negotiate(t, app, "/negotiate")
	if a.URL != "https://rt.example:8443/client/?hub=app_chat" || claims["aud"] != "http://127.0.0.1/t/acme/client/?hub=app_chat" {
		t.Errorf("got %s with %v", a.URL, claims)
	}
}

func TestNegotiate_refuses(t *testing.T) {
	t.Parallel()
	s := newService(t)
	app := start(t, s, newHub(t, newChat(), hubs.Options{}), appserver.Options{Connections: 1, Authenticate: func(r *http.Request) (hubs.Principal, error) {
		if r.URL.Query().Has("banned") {
			return hubs.Principal{}, errors.New("secret")
		}
		return hubs.Principal{Claims: []hubs.Claim{{Type: "x", Value: strings.Repeat("x", 5000)}}}, nil
	}})
	if err := app.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	waiting, err := appserver.Connect(t.Context(), newHub(t, newChat(), hubs.Options{}), "Endpoint=http://127.0.0.1:1;AccessKey=k;Version=1.0;")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		app          *appserver.App
		method, path string
		status       int
	}{
		"a_user":                     {app, http.MethodPost, "/chat/negotiate?banned", http.StatusUnauthorized},
		"claims_that_are_too_long":   {app, http.MethodPost, "/chat/negotiate", http.StatusRequestEntityTooLarge},
		"another_method":             {app, http.MethodGet, "/chat/negotiate", http.StatusMethodNotAllowed},
		"a_transport":                {app, http.MethodGet, "/chat", http.StatusNotFound},
		"while_nothing_is_connected": {waiting, http.MethodPost, "/chat/negotiate", http.StatusServiceUnavailable},
	} {
		w := httptest.NewRecorder()
		tt.app.Handler().ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, nil))
		if w.Code != tt.status || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s: status %d, %s", name, w.Code, w.Body)
		}
	}
}

func TestMount_takes_the_place_of_a_transport(t *testing.T) {
	t.Parallel()
	s := newService(t)
	mux := http.NewServeMux()
	app, err := appserver.Mount(t.Context(), mux, "/chat", newHub(t, newChat(), hubs.Options{}), s.connectionString())
	if err != nil {
		t.Fatal(err)
	}
	if err := app.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/chat/negotiate?negotiateVersion=1", nil))
	if w.Code != http.StatusOK {
		t.Errorf("status %d, %s", w.Code, w.Body)
	}
}
