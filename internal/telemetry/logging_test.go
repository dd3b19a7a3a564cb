package telemetry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"github.com/signalbox/signalbox/internal/telemetry"
)

func TestLogLinesCarryTheTrace(t *testing.T) {
	t.Parallel()
	sc := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{0xab}, SpanID: trace.SpanID{0xcd}})
	ctx := trace.ContextWithSpanContext(t.Context(), sc)
	var out bytes.Buffer
	log := telemetry.NewLogger(&out, telemetry.LogConfig{Service: "edge"})
	log.With(telemetry.KeyHub, "chat").WithGroup("request").With("a", 1).InfoContext(ctx, "served", "b", 2)
	var line struct {
		Msg, Service, Hub string
		TraceID           string `json:"trace_id"`
		SpanID            string `json:"span_id"`
		Request           struct{ A, B int }
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v in %s", err, &out)
	}
	if line.TraceID != sc.TraceID().String() || line.SpanID != sc.SpanID().String() || line.Hub != "chat" || line.Service != "edge" || line.Request.A != 1 || line.Request.B != 2 {
		t.Errorf("line is %s", &out)
	}
	out.Reset()
	log.Info("no span")
	if strings.Contains(out.String(), "trace_id") {
		t.Errorf("line is %s", &out)
	}
}

func TestSecretsNeverReachTheLog(t *testing.T) {
	t.Parallel()
	const secret = "top-secret"
	u := &url.URL{Scheme: "http", User: url.UserPassword("me", secret), Host: "edge", Path: "/client/", RawQuery: "hub=chat&access_token=" + secret}
	rows := map[string]slog.Attr{
		"value under a secret key":            slog.String("access_token", secret),
		"key in another spelling":             slog.Any(http.CanonicalHeaderKey("set-cookie"), secret),
		"number under a secret key":           slog.Any("password", []byte(secret)),
		"value inside a group":                slog.Group("user", "password", secret),
		"query in a text":                     slog.String("path", "/client/?id="+secret+"&hub=chat"),
		"query in an error":                   slog.Any("error", &url.Error{Op: "Get", URL: u.String(), Err: errors.New("refused")}),
		"URL":                                 slog.Any("url", u),
		"URL by value":                        slog.Any("url", *u),
		"header":                              slog.Any("header", http.Header{"Authorization": {"Bearer " + secret}, "Referer": {"http://x/?access_token=" + secret}}),
		"connection string in a text":         slog.String("text", "Endpoint=http://x;AccessKey="+secret+";Version=1.0;"),
		"quoted Authorization header":         slog.String("text", "sent Authorization: Bearer "+secret),
		"text list":                           slog.Any("args", []string{"-dsn", "postgres://me:" + secret + "@db/x"}),
		"JSON Web Token anywhere":             slog.String("text", "got eyJhbGciOi.top-secret.c2ln"),
		"password of a URL in a longer text":  slog.String("text", "dial redis://default:"+secret+"@cache:6379 now"),
		"environment variable of that name":   slog.String("text", "SIGNALBOX_FLEET_SECRET="+secret),
		"attribute with a qualified key name": slog.Any("http.request.header."+"authorization", secret),
	}
	for name, attr := range rows {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, text := range []bool{true, false} {
				var out bytes.Buffer
				log := telemetry.NewLogger(&out, telemetry.LogConfig{Text: text})
				log.LogAttrs(t.Context(), slog.LevelInfo, "event", attr)
				log.With(attr).Info("event")
				lines := strings.Split(strings.TrimSpace(out.String()), "\n")
				if strings.Contains(lines[0], secret) || strings.Contains(lines[1], secret) {
					t.Errorf("secret in %s", &out)
				}
			}
		})
	}
}

func TestHarmlessTextsAreNotChanged(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "hub=chat", "connection_id=abc", "tenant id=01J", "/t/acme/client/?hub=chat", "me@example.com", "tokens are checked", "bearer token missing",
	} {
		if got := telemetry.Redact(s); got != s {
			t.Errorf("Redact(%q) = %q", s, got)
		}
	}
}

func TestLogLevels(t *testing.T) {
	t.Parallel()
	level, err := telemetry.ParseLevel("warn")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	log := telemetry.NewLogger(&out, telemetry.LogConfig{Level: level})
	log.Info("hidden")
	log.Warn("shown")
	if got := out.String(); strings.Contains(got, "hidden") || !strings.Contains(got, "shown") {
		t.Errorf("log is %s", got)
	}
	if _, err := telemetry.ParseLevel("loud"); err == nil || !strings.Contains(err.Error(), "debug, info, warn, error") {
		t.Errorf("error is %v", err)
	}
}
