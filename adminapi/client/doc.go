// Package client calls the control plane's API. It is generated from
// ../openapi.yaml, so a program that uses it stops compiling when what it calls
// changes. What all operations have in common (If-Match, Idempotency-Key) travels
// in header fields, which a RequestEditorFn adds.
package client

//go:generate go tool -modfile=../../tools/go.mod oapi-codegen -config oapi-codegen.yaml ../openapi.yaml
