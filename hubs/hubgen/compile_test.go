package main

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

// compileGo type-checks the sample with changes to its source; the generated file
// stays as it is.
func compileGo(t *testing.T, replace ...string) (errs []string) {
	t.Helper()
	source, err := filepath.Abs("internal/sample/sample.go")
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.NewReplacer(replace...).Replace(contents(t, source))
	if len(replace) > 0 && changed == contents(t, source) {
		t.Fatalf("the sample has no %q", replace[0])
	}
	all, err := packages.Load(&packages.Config{
		Dir: filepath.Dir(source), Overlay: map[string][]byte{source: []byte(changed)},
		Mode: packages.NeedName | packages.NeedTypes | packages.NeedImports | packages.NeedExportFile | packages.NeedSyntax,
	}, ".")
	if err != nil || len(all) != 1 {
		t.Fatalf("%v, %d packages", err, len(all))
	}
	for _, e := range all[0].Errors {
		errs = append(errs, e.Msg)
	}
	return errs
}

func TestGo_does_not_compile_when_the_interface_and_the_proxy_disagree(t *testing.T) {
	t.Parallel()
	if errs := compileGo(t); len(errs) > 0 {
		t.Fatalf("as it is: %v", errs)
	}
	for name, change := range map[string][]string{
		"a method more":        {"\tClosed(ctx context.Context) error\n", "\tClosed(ctx context.Context) error\n\tOpened(ctx context.Context) error\n"},
		"another argument":     {"task Task, at time.Time) error", "task Task, at string) error"},
		"an argument more":     {"Closed(ctx context.Context) error", "Closed(ctx context.Context, why string) error"},
		"another result":       {"ctx2 []string) (bool, error)", "ctx2 []string) (int, error)"},
		"an answer where none": {"Closed(ctx context.Context) error", "Closed(ctx context.Context) (bool, error)"},
	} {
		errs := strings.Join(compileGo(t, change...), "\n")
		if !strings.Contains(errs, "viewerProxy") {
			t.Errorf("%s: %q, want an error about the proxy", name, errs)
		}
	}
}

// compileScript runs TypeScript's compiler on hub.ts and testdata/uses.ts.
func compileScript(t *testing.T, hub string) (said string, err error) {
	t.Helper()
	modules, err := filepath.Abs("../../web/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	compiler := filepath.Join(modules, "typescript", "bin", "tsc")
	if _, err := os.Stat(compiler); errors.Is(err, fs.ErrNotExist) {
		t.Skip("TypeScript's compiler is not installed: make web installs it")
	}
	dir := t.TempDir()
	config, err := json.Marshal(map[string]any{
		"compilerOptions": map[string]any{
			"strict": true, "noEmit": true, "target": "ES2022", "module": "ESNext", "moduleResolution": "Bundler", "types": []string{},
			"lib": []string{"ES2022", "DOM"}, "skipLibCheck": true,
			"paths": map[string][]string{"@microsoft/signalr": {filepath.Join(modules, "@microsoft", "signalr")}},
		},
		"files": []string{"uses.ts"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"tsconfig.json": string(config), "hub.ts": hub, "uses.ts": contents(t, "testdata/uses.ts")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), "node", compiler, "-p", dir).CombinedOutput()
	return string(out), err
}

func TestTypeScript_does_not_compile_when_the_sides_disagree(t *testing.T) {
	t.Parallel()
	if said, err := compileScript(t, contents(t, "internal/sample/hub.ts")); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	// The same page with another hub of the same name.
	other := filepath.Join(t.TempDir(), "hub.ts")
	if err := run([]string{"-dir", "internal/wrong", "-hub", "Board", "-client", "Viewer", "-ts", other}, io.Discard); err != nil {
		t.Fatal(err)
	}
	said, err := compileScript(t, contents(t, other))
	for _, want := range []string{"'\"./hub\"' has no exported member", "Property 'remove' does not exist on type 'Board'"} {
		if err == nil || !strings.Contains(said, want) {
			t.Errorf("%v, want %s in\n%s", err, want, said)
		}
	}
}
