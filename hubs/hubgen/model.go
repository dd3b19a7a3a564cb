package main

import (
	"errors"
	"fmt"
	"go/types"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"
)

// model is what is known of a hub and its clients.
type model struct {
	pkg     *types.Package
	hub     string
	client  string
	methods []method // of the hub
	calls   []method // of the client interface
}

// method is one method of either side.
type method struct {
	name       string // in Go
	outward    string // on the wire
	parameters []parameter
	result     types.Type // nil: none
	stream     bool       // result is the type of a stream's items
}

type parameter struct {
	name   string
	typ    types.Type
	upload bool // typ is the type of a stream's items
}

// load reads the package and finds both types. The file to be written may be
// missing or stale: errors in bodies don't matter.
func load(c *config) (*model, error) {
	loaded, err := loadPackage(c.dir, false)
	if err != nil {
		return nil, err
	}
	m := &model{pkg: loaded.Types, hub: c.hub, client: c.client}
	if c.client != "" {
		if m.calls, err = m.clientCalls(); err != nil {
			return nil, err
		}
	}
	if c.hub == "" {
		return m, nil
	}
	if _, err := m.lookup(m.hub); err != nil {
		return nil, err
	}
	registering := loaded
	if c.register != "" {
		// It imports the hub's package, which may lack what is written here.
		if registering, err = loadPackage(c.register, true); err != nil {
			return nil, err
		}
	}
	outside, err := readRegistration(registering, loaded.PkgPath, c.hub)
	if err != nil {
		return nil, err
	}
	m.methods, err = m.hubMethods(outside)
	return m, err
}

// loadPackage reads the package in a folder. Other packages must compile, unless
// fromSource is set, which takes longer.
func loadPackage(dir string, fromSource bool) (*packages.Package, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	mode := packages.NeedName | packages.NeedTypes | packages.NeedSyntax | packages.NeedTypesInfo | packages.NeedImports
	if fromSource {
		mode |= packages.NeedDeps
	}
	all, err := packages.Load(&packages.Config{Dir: dir, Mode: mode}, ".")
	if err != nil {
		return nil, fmt.Errorf("load package: %w", err)
	}
	if len(all) != 1 || all[0].Types == nil {
		return nil, fmt.Errorf("no Go package in %s", dir)
	}
	return all[0], nil
}

func (m *model) lookup(name string) (types.Type, error) {
	object := m.pkg.Scope().Lookup(name)
	if object == nil {
		return nil, fmt.Errorf("package %s has no type %s", m.pkg.Name(), name)
	}
	return object.Type(), nil
}

// clientCalls reads the interface.
func (m *model) clientCalls() ([]method, error) {
	t, err := m.lookup(m.client)
	if err != nil {
		return nil, err
	}
	i, ok := t.Underlying().(*types.Interface)
	if !ok {
		return nil, fmt.Errorf("%s is no interface", m.client)
	}
	var calls []method
	var errs []error
	for f := range i.Methods() {
		s := f.Signature()
		c := method{name: f.Name(), outward: f.Name()}
		switch results := s.Results(); {
		case s.Params().Len() == 0 || !isContext(s.Params().At(0).Type()):
			err = errors.New("its first parameter must be a context.Context")
		case s.Variadic():
			err = errors.New("it may not be variadic")
		case results.Len() == 1 && isError(results.At(0).Type()):
			err = nil
		case results.Len() == 2 && isError(results.At(1).Type()):
			c.result, err = results.At(0).Type(), nil
		default:
			err = errors.New("it must return an error, or a value and an error")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s.%s: %w", m.client, f.Name(), err))
			continue
		}
		c.parameters = parametersOf(s)
		calls = append(calls, c)
	}
	slices.SortFunc(calls, func(a, b method) int { return strings.Compare(a.name, b.name) })
	return calls, errors.Join(errs...)
}

// lockers are the methods that hubs.Register leaves out of a sync.Locker.
var lockers = []string{"Lock", "Unlock", "TryLock", "RLock", "RUnlock", "TryRLock", "RLocker"}

// isInvocable reports whether hubs.Register makes a method of the set invocable:
// not when it belongs to an interface that types have for other reasons.
func isInvocable(set *types.MethodSet, name string) bool {
	has := func(name, signature string) bool {
		s := set.Lookup(nil, name)
		return s != nil && types.TypeString(s.Type(), nil) == signature
	}
	switch {
	case name == "OnConnected", name == "OnDisconnected":
		return false
	case name == "String":
		return !has(name, "func() string")
	case name == "Close":
		return !has(name, "func() error")
	case slices.Contains(lockers, name):
		return !has("Lock", "func()") || !has("Unlock", "func()")
	}
	return true
}

// hubMethods reads the hub's exported methods.
func (m *model) hubMethods(c *registration) ([]method, error) {
	t, err := m.lookup(m.hub)
	if err != nil {
		return nil, err
	}
	set := types.NewMethodSet(types.NewPointer(t))
	var methods []method
	known := map[string]bool{}
	for selection := range set.Methods() {
		f, ok := selection.Obj().(*types.Func)
		if !ok || !f.Exported() || !isInvocable(set, f.Name()) {
			continue
		}
		known[f.Name()] = true
		if c.hide[f.Name()] {
			continue
		}
		s := f.Signature()
		h := method{name: f.Name(), outward: f.Name(), parameters: parametersOf(s)}
		if name := c.rename[f.Name()]; name != "" {
			h.outward = name
		}
		results := s.Results()
		if results.Len() > 0 && !isError(results.At(0).Type()) {
			h.result = results.At(0).Type()
			if item, ok := streamItem(h.result); ok {
				h.result, h.stream = item, true
			}
		}
		methods = append(methods, h)
	}
	var errs []error
	for name := range c.rename {
		if !known[name] {
			errs = append(errs, fmt.Errorf("hubs.Rename names %s, which %s doesn't have", name, m.hub))
		}
	}
	for name := range c.hide {
		if !known[name] {
			errs = append(errs, fmt.Errorf("hubs.Hide names %s, which %s doesn't have", name, m.hub))
		}
	}
	return methods, errors.Join(errs...)
}

// parametersOf leaves the context out.
func parametersOf(s *types.Signature) []parameter {
	var all []parameter
	for i := range s.Params().Len() {
		p := s.Params().At(i)
		if i == 0 && isContext(p.Type()) {
			continue
		}
		name := p.Name()
		if name == "" || name == "_" {
			name = fmt.Sprintf("p%d", i)
		}
		item, upload := streamItem(p.Type())
		if !upload {
			item = p.Type()
		}
		all = append(all, parameter{name: name, typ: item, upload: upload})
	}
	return all
}

// streamItem tells whether t is a stream, and of what.
func streamItem(t types.Type) (types.Type, bool) {
	switch u := t.Underlying().(type) {
	case *types.Chan:
		return u.Elem(), u.Dir() == types.RecvOnly
	case *types.Signature:
		if u.Params().Len() != 1 || u.Results().Len() != 0 {
			return nil, false
		}
		yield, ok := u.Params().At(0).Type().Underlying().(*types.Signature)
		if !ok || yield.Params().Len() == 0 || yield.Results().Len() != 1 {
			return nil, false
		}
		return yield.Params().At(0).Type(), true
	}
	return nil, false
}

func isError(t types.Type) bool { return types.Identical(t, types.Universe.Lookup("error").Type()) }

func isContext(t types.Type) bool { return types.Unalias(t).String() == "context.Context" }
