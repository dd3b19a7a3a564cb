// Command testsum reads the reports of the project's test runners and sums them
// up in one line.
//
//	go test -json ./... | testsum watch     shows failures as they come
//	testsum total -go FILE -tap FILE ...    prints "N passed, N failed"
//
//	testsum again -go FILE ...              tries failed tests again, by themselves
//
// A suite that ran nothing, a report that is missing, and a test that was
// skipped without a reason count as failures: none of them may look like success.
// A test that failed and then passed each of its tries by itself is flaky: it is told
// and counted apart, and doesn't make the sum a failure.
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
		fmt.Fprintln(os.Stderr, "usage: testsum watch | testsum again [flags] | testsum total [flags]")
		os.Exit(2)
	}
	switch os.Args[1] {
	case "watch":
		if err := watch(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "testsum:", err)
			os.Exit(1)
		}
	case "again":
		if !again(os.Args[2:], os.Stdout, goTest) {
			os.Exit(1)
		}
	case "total":
		if !total(os.Args[2:], os.Stdout) {
			os.Exit(1)
		}
	default:
		fmt.Fprintf(os.Stderr, "testsum: unknown command %q: accepted are watch, again and total\n", os.Args[1])
		os.Exit(2)
	}
}

// suite is one kind of report.
type suite struct {
	name, usage string
	read        func(io.Reader, []flaky) (counts, error)
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
	list := flags.String("flaky", "", "`file` with the tests that failed and passed by themselves; it may be missing")
	_ = flags.Parse(args) // exits on an error
	badly := strings.Split(*crashed, ",")
	var sum counts
	all, err := readFlaky(*list)
	if err != nil {
		sum = sum.fail("unreadable list: " + err.Error())
		_, _ = fmt.Fprintf(out, "flaky: %s\n", sum.problems[0])
	}
	for i, s := range suites {
		if *files[i] == "" {
			continue
		}
		own := slices.DeleteFunc(slices.Clone(all), func(f flaky) bool { return f.Suite != s.name })
		got := readFile(*files[i], s, own)
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
	if len(all) == 0 {
		_, _ = fmt.Fprintf(out, "%d passed, %d failed\n", sum.passed, sum.failed)
		return sum.failed == 0 && sum.passed > 0
	}
	_, _ = fmt.Fprintln(out, "\nflaky: they failed, and passed each time that they ran by themselves. Mend them before anything else.")
	for _, f := range all {
		_, _ = fmt.Fprintf(out, "    %s\n        %s; its failure: %s\n", f.Test, f.Package, f.Kept)
	}
	_, _ = fmt.Fprintf(out, "%d passed, %d failed, %d flaky\n", sum.passed, sum.failed, len(all))
	return sum.failed == 0 && sum.passed > 0
}

// readFile counts a report; one that can't be read or holds no test has failed.
func readFile(path string, s suite, forgiven []flaky) counts {
	file, err := os.Open(path)
	if err != nil {
		return counts{}.fail("no report: " + err.Error())
	}
	defer file.Close() //nolint:errcheck // read only
	got, err := s.read(file, forgiven)
	if err != nil {
		return got.fail("unreadable report: " + err.Error())
	}
	if got.passed+got.failed == 0 {
		return got.fail("no test ran")
	}
	return got
}
