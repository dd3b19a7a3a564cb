package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// counts is what a report says. A skip without a reason is among the failed.
type counts struct {
	passed, failed, skipped int
	problems                []string
}

// fail adds one failure and why.
func (c counts) fail(problem string) counts {
	c.failed++
	c.problems = append(c.problems, problem)
	return c
}

// maxLine bounds one line of a report.
const maxLine = 16 << 20

func lines(r io.Reader) *bufio.Scanner {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, maxLine)
	return scanner
}

func readChecks(r io.Reader, _ []flaky) (c counts, err error) {
	scanner := lines(r)
	for scanner.Scan() {
		name, outcome, _ := strings.Cut(scanner.Text(), " ")
		if outcome == "pass" {
			c.passed++
		} else {
			c = c.fail(name + " failed")
		}
	}
	return c, scanner.Err()
}

// event is a line of go test -json (go doc test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string // of build events
	Test       string
	Elapsed    float64
	Output     string
}

// top is the test that an event's subtest is in, or the test itself.
func (e *event) top() string {
	name, _, _ := strings.Cut(e.Test, "/")
	return name
}

// isOf reports whether the event is about a flaky test or its subtests.
func (e *event) isOf(f flaky) bool { return f.Package == e.Package && f.Test == e.top() }

// skipReason finds the text of t.Skip in a test's output: "file.go:12: text".
var skipReason = regexp.MustCompile(`^\s*\S+\.go:\d+: \S`)

// readGo counts tests and subtests, and packages that failed outside any test
// (they did not build, panicked or left TestMain with an error). Flaky tests count
// neither as passed nor as failed, nor do those of their subtests that failed.
func readGo(r io.Reader, forgiven []flaky) (c counts, err error) {
	hasReason := map[string]bool{}
	failedTests := map[string]bool{}
	scanner := lines(r)
	for scanner.Scan() {
		var e event
		if err := json.Unmarshal(scanner.Bytes(), &e); err != nil {
			return c, fmt.Errorf("line %.80q: %w", scanner.Text(), err)
		}
		name := e.Package + " " + e.Test
		switch {
		case e.Action == "output" && e.Test != "" && skipReason.MatchString(e.Output):
			hasReason[name] = true
		case e.Test == "" && e.Action == "fail" && !failedTests[e.Package]:
			c = c.fail(e.Package + " failed outside its tests")
		case e.Test == "":
		case e.Action == "pass":
			c.passed++
		case e.Action == "fail":
			failedTests[e.Package] = true
			if !slices.ContainsFunc(forgiven, e.isOf) {
				c = c.fail(name)
			}
		case e.Action == "skip" && hasReason[name]:
			c.skipped++
		case e.Action == "skip":
			c = c.fail(name + " was skipped without a reason")
		}
	}
	return c, scanner.Err()
}

// readVitest counts tests; the console's tests have no reason to be skipped.
func readVitest(r io.Reader, _ []flaky) (c counts, err error) {
	var report struct {
		TestResults []struct {
			Name             string
			Status           string
			AssertionResults []struct{ Status, FullName string }
		}
	}
	if err := json.NewDecoder(r).Decode(&report); err != nil {
		return c, err
	}
	for _, file := range report.TestResults {
		failedHere := false
		for _, test := range file.AssertionResults {
			switch test.Status {
			case "passed":
				c.passed++
			case "failed":
				failedHere = true
				c = c.fail(test.FullName)
			default:
				c = c.fail(test.FullName + " did not run: " + test.Status)
			}
		}
		if file.Status == "failed" && !failedHere {
			c = c.fail(file.Name + " failed outside its tests")
		}
	}
	return c, nil
}

// tapPoint is a result line: "ok 1 - name", "not ok 2 - name # SKIP reason".
var tapPoint = regexp.MustCompile(`^(\s*)(ok|not ok) \d+(?: - (.*))?$`)

// readTAP counts leaves only: node reports a file or describe as a test too,
// after the indented results of what is in it. In the report stands of flaky files
// the try that passed.
func readTAP(r io.Reader, _ []flaky) (c counts, err error) {
	deepest := -1 // indentation of the results seen since the last shallower one
	scanner := lines(r)
	for scanner.Scan() {
		match := tapPoint.FindStringSubmatch(scanner.Text())
		if match == nil {
			continue
		}
		depth := len(match[1])
		isParent := deepest > depth
		deepest = depth
		name, directive, _ := strings.Cut(match[3], " # ")
		passed := match[2] == "ok"
		switch {
		case isParent && passed:
		case isParent:
			// Its leaves have been counted, unless it failed by itself.
			if c.failed == 0 {
				c = c.fail(name)
			}
		case strings.HasPrefix(directive, "SKIP") && strings.TrimSpace(strings.TrimPrefix(directive, "SKIP")) != "":
			c.skipped++
		case directive != "":
			c = c.fail(name + " did not run: " + directive)
		case passed:
			c.passed++
		default:
			c = c.fail(name)
		}
	}
	return c, scanner.Err()
}
