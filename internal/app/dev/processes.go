package dev

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// apiName names the api's log; the edges' are edge-1, edge-2 and so on.
const apiName = "api"

// thisMachine is where webhooks and token issuers may be, too: what a developer
// runs beside the service.
const thisMachine = "127.0.0.0/8,::1/128"

func edgeName(i int) string { return "edge-" + strconv.Itoa(i+1) }

// children are the product's processes with their settings.
func (w *world) children() []child {
	all := []child{{name: apiName, path: filepath.Join(w.config.Programs, "api"), env: w.apiEnvironment()}}
	for i := range w.config.Edges {
		all = append(all, child{name: edgeName(i), path: filepath.Join(w.config.Programs, "edge"), env: w.edgeEnvironment(i)})
	}
	return all
}

func (w *world) apiEnvironment() []string { return environment(w.apiSettings()) }

// apiSettings are the variables that the api gets.
func (w *world) apiSettings() map[string]string {
	return map[string]string{
		"DATABASE_URL":                w.databaseURL,
		"REDIS_URL":                   w.redisURL,
		"SIGNALBOX_API_ADDR":          loopback(w.config.Port),
		"SIGNALBOX_API_ADMIN_ADDR":    loopback(w.ports.apiAdmin),
		"SIGNALBOX_API_INTERNAL_ADDR": loopback(w.ports.apiInternal),
		"SIGNALBOX_OPERATOR_ADDR":     loopback(w.ports.operator),
		"SIGNALBOX_OPERATOR_URL":      loopbackURL("http", w.ports.operator),
		"SIGNALBOX_FLEET_SECRET":      w.secrets.FleetSecret,
		"SIGNALBOX_SEALING_KEY":       w.secrets.SealingKey,
		"SIGNALBOX_CONSOLE_URL":       loopbackURL("http", w.config.Port),
		"SIGNALBOX_SERVICE_URL":       loopbackURL("http", w.config.EdgePort),
		"SIGNALBOX_DEV":               "1",
		"SIGNALBOX_OUTBOUND_ALLOW":    thisMachine,
	}
}

func (w *world) apiSettingsPath() string { return filepath.Join(w.config.Dir, "api.env") }

// writeAPISettings writes api.env, for a shell to read: with it, commands of the api,
// such as api operator add, meet what runs.
func (w *world) writeAPISettings() error {
	settings := w.apiSettings()
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&text, "%s='%s'\n", name, strings.ReplaceAll(settings[name], "'", `'\''`))
	}
	if err := os.WriteFile(w.apiSettingsPath(), []byte(text.String()), 0o600); err != nil {
		return fmt.Errorf("write api.env: %w", err)
	}
	return nil
}

// edgeEnvironment has no database on purpose: an edge must never need one.
func (w *world) edgeEnvironment(i int) []string {
	return environment(map[string]string{
		"REDIS_URL":                    w.redisURL,
		"SIGNALBOX_EDGE_ADDR":          loopback(w.ports.edge[i]),
		"SIGNALBOX_EDGE_ADMIN_ADDR":    loopback(w.ports.edgeAdmin[i]),
		"SIGNALBOX_EDGE_INTERNAL_ADDR": loopback(w.ports.edgeInternal[i]),
		"SIGNALBOX_FLEET_SECRET":       w.secrets.FleetSecret,
		"SIGNALBOX_API_INTERNAL_URL":   loopbackURL("https", w.ports.apiInternal),
		"SIGNALBOX_SERVICE_HOSTS":      "127.0.0.1,localhost",
		"SIGNALBOX_DEFAULT_TENANT":     demoSlug,
		"SIGNALBOX_OUTBOUND_ALLOW":     thisMachine,
		// The front notices at once, and nobody wants to wait on Ctrl-C.
		"SIGNALBOX_EDGE_DRAIN_GRACE": cmp.Or(os.Getenv("SIGNALBOX_EDGE_DRAIN_GRACE"), "500ms"),
		"SIGNALBOX_EDGE_DRAIN":       cmp.Or(os.Getenv("SIGNALBOX_EDGE_DRAIN"), "3s"),
	})
}

