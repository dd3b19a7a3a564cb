package dev

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/caarlos0/env/v11"
)

// Config is read from the environment.
type Config struct {
	// Dir holds secrets, logs, data and dev.json. Postgres' data lies elsewhere
	// when its user can't reach Dir.
	Dir string `env:"DEV_DIR" envDefault:".dev"`
	// Port serves the console and the control plane.
	Port int `env:"DEV_PORT" envDefault:"8080"`
	// EdgePort serves the front; the next port is the host of tenant "other".
	EdgePort int `env:"DEV_EDGE_PORT" envDefault:"8888"`
	// Edges is how many edges run.
	Edges int `env:"DEV_EDGES" envDefault:"2"`
	// Feed publishes this machine's samples to hub "machine" of tenant "demo".
	Feed bool `env:"DEV_FEED" envDefault:"true"`
	// Roomy gives the demo tenants limits that load from one machine doesn't meet, as
	// an operator would: people of the account can't change those.
	Roomy bool `env:"DEV_ROOMY"`
	// DatabaseURL and RedisURL replace the private servers.
	DatabaseURL string `env:"DATABASE_URL"`
	RedisURL    string `env:"REDIS_URL"`

	// Programs is the directory with the binaries api and edge.
	Programs string
	// PostgresPackage is where npm may have installed Postgres; see embedded.
	PostgresPackage string
}

// maxEdges is how many edges have usual ports.
const maxEdges = 8

// ReadConfig reads and checks the environment. Binaries are looked for beside
// the running program.
func ReadConfig() (Config, error) {
	config, err := env.ParseAs[Config]()
	if err != nil {
		return Config{}, fmt.Errorf("read settings: %w", err)
	}
	if config.Dir, err = filepath.Abs(config.Dir); err != nil {
		return Config{}, fmt.Errorf("find DEV_DIR: %w", err)
	}
	program, err := os.Executable()
	if err != nil {
		return Config{}, fmt.Errorf("find own program: %w", err)
	}
	config.Programs = filepath.Dir(program)
	config.PostgresPackage = filepath.Join(config.Programs, "..", "tools", "pg")
	return config, config.validate()
}

func (c Config) validate() error {
	var problems []error
	port := func(name string, value, most int) {
		if value < 1 || value > most {
			problems = append(problems, fmt.Errorf("%s is %d: accepted is 1 to %d", name, value, most))
		}
	}
	port("DEV_PORT", c.Port, 65535)
	port("DEV_EDGE_PORT", c.EdgePort, 65534)
	if c.Edges < 1 || c.Edges > maxEdges {
		problems = append(problems, fmt.Errorf("DEV_EDGES is %d: accepted is 1 to %d", c.Edges, maxEdges))
	}
	if c.Port == c.EdgePort || c.Port == c.EdgePort+1 {
		problems = append(problems, fmt.Errorf("DEV_PORT %d is taken by DEV_EDGE_PORT or the port after it", c.Port))
	}
	for _, name := range []string{"api", "edge"} {
		if info, err := os.Stat(filepath.Join(c.Programs, name)); err != nil || info.IsDir() {
			problems = append(problems, fmt.Errorf("program %s is not in %s: run `make build`", name, c.Programs))
		}
	}
	return errors.Join(problems...)
}
