// Package telemetry sets up what a process tells about itself: traces and
// metrics through OpenTelemetry, logs through slog, and the names they use.
//
// One value, made by Start at the composition root, is handed to whoever needs
// a tracer, a meter or the /metrics handler; nothing is registered globally,
// except OpenTelemetry's error handler, which has no other place to be set.
// Everything here is safe for concurrent use.
//
// Two promises hold for all signals: access tokens never leave the process in
// them (see Redact), and no metric carries a tenant, user or connection, so that
// a tenant can't multiply our time series.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Config says who the process is and where its signals go. Only Service is
// required.
type Config struct {
	// Service is the process's name: "api" or "edge". It becomes the resource's
	// service.name, with service.namespace "signalbox".
	Service string
	// Version of the build; empty = that of Build().
	Version string
	// Instance tells this process from its siblings, for example the edge run;
	// empty = host name and process id.
	Instance string
	// Environment is the deployment's name, such as "staging"; empty = not told.
	Environment string

	// OTLPEndpoint is the base URL of a collector that speaks OTLP over HTTP, for
	// example http://127.0.0.1:4318 (OTEL_EXPORTER_OTLP_ENDPOINT); /v1/traces and
	// /v1/metrics are appended. Empty = traces are not exported, metrics are only
	// on the Prometheus handler. Headers, certificates and timeouts of the
	// exporters come from the other OTEL_EXPORTER_OTLP_* variables.
	OTLPEndpoint string
	// MetricInterval is how often metrics are pushed to OTLPEndpoint; 0 = 15 s.
	MetricInterval time.Duration
	// SampleRatio is the share of traces that begin here and are kept, 0 to 1;
	// nil = 0.1. A trace that a caller inside the service began follows the
	// caller's decision.
	SampleRatio *float64

	// Logger gets what goes wrong while exporting; nil = it is dropped.
	Logger *slog.Logger

	// SpanProcessors and MetricReaders are added to the exporters; tests watch
	// the process through them.
	SpanProcessors []sdktrace.SpanProcessor
	MetricReaders  []sdkmetric.Reader
}

// Namespace is the service.namespace of every process of the product.
const Namespace = "signalbox"

const (
	defaultMetricInterval = 15 * time.Second
	defaultSampleRatio    = 0.1
	// scrapeTimeout bounds one answer of the metrics handler.
	scrapeTimeout = 10 * time.Second
	// maxScrapes is how many answers of the metrics handler are made at once.
	maxScrapes = 4
	// seriesPerInstrument is the most attribute sets an instrument keeps; more
	// are summed in one series with otel.metric.overflow=true.
	seriesPerInstrument = 1000
)

// Validate reports every field that can't be used.
func (c Config) Validate() error {
	var errs []error
	if c.Service == "" {
		errs = append(errs, errors.New("service must not be empty"))
	}
	if c.OTLPEndpoint != "" {
		u, err := url.Parse(c.OTLPEndpoint)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			errs = append(errs, errors.New("otlp endpoint must be an http or https URL, such as http://127.0.0.1:4318"))
		}
	}
	if c.MetricInterval < 0 {
		errs = append(errs, errors.New("metric interval must not be negative"))
	}
	if r := c.SampleRatio; r != nil && !(*r >= 0 && *r <= 1) {
		errs = append(errs, errors.New("sample ratio must be between 0 and 1"))
	}
	return errors.Join(errs...)
}

// Telemetry is a process's tracer, meter and metrics handler.
type Telemetry struct {
	traces     *sdktrace.TracerProvider
	metrics    *sdkmetric.MeterProvider
	propagator propagation.TextMapPropagator
	registry   *prometheus.Registry
	requests   *requestMetrics
	logger     *slog.Logger
}

// Start sets telemetry up. It doesn't wait for the collector: an unreachable one
// is reported to the logger and never holds up the process.
func Start(ctx context.Context, cfg Config) (*Telemetry, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("telemetry config: %w", err)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	res, err := newResource(ctx, cfg)
	if err != nil {
		return nil, err
	}
	t := &Telemetry{
		propagator: propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}),
		registry:   prometheus.NewRegistry(),
		logger:     cfg.Logger,
	}
	if t.traces, err = newTracerProvider(ctx, cfg, res); err != nil {
		return nil, err
	}
	if t.metrics, err = newMeterProvider(ctx, cfg, res, t.registry); err != nil {
		return nil, errors.Join(err, t.traces.Shutdown(ctx))
	}
	if t.requests, err = newRequestMetrics(t.Meter()); err == nil {
		err = registerBuildInfo(t.Meter(), cfg.Version)
	}
	if err != nil {
		return nil, errors.Join(err, t.Shutdown(ctx))
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		cfg.Logger.Warn("telemetry export failed", KeyError, Redact(err.Error()))
	}))
	return t, nil
}

