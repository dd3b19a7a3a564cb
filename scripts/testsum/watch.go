package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// watch turns the output of go test -json into what a person wants to follow:
// one line for each package, and the output of tests that failed.
func watch(in io.Reader, out io.Writer) error {
	output := map[string]*strings.Builder{}
	scanner := lines(in)
	for scanner.Scan() {
		var e event
		if err := json.Unmarshal(scanner.Bytes(), &e); err != nil {
			_, _ = fmt.Fprintln(out, scanner.Text()) // not JSON: a build error of an old kind
			continue
		}
		name := e.Package + e.ImportPath + " " + e.Test
		switch e.Action {
		case "output", "build-output":
			if output[name] == nil {
				output[name] = &strings.Builder{}
			}
			output[name].WriteString(e.Output)
		case "fail", "build-fail":
			if kept := output[name]; kept != nil {
				_, _ = io.WriteString(out, kept.String())
			}
			delete(output, name)
			if e.Test == "" && e.Action == "fail" {
				_, _ = fmt.Fprintf(out, "FAIL %s %.1f s\n", e.Package, e.Elapsed)
			}
		case "pass", "skip":
			delete(output, name)
			if e.Test == "" && e.Action == "pass" {
				_, _ = fmt.Fprintf(out, "ok   %s %.1f s\n", e.Package, e.Elapsed)
			}
		}
	}
	return scanner.Err()
}
