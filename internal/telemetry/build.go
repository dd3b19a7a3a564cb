package telemetry

import (
	"context"
	"fmt"
	"runtime/debug"
	"strconv"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// version is set by the linker in release builds:
// -X github.com/signalbox/signalbox/internal/telemetry.version=v1.2.3.
var version string

// BuildInfo says what a binary was built from.
type BuildInfo struct {
	Version  string // of the release; "devel" when built from a checkout
	Revision string // commit, empty when unknown
	Modified bool   // the checkout had changes that were not committed
	Go       string // toolchain
}

// Build reads what the toolchain recorded in the running binary.
var Build = sync.OnceValue(func() BuildInfo {
	b := BuildInfo{Version: version}
	info, ok := debug.ReadBuildInfo()
	if ok {
		b.Go = info.GoVersion
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Revision = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
		if b.Version == "" && info.Main.Version != "(devel)" {
			b.Version = info.Main.Version
		}
	}
	if b.Version == "" {
		b.Version = "devel"
	}
	return b
})

// registerBuildInfo makes a gauge that is always 1 and says in its attributes
// which build is running, so that dashboards show a mixed fleet.
func registerBuildInfo(m metric.Meter, v string) error {
	b := Build()
	if v == "" {
		v = b.Version
	}
	attrs := metric.WithAttributeSet(attribute.NewSet(
		attribute.String("version", v),
		attribute.String("revision", b.Revision),
		attribute.String("modified", strconv.FormatBool(b.Modified)),
		attribute.String("go_version", b.Go),
	))
	_, err := m.Int64ObservableGauge(MetricBuildInfo,
		metric.WithDescription("Always 1; the attributes name the build."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(1, attrs)
			return nil
		}))
	if err != nil {
		return fmt.Errorf("register build info: %w", err)
	}
	return nil
}
