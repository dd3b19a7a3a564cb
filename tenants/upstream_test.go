package tenants

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/signalbox/signalbox/internal/fault"
)

func TestUpstream_names_every_setting_at_fault(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		up    Upstream
		field string // "" = it is good
	}{
		{"a good one", Upstream{Mode: UpstreamNative, Rules: []UpstreamRule{{URL: "https://example.com/{hub}?c={category}&e={event}", Event: "a, b"}}, TimeoutSeconds: 30, ReconnectSeconds: 60}, ""},
		{"Azure's defaults", Upstream{Rules: []UpstreamRule{{URL: "http://127.0.0.1:7071/runtime/webhooks/signalr?code=x"}}}, ""},
		{"none", Upstream{}, ""},
		{"unknown mode", Upstream{Mode: "grpc"}, "mode"},
		{"too slow", Upstream{TimeoutSeconds: 31}, "timeout_seconds"},
		{"negative", Upstream{TimeoutSeconds: -1}, "timeout_seconds"},
		{"waits too long", Upstream{Mode: UpstreamNative, ReconnectSeconds: 61}, "reconnect_seconds"},
		{"waits in Azure's mode", Upstream{ReconnectSeconds: 1}, "reconnect_seconds"},
		{"too many rules", Upstream{Rules: make([]UpstreamRule, 11)}, "rules"},
		{"no URL", Upstream{Rules: []UpstreamRule{{}}}, "rules.0.url"},
		{"relative", Upstream{Rules: []UpstreamRule{{URL: "/hook"}}}, "rules.0.url"},
		{"another scheme", Upstream{Rules: []UpstreamRule{{URL: "gopher://example.com/"}}}, "rules.0.url"},
		{"a file", Upstream{Rules: []UpstreamRule{{URL: "file:///etc/passwd"}}}, "rules.0.url"},
		{"credentials", Upstream{Rules: []UpstreamRule{{URL: "https://a:b@example.com/"}}}, "rules.0.url"},
		{"credentials by a placeholder", Upstream{Rules: []UpstreamRule{{URL: "https://example.com{event}/"}}}, "rules.0.url"},
		{"placeholder as a host", Upstream{Rules: []UpstreamRule{{URL: "https://{event}/"}}}, "rules.0.url"},
		{"placeholder as a scheme", Upstream{Rules: []UpstreamRule{{URL: "{event}://example.com/"}}}, "rules.0.url"},
		{"unknown placeholder", Upstream{Rules: []UpstreamRule{{URL: "https://example.com/{@Microsoft.KeyVault(SecretUri=x)}"}}}, "rules.0.url"},
		{"another line", Upstream{Rules: []UpstreamRule{{URL: "https://example.com/\r\nHost: x"}}}, "rules.0.url"},
		{"a space", Upstream{Rules: []UpstreamRule{{URL: "https://example.com/a b"}}}, "rules.0.url"},
		{"a fragment", Upstream{Rules: []UpstreamRule{{URL: "https://example.com/#x"}}}, "rules.0.url"},
		{"too long", Upstream{Rules: []UpstreamRule{{URL: "https://example.com/" + strings.Repeat("x", 2048)}}}, "rules.0.url"},
		{"long pattern", Upstream{Rules: []UpstreamRule{{URL: "https://example.com/", Category: strings.Repeat("x", 1025)}}}, "rules.0.category"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			err := HubSettings{Upstream: &row.up}.Validate()
			if row.field == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if f, ok := errors.AsType[*fault.Error](err); !ok || !hasField(f.Fields, "upstream."+row.field) {
				t.Errorf("got %v, want a field upstream.%s", err, row.field)
			}
		})
	}
}

func hasField(fields []fault.Field, name string) bool {
	for _, f := range fields {
		if f.Name == name && f.Accepted != "" {
			return true
		}
	}
	return false
}

func TestUpstream_takes_the_first_rule_that_matches(t *testing.T) {
	t.Parallel()
	u := &Upstream{Rules: []UpstreamRule{
		{URL: "1", Hub: "chat", Category: "messages", Event: "send, join"},
		{URL: "2", Hub: "*", Category: "messages"},
		{URL: "3", Event: "connected,disconnected"},
	}}
	for _, row := range []struct{ hub, category, event, want string }{
		{"chat", "messages", "join", "1"},
		{"chat", "messages", "Join", "2"},
		{"other", "messages", "send", "2"},
		{"other", "connections", "connected", "3"},
		{"chat", "connections", "closed", ""},
	} {
		if got, _ := u.Match(row.hub, row.category, row.event); got.URL != row.want {
			t.Errorf("%v matches rule %q", row, got.URL)
		}
	}
	if _, ok := (*Upstream)(nil).Match("chat", "messages", "send"); ok {
		t.Error("without an upstream something matches")
	}
}

func TestUpstreamRule_values_stay_within_their_place(t *testing.T) {
	t.Parallel()
	r := UpstreamRule{URL: "https://example.com/{hub}/{event}?c={category}"}
	for event, want := range map[string]string{
		"send":          "https://example.com/chat/send?c=messages",
		"../../admin":   "https://example.com/chat/..%2F..%2Fadmin?c=messages",
		"@evil.example": "https://example.com/chat/%40evil.example?c=messages",
		"a?b=c&d#e":     "https://example.com/chat/a%3Fb%3Dc%26d%23e?c=messages",
		"{category}":    "https://example.com/chat/%7Bcategory%7D?c=messages",
		"ü \r\n":        "https://example.com/chat/%C3%BC%20%0D%0A?c=messages",
		`back\slash`:    "https://example.com/chat/back%5Cslash?c=messages",
		"-._~":          "https://example.com/chat/-._~?c=messages",
		"..":            "",
		".":             "",
		"%2e%2e":        "https://example.com/chat/%252e%252e?c=messages",
		"a+b":           "https://example.com/chat/a%2Bb?c=messages",
	} {
		if got, ok := r.Expand("chat", "messages", event); got != want || ok != (want != "") {
			t.Errorf("%q gives %q, %v; want %q", event, got, ok, want)
		}
	}
	if fmt.Sprint(HubSettings{Upstream: &Upstream{}}.clean().Upstream) != "<nil>" {
		t.Error("an upstream without rules is kept")
	}
}
