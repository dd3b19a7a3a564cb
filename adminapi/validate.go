package adminapi

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"

	"github.com/signalbox/signalbox/adminapi/operatorapi"
	"github.com/signalbox/signalbox/internal/fault"
)

// validate checks requests against the document: every parameter, every field of
// the body. All that is wrong is reported at once.
func (s *server) validate(next http.Handler) http.Handler {
	options := &openapi3filter.Options{
		MultiError: true, SkipSettingDefaults: true,
		AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, // admit has looked already
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		found := routedOf(r)
		err := openapi3filter.ValidateRequest(r.Context(), &openapi3filter.RequestValidationInput{
			Request: r, PathParams: found.params, Route: found.route, Options: options,
		})
		if err != nil {
			s.problem(w, r, requestFault(err))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// requestFault turns the validator's error into a fault.
func requestFault(err error) error {
	var all []error
	flatten(err, &all)
	var fields []fault.Field
	for _, e := range all {
		field, whole := fieldFault(e)
		if whole != nil {
			return whole
		}
		if !slices.Contains(fields, field) {
			fields = append(fields, field)
		}
	}
	return fault.InvalidFields(fields...)
}

// flatten collects the errors inside err. A request error with several inside
// becomes several request errors with one each.
func flatten(err error, into *[]error) {
	switch e := err.(type) { //nolint:errorlint // this is the unwrapping
	case openapi3.MultiError:
		for _, inner := range e {
			flatten(inner, into)
		}
	case *openapi3filter.RequestError:
		inner, ok := e.Err.(openapi3.MultiError) //nolint:errorlint // the same
		if !ok {
			*into = append(*into, e)
			return
		}
		var leaves []error
		flatten(inner, &leaves)
		for _, leaf := range leaves {
			one := *e
			one.Err = leaf
			*into = append(*into, &one)
		}
	default:
		*into = append(*into, err)
	}
}

// fieldFault says what is wrong with which field or parameter, or with the body
// as a whole.
func fieldFault(err error) (field fault.Field, whole error) {
	request, ok := errors.AsType[*openapi3filter.RequestError](err)
	if !ok {
		return fault.Field{}, fault.Wrap(fault.Invalid, "The request is not valid.", err)
	}
	schema, ok := errors.AsType[*openapi3.SchemaError](err)
	switch {
	case ok && request.Parameter != nil:
		return schemaField(request.Parameter.Name, schema), nil
	case ok:
		return schemaField("", schema), nil
	case request.Parameter != nil:
		return fault.Field{Name: request.Parameter.Name, Message: parameterProblem(request), Accepted: accepted(request.Parameter.Schema.Value)}, nil
	case errors.Is(err, openapi3filter.ErrInvalidRequired):
		return fault.Field{}, fault.New(fault.Invalid, "A JSON body is needed.")
	default:
		return fault.Field{}, fault.Wrap(fault.Invalid, "The body is not valid JSON.", err)
	}
}

func parameterProblem(e *openapi3filter.RequestError) string {
	if errors.Is(e.Err, openapi3filter.ErrInvalidRequired) {
		return "is required"
	}
	return "is not valid"
}

// schemaField words a violation of the document. Values of the caller are not
// repeated: they may be secrets.
func schemaField(parameter string, e *openapi3.SchemaError) fault.Field {
	path := e.JSONPointer()
	f := fault.Field{Accepted: accepted(e.Schema)}
	switch e.SchemaField {
	case "properties", "additionalProperties":
		f.Message = "is unknown"
		if name, ok := quoted(e.Reason); ok && (len(path) == 0 || path[len(path)-1] != name) {
			path = append(path, name)
		}
		f.Accepted = properties(e.Schema)
	case "required":
		f.Message, f.Accepted = "is required", ""
		if name, ok := quoted(e.Reason); ok && (len(path) == 0 || path[len(path)-1] != name) {
			path = append(path, name)
		}
		if len(path) > 0 && e.Schema != nil {
			if p := e.Schema.Properties[path[len(path)-1]]; p != nil {
				f.Accepted = accepted(p.Value)
			}
		}
	case "type", "nullable":
		f.Message = "has the wrong type"
	case "allOf":
		if inner, ok := errors.AsType[*openapi3.SchemaError](e.Origin); ok {
			worded := schemaField(parameter, inner)
			f.Message, f.Accepted = worded.Message, worded.Accepted
		}
	case "enum":
		f.Message = "is not one of the accepted values"
	case "pattern", "format":
		f.Message = "has the wrong form"
	case "minLength", "minItems":
		f.Message = "is too short"
	case "maxLength", "maxItems":
		f.Message = "is too long"
	case "minimum":
		f.Message = "is too small"
	case "maximum":
		f.Message = "is too large"
	case "uniqueItems":
		f.Message = "has something twice"
	case "maxProperties":
		f.Message = "has too much in it"
	case "minProperties":
		f.Message, f.Accepted = "has nothing in it", properties(e.Schema)
	default:
		f.Message = "is not valid"
	}
	f.Name = strings.Join(path, ".")
	if parameter != "" {
		f.Name = parameter
	} else if f.Name == "" {
		f.Name = "body"
	}
	return f
}

// quoted returns the first "..." in a reason: the name of the property.
func quoted(reason string) (string, bool) {
	_, rest, ok := strings.Cut(reason, `"`)
	name, _, closed := strings.Cut(rest, `"`)
	return name, ok && closed
}

// properties lists the properties that a schema has.
func properties(s *openapi3.Schema) string {
	if s == nil {
		return ""
	}
	names := make([]string, 0, len(s.Properties))
	for name := range s.Properties {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// accepted words what a schema takes.
func accepted(s *openapi3.Schema) string {
	switch {
	case s == nil:
		return ""
	case len(s.Enum) > 0:
		values := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			values[i] = fmt.Sprint(v)
		}
		return strings.Join(values, ", ")
	case s.Type.Is("integer") && s.Min != nil && s.Max != nil:
		return fmt.Sprintf("a whole number, %.0f to %.0f", *s.Min, *s.Max)
	case s.Type.Is("integer"):
		return "a whole number"
	case s.Type.Is("string") && s.Format == "date-time":
		return "a time as in 2026-01-02T15:04:05Z"
	case s.Type.Is("string"):
		return acceptedString(s)
	case s.Type.Is("array") && s.MaxItems != nil:
		return fmt.Sprintf("a list of at most %d", *s.MaxItems)
	case s.Type.Is("array"):
		return "a list"
	case s.Type.Is("object") && s.MaxProps != nil:
		return fmt.Sprintf("an object of at most %d", *s.MaxProps)
	case s.Type.Is("object"):
		return "an object"
	case s.Type.Is("boolean"):
		return "true or false"
	case len(s.AllOf) > 0:
		return accepted(s.AllOf[0].Value)
	default:
		return ""
	}
}

func acceptedString(s *openapi3.Schema) string {
	text := "text"
	if s.MaxLength != nil {
		text = fmt.Sprintf("text of %d to %d characters", s.MinLength, *s.MaxLength)
	}
	if s.Pattern != "" {
		text += " matching " + s.Pattern
	}
	return text
}

// parameterFault turns an error of the generated parameter binding into a fault.
func parameterFault(of *routed, err error) error {
	name := ""
	if e, ok := errors.AsType[*InvalidParamFormatError](err); ok {
		name = e.ParamName
	} else if e, ok := errors.AsType[*operatorapi.InvalidParamFormatError](err); ok {
		name = e.ParamName
	}
	if name != "" {
		field := fault.Field{Name: name, Message: "has the wrong form"}
		for _, p := range slices.Concat(of.route.PathItem.Parameters, of.spec.Parameters) {
			if p.Value.Name == name {
				field.Accepted = accepted(p.Value.Schema.Value)
			}
		}
		return fault.InvalidFields(field)
	}
	return fault.Wrap(fault.Invalid, "A parameter is not valid.", err)
}
