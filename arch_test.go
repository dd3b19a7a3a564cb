// Package signalbox_test keeps the promises that the layout of the repository
// makes: which way imports go, who may use which library, that the edge has no
// database driver, and that every package says what it is for.
package signalbox_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/signalbox/signalbox"

// listed is what go list says of a package; paths of this module are relative.
type listed struct {
	Dir          string
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
	GoFiles      []string
	CgoFiles     []string
}

var packages = sync.OnceValues(func() (map[string]listed, error) {
	out, err := exec.Command("go", "list", "-json=Dir,ImportPath,Imports,TestImports,XTestImports,Deps,GoFiles,CgoFiles", "./...").Output()
	if err != nil {
		return nil, err
	}
	all := map[string]listed{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all[relative(p.ImportPath)] = p
	}
})

// relative cuts the module's path: "hubs/rest", "." for the root, and what is
// not of this module as it is.
func relative(path string) string {
	if path == module {
		return "."
	}
	return strings.TrimPrefix(path, module+"/")
}

func list(t *testing.T) map[string]listed {
	t.Helper()
	all, err := packages()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return all
}

// matches tells whether path is one of the patterns: "hubs" is that package,
// "hubs/..." is it and all below, "*store" is any whose name ends so.
func matches(path string, patterns ...string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if below, ok := strings.CutSuffix(pattern, "/..."); ok {
			return path == below || strings.HasPrefix(path, below+"/")
		}
		if suffix, ok := strings.CutPrefix(pattern, "*"); ok {
			return strings.HasSuffix(path, suffix)
		}
		return path == pattern
	})
}

// leaves are internal packages without domain knowledge.
var leaves = []string{"internal/fault", "internal/httpserver", "internal/outbound", "internal/postgres", "internal/telemetry", "internal/fleet", "internal/embedded", "internal/scope"}

// directions says which packages of this module a package may import. The first
// row that names the package counts; every package must be in one.
var directions = []struct {
	packages []string
	may      []string
}{
	// What knows nothing of the rest.
	{[]string{"hubs/protocol", "hubs/connectionstring", "adminapi/client", "migrations", "web", "internal/fault", "internal/coredump", "internal/embedded", "internal/fleet", "internal/outbound", "internal/scope", "internal/telemetry", "scripts/...", "deploy/..."}, nil},
	{[]string{"internal/httpserver", "internal/postgres"}, leaves},
	{[]string{"internal/fault/pages", "tenants/limitspage"}, []string{"internal/fault", "tenants"}},
	{[]string{"internal/redisclient"}, []string{"tenants"}},
	{[]string{"internal/testenv"}, []string{"internal/embedded", "internal/postgres", "migrations"}},
	// The SignalR server: usable alone, so it knows no tenants and no adapters.
	{[]string{"hubs/internal/..."}, nil},
	{[]string{"hubs"}, []string{"hubs/protocol", "hubs/values", "hubs/internal/..."}},
	{[]string{"hubs/values"}, []string{"hubs/protocol"}},
	{[]string{"hubs/transport", "hubs/backplanetest"}, []string{"hubs", "hubs/protocol", "hubs/internal/..."}},
	{[]string{"hubs/serviceprotocol"}, []string{"hubs/protocol"}},
	{[]string{"hubs/serviceprotocol/strict"}, []string{"hubs/serviceprotocol"}},
	{[]string{"hubs/client"}, []string{"hubs/protocol"}},
	{[]string{"hubs/appserver"}, []string{"hubs", "hubs/connectionstring", "hubs/protocol", "hubs/values", "hubs/serviceprotocol"}},
	{[]string{"hubs/pairing", "hubs/serverconn", "hubs/serverlink", "hubs/upstream"}, append([]string{"hubs", "hubs/protocol", "hubs/values", "hubs/serviceprotocol", "hubs/pairing", "hubs/serverconn", "tenants", "internal/redisclient"}, leaves...)},
	{[]string{"hubs/clientmethods"}, []string{"hubs", "hubs/protocol", "hubs/values", "tenants/permissions"}},
	{[]string{"hubs/hubgen/..."}, []string{"hubs", "hubs/protocol", "hubs/hubgen/..."}},
	{[]string{"hubs/..."}, append([]string{"hubs", "hubs/protocol", "hubs/internal/...", "tenants", "tenants/accesstoken", "internal/redisclient"}, leaves...)},
	// Tenants know neither money nor hubs; money knows tenants.
	{[]string{"tenants/permissions", "tenants/audit"}, nil},
	{[]string{"tenants"}, []string{"internal/fault", "internal/outbound", "internal/scope", "tenants/permissions", "tenants/audit"}},
	{[]string{"tenants/jwks"}, append([]string{"tenants", "tenants/accesstoken"}, leaves...)},
	{[]string{"tenants/..."}, append([]string{"tenants", "tenants/audit", "tenants/permissions", "internal/redisclient"}, leaves...)},
	{[]string{"billing"}, []string{"tenants", "internal/fault"}},
	{[]string{"billing/..."}, append([]string{"billing", "billing/usage", "tenants", "internal/redisclient"}, leaves...)},
	// The control plane's HTTP surface sees services, never stores.
	{[]string{"adminapi/operatorapi"}, nil},
	{[]string{"adminapi"}, append([]string{"adminapi/operatorapi", "tenants", "tenants/accesstoken", "tenants/audit", "tenants/openid", "tenants/permissions", "billing", "billing/usage"}, leaves...)},
	{[]string{"adminapi/rolespage"}, []string{"adminapi", "tenants"}},
	// Here things meet.
	{[]string{"internal/app/..."}, []string{"adminapi/...", "billing/...", "hubs/...", "internal/...", "migrations", "tenants/...", "web"}},
	{[]string{"cmd/..."}, []string{"internal/app/...", "internal/coredump", "internal/telemetry"}},
	{[]string{"e2e/..."}, []string{"hubs", "hubs/appserver", "hubs/protocol", "hubs/transport"}},
	{[]string{"examples/..."}, []string{"hubs", "hubs/appserver", "hubs/transport", "hubs/filters"}},
	{[]string{"."}, nil},
}

