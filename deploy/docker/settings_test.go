package docker_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	yaml "github.com/oasdiff/yaml3"
)

// setting is an environment variable that a program reads.
type setting struct{ required bool }

// settings are the variables of a program's Config, by name.
func settings(t *testing.T, program string) map[string]setting {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "internal/app", program, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]setting{
		// Read by libraries: pgx, and the OpenTelemetry SDK.
		"PGPASSWORD": {}, "OTEL_RESOURCE_ATTRIBUTES": {},
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("`[^`]*env:\"(\\w+)([^\"]*)\"[^`]*`").FindAllStringSubmatch(string(raw), -1) {
			found[m[1]] = setting{required: strings.Contains(m[2], "required") || strings.Contains(m[2], "notEmpty")}
		}
	}
	if len(found) < 5 {
		t.Fatalf("only %d settings of %s were found", len(found), program)
	}
	return found
}

// compose is what is checked of compose.yaml.
type compose struct {
	Services map[string]struct {
		Image       string
		Build       *struct{ Context, Dockerfile, Target string }
		Environment map[string]string
		DependsOn   any `yaml:"depends_on"`
		Volumes     []string
		Ports       []string
		Command     []string
	}
}

func readCompose(t *testing.T) compose {
	t.Helper()
	raw, err := os.ReadFile("compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var c compose
	if err := yaml.Unmarshal(raw, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestComposeServices(t *testing.T) {
	t.Parallel()
	c := readCompose(t)
	stages := containerfile(t)
	for name, s := range c.Services {
		if s.Build == nil {
			if !strings.Contains(s.Image, ":") || strings.HasSuffix(s.Image, ":latest") {
				t.Errorf("%s: image %q is not pinned", name, s.Image)
			}
			continue
		}
		if _, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if find(stages, s.Build.Target) == nil {
			t.Errorf("%s: no target %q", name, s.Build.Target)
		}
		known := settings(t, s.Build.Target)
		for variable := range s.Environment {
			if _, ok := known[variable]; !ok {
				t.Errorf("%s: the program does not read %s", name, variable)
			}
		}
		for variable, is := range known {
			if _, ok := s.Environment[variable]; is.required && !ok {
				t.Errorf("%s: %s is required", name, variable)
			}
		}
	}
	redis := c.Services["redis"].Command
	for _, pair := range [][2]string{{"--maxmemory-policy", "noeviction"}, {"--appendonly", "yes"}} {
		if i := slices.Index(redis, pair[0]); i < 0 || redis[i+1] != pair[1] {
			t.Errorf("redis runs without %s %s", pair[0], pair[1])
		}
	}
}

// The front spreads over every edge that compose.yaml starts, and keeps nobody at
// one of them.
func TestFrontServesEveryEdgeInTurn(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	config := string(raw)
	edges := 0
	for name, s := range readCompose(t).Services {
		if s.Build == nil || s.Build.Target != "edge" {
			continue
		}
		edges++
		if !strings.Contains(config, "server "+name+" "+name+":8888\n") {
			t.Errorf("the front does not serve %s", name)
		}
	}
	if edges < 2 {
		t.Errorf("%d edges", edges)
	}
	if !strings.Contains(config, "balance roundrobin") {
		t.Error("the front does not serve in turn")
	}
	for _, line := range strings.Split(config, "\n") {
		if f := strings.Fields(line); len(f) > 0 && (f[0] == "cookie" || f[0] == "stick-table" || f[0] == "stick" || f[0] == "balance" && f[1] != "roundrobin") {
			t.Errorf("the front is sticky: %s", line)
		}
	}
}

// The ports of the images are those of Terraform's load balancers and of the front.
func TestPortsAgree(t *testing.T) {
	t.Parallel()
	platform, err := os.ReadFile("../terraform/modules/platform/main.tf")
	if err != nil {
		t.Fatal(err)
	}
	stages := containerfile(t)
	for _, target := range []string{"api", "edge"} {
		m := regexp.MustCompile(target + `_ports\s+= \{ public = (\d+), admin = (\d+), internal = (\d+) \}`).FindSubmatch(platform)
		if m == nil {
			t.Fatalf("no ports of %s in Terraform", target)
		}
		want := []string{string(m[1]), string(m[2]), string(m[3])}
		steps, _ := inherited(stages, target)
		var exposed, listened []string
		for _, step := range steps {
			switch step.instruction {
			case "EXPOSE":
				exposed = step.args
			case "ENV":
				for _, pair := range step.args {
					name, address, _ := strings.Cut(pair, "=")
					if _, ok := settings(t, target)[name]; !ok {
						t.Errorf("%s does not read %s", target, name)
					}
					listened = append(listened, strings.TrimPrefix(address, ":"))
				}
			}
		}
		if !slices.Equal(exposed, want) || !slices.Equal(listened, want) {
			t.Errorf("%s: Terraform has %v, the image exposes %v and listens on %v", target, want, exposed, listened)
		}
	}
}

// Each variable that a Terraform module sets is one that the program reads, and
// none is forgotten.
func TestTerraformSetsWhatProgramsRead(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"api", "edge"} {
		raw, err := os.ReadFile("../terraform/modules/" + target + "/main.tf")
		if err != nil {
			t.Fatal(err)
		}
		known := settings(t, target)
		set := map[string]bool{}
		for _, m := range regexp.MustCompile(`(?m)^\s+([A-Z][A-Z0-9_]+)\s+= `).FindAllStringSubmatch(string(raw), -1) {
			set[m[1]] = true
			if _, ok := known[m[1]]; !ok {
				t.Errorf("module %s sets %s, which the program does not read", target, m[1])
			}
		}
		for variable, is := range known {
			if is.required && !set[variable] {
				t.Errorf("module %s does not set %s", target, variable)
			}
		}
	}
}

// Operators find every setting in the documentation; those of development are in
// another place.
func TestEverySettingIsDocumented(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join(root, "docs/deployment.md"))
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := []string{"SIGNALBOX_DEV", "SIGNALBOX_DEFAULT_TENANT", "PGPASSWORD", "OTEL_RESOURCE_ATTRIBUTES"}
	for _, program := range []string{"api", "edge"} {
		for name := range settings(t, program) {
			if !slices.Contains(elsewhere, name) && !strings.Contains(string(raw), "| `"+name+"` |") {
				t.Errorf("%s of %s is not in docs/deployment.md", name, program)
			}
		}
	}
}
