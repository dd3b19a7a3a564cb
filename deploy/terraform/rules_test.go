package terraform_test

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// schema is schema/aws.json: what the provider accepts.
type schema struct {
	Source   string                  `json:"source"`
	Provider string                  `json:"provider"`
	Resource map[string]*blockSchema `json:"resource"`
	Data     map[string]*blockSchema `json:"data"`
}

// blockSchema is a resource, a data source or a block nested in one.
type blockSchema struct {
	Min      int                     `json:"min"`
	Max      int                     `json:"max"` // 0 = any number
	Required []string                `json:"required"`
	Optional []string                `json:"optional"`
	Blocks   map[string]*blockSchema `json:"blocks"`
	Results  []string                `json:"results"` // readable only
}

func (s *blockSchema) accepts(attribute string) bool {
	return slices.Contains(s.Required, attribute) || slices.Contains(s.Optional, attribute)
}

func (s *blockSchema) has(name string) bool {
	return s.accepts(name) || s.Blocks[name] != nil || slices.Contains(s.Results, name)
}

// metaArguments are Terraform's own, on every resource.
var metaArguments = []string{"count", "for_each", "provider", "depends_on"}

// secretArgument finds arguments whose value would be in the state for all who
// may read it.
var secretArgument = regexp.MustCompile(`^(password|passwords|auth_token|secret_string|secret_binary|master_password|private_key)$`)

// checkResources compares resources and data sources with what the provider
// accepts.
func checkResources(m *module, s *schema) []string {
	var problems []string
	for _, kind := range []struct {
		declared map[string]*hclsyntax.Block
		known    map[string]*blockSchema
	}{{m.resources, s.Resource}, {m.data, s.Data}} {
		for _, b := range kind.declared {
			want := kind.known[b.Labels[0]]
			if want == nil {
				problems = append(problems, fmt.Sprintf("%s: %s %s is not in schema/aws.json: misspelt, or run schema/extract.mjs", at(b), b.Type, b.Labels[0]))
				continue
			}
			problems = append(problems, checkBody(at(b)+": "+b.Labels[0], b.Body, want, metaArguments, []string{"lifecycle"})...)
		}
	}
	return problems
}

// checkBody compares a body with its schema; what is named in metaAttributes and
// metaBlocks is Terraform's own.
func checkBody(where string, body *hclsyntax.Body, want *blockSchema, metaAttributes, metaBlocks []string) []string {
	var problems []string
	complain := func(format string, args ...any) {
		problems = append(problems, where+": "+fmt.Sprintf(format, args...))
	}
	for name := range body.Attributes {
		switch {
		case slices.Contains(metaAttributes, name):
		case secretArgument.MatchString(name):
			complain("argument %q would put a secret in the state", name)
		case want.Blocks[name] != nil:
			complain("%q is a block, not an argument", name)
		case !want.accepts(name):
			complain("no argument %q", name)
		}
	}
	for _, name := range want.Required {
		if body.Attributes[name] == nil {
			complain("argument %q is required", name)
		}
	}
	counts := map[string]int{}
	for _, b := range body.Blocks {
		if slices.Contains(metaBlocks, b.Type) {
			continue
		}
		counts[b.Type]++
		if nested := want.Blocks[b.Type]; nested == nil {
			complain("no block %q", b.Type)
		} else {
			problems = append(problems, checkBody(where+"."+b.Type, b.Body, nested, nil, nil)...)
		}
	}
	for name, nested := range want.Blocks {
		if counts[name] < nested.Min {
			complain("block %q is required", name)
		}
		if nested.Max > 0 && counts[name] > nested.Max {
			complain("block %q may stand there once", name)
		}
	}
	return problems
}

// checkCalls compares module calls with the variables of what they call.
func checkCalls(m *module, modules map[string]*module) []string {
	var problems []string
	for name, call := range m.calls {
		where := fmt.Sprintf("%s: module %q", at(call), name)
		child := called(m, call, modules)
		if child == nil {
			problems = append(problems, where+": its source is no module of ours")
			continue
		}
		for arg, attr := range call.Body.Attributes {
			if arg == "source" || slices.Contains(metaArguments, arg) {
				continue
			}
			v, ok := child.variables[arg]
			if !ok {
				problems = append(problems, fmt.Sprintf("%s: no variable %q in %s", where, arg, child.dir))
				continue
			}
			problems = append(problems, checkObject(where+"."+arg, attr.Expr, v)...)
		}
		for arg, v := range child.variables {
			if v.required && call.Body.Attributes[arg] == nil {
				problems = append(problems, fmt.Sprintf("%s: variable %q is required", where, arg))
			}
		}
	}
	return problems
}