func TestImports_go_one_way(t *testing.T) {
	t.Parallel()
	for path, p := range list(t) {
		row := slices.IndexFunc(directions, func(d struct{ packages, may []string }) bool { return matches(path, d.packages...) })
		if row < 0 {
			t.Errorf("package %s has no row in directions: say what it may import", path)
			continue
		}
		for _, imported := range p.Imports {
			target := relative(imported)
			if target == imported {
				continue // not of this module
			}
			if !matches(target, directions[row].may...) {
				t.Errorf("%s imports %s, and may import only %v", path, target, directions[row].may)
			}
			if matches(target, "internal/app/...") && !matches(path, "cmd/...") {
				t.Errorf("%s imports %s, which is for cmd only", path, target)
			}
		}
	}
}

// fences says which packages may import a library, tests aside.
var fences = []struct {
	library string // and all below
	only    []string
}{
	{"github.com/coder/websocket", []string{"hubs/transport", "hubs/serverconn", "hubs/appserver", "hubs/client"}},
	{"github.com/jackc/pgx", []string{"internal/postgres", "internal/testenv", "*store", "internal/app/api"}},
	{"github.com/redis/go-redis", []string{"internal/redisclient", "internal/app/...", "hubs/backplane", "hubs/quota", "hubs/serverlink", "hubs/upstream", "tenants/directory", "tenants/deliveries", "billing/usage"}},
	{"github.com/golang-jwt/jwt", []string{"tenants/accesstoken", "hubs/appserver"}},
	{"github.com/go-chi/chi", []string{"adminapi", "adminapi/operatorapi", "hubs/rest", "internal/httpserver", "internal/app/..."}},
	{"go.opentelemetry.io/otel/sdk", []string{"internal/telemetry"}},
	{"github.com/riverqueue/river", []string{"internal/postgres", "internal/app/api", "*store"}},
	{"github.com/shirou/gopsutil", []string{"internal/app/dev"}},
	{"github.com/spf13/cobra", []string{"internal/app/cli"}},
}

func TestLibraries_stay_behind_their_fences(t *testing.T) {
	t.Parallel()
	for path, p := range list(t) {
		for _, imported := range p.Imports {
			for _, fence := range fences {
				if strings.HasPrefix(imported, fence.library) && !matches(path, fence.only...) {
					t.Errorf("%s imports %s, which is for %v", path, imported, fence.only)
				}
			}
		}
	}
}

func TestEdge_can_not_open_a_database_connection(t *testing.T) {
	t.Parallel()
	edge, ok := list(t)["cmd/edge"]
	if !ok {
		t.Fatal("cmd/edge is not there")
	}
	for _, dependency := range edge.Deps {
		for _, database := range []string{"github.com/jackc/", "github.com/riverqueue/", "github.com/pressly/goose", module + "/internal/postgres", module + "/migrations"} {
			if strings.HasPrefix(dependency, database) {
				t.Errorf("cmd/edge depends on %s: the data plane never waits for Postgres", dependency)
			}
		}
	}
}

func TestHubs_is_usable_alone(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"hubs", "hubs/transport"} {
		for _, dependency := range list(t)[path].Deps {
			for _, foreign := range []string{module + "/tenants", module + "/billing", module + "/internal", "github.com/redis/", "github.com/jackc/", "github.com/go-chi/"} {
				if strings.HasPrefix(dependency, foreign) {
					t.Errorf("%s depends on %s: it is a SignalR server for any Go program", path, dependency)
				}
			}
		}
	}
}

