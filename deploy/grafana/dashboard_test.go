// Package grafana_test keeps the dashboards and the metrics together: what a panel
// asks for must be what a process serves.
package grafana_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/hubs/backplane"
	"github.com/signalbox/signalbox/internal/telemetry"
)

type dashboard struct {
	UID    string
	Panels []struct {
		ID      int
		Type    string
		Title   string
		Targets []struct{ Expr string }
	}
}

// served scrapes a process that has recorded each kind of event once.
func served(t *testing.T) string {
	t.Helper()
	tel, err := telemetry.Start(t.Context(), telemetry.Config{Service: "edge"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := telemetry.NewEdgeMetrics(tel.Meter(), telemetry.EdgeSources{
		Hubs: func() int { return 1 }, Documents: func() int { return 1 }, DocumentsAge: func() time.Duration { return time.Second }, UsagePending: func() int { return 1 },
	})
	if err != nil {
		t.Fatal(err)
	}
	// Its metrics are there without a Redis: nobody listens on port 1.
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	r, err := backplane.New(backplane.Config{Redis: client, EdgeRun: "dashboard", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Close()
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := r.Instrument(tel.Meter()); err != nil {
		t.Fatal(err)
	}
	m.ConnectionOpened(telemetry.TransportWebSockets, "json")
	m.ConnectionClosed(telemetry.TransportWebSockets, "json", telemetry.ClosedNormally, time.Second)
	m.Refused("rate_limited")
	tel.HTTP(telemetry.HTTPOptions{Route: func(*http.Request) string { return "/" }})(http.NotFoundHandler()).
		ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	w := httptest.NewRecorder()
	tel.MetricsHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

var (
	selector = regexp.MustCompile(`([a-z_]+)\{([^}]*)\}`)
	grouping = regexp.MustCompile(`by \(([^)]*)\)`)
	label    = regexp.MustCompile(`(\w+)(?:=|!)`)
)

// scrapeLabels are put on by Prometheus, not by us.
var scrapeLabels = map[string]bool{"instance": true, "job": true, "le": true}

// unserved returns the metrics and labels of an expression that body does not have.
func unserved(expr, body string) []string {
	var missing []string
	for _, s := range selector.FindAllStringSubmatch(expr, -1) {
		if !regexp.MustCompile(`(?m)^` + s[1] + `[ {]`).MatchString(body) {
			missing = append(missing, "metric "+s[1])
			continue
		}
		names := label.FindAllStringSubmatch(s[2], -1)
		for _, by := range grouping.FindAllStringSubmatch(expr, -1) {
			for name := range strings.SplitSeq(by[1], ",") {
				names = append(names, []string{"", strings.TrimSpace(name)})
			}
		}
		for _, name := range names {
			if !scrapeLabels[name[1]] && !regexp.MustCompile(`(?m)^`+s[1]+`\{.*\b`+name[1]+`="`).MatchString(body) {
				missing = append(missing, "label "+name[1]+" of "+s[1])
			}
		}
	}
	return missing
}

func TestPanelsAskForMetricsThatExist(t *testing.T) {
	t.Parallel()
	body := served(t)
	files, err := filepath.Glob("*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(raw, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		ids := map[int]bool{}
		for _, p := range d.Panels {
			if ids[p.ID] {
				t.Errorf("%s: two panels have the id %d", file, p.ID)
			}
			ids[p.ID] = true
			if p.Type != "row" && len(p.Targets) == 0 {
				t.Errorf("%s: panel %q shows nothing", file, p.Title)
			}
			for _, target := range p.Targets {
				if !selector.MatchString(target.Expr) {
					t.Errorf("%s: panel %q asks for no metric: %s", file, p.Title, target.Expr)
				}
				for _, missing := range unserved(target.Expr, body) {
					t.Errorf("%s: panel %q: no %s", file, p.Title, missing)
				}
			}
		}
	}
}

func TestMissingMetricsAreFound(t *testing.T) {
	t.Parallel()
	body := served(t)
	for expr, want := range map[string]string{
		`sum by (signalr_transport) (rate(signalr_server_active_connections{instance=~"$instance"}[1m]))`: "",
		`sum(signalr_server_active_conections{instance=~"$instance"})`:                                    "metric signalr_server_active_conections",
		`sum by (transport) (signalr_server_active_connections{instance=~"$instance"})`:                   "label transport of signalr_server_active_connections",
		`signalbox_edge_refusals_total{code="rate_limited"}`:                                              "label code of signalbox_edge_refusals_total",
	} {
		if got := strings.Join(unserved(expr, body), ", "); got != want {
			t.Errorf("%s: found %q, want %q", expr, got, want)
		}
	}
}