// checkObject compares a literal object with an object type.
func checkObject(where string, expr hclsyntax.Expression, v variable) []string {
	literal, ok := expr.(*hclsyntax.ObjectConsExpr)
	if !ok || !v.kind.IsObjectType() {
		return nil
	}
	var problems []string
	given := map[string]bool{}
	for _, item := range literal.Items {
		key := hcl.ExprAsKeyword(item.KeyExpr)
		given[key] = true
		if !v.kind.HasAttribute(key) {
			problems = append(problems, fmt.Sprintf("%s: no attribute %q", where, key))
		}
	}
	for key := range v.kind.AttributeTypes() {
		if !given[key] && !v.kind.AttributeOptional(key) {
			problems = append(problems, fmt.Sprintf("%s: attribute %q is required", where, key))
		}
	}
	return problems
}

// called is the module that a call's source leads to.
func called(m *module, call *hclsyntax.Block, modules map[string]*module) *module {
	attr := call.Body.Attributes["source"]
	if attr == nil {
		return nil
	}
	source, diags := attr.Expr.Value(nil)
	if diags.HasErrors() {
		return nil
	}
	return modules[path.Join(m.dir, source.AsString())]
}

// checkReferences follows every reference to what it names, and finds variables
// and locals that nobody reads.
func checkReferences(m *module, s *schema, modules map[string]*module) []string {
	var problems []string
	read := map[string]bool{}
	m.expressions(func(top *hclsyntax.Block, attr *hclsyntax.Attribute) {
		if attr.Name == "ignore_changes" || top.Type == "variable" && attr.Name == "type" {
			return // names of arguments and types
		}
		for _, t := range attr.Expr.Variables() {
			names := steps(t)
			if len(names) > 1 && (names[0] == "var" || names[0] == "local") && (top.Type != "variable" || top.Labels[0] != names[1]) {
				read[names[0]+"."+names[1]] = true
			}
			if problem := resolve(m, top, names, s, modules); problem != "" {
				problems = append(problems, fmt.Sprintf("%s:%d: %s: %s", t.SourceRange().Filename, t.SourceRange().Start.Line, strings.Join(names, "."), problem))
			}
		}
	})
	for name, v := range m.variables {
		if !read["var."+name] {
			problems = append(problems, fmt.Sprintf("%s: variable %q is never read", at(v.block), name))
		}
	}
	for name, attr := range m.locals {
		if !read["local."+name] {
			problems = append(problems, fmt.Sprintf("%s:%d: local %q is never read", attr.SrcRange.Filename, attr.SrcRange.Start.Line, name))
		}
	}
	return problems
}

// steps are the names of a reference; indexes are left out.
func steps(t hcl.Traversal) []string {
	var names []string
	for _, step := range t {
		switch step := step.(type) {
		case hcl.TraverseRoot:
			names = append(names, step.Name)
		case hcl.TraverseAttr:
			names = append(names, step.Name)
		}
	}
	return names
}

// resolve returns what is wrong with a reference, or "".
func resolve(m *module, top *hclsyntax.Block, names []string, s *schema, modules map[string]*module) string {
	name := func(i int) string {
		if i < len(names) {
			return names[i]
		}
		return ""
	}
	switch root := names[0]; root {
	case "var":
		v, ok := m.variables[name(1)]
		if !ok {
			return "no such variable"
		}
		if name(2) != "" && v.kind.IsObjectType() && !v.kind.HasAttribute(name(2)) {
			return "the variable's type has no such attribute"
		}
	case "local":
		if m.locals[name(1)] == nil {
			return "no such local"
		}
	case "each":
		if top.Body.Attributes["for_each"] == nil {
			return "the block has no for_each"
		}
	case "module":
		call := m.calls[name(1)]
		if call == nil {
			return "no such module"
		}
		if child := called(m, call, modules); child != nil && child.outputs[name(2)] == nil {
			return "the module has no such output"
		}
	case "data":
		if m.data[name(1)+"."+name(2)] == nil {
			return "no such data source"
		}
		return resolveAttribute(s.Data[name(1)], name(3))
	default:
		if m.resources[root+"."+name(1)] == nil {
			return "no such resource"
		}
		return resolveAttribute(s.Resource[root], name(2))
	}
	return ""
}

func resolveAttribute(of *blockSchema, name string) string {
	if of == nil || name == "" || of.has(name) {
		return ""
	}
	return "the resource has no such attribute"
}