func newResource(ctx context.Context, cfg Config) (*resource.Resource, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	version, instance := cfg.Version, cfg.Instance
	if version == "" {
		version = Build().Version
	}
	if instance == "" {
		instance = fmt.Sprintf("%s-%d", host, os.Getpid())
	}
	attrs := []resource.Option{
		resource.WithFromEnv(), // OTEL_RESOURCE_ATTRIBUTES; what follows wins over it
		resource.WithTelemetrySDK(),
		resource.WithAttributes(
			semconv.ServiceNamespace(Namespace),
			semconv.ServiceName(cfg.Service),
			semconv.ServiceVersion(version),
			semconv.ServiceInstanceID(instance),
			semconv.HostName(host),
		),
	}
	if cfg.Environment != "" {
		attrs = append(attrs, resource.WithAttributes(semconv.DeploymentEnvironmentNameKey.String(cfg.Environment)))
	}
	res, err := resource.New(ctx, attrs...)
	if err != nil {
		return nil, fmt.Errorf("describe the process: %w", err)
	}
	return res, nil
}

func newTracerProvider(ctx context.Context, cfg Config, res *resource.Resource) (*sdktrace.TracerProvider, error) {
	ratio := defaultSampleRatio
	if cfg.SampleRatio != nil {
		ratio = *cfg.SampleRatio
	}
	opts := []sdktrace.TracerProviderOption{
		sdktrace.WithResource(res),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(ratio))),
	}
	for _, p := range cfg.SpanProcessors {
		opts = append(opts, sdktrace.WithSpanProcessor(p))
	}
	if cfg.OTLPEndpoint != "" {
		exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(otlpURL(cfg.OTLPEndpoint, "traces")))
		if err != nil {
			return nil, fmt.Errorf("make trace exporter: %w", err)
		}
		opts = append(opts, sdktrace.WithBatcher(RedactSpans(exporter)))
	}
	return sdktrace.NewTracerProvider(opts...), nil
}

func newMeterProvider(ctx context.Context, cfg Config, res *resource.Resource, registry *prometheus.Registry) (*sdkmetric.MeterProvider, error) {
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	scrape, err := otelprom.New(otelprom.WithRegisterer(registry), otelprom.WithoutScopeInfo())
	if err != nil {
		return nil, fmt.Errorf("make prometheus exporter: %w", err)
	}
	opts := []sdkmetric.Option{
		sdkmetric.WithResource(res),
		sdkmetric.WithCardinalityLimit(seriesPerInstrument),
		sdkmetric.WithReader(scrape),
	}
	for _, r := range cfg.MetricReaders {
		opts = append(opts, sdkmetric.WithReader(r))
	}
	if cfg.OTLPEndpoint != "" {
		exporter, err := otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(otlpURL(cfg.OTLPEndpoint, "metrics")))
		if err != nil {
			return nil, fmt.Errorf("make metric exporter: %w", err)
		}
		interval := cfg.MetricInterval
		if interval == 0 {
			interval = defaultMetricInterval
		}
		opts = append(opts, sdkmetric.WithReader(sdkmetric.NewPeriodicReader(exporter, sdkmetric.WithInterval(interval))))
	}
	return sdkmetric.NewMeterProvider(opts...), nil
}

func otlpURL(base, signal string) string {
	return strings.TrimSuffix(base, "/") + "/v1/" + signal
}

// Tracer starts spans of the product's own code.
func (t *Telemetry) Tracer() trace.Tracer { return t.traces.Tracer(scopeName) }

// Meter makes instruments of the product's own code.
func (t *Telemetry) Meter() metric.Meter { return t.metrics.Meter(scopeName) }

// TracerProvider is for instrumentation libraries (otelpgx, redisotel).
func (t *Telemetry) TracerProvider() trace.TracerProvider { return t.traces }

// MeterProvider is for instrumentation libraries.
func (t *Telemetry) MeterProvider() metric.MeterProvider { return t.metrics }

// Propagator reads and writes W3C traceparent, tracestate and baggage.
func (t *Telemetry) Propagator() propagation.TextMapPropagator { return t.propagator }

// Registerer takes collectors that speak Prometheus natively.
func (t *Telemetry) Registerer() prometheus.Registerer { return t.registry }

// MetricsHandler serves all metrics in Prometheus' text format. It belongs on
// the admin listener, never on a public one.
func (t *Telemetry) MetricsHandler() http.Handler {
	return promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{
		ErrorLog:            scrapeErrors{t.logger},
		ErrorHandling:       promhttp.ContinueOnError,
		Registry:            t.registry,
		MaxRequestsInFlight: maxScrapes,
		Timeout:             scrapeTimeout,
	})
}

// Shutdown sends what is still buffered and stops the exporters; ctx bounds how
// long that may take. What is recorded afterwards is dropped.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	return errors.Join(t.traces.Shutdown(ctx), t.metrics.Shutdown(ctx))
}

// scrapeErrors gives promhttp's complaints to slog.
type scrapeErrors struct{ logger *slog.Logger }

func (s scrapeErrors) Println(v ...any) {
	s.logger.Warn("metrics scrape incomplete", KeyError, Redact(fmt.Sprint(v...)))
}
