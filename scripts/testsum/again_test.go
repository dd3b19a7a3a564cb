package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// inPackage is a module of the tests' own.
const inPackage = "example.com/root/sub"

// inModule makes a module, and the working directory one in it.
func inModule(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	write(t, "go.mod", "module example.com/root\n\ngo 1.26.0\n")
	if err := os.MkdirAll("sub/nested/deep", 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, "sub/nested/go.mod", "module example.com/root/sub/nested\n")
}

func write(t *testing.T, path string, lines ...string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
}

// said is a line of go test -json.
func said(t *testing.T, action, test, output string) string {
	t.Helper()
	line, err := json.Marshal(event{Action: action, Package: inPackage, Test: test, Output: output})
	if err != nil {
		t.Fatal(err)
	}
	return string(line)
}

func TestAgain(t *testing.T) {
	passes := func(t *testing.T, name string, n int) []string {
		return slices.Repeat([]string{said(t, "output", name, "=== RUN\n"), said(t, "pass", name, "")}, n)
	}
	tests := []struct {
		name   string
		report func(*testing.T) []string
		// tried is what the tries say, nil = there are none.
		tried func(t *testing.T, name string) []string
		// nested is the path of a module that has to have been tested, too.
		nested string
		// flaky are the tests that end in the list.
		flaky     []string
		allPassed bool
	}{
		{
			name: "passes_by_itself",
			report: func(t *testing.T) []string {
				return []string{said(t, "output", "TestA/b", "why\n"), said(t, "fail", "TestA/b", ""), said(t, "fail", "TestA", ""), said(t, "pass", "TestB", ""), said(t, "fail", "", "")}
			},
			tried:     func(t *testing.T, name string) []string { return passes(t, name, tries) },
			flaky:     []string{"TestA"},
			allPassed: true,
		},
		{
			name: "one_of_two_fails_again",
			report: func(t *testing.T) []string {
				return []string{said(t, "fail", "TestA", ""), said(t, "fail", "TestB", ""), said(t, "fail", "", "")}
			},
			tried: func(t *testing.T, name string) []string {
				if name == "TestA" {
					return append(passes(t, name, tries-1), said(t, "fail", name, ""), said(t, "fail", "", ""))
				}
				return passes(t, name, tries)
			},
			flaky: []string{"TestB"},
		},
		{
			name:   "does_not_run",
			report: func(t *testing.T) []string { return []string{said(t, "fail", "TestA", ""), said(t, "fail", "", "")} },
			tried:  func(*testing.T, string) []string { return []string{"go: no such package", `{"Action":"pass"}`} },
		},
		{
			name:   "races_by_itself",
			report: func(t *testing.T) []string { return []string{said(t, "fail", "TestA", ""), said(t, "fail", "", "")} },
			tried: func(t *testing.T, name string) []string {
				return append(passes(t, name, tries), said(t, "output", "", "WARNING: DATA RACE\n"))
			},
		},
		{
			name: "no_data_race",
			report: func(t *testing.T) []string {
				return []string{said(t, "output", "TestOther", "WARNING: DATA RACE\n"), said(t, "fail", "TestA", ""), said(t, "fail", "", "")}
			},
		},
		{
			name: "no_panic",
			report: func(t *testing.T) []string {
				return []string{said(t, "output", "TestA", "panic: at the disco [recovered]\n"), said(t, "fail", "TestA", ""), said(t, "fail", "", "")}
			},
		},
		{
			name: "no_time_out_of_the_package",
			report: func(t *testing.T) []string {
				return []string{said(t, "output", "TestA", "panic: test timed out after 20m0s\n"), said(t, "fail", "TestA", ""), said(t, "fail", "", "")}
			},
		},
		{
			name: "no_failure_outside_of_tests",
			report: func(t *testing.T) []string {
				return []string{said(t, "fail", "TestA", ""), said(t, "fail", "", ""), `{"Action":"fail","Package":"example.com/root"}`}
			},
		},
		{
			name: "no_test_that_did_not_end",
			report: func(t *testing.T) []string {
				return []string{said(t, "run", "TestB", ""), said(t, "fail", "TestA", ""), said(t, "fail", "", "")}
			},
		},
		{
			name: "no_package_that_was_killed",
			report: func(t *testing.T) []string {
				return []string{said(t, "fail", "TestA", ""), said(t, "output", "", "signal: killed\n"), said(t, "fail", "", "")}
			},
		},
		{
			name:   "no_module_left_out",
			report: func(t *testing.T) []string { return []string{said(t, "fail", "TestA", ""), said(t, "fail", "", "")} },
			nested: "example.com/root/other",
		},
		{
			name: "not_more_than_a_few",
			report: func(t *testing.T) (report []string) {
				for i := range mostAgain + 1 {
					report = append(report, said(t, "fail", fmt.Sprint("Test", i), ""))
				}
				return append(report, said(t, "fail", "", ""))
			},
		},
		{
			name:   "no_failed_test",
			report: func(t *testing.T) []string { return []string{said(t, "pass", "TestA", "")} },
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inModule(t)
			write(t, "report", test.report(t)...)
			var out strings.Builder
			allPassed := again([]string{"-go", "report", "-nested", test.nested, "-flaky", "list", "-keep", "kept"}, &out, func(dir string, args ...string) []byte {
				if test.tried == nil {
					t.Fatalf("tried: %q", args)
				}
				i := slices.Index(args, "-run")
				name := strings.Trim(args[i+1], "^$")
				if want := []string{"-race", "-json", "-count=3", "-timeout", "5m", "-run", "^" + name + "$", inPackage}; dir != "." || !slices.Equal(args, want) {
					t.Errorf("in %q go test %q, want %q", dir, args, want)
				}
				return []byte(strings.Join(test.tried(t, name), "\n"))
			})
			if allPassed != test.allPassed {
				t.Errorf("all passed = %v: %s", allPassed, out.String())
			}
			list, err := readFlaky("list")
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, f := range list {
				names = append(names, f.Test)
				if f.Suite != "go" || f.Package != inPackage || f.Kept != filepath.Join("kept", "sub."+f.Test+".log") {
					t.Errorf("listed: %+v", f)
				}
			}
			if !slices.Equal(names, test.flaky) {
				t.Errorf("flaky are %q, want %q; it said %s", names, test.flaky, out.String())
			}
		})
	}
}