// environment is this process's own without what was meant for it alone, and
// with the settings.
func environment(settings map[string]string) []string {
	var all []string
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if _, set := settings[name]; set || name == "DATABASE_URL" || name == "REDIS_URL" || strings.HasPrefix(name, "DEV_") {
			continue
		}
		all = append(all, entry)
	}
	for name, value := range settings {
		all = append(all, name+"="+value)
	}
	return all
}

// The input and answer of `api seed`.
type (
	seedInput struct {
		Account seedAccount  `json:"account"`
		Tenants []seedTenant `json:"tenants"`
	}
	seedAccount struct {
		Name     string `json:"name"`
		Email    string `json:"email"`
		Password string `json:"password"`
		APIToken string `json:"api_token"`
		Plan     string `json:"plan"`
	}
	seedTenant struct {
		Slug         string   `json:"slug"`
		Name         string   `json:"name"`
		Hosts        []string `json:"hosts"`
		PrimaryKey   string   `json:"primary_key"`
		SecondaryKey string   `json:"secondary_key"`
		Hubs         []string `json:"hubs"`
		// Limits stand in the place of the plan's, for measurements.
		Limits map[string]int `json:"limits,omitempty"`
	}
	seedAnswer struct {
		Tenants []struct {
			ID   string `json:"id"`
			Slug string `json:"slug"`
		} `json:"tenants"`
	}
)

// roomy are limits that load from one machine, of few clients, doesn't meet: what is
// measured here is the service. The simulator of refusals shows the others.
var roomy = map[string]int{
	"requests_per_second": 100_000, "request_burst": 300_000, "connects_per_second": 20_000, "connect_burst": 100_000,
	"calls_per_second": 10_000, "call_burst": 50_000, "bytes_per_second": 64 << 20, "byte_burst": 256 << 20,
	"group_publishes_per_second": 100_000, "group_publish_burst": 300_000, "deliveries_per_second": 10_000_000,
	"max_connections": 200_000, "max_connections_per_user": 10_000,
}

// seed migrates the database, makes sure that the demo account and its tenants
// have exactly the values of dev.json, and returns the tenants' ids by slug.
func (w *world) seed(ctx context.Context) (map[string]string, error) {
	tenant := func(slug, name string, hosts []string, hubs ...string) seedTenant {
		keys := w.secrets.Keys[slug]
		t := seedTenant{Slug: slug, Name: name, Hosts: hosts, PrimaryKey: keys.Primary, SecondaryKey: keys.Secondary, Hubs: hubs}
		if w.config.Roomy {
			t.Limits = roomy
		}
		return t
	}
	input, err := json.Marshal(seedInput{
		Account: seedAccount{Name: "Demo", Email: demoEmail, Password: w.secrets.Password, APIToken: w.secrets.APIToken, Plan: "scale"},
		Tenants: []seedTenant{
			tenant(demoSlug, "Demo", []string{}, chatHub, feedHub),
			tenant(otherSlug, "Other", otherHosts(w.config.EdgePort), chatHub),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("seed: %w", err)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(w.config.Programs, "api"), "seed")
	cmd.Env = w.apiEnvironment()
	cmd.Stdin = bytes.NewReader(input)
	var output, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &problems
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("seed: %w: %s", err, bytes.TrimSpace(problems.Bytes()))
	}
	var answer seedAnswer
	if err := json.Unmarshal(output.Bytes(), &answer); err != nil {
		return nil, fmt.Errorf("seed: read answer: %w", err)
	}
	ids := make(map[string]string, len(answer.Tenants))
	for _, t := range answer.Tenants {
		ids[t.Slug] = t.ID
	}
	for _, slug := range []string{demoSlug, otherSlug} {
		if ids[slug] == "" {
			return nil, fmt.Errorf("seed: the answer lacks tenant %s", slug)
		}
	}
	return ids, nil
}
