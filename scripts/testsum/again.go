package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

const (
	// mostAgain is how many failed tests are tried again: more are no accident.
	mostAgain = 5
	// tries is how often each has to pass.
	tries = 3
	// triesWithin bounds all tries of a test.
	triesWithin = "5m"
)

// flaky is a test that failed in the crowd and passed each of its tries by itself: a
// line of JSON in the list.
type flaky struct {
	Suite   string // name of a suite
	Package string // or the file
	Test    string
	Kept    string // the file with the output of the try that failed
}

// readFlaky reads the list; there needn't be one.
func readFlaky(path string) (all []flaky, err error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // read only
	scanner := lines(file)
	for scanner.Scan() {
		var f flaky
		if err := json.Unmarshal(scanner.Bytes(), &f); err != nil {
			return all, fmt.Errorf("line %.80q: %w", scanner.Text(), err)
		}
		all = append(all, f)
	}
	return all, scanner.Err()
}

// goTest runs go test in a folder and returns all that it says.
func goTest(dir string, args ...string) []byte {
	cmd := exec.CommandContext(context.Background(), "go", append([]string{"test"}, args...)...)
	cmd.Dir = dir
	said, _ := cmd.CombinedOutput() // how it ended is in there
	return said
}

// again tries the failed tests of a report of go test -json again, each by itself,
// and adds those that pass all tries to the list of flaky ones. It reports whether
// these were all: then no failure is left.
func again(args []string, out io.Writer, run func(dir string, args ...string) []byte) bool {
	flags := flag.NewFlagSet("again", flag.ExitOnError)
	report := flags.String("go", "", "`file` with output of go test -json")
	list := flags.String("flaky", "", "`file` to add the flaky tests to")
	keep := flags.String("keep", "", "`folder` for what failed tests said")
	nested := flags.String("nested", "", "`package` path of a module in the module; packages of both have to have ended")
	_ = flags.Parse(args) // exits on an error
	failed, err := failures(*report, *nested)
	if err != nil {
		_, _ = fmt.Fprintln(out, "no failed test is tried again:", err)
		return false
	}
	allPassed := true
	for _, f := range failed {
		passed, err := f.again(out, *keep, run)
		if passed {
			err = f.list(*list)
		}
		if err != nil {
			_, _ = fmt.Fprintln(out, "testsum:", err)
		}
		allPassed = allPassed && passed && err == nil
	}
	return allPassed
}

// failure is a test that failed, and what was said of it and its subtests.
type failure struct {
	flaky
	output bytes.Buffer
}

// noAccident finds the beginnings of lines after which a failure isn't tried again.
var noAccident = regexp.MustCompile(`^(?:panic: |fatal error: |WARNING: DATA RACE|signal: |exit status (?:[02-9]|1\d)|\s*testing\.go:\d+: race detected)`)

// failures returns the tests of a report that failed, or why none is to be tried again:
// so that what never ran doesn't hide behind what failed by accident.
func failures(path, nested string) ([]*failure, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // read only
	var failed []*failure
	said := map[string]*failure{}     // by package and test, those that haven't passed
	grave := map[string]string{}      // by package, what is no accident
	packages := map[string]struct{}{} // with failed tests
	modules := map[bool]bool{}        // whether any package has ended, by whether it is a nested module's
	scanner := lines(file)
	for scanner.Scan() {
		var e event
		if err := json.Unmarshal(scanner.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("line %.80q: %w", scanner.Text(), err)
		}
		if e.Test == "" && (e.Action == "pass" || e.Action == "fail" || e.Action == "skip") {
			modules[nested != "" && strings.HasPrefix(e.Package+"/", nested+"/")] = true
		}
		f := said[e.Package+" "+e.top()]
		if f == nil && e.Test != "" {
			f = &failure{flaky: flaky{Suite: "go", Package: e.Package, Test: e.top()}}
			said[e.Package+" "+e.top()] = f
		}
		switch {
		case e.Action == "output":
			if noAccident.MatchString(e.Output) {
				grave[e.Package] = strings.TrimSpace(e.Output)
			}
			if f != nil {
				f.output.WriteString(e.Output)
			}
		case f != nil && e.Test == f.Test && (e.Action == "pass" || e.Action == "skip"):
			delete(said, e.Package+" "+e.Test) // most of the report is about such
		case e.Action == "build-fail":
			return nil, fmt.Errorf("%s does not build", e.ImportPath)
		case e.Action != "fail":
		case e.Test == "":
			if _, ok := packages[e.Package]; !ok {
				return nil, fmt.Errorf("%s failed outside its tests", e.Package)
			}
			if why := grave[e.Package]; why != "" {
				return nil, fmt.Errorf("%s said %q", e.Package, why)
			}
		case e.Test == e.top():
			packages[e.Package] = struct{}{}
			failed = append(failed, f)
		}
	}
	switch {
	case scanner.Err() != nil:
		return nil, scanner.Err()
	case len(failed) == 0:
		return nil, errors.New("there is none in the report")
	case len(said) > len(failed):
		return nil, fmt.Errorf("%d tests did not end", len(said)-len(failed))
	case !modules[false], nested != "" && !modules[true]:
		return nil, errors.New("not all modules were tested")
	case len(failed) > mostAgain:
		return nil, fmt.Errorf("%d failed, up to %d are", len(failed), mostAgain)
	}
	return failed, nil
}