func TestAgain_keeps_what_the_failure_said(t *testing.T) {
	inModule(t)
	write(t, "report", said(t, "output", "TestA", "first\n"), said(t, "output", "TestB", "another's\n"), said(t, "pass", "TestB", ""), said(t, "output", "TestA/b", "second\n"), said(t, "fail", "TestA/b", ""), said(t, "fail", "TestA", ""), said(t, "fail", "", ""))
	again([]string{"-go", "report", "-flaky", "list", "-keep", "kept"}, t.Output(), func(string, ...string) []byte { return []byte("what the tries said") })
	for file, want := range map[string]string{"sub.TestA.log": "first\nsecond\n", "sub.TestA.again.json": "what the tries said"} {
		if got, err := os.ReadFile(filepath.Join("kept", file)); err != nil || string(got) != want {
			t.Errorf("%s holds %q (%v), want %q", file, got, err, want)
		}
	}
}

func TestAgain_finds_the_module(t *testing.T) {
	inModule(t)
	for pkg, want := range map[string]string{
		"example.com/root": ". root false", inPackage: ". sub false",
		inPackage + "/nested": "sub/nested sub/nested true", inPackage + "/nested/deep": "sub/nested sub/nested/deep true",
	} {
		dir, name, nested, err := folder(pkg)
		if got := fmt.Sprint(dir, " ", name, " ", nested); err != nil || got != want {
			t.Errorf("%s is in %q (%v), want %q", pkg, got, err, want)
		}
	}
}

// The whole way: go test, the tries, the sum.
func TestAgain_with_the_go_command(t *testing.T) {
	inModule(t)
	write(t, "sub/sub_test.go", `package sub

import (
	"os"
	"testing"
)

func TestOnce(t *testing.T) {
	t.Run("sub", func(t *testing.T) {
		if _, err := os.Stat("seen"); err != nil {
			t.Error("the first time fails", os.WriteFile("seen", nil, 0o600))
		}
	})
}

func TestFine(*testing.T) {}
`)
	write(t, "report", string(goTest(".", "-json", "./...")))
	if !again([]string{"-go", "report", "-flaky", "list", "-keep", "kept"}, t.Output(), goTest) {
		t.Error("not all passed")
	}
	var out strings.Builder
	if !total([]string{"-go", "report", "-flaky", "list", "-ended-badly", ""}, &out) || !strings.HasSuffix(out.String(), "\n1 passed, 0 failed, 1 flaky\n") {
		t.Errorf("total said %q", out.String())
	}
	for _, want := range []string{"\nflaky: ", "    TestOnce\n", inPackage, filepath.Join("kept", "sub.TestOnce.log")} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("total said %q, want %q in it", out.String(), want)
		}
	}
	out.Reset()
	if total([]string{"-go", "report", "-flaky", "none"}, &out) || !strings.HasSuffix(out.String(), "\n1 passed, 2 failed\n") {
		t.Errorf("without the list, total said %q", out.String())
	}
}
