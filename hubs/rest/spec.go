package rest

import (
	_ "embed"
	"net/http"
	"strconv"
)

// spec describes our additions to Azure's API.
//
//go:embed openapi.yaml
var spec []byte

// serveSpec needs no authentication: it says nothing of anybody.
func serveSpec(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	w.Header().Set("Content-Length", strconv.Itoa(len(spec)))
	w.Header().Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write(spec) // the client may be gone
}
