package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sample writes to files of the test and returns them.
func sample(t *testing.T, args ...string) (golang, typescript string, err error) {
	t.Helper()
	dir := t.TempDir()
	g, ts := filepath.Join(dir, "a.go"), filepath.Join(dir, "a.ts")
	err = run(append([]string{"-dir", "internal/sample", "-go", g, "-ts", ts}, args...), io.Discard)
	if err != nil {
		return "", "", err
	}
	return contents(t, g), contents(t, ts), nil
}

func contents(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestGenerated_code_is_what_is_committed(t *testing.T) {
	t.Parallel()
	golang, typescript, err := sample(t, "-hub", "Board", "-client", "Viewer")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(contents(t, "internal/sample/viewer.go"), golang); diff != "" {
		t.Errorf("run go generate ./hubs/hubgen/internal/sample:\n%s", diff)
	}
	if diff := cmp.Diff(contents(t, "internal/sample/hub.ts"), typescript); diff != "" {
		t.Errorf("run go generate ./hubs/hubgen/internal/sample:\n%s", diff)
	}
}

func TestTypeScript_for_MessagePack(t *testing.T) {
	t.Parallel()
	_, typescript, err := sample(t, "-hub", "Board", "-client", "Viewer", "-messagepack")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"due?: Date;", "files: Uint8Array[];", "at: Date)", `invoke("Renamed", p0)`} {
		if !strings.Contains(typescript, want) {
			t.Errorf("it lacks %s", want)
		}
	}
}

func TestRun_says_what_is_wrong(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"nothing to write":                        {},
		"-go needs -client":                       {"-go", "x", "-hub", "Board"},
		"-ts needs -hub":                          {"-ts", "x", "-client", "Viewer"},
		"unexpected argument":                     {"-ts", "x", "y"},
		"has no type Nope":                        {"-ts", "x", "-hub", "Nope"},
		"Level is no interface":                   {"-go", "x", "-client", "Level"},
		"Wrong.NoContext: its first parameter":    {"-go", "x", "-client", "Wrong"},
		"Wrong.NoError: it must return an error":  {"-go", "x", "-client", "Wrong"},
		"Wrong.Many: it may not be variadic":      {"-go", "x", "-client", "Wrong"},
		"chan int has no form in TypeScript":      {"-ts", "x", "-hub", "Odd"},
		"would both be called onChanged":          {"-ts", "x", "-hub", "Odd", "-client", "Viewer"},
		"hubs.Rename names Nothing":               {"-ts", "x", "-hub", "Lost"},
		"hubs.Hide names Nope":                    {"-ts", "x", "-hub", "Lost"},
		"must be written as its arguments":        {"-ts", "x", "-hub", "Spread"},
		"registered twice, with other names":      {"-ts", "x", "-hub", "Twice"},
		"doesn't call hubs.Register with a Stray": {"-ts", "x", "-hub", "Stray"},
		"package sample doesn't call":             {"-ts", "x", "-hub", "Board", "-register", "internal/sample"},
	} {
		var said bytes.Buffer
		err := run(append([]string{"-dir", "internal/wrong"}, args...), &said)
		if err == nil || !strings.Contains(err.Error()+said.String(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
}

func TestNames_come_from_where_the_hub_is_registered(t *testing.T) {
	t.Parallel()
	_, typescript, err := sample(t, "-hub", "Board", "-client", "Viewer", "-register", "internal/elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	for call, want := range map[string]bool{`invoke("Add"`: false, `invoke("Import"`: false, `invoke("Old"`: true, `invoke("Secret"`: true, `invoke("Renamed"`: false} {
		if strings.Contains(typescript, call) != want {
			t.Errorf("%s is there: %t, want %t", call, !want, want)
		}
	}
}
