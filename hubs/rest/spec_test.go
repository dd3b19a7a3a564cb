package rest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/go-chi/chi/v5"
)

// described is openapi.yaml with a router for its paths.
var described = sync.OnceValue(func() struct {
	spec   *openapi3.T
	routes routers.Router
} {
	loader := openapi3.NewLoader()
	spec, err := loader.LoadFromData(spec)
	if err == nil {
		err = spec.Validate(loader.Context)
	}
	if err != nil {
		panic(err)
	}
	routes, err := gorillamux.NewRouter(spec)
	if err != nil {
		panic(err)
	}
	return struct {
		spec   *openapi3.T
		routes routers.Router
	}{spec, routes}
})

// conform checks every answer of a test against openapi.yaml, where that
// describes the request; what was accepted must be a request that it describes.
func conform(t testing.TB, r *http.Request, body string, w *httptest.ResponseRecorder) {
	t.Helper()
	route, params, err := described().routes.FindRoute(r)
	if err != nil || r.URL.RawPath != "" {
		return
	}
	options := &openapi3filter.Options{IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc}
	in := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route, Options: options}
	if w.Code < 300 && strings.HasPrefix(r.Header.Get("Content-Type"), mediaJSON) && body == strings.ToLower(body) {
		r.Body = io.NopCloser(strings.NewReader(body))
		// Its fields are compared without regard to case, and 207 tells of messages that aren't valid.
		if err := openapi3filter.ValidateRequest(r.Context(), in); err != nil && w.Code != http.StatusMultiStatus {
			t.Errorf("%s %s is accepted and not described: %v", r.Method, r.URL, err)
		}
	}
	if w.Header().Get("Content-Type") == mediaFrames {
		return // for the SDK of Azure
	}
	answer := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: w.Code, Header: w.Header(), Options: options, Body: io.NopCloser(bytes.NewReader(w.Body.Bytes())),
	}
	if err := openapi3filter.ValidateResponse(r.Context(), answer); err != nil {
		t.Errorf("%s %s: %v", r.Method, r.URL, err)
	}
}

// TestSpec_describes_what_is_ours: every route that Azure doesn't have is in
// openapi.yaml, and what is there is routed.
func TestSpec_describes_what_is_ours(t *testing.T) {
	s := newService(t)
	w := s.do(request("GET", "/api/openapi.yaml", ""))
	if w.Code != 200 || !bytes.Equal(w.Body.Bytes(), spec) {
		t.Errorf("status %d, %d bytes", w.Code, w.Body.Len())
	}
	ours := chi.NewRouter()
	s.ownRoutes(ours, "/api/hubs/{hub}", style{})
	if err := chi.Walk(ours, func(method, path string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if item := described().spec.Paths.Value(path); item == nil || item.GetOperation(method) == nil {
			t.Errorf("%s %s is not described", method, path)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	names := strings.NewReplacer("{hub}", "chat", "{user}", "u", "{group}", "g", "{connection}", "c")
	for path, item := range described().spec.Paths.Map() {
		for method := range item.Operations() {
			if !s.routes.Match(chi.NewRouteContext(), method, names.Replace(path)) {
				t.Errorf("%s %s is not routed", method, path)
			}
		}
	}
}
