package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/types"
	"maps"

	"golang.org/x/tools/go/packages"
)

const hubsPath = "github.com/signalbox/signalbox/hubs"

// registration is what hubs.Register is told of the names of methods.
type registration struct {
	rename map[string]string
	hide   map[string]bool
}

// readRegistration finds the calls of hubs.Register in pkg that are for the hub of
// the package at path, and reads their options.
func readRegistration(pkg *packages.Package, path, hub string) (*registration, error) {
	var found *registration
	var errs []error
	for _, file := range pkg.Syntax {
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 || !isHubs(pkg, call.Fun, "Register") || !isHub(pkg.TypesInfo.TypeOf(call.Args[0]), path, hub) {
				return true
			}
			r, err := readOptions(pkg, call)
			switch {
			case err != nil:
				errs = append(errs, fmt.Errorf("%s: %w", pkg.Fset.Position(call.Pos()), err))
			case found != nil && (!maps.Equal(found.rename, r.rename) || !maps.Equal(found.hide, r.hide)):
				errs = append(errs, fmt.Errorf("%s: %s is registered twice, with other names", pkg.Fset.Position(call.Pos()), hub))
			default:
				found = r
			}
			return true
		})
	}
	if found == nil && len(errs) == 0 {
		return nil, fmt.Errorf("package %s doesn't call hubs.Register with a %s: name the folder of the package that does with -register", pkg.Name, hub)
	}
	return found, errors.Join(errs...)
}

// readOptions reads the options of one call, which must be written in it.
func readOptions(pkg *packages.Package, call *ast.CallExpr) (*registration, error) {
	r := &registration{rename: map[string]string{}, hide: map[string]bool{}}
	unreadable := errors.New("options of hubs.Register that may rename or hide methods must be written as its arguments, with constant names")
	if call.Ellipsis.IsValid() {
		return nil, unreadable
	}
	for _, arg := range call.Args[1:] {
		option, ok := ast.Unparen(arg).(*ast.CallExpr)
		if !ok {
			return nil, unreadable
		}
		var names []string
		for _, a := range option.Args {
			if v := pkg.TypesInfo.Types[a].Value; v != nil && v.Kind() == constant.String {
				names = append(names, constant.StringVal(v))
			}
		}
		switch {
		case isHubs(pkg, option.Fun, "Use"), isHubs(pkg, option.Fun, "UseOn"):
		case isHubs(pkg, option.Fun, "Rename") && len(names) == 2:
			r.rename[names[0]] = names[1]
		case isHubs(pkg, option.Fun, "Hide") && len(names) == 1:
			r.hide[names[0]] = true
		default:
			return nil, unreadable
		}
	}
	return r, nil
}

// isHubs reports whether fun is the function of package hubs with this name.
func isHubs(pkg *packages.Package, fun ast.Expr, name string) bool {
	var ident *ast.Ident
	switch f := ast.Unparen(fun).(type) {
	case *ast.SelectorExpr:
		ident = f.Sel
	case *ast.Ident:
		ident = f
	default:
		return false
	}
	f, ok := pkg.TypesInfo.Uses[ident].(*types.Func)
	return ok && f.FullName() == hubsPath+"."+name
}

// isHub reports whether t is the hub or a pointer to it.
func isHub(t types.Type, path, hub string) bool {
	if t == nil {
		return false
	}
	if p, ok := types.Unalias(t).(*types.Pointer); ok {
		t = p.Elem()
	}
	return qualified(t) == path+"."+hub
}
