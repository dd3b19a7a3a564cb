package docker_test

import (
	"encoding/base64"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/signalbox/signalbox/internal/app/api"
	"github.com/signalbox/signalbox/internal/app/edge"
)

// TestProgramsAcceptWhatComposeSets asks the programs themselves, with the
// defaults of their images and the variables of compose.yaml. It can't be parallel:
// it sets the environment.
func TestProgramsAcceptWhatComposeSets(t *testing.T) {
	// What example.env leaves to the operator.
	mine := map[string]string{
		"SIGNALBOX_FLEET_SECRET": strings.Repeat("f", 48),
		"SIGNALBOX_SEALING_KEY":  base64.StdEncoding.EncodeToString(make([]byte, 32)),
		"POSTGRES_PASSWORD":      "letters123",
	}
	example, err := os.ReadFile("example.env")
	if err != nil {
		t.Fatal(err)
	}
	for name := range mine {
		if !strings.Contains(string(example), "\n"+name+"=") {
			t.Errorf("example.env lacks %s", name)
		}
	}
	variable := regexp.MustCompile(`\$\{(\w+)(?::[?-][^}]*)?\}`)
	accept := map[string]func() error{
		"api":  func() error { _, err := api.ReadConfig(); return err },
		"edge": func() error { _, err := edge.ReadConfig(); return err },
	}
	stages := containerfile(t)
	for name, service := range readCompose(t).Services {
		if service.Build == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			steps, _ := inherited(stages, service.Build.Target)
			for _, step := range steps {
				if step.instruction != "ENV" {
					continue
				}
				for _, pair := range step.args {
					key, value, _ := strings.Cut(pair, "=")
					t.Setenv(key, value)
				}
			}
			for key, value := range service.Environment {
				t.Setenv(key, variable.ReplaceAllStringFunc(value, func(v string) string {
					return mine[variable.FindStringSubmatch(v)[1]]
				}))
			}
			if err := accept[service.Build.Target](); err != nil {
				t.Error(err)
			}
		})
	}
}
