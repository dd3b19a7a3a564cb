// Package docker_test checks the container files against the repository, since the
// machines that run the tests have no container engine.
package docker_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the build context.
const root = "../.."

// stage is one FROM of a container file with what follows it.
type stage struct {
	name, from string
	steps      []step
}

type step struct {
	instruction string
	flags       map[string]string
	args        []string
}

// parse reads the subset of the container file language that ours uses.
func parse(t *testing.T, source string) []stage {
	t.Helper()
	var stages []stage
	source = regexp.MustCompile(`(?m)^\s*#.*\n`).ReplaceAllString(source, "")
	source = strings.ReplaceAll(source, "\\\n", " ")
	for line := range strings.Lines(source) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		s := step{instruction: words[0], flags: map[string]string{}}
		for _, w := range words[1:] {
			if flag, value, ok := strings.Cut(w, "="); ok && strings.HasPrefix(flag, "--") && len(s.args) == 0 {
				s.flags[flag] += value
				continue
			}
			s.args = append(s.args, w)
		}
		switch {
		case s.instruction == "FROM":
			if len(s.args) != 3 || s.args[1] != "AS" {
				t.Fatalf("stage without a name: %s", line)
			}
			stages = append(stages, stage{name: s.args[2], from: s.args[0]})
		case len(stages) > 0: // before the first FROM there are only ARGs
			last := &stages[len(stages)-1]
			last.steps = append(last.steps, s)
		}
	}
	return stages
}

func containerfile(t *testing.T) []stage {
	t.Helper()
	raw, err := os.ReadFile("Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, string(raw))
}

func find(stages []stage, name string) *stage {
	for i := range stages {
		if stages[i].name == name {
			return &stages[i]
		}
	}
	return nil
}

// inherited are the steps of a stage and of those that it is made from.
func inherited(stages []stage, name string) (steps []step, base string) {
	for s := find(stages, name); s != nil; s = find(stages, s.from) {
		steps = append(steps, s.steps...)
		base = s.from
	}
	return steps, base
}

func TestStagesAndSourcesExist(t *testing.T) {
	t.Parallel()
	stages := containerfile(t)
	for i, s := range stages {
		for _, step := range s.steps {
			if step.instruction != "COPY" {
				continue
			}
			if from, ok := step.flags["--from"]; ok {
				if find(stages[:i], from) == nil {
					t.Errorf("stage %s copies from %s, which is no earlier stage", s.name, from)
				}
				continue
			}
			for _, source := range step.args[:len(step.args)-1] {
				if _, err := os.Stat(filepath.Join(root, source)); err != nil {
					t.Errorf("stage %s copies %s: %v", s.name, source, err)
				}
			}
		}
	}
}

func TestBuildIsStaticAndNamesWhatExists(t *testing.T) {
	t.Parallel()
	build := find(containerfile(t), "build")
	if build == nil {
		t.Fatal("no stage build")
	}
	var command []string
	for _, step := range build.steps {
		if step.instruction == "RUN" && slices.Contains(step.args, "build") {
			command = step.args
		}
	}
	line := strings.Join(command, " ")
	for _, want := range []string{"CGO_ENABLED=0", "-trimpath", "go build"} {
		if !strings.Contains(line, want) {
			t.Errorf("%s is not in %q", want, line)
		}
	}
	for _, word := range command {
		if strings.HasPrefix(word, "./cmd/") {
			if _, err := os.Stat(filepath.Join(root, word, "main.go")); err != nil {
				t.Errorf("builds %s: %v", word, err)
			}
		}
	}
	// The linker ignores a name that does not exist: the version would be lost
	// without a word.
	m := regexp.MustCompile(`-X github\.com/signalbox/signalbox/([\w/]+)\.(\w+)=\$VERSION`).FindStringSubmatch(line)
	if m == nil {
		t.Fatalf("no version is linked in by %q", line)
	}
	if !declares(t, filepath.Join(root, m[1]), m[2]) {
		t.Errorf("no string variable %s in %s", m[2], m[1])
	}
}

// declares reports whether a package declares a string variable without a value.
func declares(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if regexp.MustCompile(`(?m)^var ` + name + ` string$`).Match(raw) {
			return true
		}
	}
	return false
}

