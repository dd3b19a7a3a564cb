package adminapi

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/signalbox/signalbox/tenants"
)

// referencePath is where the reference page is.
const referencePath = "/docs/api"

//go:embed reference.html
var referenceHTML string

//go:embed reference.css
var referenceCSS string

// newReference makes the reference page out of the document: one page without
// scripts or anything from elsewhere, made once.
func newReference(doc *openapi3.T) (http.Handler, error) {
	all, err := operationsOf(doc, tenants.Operations)
	if err != nil {
		return nil, err
	}
	page, err := template.New("reference").Funcs(template.FuncMap{"prose": prose}).Parse(referenceHTML)
	if err != nil {
		return nil, fmt.Errorf("read template of reference page: %w", err)
	}
	var b bytes.Buffer
	if err := page.Execute(&b, referenceOf(doc, all)); err != nil {
		return nil, fmt.Errorf("make reference page: %w", err)
	}
	content := b.Bytes()
	sum := sha256.Sum256([]byte(referenceCSS))
	policy := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set(etagHeader, etagOf(content))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}), nil
}

// shownDocument and the types below are what the page shows.
type shownDocument struct {
	Style       template.CSS
	Title       string
	Description string
	Groups      []shownGroup
	Schemas     []shownSchema
}

type shownGroup struct {
	Name, Description string
	Operations        []shownOperation
}

type shownOperation struct {
	ID, Method, Path, Summary, Description string
	Callers                                string
	Roles, Scope                           string
	Parameters                             []shownField
	Body                                   *shownField
	Answers                                []shownAnswer
}

type shownAnswer struct {
	Status, Description string
	Contents            []shownField
	Headers             []string
}

// shownField is a parameter, a field or a content: its type with a link to the
// schema where it has a name.
type shownField struct {
	Name, In, Type, Link, Rule, Description string
	Required                                bool
}

type shownSchema struct {
	Name, Description, Type, Rule string
	Fields                        []shownField
}

func referenceOf(doc *openapi3.T, all []*operation) shownDocument {
	shown := shownDocument{Style: template.CSS(referenceCSS), Title: doc.Info.Title, Description: doc.Info.Description} //nolint:gosec // our own file
	for _, tag := range doc.Tags {
		group := shownGroup{Name: tag.Name, Description: tag.Description}
		for _, o := range all {
			if slices.Contains(o.spec.Tags, tag.Name) {
				group.Operations = append(group.Operations, shownOperationOf(doc, o))
			}
		}
		shown.Groups = append(shown.Groups, group)
	}
	for _, name := range slices.Sorted(maps.Keys(doc.Components.Schemas)) {
		s := doc.Components.Schemas[name].Value
		one := shownSchema{Name: name, Description: s.Description, Type: typeOf(s), Rule: ruleOf(s)}
		for _, field := range slices.Sorted(maps.Keys(s.Properties)) {
			f := fieldOf(field, s.Properties[field])
			f.Required = slices.Contains(s.Required, field)
			one.Fields = append(one.Fields, f)
		}
		shown.Schemas = append(shown.Schemas, one)
	}
	return shown
}

func shownOperationOf(doc *openapi3.T, o *operation) shownOperation {
	shown := shownOperation{ID: o.id, Method: o.method, Path: o.path, Summary: o.spec.Summary, Description: o.spec.Description, Scope: string(o.Scope)}
	switch {
	case o.Callers == tenants.Anybody:
		shown.Callers = "Anybody, without signing in"
	case o.Callers == tenants.SignedIn:
		shown.Callers = "People in a session of the console"
	default:
		shown.Callers = "People in a session, and API tokens"
	}
	if o.Needs != "" {
		var roles []string
		for _, role := range tenants.Roles {
			if role.Allows(o.Needs) {
				roles = append(roles, string(role))
			}
		}
		shown.Roles = strings.Join(roles, ", ")
	}
	for _, parameters := range []openapi3.Parameters{doc.Paths.Find(o.path).Parameters, o.spec.Parameters} {
		for _, p := range parameters {
			f := fieldOf(p.Value.Name, p.Value.Schema)
			f.In, f.Required, f.Description = p.Value.In, p.Value.Required, cmp.Or(p.Value.Description, f.Description)
			shown.Parameters = append(shown.Parameters, f)
		}
	}
	if o.spec.RequestBody != nil {
		for _, content := range o.spec.RequestBody.Value.Content {
			f := fieldOf("", content.Schema)
			f.Required = o.spec.RequestBody.Value.Required
			shown.Body = &f
		}
	}
	for _, status := range slices.Sorted(maps.Keys(o.spec.Responses.Map())) {
		r := o.spec.Responses.Value(status).Value
		a := shownAnswer{Status: status, Headers: slices.Sorted(maps.Keys(r.Headers))}
		if r.Description != nil {
			a.Description = *r.Description
		}
		for _, name := range slices.Sorted(maps.Keys(r.Content)) {
			a.Contents = append(a.Contents, fieldOf(name, r.Content[name].Schema))
		}
		shown.Answers = append(shown.Answers, a)
	}
	return shown
}

func fieldOf(name string, ref *openapi3.SchemaRef) shownField {
	f := shownField{Name: name}
	if ref == nil {
		return f
	}
	f.Type, f.Link, f.Rule, f.Description = typeOf(ref.Value), linkOf(ref), ruleOf(ref.Value), ref.Value.Description
	return f
}

// linkOf is the name of the schema that a field has, holds a list of, or adds words
// to.
func linkOf(ref *openapi3.SchemaRef) string {
	switch {
	case ref.Ref != "":
		return strings.TrimPrefix(ref.Ref, "#/components/schemas/")
	case ref.Value.Items != nil:
		return linkOf(ref.Value.Items)
	case len(ref.Value.AllOf) == 1:
		return linkOf(ref.Value.AllOf[0])
	}
	return ""
}

func typeOf(s *openapi3.Schema) string {
	switch {
	case s.Type.Is("array") && s.Items != nil:
		return "list of " + typeOf(s.Items.Value)
	case s.Type != nil && len(*s.Type) > 0:
		return strings.Join(*s.Type, " or ")
	case len(s.AllOf) > 0:
		return typeOf(s.AllOf[0].Value)
	}
	return "any"
}

// ruleOf is what a refusal would say is accepted, where that says more than the type.
func ruleOf(s *openapi3.Schema) string {
	if s.Type.Is("object") || s.Type.Is("boolean") || s.Type.Is("array") && s.MaxItems == nil {
		return ""
	}
	if rule := accepted(s); rule != "text" && rule != "a whole number" {
		return rule
	}
	return ""
}

var codeWords = regexp.MustCompile("`([^`]+)`")

// prose shows a description: its paragraphs, and words of code.
func prose(text string) template.HTML {
	var b strings.Builder
	for paragraph := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		if paragraph != "" {
			b.WriteString("<p>" + codeWords.ReplaceAllString(template.HTMLEscapeString(paragraph), "<code>$1</code>") + "</p>")
		}
	}
	return template.HTML(b.String()) //nolint:gosec // escaped above
}
