package appserver

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/signalbox/signalbox/hubs"
)

// redirect is the answer to negotiate that sends a client to the service
// (TransportProtocols.md, "POST [endpoint-base]/negotiate request").
type redirect struct {
	URL         string     `json:"url"`
	AccessToken string     `json:"accessToken"`
	Transports  []struct{} `json:"availableTransports"`
}

// Handler answers POST …/negotiate: it authenticates the client and sends it to
// the service. The path in front is what the client's requests to the app server
// seem to be for. CORS is for whoever serves the Handler.
func (a *App) Handler() http.Handler { return http.HandlerFunc(a.negotiate) }

func (a *App) negotiate(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-cache, no-store")
	path, ok := strings.CutSuffix(r.URL.Path, "/negotiate")
	switch {
	case !ok:
		http.Error(w, "This hub is served elsewhere: negotiate first.", http.StatusNotFound)
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "", http.StatusMethodNotAllowed)
		return
	case !a.isReady():
		w.Header().Set("Retry-After", "1")
		http.Error(w, "The service is not connected yet, please try again later.", http.StatusServiceUnavailable)
		return
	}
	var p hubs.Principal
	if a.opt.Authenticate != nil {
		var err error
		if p, err = a.opt.Authenticate(r); err != nil {
			a.log.Debug("negotiation refused", "hub", a.hubKey, "error", err)
			http.Error(w, "", http.StatusUnauthorized)
			return
		}
	}
	token, err := a.clientToken(&p, time.Now())
	if err != nil {
		a.log.Error("client token can't be made", "hub", a.hubKey, "error", err)
		http.Error(w, "", http.StatusInternalServerError)
		return
	}
	if len(token) > maxTokenBytes {
		a.log.Error("the claims of a user are too long for a token", "hub", a.hubKey, "bytes", len(token), "limit", maxTokenBytes)
		http.Error(w, "AccessToken must not be longer than 4K.", http.StatusRequestEntityTooLarge)
		return
	}
	body, err := json.Marshal(redirect{URL: a.clientURL(path, r.URL.Query()), AccessToken: token, Transports: []struct{}{}}) //nolint:gosec // the token is the client's own
	if err != nil {
		http.Error(w, "", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}

// clientURL is where a client of path goes on, with what it has asked for.
func (a *App) clientURL(path string, query url.Values) string {
	query.Del("access_token")
	query.Del("hub")
	text := a.endpoint.Client + "client/?hub=" + url.QueryEscape(a.hubKey)
	if path != "" {
		text += "&asrs.op=" + url.QueryEscape(path)
	}
	if len(query) > 0 {
		text += "&" + query.Encode()
	}
	return text
}

// Mount connects hub and answers negotiation for it at path on mux: what
// transport.Mount does for a hub that is served by the program itself. ctx ends
// the App, see Connect.
func Mount(ctx context.Context, mux *http.ServeMux, path string, hub *hubs.Server, connectionString string, o ...Options) (*App, error) {
	a, err := Connect(ctx, hub, connectionString, o...)
	if err != nil {
		return nil, err
	}
	path = strings.TrimSuffix(path, "/")
	mux.Handle(path, a.Handler())
	mux.Handle(path+"/", a.Handler())
	return a, nil
}
