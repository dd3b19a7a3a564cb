package signalbox_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDelivery_promises_name_their_tests: every promise of docs/delivery.md names
// tests, and all that are named there are still there.
func TestDelivery_promises_name_their_tests(t *testing.T) {
	text, err := os.ReadFile("docs/delivery.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([a-z0-9/]+)\\.(Test\\w+)`")
	sources := map[string]string{}
	promises := 0
	for line := range strings.Lines(string(text)) {
		tests := named.FindAllStringSubmatch(line, -1)
		if strings.HasPrefix(line, "- ") {
			if promises++; len(tests) == 0 {
				t.Errorf("this promise has no test: %s", line)
			}
		}
		for _, m := range tests {
			folder, name := m[1], m[2]
			if _, read := sources[folder]; !read {
				files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range files {
					source, err := os.ReadFile(f)
					if err != nil {
						t.Fatal(err)
					}
					sources[folder] += string(source)
				}
			}
			if !strings.Contains(sources[folder], "\nfunc "+name+"(") {
				t.Errorf("%s has no %s", folder, name)
			}
		}
	}
	if promises < 20 {
		t.Errorf("only %d promises were found", promises)
	}
}
