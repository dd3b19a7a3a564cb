package adminapi

import (
	_ "embed"
	"fmt"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/signalbox/signalbox/adminapi/operatorapi"
	"github.com/signalbox/signalbox/tenants"
)

//go:embed openapi.yaml
var specYAML []byte

// Spec returns the API's OpenAPI document, checked, with what all operations have
// in common written out.
func Spec() (*openapi3.T, error) { return readSpec(specYAML, tenants.Operations) }

// OperatorSpec is Spec for the operators' API.
func OperatorSpec() (*openapi3.T, error) {
	return readSpec(operatorapi.Document, tenants.OperatorOperations)
}

func readSpec(text []byte, table map[string]tenants.Operation) (*openapi3.T, error) {
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromData(text)
	if err != nil {
		return nil, fmt.Errorf("load openapi.yaml: %w", err)
	}
	if err := conventions(doc, table); err != nil {
		return nil, fmt.Errorf("complete openapi.yaml: %w", err)
	}
	if err := doc.Validate(loader.Context); err != nil {
		return nil, fmt.Errorf("check openapi.yaml: %w", err)
	}
	return doc, nil
}

// checked is the document as requests are checked against it. The library has two
// validators: that for OpenAPI 3.1 compiles each schema anew for each request and
// loses, in its errors, the schema that says what would be accepted. The other one
// knows all the words that our document has (TestSpec_has_no_word_that_is_not_checked).
func checked(doc *openapi3.T) *openapi3.T {
	same := *doc
	same.OpenAPI = "3.0.3"
	return &same
}
