package adminapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/signalbox/signalbox/tenants"
)

// What an operation of the document may say of itself beyond OpenAPI's own words.
const (
	// takesKey lets an operation that answers nothing new take an Idempotency-Key.
	takesKey = "x-idempotency-key"
	// unconditional is for changes of what nobody else can have changed.
	unconditional = "x-unconditional"
	// openQuery lets an operation be called with parameters that it doesn't know.
	openQuery = "x-any-query"
)

// The header fields of the conventions.
const (
	idempotencyKeyHeader = "Idempotency-Key"
	replayHeader         = "Idempotent-Replay"
	ifMatchHeader        = "If-Match"
	ifNoneMatchHeader    = "If-None-Match"
	etagHeader           = "ETag"
)

// operation is one of the document's, as the API goes by it.
type operation struct {
	tenants.Operation
	id, method, path string
	spec             *openapi3.Operation
	// query are the names of the parameters in the query, sorted.
	query []string
	// produces are the types of its good answers; empty = they have no content.
	produces []string
	// keyed operations take an Idempotency-Key.
	keyed bool
	// read is the operation that reads what this one changes; nil = there is none.
	read *operation
	// shows tells that the answer is what read answers, so that it has its ETag.
	shows bool
}

// takesIfMatch tells whether the operation can be asked to change only what the
// caller has seen.
func (o *operation) takesIfMatch() bool { return o.read != nil && o.method != http.MethodPost }

// operationsOf lists the operations of a document. Each has a row in the table of
// who may call it.
func operationsOf(doc *openapi3.T, table map[string]tenants.Operation) ([]*operation, error) {
	var all []*operation
	for path, item := range doc.Paths.Map() {
		for method, spec := range item.Operations() {
			row, ok := table[spec.OperationID]
			if !ok {
				return nil, fmt.Errorf("operation %s has no row in its table: say who may call it", spec.OperationID)
			}
			o := &operation{Operation: row, id: spec.OperationID, method: method, path: path, spec: spec}
			for _, parameters := range []openapi3.Parameters{item.Parameters, spec.Parameters} {
				for _, p := range parameters {
					if p.Value.In == openapi3.ParameterInQuery {
						o.query = append(o.query, p.Value.Name)
					}
				}
			}
			slices.Sort(o.query)
			o.produces = produces(spec)
			o.keyed = method == http.MethodPost && row.Callers != tenants.Anybody && (spec.Responses.Value("201") != nil || spec.Extensions[takesKey] == true)
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b *operation) int { return strings.Compare(a.path+" "+a.method, b.path+" "+b.method) })
	for _, o := range all {
		if o.method == http.MethodGet || o.method == http.MethodPost || o.spec.Extensions[unconditional] == true {
			continue
		}
		if i := slices.IndexFunc(all, func(r *operation) bool { return r.path == o.path && r.method == http.MethodGet }); i >= 0 {
			o.read = all[i]
			o.shows = schemaOf(o.spec, "200") == schemaOf(all[i].spec, "200") && schemaOf(o.spec, "200") != ""
		}
	}
	return all, nil
}

// produces lists the types of an operation's good answers.
func produces(spec *openapi3.Operation) (types []string) {
	for status, response := range spec.Responses.Map() {
		if !strings.HasPrefix(status, "2") {
			continue
		}
		for name := range response.Value.Content {
			if !slices.Contains(types, name) {
				types = append(types, name)
			}
		}
	}
	slices.Sort(types)
	return types
}

// schemaOf is the reference to the schema of an answer in JSON, or "".
func schemaOf(spec *openapi3.Operation, status string) string {
	response := spec.Responses.Value(status)
	if response == nil {
		return ""
	}
	content := response.Value.Content.Get("application/json")
	if content == nil || content.Schema == nil {
		return ""
	}
	return content.Schema.Ref
}

// conventions adds to every operation of the document what all of them have in
// common, so that none can be without.
func conventions(doc *openapi3.T, table map[string]tenants.Operation) error {
	all, err := operationsOf(doc, table)
	if err != nil {
		return err
	}
	parts := doc.Components
	for _, o := range all {
		add := func(name string) {
			o.spec.Parameters = append(o.spec.Parameters, &openapi3.ParameterRef{Ref: "#/components/parameters/" + name, Value: parts.Parameters[name].Value})
		}
		answer := func(status, name string) {
			if o.spec.Responses.Value(status) == nil {
				o.spec.Responses.Set(status, &openapi3.ResponseRef{Ref: "#/components/responses/" + name, Value: parts.Responses[name].Value})
			}
		}
		header := func(field, name string) {
			for status, r := range o.spec.Responses.Map() {
				if strings.HasPrefix(status, "2") {
					withHeader(r.Value, field, name, parts)
				}
			}
		}
		add("RequestId")
		answer("429", "TooManyRequests")
		if len(o.produces) > 0 {
			answer("406", "NotAcceptable")
		}
		if o.spec.RequestBody != nil {
			answer("415", "UnsupportedMediaType")
		}
		if o.method == http.MethodGet && slices.Contains(o.produces, "application/json") {
			add("IfNoneMatch")
			answer("304", "NotModified")
			header(etagHeader, "ETag")
		}
		if o.takesIfMatch() {
			add("IfMatch")
			answer("412", "PreconditionFailed")
			if o.shows {
				header(etagHeader, "ETag")
			}
		}
		if o.keyed {
			add("IdempotencyKey")
			answer("409", "Conflict")
			header(replayHeader, "IdempotentReplay")
		}
		for _, r := range o.spec.Responses.Map() {
			withHeader(r.Value, "X-Request-Id", "RequestId", parts)
			withHeader(r.Value, "RateLimit", "RateLimit", parts)
			withHeader(r.Value, "RateLimit-Policy", "RateLimitPolicy", parts)
		}
	}
	return nil
}

func withHeader(r *openapi3.Response, field, name string, parts *openapi3.Components) {
	if r.Headers == nil {
		r.Headers = make(openapi3.Headers)
	}
	r.Headers[field] = &openapi3.HeaderRef{Ref: "#/components/headers/" + name, Value: parts.Headers[name].Value}
}