func TestImagesHoldOneProgramAndNoShell(t *testing.T) {
	t.Parallel()
	stages := containerfile(t)
	for _, target := range []string{"api", "edge", "signalbox"} {
		steps, base := inherited(stages, target)
		if base != "scratch" {
			t.Errorf("%s is made on %q, not on scratch", target, base)
		}
		var user, entry string
		copied := map[string]bool{}
		for _, step := range steps {
			switch step.instruction {
			case "USER":
				user = step.args[0]
			case "ENTRYPOINT":
				entry = strings.Join(step.args, " ")
			case "COPY", "ADD":
				copied[step.args[len(step.args)-1]] = true
			case "RUN":
				t.Errorf("%s runs something on scratch", target)
			}
		}
		if uid, _, _ := strings.Cut(user, ":"); uid == "" || uid == "0" || uid == "root" {
			t.Errorf("%s runs as %q", target, user)
		}
		if entry != `["/`+target+`"]` || !copied["/"+target] {
			t.Errorf("%s starts %s, has %v", target, entry, copied)
		}
		if !copied["/etc/ssl/certs/ca-certificates.crt"] {
			t.Errorf("%s has no certificate authorities", target)
		}
	}
}

// SEC-43: an image's layers have a program and public certificates, and no secret: neither
// a file that may hold one nor a value from whoever built it. What isn't listed here isn't
// in an image.
func TestLayersHoldNoSecrets_SEC_43(t *testing.T) {
	t.Parallel()
	stages := containerfile(t)
	for _, target := range []string{"api", "edge", "signalbox"} {
		mayCopy := []string{"/etc/ssl/certs/ca-certificates.crt", "/out/" + target}
		mayAdd := []string{"https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"}
		steps, _ := inherited(stages, target)
		for _, step := range steps {
			switch step.instruction {
			case "COPY":
				for _, source := range step.args[:len(step.args)-1] {
					if step.flags["--from"] != "build" || !slices.Contains(mayCopy, source) {
						t.Errorf("%s has a copy of %s from %q", target, source, step.flags["--from"])
					}
				}
			case "ADD":
				for _, source := range step.args[:len(step.args)-1] {
					if !slices.Contains(mayAdd, source) {
						t.Errorf("%s has %s", target, source)
					}
				}
			case "ENV":
				for _, setting := range step.args {
					if name, value, _ := strings.Cut(setting, "="); !strings.HasSuffix(name, "_ADDR") || !regexp.MustCompile(`^:\d+$`).MatchString(value) {
						t.Errorf("%s has the setting %s", target, setting)
					}
				}
			case "USER", "EXPOSE", "ENTRYPOINT":
			default:
				t.Errorf("%s has a step %s", target, step.instruction)
			}
		}
	}
	// Arguments are in the history of what is built with them.
	for _, s := range stages {
		for _, step := range s.steps {
			switch step.instruction {
			case "ARG":
				if name, _, _ := strings.Cut(step.args[0], "="); !slices.Contains([]string{"VERSION", "TARGETOS", "TARGETARCH"}, name) {
					t.Errorf("the stage %s takes %s", s.name, name)
				}
			case "ENV", "ADD":
				if s.name == "build" || s.name == "console" {
					t.Errorf("the stage %s has %s %v", s.name, step.instruction, step.args)
				}
			}
		}
	}
	// Nor does the builder get what checkouts have of them.
	raw, err := os.ReadFile("Containerfile.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	ignored := strings.Split(string(raw), "\n")
	for _, want := range []string{".git", ".dev", "deploy", "**/.env*", "**/*.env", "**/*.key", "**/*.pem"} {
		if !slices.Contains(ignored, want) {
			t.Errorf("the builder gets %s", want)
		}
	}
	for _, line := range ignored {
		if strings.HasPrefix(line, "!") && !strings.HasSuffix(line, "/.keep") {
			t.Errorf("the builder gets %s after all", line[1:])
		}
	}
}
