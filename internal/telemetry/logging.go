package telemetry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"

	"go.opentelemetry.io/otel/trace"
)

// LogConfig says how log lines look. The zero value is JSON from info upwards.
type LogConfig struct {
	// Level is the least level that is written.
	Level slog.Leveler
	// Text writes lines for people instead of JSON.
	Text bool
	// Service, Version and Instance go on every line when they are set.
	Service, Version, Instance string
}

// ParseLevel reads "debug", "info", "warn" or "error"; empty is info.
func ParseLevel(s string) (slog.Level, error) {
	var l slog.Level
	if s == "" {
		return l, nil
	}
	if err := l.UnmarshalText([]byte(s)); err != nil {
		return l, errors.New("log level must be one of debug, info, warn, error")
	}
	return l, nil
}

// NewLogger returns a logger that writes to w, adds trace_id and span_id of the
// context's span, and redacts: values under a SecretKey are replaced, URLs lose
// their query, and every other text goes through Redact.
func NewLogger(w io.Writer, cfg LogConfig) *slog.Logger {
	opts := &slog.HandlerOptions{Level: cfg.Level, ReplaceAttr: redactAttr}
	var h slog.Handler = slog.NewJSONHandler(w, opts)
	if cfg.Text {
		h = slog.NewTextHandler(w, opts)
	}
	var attrs []slog.Attr
	for _, a := range []slog.Attr{
		slog.String(KeyService, cfg.Service), slog.String(KeyVersion, cfg.Version), slog.String(KeyInstance, cfg.Instance),
	} {
		if a.Value.String() != "" {
			attrs = append(attrs, a)
		}
	}
	return slog.New(&traceHandler{Handler: h.WithAttrs(attrs), root: h.WithAttrs(attrs)})
}

// redactAttr is the ReplaceAttr of our handlers.
func redactAttr(_ []string, a slog.Attr) slog.Attr {
	if SecretKey(a.Key) {
		return slog.String(a.Key, Redacted)
	}
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(Redact(a.Value.String()))
	case slog.KindAny:
		switch v := a.Value.Any().(type) {
		case error:
			a.Value = slog.StringValue(Redact(v.Error()))
		case *url.URL:
			if v != nil {
				a.Value = slog.StringValue(redactURL(v))
			}
		case url.URL:
			a.Value = slog.StringValue(redactURL(&v))
		case http.Header:
			a.Value = slog.AnyValue(redactHeader(v))
		case []string:
			clean := make([]string, len(v))
			for i, s := range v {
				clean[i] = Redact(s)
			}
			a.Value = slog.AnyValue(clean)
		case fmt.Stringer:
			a.Value = slog.StringValue(Redact(v.String()))
		}
	}
	return a
}

// traceHandler adds the ids of the context's span. They stand at the top level of
// the line whatever groups the logger has, so that a search finds them.
type traceHandler struct {
	slog.Handler // with every attribute and group
	// root is the handler before the first group, and regroup what was added from
	// there on.
	root    slog.Handler
	regroup []func(slog.Handler) slog.Handler
}

func (h *traceHandler) Handle(ctx context.Context, r slog.Record) error {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() {
		return h.Handler.Handle(ctx, r)
	}
	next := h.root.WithAttrs([]slog.Attr{
		slog.String(KeyTraceID, sc.TraceID().String()), slog.String(KeySpanID, sc.SpanID().String()),
	})
	for _, add := range h.regroup {
		next = add(next)
	}
	return next.Handle(ctx, r)
}

func (h *traceHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	add := func(next slog.Handler) slog.Handler { return next.WithAttrs(attrs) }
	if len(h.regroup) == 0 {
		return &traceHandler{Handler: add(h.Handler), root: add(h.root)}
	}
	return &traceHandler{Handler: add(h.Handler), root: h.root, regroup: append(slices.Clone(h.regroup), add)}
}

func (h *traceHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	add := func(next slog.Handler) slog.Handler { return next.WithGroup(name) }
	return &traceHandler{Handler: add(h.Handler), root: h.root, regroup: append(slices.Clone(h.regroup), add)}
}
