// Package operatorapi is the contract of the operators' API: its document, and what is
// generated from it. Package adminapi serves it.
package operatorapi

import _ "embed"

// Document is the OpenAPI document as it is written.
//
//go:embed openapi.yaml
var Document []byte
