package adminapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/signalbox/signalbox/internal/fault"
)

// The bounds of a JSON body, besides maxBody.
const (
	maxDepth        = 32
	maxNumberLength = 64 // characters
)

// strict refuses what the document can't speak of: parameters and conditions that
// the operation doesn't know, fields that come twice, text that is none. Two
// readers of the same request shall not see two different things in it.
func (s *server) strict(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		found := routedOf(r)
		fields := append(queryFields(r, found.operation), headerFields(r, found.operation)...)
		if len(fields) > 0 {
			s.problem(w, r, fault.InvalidFields(fields...))
			return
		}
		if err := found.readBody(r); err != nil {
			s.problem(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// queryFields says what is wrong with the query as a whole.
func queryFields(r *http.Request, o *operation) (fields []fault.Field) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return []fault.Field{{Name: "query", Message: "can't be read", Accepted: "name=value, joined by &, with % and two hexadecimal digits for special characters"}}
	}
	accepted := strings.Join(o.query, ", ")
	if accepted == "" {
		accepted = "no parameters"
	}
	for name, values := range query {
		shown := name
		if shown == "" || !plain(shown) || len(shown) > 64 {
			shown = "query"
		}
		switch known := slices.Contains(o.query, name); {
		case !known && o.spec.Extensions[openQuery] != true:
			fields = append(fields, fault.Field{Name: shown, Message: "is unknown", Accepted: accepted})
		case known && len(values) > 1:
			fields = append(fields, fault.Field{Name: shown, Message: "is there more than once", Accepted: "one value"})
		case known && !plain(values[0]):
			fields = append(fields, fault.Field{Name: shown, Message: "has characters that text can't have", Accepted: "UTF-8 without NUL"})
		}
	}
	slices.SortFunc(fields, func(a, b fault.Field) int { return strings.Compare(a.Name, b.Name) })
	return fields
}

// headerFields says what is wrong with the fields of the conventions: a condition
// that is passed over in silence would be worse than none.
func headerFields(r *http.Request, o *operation) (fields []fault.Field) {
	for name, taken := range map[string]bool{
		idempotencyKeyHeader: o.keyed, ifMatchHeader: o.takesIfMatch(), ifNoneMatchHeader: o.method == http.MethodGet, "If-Unmodified-Since": false, "X-Request-Id": true, "Content-Type": true, "Authorization": true,
	} {
		switch values := r.Header.Values(name); {
		case len(values) == 0:
		case !taken:
			fields = append(fields, fault.Field{Name: name, Message: "is not taken by this operation", Accepted: "the request without it"})
		case len(values) > 1:
			fields = append(fields, fault.Field{Name: name, Message: "is there more than once", Accepted: "one"})
		}
	}
	slices.SortFunc(fields, func(a, b fault.Field) int { return strings.Compare(a.Name, b.Name) })
	return fields
}

// plain tells whether text is UTF-8 without NUL, which databases don't take.
func plain(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsRune(text, 0)
}

// readBody reads the request's body, for the operation and to be read again.
func (o *routed) readBody(r *http.Request) error {
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return fault.New(fault.UnsupportedType, "The body must be sent as it is, without a Content-Encoding.")
	}
	body, err := io.ReadAll(r.Body)
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return fault.New(fault.TooLarge, fmt.Sprintf("The body is larger than %d bytes.", tooLarge.Limit))
	}
	if err != nil {
		return fault.Wrap(fault.Invalid, "The body did not arrive whole.", err)
	}
	r.Body, r.ContentLength, r.GetBody = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	o.body = body
	switch {
	case len(body) == 0:
		r.Body = http.NoBody
		return nil
	case o.spec.RequestBody == nil:
		return fault.New(fault.Invalid, "This request takes no body.")
	}
	contentType, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset := strings.ToLower(params["charset"])
	if err != nil || o.spec.RequestBody.Value.Content[contentType] == nil || charset != "" && charset != "utf-8" {
		return fault.New(fault.UnsupportedType, "The body must be application/json.")
	}
	if contentType != "application/json" {
		return nil
	}
	return strictJSON(body)
}

// strictJSON returns an error unless body is one JSON value in UTF-8 in which no
// name comes twice, nothing is nested without end and no text has a NUL.
func strictJSON(body []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(body))
	refused := func(message, accepted string) error {
		return fault.InvalidFields(fault.Field{Name: dotted(d.StackPointer()), Message: message, Accepted: accepted})
	}
	for depth := -1; depth != 0; depth = d.StackDepth() {
		token, err := d.ReadToken()
		switch {
		case errors.Is(err, jsontext.ErrDuplicateName):
			var syntactic *jsontext.SyntacticError
			errors.As(err, &syntactic)
			return fault.InvalidFields(fault.Field{Name: dotted(syntactic.JSONPointer), Message: "is there more than once", Accepted: "each field once"})
		case err != nil:
			return fault.Wrap(fault.Invalid, "The body is not valid JSON in UTF-8.", err)
		case d.StackDepth() > maxDepth:
			return refused("is nested too deeply", fmt.Sprintf("at most %d levels", maxDepth))
		}
		switch token.Kind() {
		case '"':
			if strings.ContainsRune(token.String(), 0) {
				return refused("has a NUL character", "text without U+0000")
			}
		case '0':
			if len(token.String()) > maxNumberLength {
				return refused("has too many digits", fmt.Sprintf("at most %d characters", maxNumberLength))
			}
		}
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return fault.New(fault.Invalid, "The body has something after the JSON value.")
	}
	return nil
}

// dotted writes a JSON pointer as the path of a field. Names that are too long or
// no text are cut off with what is below them.
func dotted(p jsontext.Pointer) string {
	var path []string
	for token := range p.Tokens() {
		if len(token) > 64 || !plain(token) || len(path) == maxDepth {
			break
		}
		path = append(path, token)
	}
	if len(path) == 0 {
		return "body"
	}
	return strings.Join(path, ".")
}
