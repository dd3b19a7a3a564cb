package terraform_test

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
)

// module is one folder of .tf files, read but not evaluated.
type module struct {
	dir       string
	variables map[string]variable
	outputs   map[string]*hclsyntax.Block
	locals    map[string]*hclsyntax.Attribute
	resources map[string]*hclsyntax.Block // by type.name
	data      map[string]*hclsyntax.Block // by type.name
	calls     map[string]*hclsyntax.Block
	// blocks are all top-level blocks, in the order of the files.
	blocks []*hclsyntax.Block
}

type variable struct {
	block    *hclsyntax.Block
	kind     cty.Type
	required bool
}

// load reads the module in dir of fsys and returns what is wrong with its text and
// its declarations.
func load(fsys fs.FS, dir string) (*module, []string) {
	m := &module{
		dir: dir, variables: map[string]variable{}, outputs: map[string]*hclsyntax.Block{}, locals: map[string]*hclsyntax.Attribute{},
		resources: map[string]*hclsyntax.Block{}, data: map[string]*hclsyntax.Block{}, calls: map[string]*hclsyntax.Block{},
	}
	var problems []string
	names, err := fs.Glob(fsys, path.Join(dir, "*.tf"))
	if err != nil || len(names) == 0 {
		return m, []string{fmt.Sprintf("%s: no .tf files", dir)}
	}
	for _, name := range names {
		src, err := fs.ReadFile(fsys, name)
		if err != nil {
			return m, []string{err.Error()}
		}
		if string(hclwrite.Format(src)) != string(src) {
			problems = append(problems, name+": not formatted")
		}
		file, diags := hclsyntax.ParseConfig(src, name, hcl.InitialPos)
		if diags.HasErrors() {
			problems = append(problems, diags.Error())
			continue
		}
		m.blocks = append(m.blocks, file.Body.(*hclsyntax.Body).Blocks...)
	}
	for _, b := range m.blocks {
		problems = append(problems, m.declare(b)...)
	}
	return m, problems
}

// declare notes what b declares.
func (m *module) declare(b *hclsyntax.Block) []string {
	put := func(in map[string]*hclsyntax.Block, name string) []string {
		if in[name] != nil {
			return []string{fmt.Sprintf("%s: %s %q is declared twice", at(b), b.Type, name)}
		}
		in[name] = b
		return nil
	}
	labels := map[string]int{"variable": 1, "output": 1, "module": 1, "provider": 1, "resource": 2, "data": 2}
	if len(b.Labels) != labels[b.Type] {
		return []string{fmt.Sprintf("%s: %s has %d labels", at(b), b.Type, len(b.Labels))}
	}
	switch b.Type {
	case "variable":
		return m.declareVariable(b)
	case "output":
		problems := put(m.outputs, b.Labels[0])
		if b.Body.Attributes["description"] == nil {
			problems = append(problems, fmt.Sprintf("%s: output %q has no description", at(b), b.Labels[0]))
		}
		return problems
	case "locals":
		for name, attr := range b.Body.Attributes {
			m.locals[name] = attr
		}
	case "resource":
		return put(m.resources, strings.Join(b.Labels, "."))
	case "data":
		return put(m.data, strings.Join(b.Labels, "."))
	case "module":
		return put(m.calls, b.Labels[0])
	case "terraform", "provider":
	default:
		return []string{fmt.Sprintf("%s: block %q is not known", at(b), b.Type)}
	}
	return nil
}

func (m *module) declareVariable(b *hclsyntax.Block) []string {
	var problems []string
	name := b.Labels[0]
	v := variable{block: b, kind: cty.DynamicPseudoType, required: b.Body.Attributes["default"] == nil}
	if attr := b.Body.Attributes["type"]; attr == nil {
		problems = append(problems, fmt.Sprintf("%s: variable %q has no type", at(b), name))
	} else if kind, diags := typeexpr.TypeConstraint(attr.Expr); diags.HasErrors() {
		problems = append(problems, diags.Error())
	} else {
		v.kind = kind
	}
	if b.Body.Attributes["description"] == nil {
		problems = append(problems, fmt.Sprintf("%s: variable %q has no description", at(b), name))
	}
	if _, twice := m.variables[name]; twice {
		problems = append(problems, fmt.Sprintf("%s: variable %q is declared twice", at(b), name))
	}
	m.variables[name] = v
	return problems
}

// expressions calls visit with every expression of the module and the top-level
// block it stands in.
func (m *module) expressions(visit func(top *hclsyntax.Block, attr *hclsyntax.Attribute)) {
	var walk func(top *hclsyntax.Block, body *hclsyntax.Body)
	walk = func(top *hclsyntax.Block, body *hclsyntax.Body) {
		for _, attr := range body.Attributes {
			visit(top, attr)
		}
		for _, b := range body.Blocks {
			walk(top, b.Body)
		}
	}
	for _, b := range m.blocks {
		walk(b, b.Body)
	}
}

// at is the place of b, for messages.
func at(b *hclsyntax.Block) string {
	return fmt.Sprintf("%s:%d", b.TypeRange.Filename, b.TypeRange.Start.Line)
}

// sorted makes messages stable.
func sorted(problems []string) []string {
	slices.Sort(problems)
	return slices.Compact(problems)
}
