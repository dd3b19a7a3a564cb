package telemetry

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// Redacted stands where a secret was.
const Redacted = "[redacted]"

// secretParameter finds credentials in URLs, in connection strings and in texts
// that quote them. SignalR clients carry the access token in access_token and the
// connection token in id.
var secretParameter = regexp.MustCompile(`(?i)([?&]id|\b\w*(?:token|secret|password|accesskey|access_key))=[^&;\s"'#]+`)

// bearer finds the credentials of an Authorization header that was quoted.
var bearer = regexp.MustCompile(`(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{8,}`)

// jwt finds a token wherever it stands: every JSON Web Token begins so.
var jwt = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*`)

// userinfo finds the password of a URL such as redis://user:password@host.
var userinfo = regexp.MustCompile(`(://[^/\s:@]*):[^/\s@]+@`)

// Redact returns s without credentials: tokens and keys in query strings and
// connection strings, bearer values, JSON Web Tokens and passwords in URLs. Texts
// that hold none are returned as they are.
func Redact(s string) string {
	if strings.Contains(s, "=") {
		s = secretParameter.ReplaceAllString(s, "${1}="+Redacted)
	}
	if strings.Contains(s, " ") {
		s = bearer.ReplaceAllString(s, "${1} "+Redacted)
	}
	if strings.Contains(s, "eyJ") {
		s = jwt.ReplaceAllString(s, Redacted)
	}
	if strings.Contains(s, "@") {
		s = userinfo.ReplaceAllString(s, "${1}:"+Redacted+"@")
	}
	return s
}

// secretKeys are attribute names whose values are never shown, in lower case
// with underscores.
var secretKeys = map[string]bool{
	"token": true, "access_token": true, "id_token": true, "refresh_token": true, "api_token": true, "connection_token": true,
	"authorization": true, "proxy_authorization": true, "cookie": true, "set_cookie": true,
	"secret": true, "client_secret": true, "fleet_secret": true, "password": true,
	"access_key": true, "accesskey": true, "api_key": true, "sealing_key": true, "connection_string": true,
}

// SecretKey reports whether values under this attribute or header name are
// redacted; case, hyphens and underscores don't matter.
func SecretKey(name string) bool {
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		name = name[i+1:]
	}
	return secretKeys[strings.ReplaceAll(strings.ToLower(name), "-", "_")]
}

// redactURL is u without query, fragment and password.
func redactURL(u *url.URL) string {
	c := *u
	c.RawQuery, c.Fragment, c.RawFragment = "", "", ""
	return c.Redacted()
}

// redactHeader is h with the values of secret headers replaced and the others
// searched.
func redactHeader(h http.Header) map[string][]string {
	out := make(map[string][]string, len(h))
	for name, values := range h {
		if SecretKey(name) {
			out[name] = []string{Redacted}
			continue
		}
		clean := make([]string, len(values))
		for i, v := range values {
			clean[i] = Redact(v)
		}
		out[name] = clean
	}
	return out
}

// RedactSpans is an exporter that hands spans to next without credentials. Query
// strings are dropped; everything else is searched by Redact, since errors of
// HTTP clients quote the URL they were for.
func RedactSpans(next sdktrace.SpanExporter) sdktrace.SpanExporter {
	return spanRedactor{next}
}

type spanRedactor struct{ next sdktrace.SpanExporter }

func (r spanRedactor) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	clean := make([]sdktrace.ReadOnlySpan, len(spans))
	for i, s := range spans {
		clean[i] = redactedSpan{s}
	}
	return r.next.ExportSpans(ctx, clean)
}

func (r spanRedactor) Shutdown(ctx context.Context) error { return r.next.Shutdown(ctx) }

// redactedSpan shows a span without credentials.
type redactedSpan struct{ sdktrace.ReadOnlySpan }

func (s redactedSpan) Name() string { return Redact(s.ReadOnlySpan.Name()) }

func (s redactedSpan) Attributes() []attribute.KeyValue {
	return redactAttributes(s.ReadOnlySpan.Attributes())
}

func (s redactedSpan) Events() []sdktrace.Event {
	events := append([]sdktrace.Event(nil), s.ReadOnlySpan.Events()...)
	for i := range events {
		events[i].Attributes = redactAttributes(events[i].Attributes)
	}
	return events
}

func (s redactedSpan) Links() []sdktrace.Link {
	links := append([]sdktrace.Link(nil), s.ReadOnlySpan.Links()...)
	for i := range links {
		links[i].Attributes = redactAttributes(links[i].Attributes)
	}
	return links
}

func (s redactedSpan) Status() sdktrace.Status {
	st := s.ReadOnlySpan.Status()
	st.Description = Redact(st.Description)
	return st
}

func redactAttributes(in []attribute.KeyValue) []attribute.KeyValue {
	out := make([]attribute.KeyValue, 0, len(in))
	for _, kv := range in {
		switch {
		case kv.Key == semconv.URLQueryKey:
			continue
		case SecretKey(string(kv.Key)):
			kv.Value = attribute.StringValue(Redacted)
		case kv.Key == semconv.URLFullKey:
			whole, _, _ := strings.Cut(kv.Value.AsString(), "?")
			kv.Value = attribute.StringValue(Redact(whole))
		case kv.Value.Type() == attribute.STRING:
			kv.Value = attribute.StringValue(Redact(kv.Value.AsString()))
		case kv.Value.Type() == attribute.STRINGSLICE:
			values := kv.Value.AsStringSlice()
			for i := range values {
				values[i] = Redact(values[i])
			}
			kv.Value = attribute.StringSliceValue(values)
		}
		out = append(out, kv)
	}
	return out
}