// again keeps what the test said and tries it again.
func (f *failure) again(out io.Writer, keep string, run func(dir string, args ...string) []byte) (passed bool, err error) {
	dir, name, nested, err := folder(f.Package)
	if err != nil {
		return false, err
	}
	name = strings.ReplaceAll(name, "/", "-") + "." + f.Test
	if err := os.MkdirAll(keep, 0o755); err != nil {
		return false, err
	}
	f.Kept = filepath.Join(keep, name+".log")
	if err := os.WriteFile(f.Kept, f.output.Bytes(), 0o644); err != nil { //nolint:gosec // reports are for everybody
		return false, err
	}
	args := []string{"-race", "-json", fmt.Sprintf("-count=%d", tries), "-timeout", triesWithin, "-run", "^" + f.Test + "$", f.Package}
	if nested {
		args = append([]string{"-mod=mod"}, args...)
	}
	said := run(dir, args...)
	if f.passed(said) {
		_, _ = fmt.Fprintf(out, "again %s %s: passed %d of %d by itself\n", f.Package, f.Test, tries, tries)
		return true, nil
	}
	tried := filepath.Join(keep, name+".again.json")
	_, _ = fmt.Fprintf(out, "again %s %s: failed by itself, too: %s\n", f.Package, f.Test, tried)
	return false, os.WriteFile(tried, said, 0o644) //nolint:gosec // reports are for everybody
}

// passed reports whether go test -json says that the test ran as often as it was to,
// and that nothing went wrong.
func (f *failure) passed(said []byte) bool {
	passes := 0
	scanner := lines(bytes.NewReader(said))
	for scanner.Scan() {
		var e event
		if json.Unmarshal(scanner.Bytes(), &e) != nil {
			continue // the go command's own words
		}
		switch {
		case e.Action == "fail", e.Action == "output" && noAccident.MatchString(e.Output):
			return false
		case e.Action == "pass" && e.Test == f.Test:
			passes++
		}
	}
	return scanner.Err() == nil && passes == tries
}

// list adds the test to the list of flaky ones.
func (f *failure) list(path string) error {
	line, err := json.Marshal(f.flaky)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(append(line, '\n'))
	return errors.Join(err, file.Close())
}

// folder returns where go test finds a package of the module in the working
// directory: that, or the folder in it with a module of its own. name is the
// package's path in there.
func folder(pkg string) (dir, name string, nested bool, err error) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		return "", "", false, err
	}
	first, _, _ := strings.Cut(string(mod), "\n")
	root, ok := strings.CutPrefix(first, "module ")
	if !ok {
		return "", "", false, fmt.Errorf("go.mod begins with %.80q", first)
	}
	name, ok = strings.CutPrefix(pkg, root+"/")
	if !ok {
		return ".", path.Base(pkg), false, nil
	}
	for dir = name; dir != "."; dir = path.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, name, true, nil
		}
	}
	return ".", name, false, nil
}