func TestPackages_say_once_what_they_are_for(t *testing.T) {
	t.Parallel()
	for path, p := range list(t) {
		var documented []string
		for _, name := range slices.Concat(p.GoFiles, p.CgoFiles) {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Fatal(err)
			}
			if file.Doc != nil && !ast.IsGenerated(file) {
				documented = append(documented, name)
			}
		}
		if len(documented) != 1 && len(p.GoFiles) > 0 {
			t.Errorf("package %s has its package comment in %v, want it in exactly one file", path, documented)
		}
	}
}

// TestFiles_name_no_package_registry keeps lock files free of the addresses that
// a developer's machine happened to use: clients take their own.
func TestFiles_name_no_package_registry(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("git", "ls-files", "-z").Output()
	if err != nil {
		t.Skipf("not a git checkout: %v", err)
	}
	hosts := []string{"registry." + "npmjs.org", "registry." + "yarnpkg.com", "proxy." + "golang.org", `"resolved": "http`}
	for path := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		content, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted, not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, host := range hosts {
			if bytes.Contains(content, []byte(host)) && path != "arch_test.go" {
				t.Errorf("%s names a package registry: %s", path, host)
			}
		}
	}
}

// everywhere lists who may see the rows of all accounts, by file and function, and why.
// Whoever needs them somewhere else says here what bounds what is read and written there.
var everywhere = map[string]string{
	"adminapi/identity.go scoped":              "sign-in: operations of people who aren't known yet; each finds its rows by an address, a token or a cookie",
	"adminapi/operators.go identifyOperator":   "operator: behind the operators' own sign-in, on their own listener",
	"internal/app/api/commands.go Seed":        "seed: whoever may run the program with the database's password",
	"internal/app/api/commands.go Correct":     "operator: as seed",
	"internal/app/api/commands.go VerifyAudit": "operator: as seed",
	"internal/app/api/commands.go Operator":    "operator: as seed",
	"internal/app/api/serve.go run":            "jobs and usage: the queue's work and the counting of usage, which know no caller",
	"tenants/apitokens.go Authenticate":        "sign-in: one token, by its hash",
	"tenants/domains.go VerifyDomain":          "domains: whose a name is, and taking it from who has lost it",
	"tenants/publish.go Document":              "documents: what edges have to know of a tenant, for edges alone",
	"tenants/publish.go DocumentBySlug":        "documents: as Document",
	"tenants/publish.go DocumentByHost":        "documents: as Document",
	"tenants/publish.go EachTenant":            "documents: as Document",
	"tenants/reseal.go SealStates":             "sealing: sealed values and the ids that they are bound to",
	"tenants/reseal.go Reseal":                 "sealing: as SealStates",
	"tenants/tenantstore/audit.go writeAudits": "that of who reported an event, when it is written at the end of the transaction",
	"tenants/system.go SystemTenant":           "self: the service's own tenant",
	"tenants/system.go SystemKey":              "self: as SystemTenant",
	"tenants/system.go endLive":                "self: who may hear of a tenant in the console ends with the membership or the session that let them",
	"tenants/system.go liveEnded":              "self: as endLive",
}

// A scope of everybody is given where everywhere says so, and nowhere else.
func TestScope_of_everybody_is_given_in_few_places(t *testing.T) {
	t.Parallel()
	found := make(map[string]bool)
	for path, p := range list(t) {
		if path == "internal/scope" {
			continue
		}
		for _, name := range slices.Concat(p.GoFiles, p.CgoFiles) {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range file.Decls {
				where := path + "/" + name + " outside of a function"
				if f, ok := d.(*ast.FuncDecl); ok {
					where = path + "/" + name + " " + f.Name.Name
				}
				ast.Inspect(d, func(n ast.Node) bool {
					s, ok := n.(*ast.SelectorExpr)
					if !ok {
						return true
					}
					if x, ok := s.X.(*ast.Ident); ok && x.Name == "scope" && (s.Sel.Name == "System" || s.Sel.Name == "In" || s.Sel.Name == "Scope" && whole(d)) {
						found[where] = true
					}
					return true
				})
			}
		}
	}
	for where := range found {
		if everywhere[where] == "" {
			t.Errorf("%s sees the rows of all accounts: give it the scope of its caller, or say in everywhere why not", where)
		}
	}
	for where := range everywhere {
		if !found[where] {
			t.Errorf("%s is in everywhere and asks for no such scope", where)
		}
	}
}

// whole tells whether a declaration makes a scope.Scope with System in it by itself.
func whole(d ast.Node) (made bool) {
	ast.Inspect(d, func(n ast.Node) bool {
		if pair, ok := n.(*ast.KeyValueExpr); ok {
			key, ok := pair.Key.(*ast.Ident)
			made = made || ok && key.Name == "System"
		}
		return true
	})
	return made
}
