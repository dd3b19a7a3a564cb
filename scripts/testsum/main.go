// Command testsum reads the reports of the project's test runners and sums them
// up in one line.
//
//	go test -json ./... | testsum watch     shows failures as they come
//	testsum total -go FILE -tap FILE ...    prints "N passed, N failed"
//
// A suite that ran nothing, a report that is missing, and a test that was
// skipped without a reason count as failures: none of them may look like success.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: testsum watch | testsum total [flags]")
		os.Exit(2)
	}
	switch os.Args[1] {
	case "watch":
		if err := watch(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "testsum:", err)
			os.Exit(1)
		}
	case "total":
		if !total(os.Args[2:], os.Stdout) {
			os.Exit(1)
		}
	default:
		fmt.Fprintf(os.Stderr, "testsum: unknown command %q: accepted are watch and total\n", os.Args[1])
		os.Exit(2)
	}
}

// suite is one kind of report.
type suite struct {
	name, usage string
	read        func(io.Reader) (counts, error)
}

var suites = []suite{
	{"checks", "lines of \"name pass\" or \"name fail\"", readChecks},
	{"go", "output of go test -json", readGo},
	{"vitest", "output of vitest's JSON reporter", readVitest},
	{"tap", "output of node's TAP reporter", readTAP},
}

// total prints the sum of all named reports and returns whether all is well.
func total(args []string, out io.Writer) bool {
	flags := flag.NewFlagSet("total", flag.ExitOnError)
	files := make([]*string, len(suites))
	for i, s := range suites {
		files[i] = flags.String(s.name, "", "`file` with "+s.usage)
	}
	crashed := flags.String("ended-badly", "", "`names`, by commas, of reports whose runner ended with a failure")
	_ = flags.Parse(args) // exits on an error
	badly := strings.Split(*crashed, ",")
	var sum counts
	for i, s := range suites {
		if *files[i] == "" {
			continue
		}
		got := readFile(*files[i], s)
		if got.failed == 0 && slices.Contains(badly, s.name) {
			got = got.fail("the runner ended with a failure, though no test did")
		}
		for _, problem := range got.problems {
			_, _ = fmt.Fprintf(out, "%s: %s\n", s.name, problem)
		}
		_, _ = fmt.Fprintf(out, "%-8s %5d passed %5d failed %5d skipped\n", s.name, got.passed, got.failed, got.skipped)
		sum.passed += got.passed
		sum.failed += got.failed
	}
	_, _ = fmt.Fprintf(out, "%d passed, %d failed\n", sum.passed, sum.failed)
	return sum.failed == 0 && sum.passed > 0
}

// readFile counts a report; one that can't be read or holds no test has failed.
func readFile(path string, s suite) counts {
	file, err := os.Open(path)
	if err != nil {
		return counts{}.fail("no report: " + err.Error())
	}
	defer file.Close() //nolint:errcheck // read only
	got, err := s.read(file)
	if err != nil {
		return got.fail("unreadable report: " + err.Error())
	}
	if got.passed+got.failed == 0 {
		return got.fail("no test ran")
	}
	return got
}
