package signalbox_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	// namedTest is a test as docs/delivery.md names it: in Go, or of the official client.
	namedTest = regexp.MustCompile("`(?:([a-z0-9/]+)\\.(Test\\w+)|(e2e/[a-z]+/[a-z]+): ([^`]+))`")
	// markup holds full stops that end no sentence.
	markup = regexp.MustCompile("`[^`]*`|\\]\\([^)]*\\)")
	// sentenceEnd is where one ends and another begins.
	sentenceEnd = regexp.MustCompile(`[.!?]\s+\S`)
)

// unproven are the sentences of a promise behind which no test is named: what stands
// between two names, or behind the last one, is one sentence.
func unproven(promise string) (sentences []string) {
	rest := strings.TrimSpace(strings.TrimPrefix(promise, "- "))
	for rest != "" {
		at := namedTest.FindStringIndex(rest)
		if at == nil {
			return append(sentences, rest)
		}
		text := strings.TrimSpace(rest[:at[0]])
		if plain := markup.ReplaceAllString(text, "x"); sentenceEnd.MatchString(plain) {
			sentences = append(sentences, text)
		}
		rest = strings.TrimSpace(rest[at[1]:])
	}
	return sentences
}

// sources is the text of tests, by the pattern of their files.
type sources map[string]string

func (s sources) has(t *testing.T, pattern, line string) bool {
	t.Helper()
	if _, read := s[pattern]; !read {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			s[pattern] += "\n" + string(text)
		}
	}
	return strings.Contains(s[pattern], line)
}

// missing are the tests named in a text that aren't there.
func (s sources) missing(t *testing.T, text string) (names []string) {
	t.Helper()
	for _, m := range namedTest.FindAllStringSubmatch(text, -1) {
		var there bool
		if m[1] != "" {
			there = s.has(t, filepath.Join(m[1], "*_test.go"), "\nfunc "+m[2]+"(")
		} else {
			there = s.has(t, m[3]+".test.mjs", fmt.Sprintf("test(%q, ", m[4]))
		}
		if !there {
			names = append(names, m[0])
		}
	}
	return names
}

// TestDelivery_promises_name_their_tests: every sentence of a promise of
// docs/delivery.md names tests, and all that are named there are still there.
func TestDelivery_promises_name_their_tests(t *testing.T) {
	text, err := os.ReadFile("docs/delivery.md")
	if err != nil {
		t.Fatal(err)
	}
	all := sources{}
	for _, name := range all.missing(t, string(text)) {
		t.Errorf("there is no %s", name)
	}
	promises, within := 0, false
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "## ") {
			within = !strings.HasPrefix(line, "## D11") && !strings.HasPrefix(line, "## Notes") && !strings.HasPrefix(line, "## What this needs")
			continue
		}
		if !within || line == "" {
			continue
		}
		promises++
		for _, sentence := range unproven(line) {
			t.Errorf("no test is named for this alone: %s", sentence)
		}
	}
	if promises < 30 {
		t.Errorf("only %d promises were found", promises)
	}
}

// What the test above is to find, it finds.
func TestDelivery_promises_without_tests_are_found(t *testing.T) {
	for promise, want := range map[string]int{
		"- One. `hubs.TestStatefulReconnect`":                                     0,
		"- One, as [here](a.md#b. c) says; `a. b` too. `hubs.TestX` `hubs.TestY`": 0,
		"- One. `hubs.TestX` Two. `e2e/clients/rolling: edges, one by one`":       0,
		"- One. Two. `hubs.TestX`":                                                1,
		"- One. `hubs.TestX` Two.":                                                1,
		"- One.":                                                                  1,
		"- One. Two. `hubs.TestX` Three. Four. `hubs.TestX` Five":                 3,
	} {
		if got := unproven(promise); len(got) != want {
			t.Errorf("%s: %q, want %d", promise, got, want)
		}
	}
	const gone = "`hubs.TestThatNobodyWrote` `hubs.TestStatefulReconnect` `e2e/clients/rolling: nothing of the kind` `e2e/clients/nowhere: nothing`"
	if got := (sources{}).missing(t, gone); len(got) != 3 {
		t.Errorf("missing %q", got)
	}
}
