package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const root = "../../.."

func TestTable_is_fresh_and_knows_every_id(t *testing.T) {
	t.Parallel()
	docs, err := documents(root)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range docs {
		got, err := os.ReadFile(filepath.Join(root, "docs", name))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("docs/%s is stale: run make gen", name)
		}
	}
}

func TestAttacks(t *testing.T) {
	t.Parallel()
	name := func(n string) string { return attackPrefix + n } // this file tries none itself
	rows := []attack{{name("01"), "one", "nothing"}, {name("20"), "two | 2", "the end"}, {name("48"), "three", "x"}}
	doc, err := renderAttacks(rows, map[string][]shown{name("01"): {{"a", "x"}}, name("20"): {{"b", "y"}}, "N-0" + "1": {{"c", "z"}}})
	if err != nil || !strings.Contains(string(doc), `| two \| 2 | the end | [b](../b): y |`) || strings.Contains(string(doc), "three") {
		t.Errorf("%v\n%s", err, doc)
	}
	if _, err := renderAttacks(rows, map[string][]shown{name("01"): {{"a", "x"}}}); err == nil || !strings.Contains(err.Error(), "no test names") {
		t.Errorf("without a test: %v", err)
	}
	if _, err := renderAttacks(rows, map[string][]shown{name("20"): {{"b", "y"}}, name("99"): {{"b", "y"}}}); err == nil || !strings.Contains(err.Error(), "security.tsv") {
		t.Errorf("with an unknown id: %v", err)
	}
}

func TestScan(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		// The ids are put together so that this file names none itself.
		"a_test.go": strings.ReplaceAll(`package a
// TestOne covers S?03.
func TestOne(t *testing.T) {
	t.Run("S?01 SEC?12 U?02 first of many", nil)
	t.Run("S?04", nil) // and K?01
	t.Error("REC?05: no id")
}
func TestT_06_by_name() {}
`, "?", "-"),
		"b.test.mjs":               strings.ReplaceAll("test(\"S?01 a \\\"quoted\\\" name\", f);\ntest(`M?01 ${how}: more`, f); // M?02", "?", "-"),
		"node_modules/c.test.mjs":  strings.ReplaceAll(`test("A?01 not ours", f)`, "?", "-"),
		"notes/S.md":               "nothing",
		"testdata/broken_test.go":  "not Go",
		"deep/down/here.test.mjs":  strings.ReplaceAll(`describe("N?19 x", () => { it("N?18 y") })`, "?", "-"),
		"deep/down/ordinary.mjs":   strings.ReplaceAll(`test("N?17 no test file")`, "?", "-"),
		"deep/down/ordinary_go.go": "not read",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found, err := scan(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		attackPrefix + "12": "a_test.go: first of many",
		"S?01":              "a_test.go: first of many, b.test.mjs: a \\\"quoted\\\" name",
		"S?03":              "a_test.go: TestOne", "S?04": "a_test.go: TestOne", "U?02": "a_test.go: first of many",
		"K?01": "a_test.go: TestOne", "T?06": "a_test.go: TestT_06_by_name", "M?01": "b.test.mjs: how: more",
		"N?19": "deep/down/here.test.mjs: x", "N?18": "deep/down/here.test.mjs: y",
	}
	for name, tests := range want {
		name = strings.ReplaceAll(name, "?", "-")
		var got []string
		for _, s := range found[name] {
			got = append(got, s.file+": "+s.title)
		}
		if text := strings.Join(got, ", "); text != tests {
			t.Errorf("%s is %q, want %q", name, text, tests)
		}
		delete(found, name)
	}
	if len(found) > 0 {
		t.Errorf("also found %v", found)
	}
}

func TestRender(t *testing.T) {
	t.Parallel()
	c := &catalogue{
		rows:       []behaviour{{"N-0" + "1", "first | of all"}, {"N-0" + "2", "second"}, {"T-0" + "1", "third"}},
		deviations: map[string]string{"N-0" + "2": "on purpose"},
	}
	doc, err := c.render(map[string][]shown{"N-0" + "1": {{"b", "two"}, {"a", "one"}, {"b", "three"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Of 3 behaviours 1 are shown by tests, 1 deviate and 1 are open.",
		`| first \| of all | [a](../a): one<br>[b](../b): two; three |`,
		"| second | **Deviation:** on purpose |",
		"## Transports",
		"| third | open |",
	} {
		if !strings.Contains(string(doc), want) {
			t.Errorf("%q is missing in\n%s", want, doc)
		}
	}
	if _, err := c.render(map[string][]shown{"A-9" + "9": {{"a", "one"}}}); err == nil {
		t.Error("an id that isn't in the catalogue is no error")
	}
}
