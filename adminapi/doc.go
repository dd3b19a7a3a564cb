// Package adminapi is the control plane's HTTP interface. openapi.yaml is its
// contract: requests are checked against it, types and router are generated
// from it, and it is served at /openapi.json. The console is served beside it.
package adminapi

//go:generate go tool -modfile=../tools/go.mod oapi-codegen -config oapi-codegen.yaml openapi.yaml
