package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReports_are_counted(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, suite, report     string
		passed, failed, skipped int
	}{
		{"checks", "checks", "lint pass\nbuild fail\n", 1, 1, 0},
		{"go_subtests_count", "go", `{"Action":"pass","Package":"p","Test":"A/b"}` + "\n" + `{"Action":"pass","Package":"p","Test":"A"}` + "\n" + `{"Action":"pass","Package":"p"}`, 2, 0, 0},
		{"go_failed_test_is_counted_once", "go", `{"Action":"fail","Package":"p","Test":"A"}` + "\n" + `{"Action":"fail","Package":"p"}`, 0, 1, 0},
		{"go_package_that_does_not_build", "go", `{"Action":"fail","Package":"p"}`, 0, 1, 0},
		{"go_skip_with_reason", "go", `{"Action":"pass","Package":"p","Test":"B"}` + "\n" + `{"Action":"output","Package":"p","Test":"A","Output":"    a_test.go:3: needs Linux\n"}` + "\n" + `{"Action":"skip","Package":"p","Test":"A"}`, 1, 0, 1},
		{"go_skip_without_reason", "go", `{"Action":"skip","Package":"p","Test":"A"}`, 0, 1, 0},
		{"go_nothing_ran", "go", `{"Action":"skip","Package":"p"}`, 0, 1, 0},
		{"vitest", "vitest", `{"testResults":[{"status":"failed","assertionResults":[{"status":"passed"},{"status":"failed"},{"status":"pending"}]}]}`, 1, 2, 0},
		{"vitest_file_that_does_not_load", "vitest", `{"testResults":[{"status":"failed","assertionResults":[]}]}`, 0, 1, 0},
		{"tap_counts_leaves", "tap", "TAP version 13\n    ok 1 - inner\n    not ok 2 - other\nnot ok 1 - outer\nok 2 - alone\n", 2, 1, 0},
		{"tap_parent_that_failed_by_itself", "tap", "    ok 1 - inner\nnot ok 1 - outer\n", 1, 1, 0},
		{"tap_skips", "tap", "ok 1 - a # SKIP needs macOS\nok 2 - b # SKIP\nok 3 - c\n", 1, 1, 1},
		{"tap_todo_is_no_pass", "tap", "ok 1 - a # TODO later\n", 0, 1, 0},
		{"empty_report", "tap", "", 0, 1, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "report")
			if err := os.WriteFile(path, []byte(test.report), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, s := range suites {
				if s.name != test.suite {
					continue
				}
				got := readFile(path, s, nil)
				if got.passed != test.passed || got.failed != test.failed || got.skipped != test.skipped {
					t.Errorf("counts = %+v, want %d passed, %d failed, %d skipped", got, test.passed, test.failed, test.skipped)
				}
			}
		})
	}
}

func TestTotal_ends_with_the_sum(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	checks, tap := filepath.Join(dir, "checks"), filepath.Join(dir, "tap")
	for path, content := range map[string]string{checks: "lint pass\nbuild pass\n", tap: "ok 1 - a\n"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	if !total([]string{"-checks", checks, "-tap", tap}, &out) || !strings.HasSuffix(out.String(), "\n3 passed, 0 failed\n") {
		t.Errorf("total said %q", out.String())
	}
	out.Reset()
	if total([]string{"-checks", checks, "-tap", tap, "-ended-badly", "tap,"}, &out) || !strings.HasSuffix(out.String(), "\n3 passed, 1 failed\n") {
		t.Errorf("with a runner that crashed, total said %q", out.String())
	}
	out.Reset()
	if total([]string{"-checks", checks, "-tap", filepath.Join(dir, "missing")}, &out) || !strings.HasSuffix(out.String(), "\n2 passed, 1 failed\n") {
		t.Errorf("with a missing report, total said %q", out.String())
	}
}

func TestTotal_counts_files_of_the_list_as_flaky(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	list, tap := filepath.Join(dir, "list"), filepath.Join(dir, "tap")
	for path, content := range map[string]string{tap: "ok 1 - a\n", list: `{"Suite":"tap","Package":"e2e/a.test.mjs","Test":"a","Kept":"kept/a.tap"}` + "\n"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	if !total([]string{"-tap", tap, "-flaky", list}, &out) || !strings.HasSuffix(out.String(), "\n1 passed, 0 failed, 1 flaky\n") || !strings.Contains(out.String(), "kept/a.tap") {
		t.Errorf("total said %q", out.String())
	}
	if err := os.WriteFile(list, []byte("no JSON\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if total([]string{"-tap", tap, "-flaky", list}, &out) {
		t.Errorf("with a list that can't be read, total said %q", out.String())
	}
}

func TestWatch_shows_failures_only(t *testing.T) {
	t.Parallel()
	report := `{"Action":"output","Package":"p","Test":"A","Output":"why it failed\n"}
{"Action":"fail","Package":"p","Test":"A"}
{"Action":"output","Package":"p","Test":"B","Output":"chatter\n"}
{"Action":"pass","Package":"p","Test":"B"}
{"Action":"fail","Package":"p","Elapsed":1}
`
	var out strings.Builder
	if err := watch(strings.NewReader(report), &out); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "why it failed\nFAIL p 1.0 s\n" {
		t.Errorf("watch said %q", got)
	}
}
