package tenants

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/signalbox/signalbox/internal/fault"
)

// UpstreamMode is the format of the requests to an upstream.
type UpstreamMode string

// The modes of upstreams.
const (
	// UpstreamAzure is the format of Azure SignalR Service, for existing functions.
	UpstreamAzure UpstreamMode = "azure"
	// UpstreamNative is the service's own format: JSON both ways, signed as
	// Standard Webhooks are, with streams and retried events.
	UpstreamNative UpstreamMode = "native"
)

// UpstreamModes lists the accepted modes.
var UpstreamModes = []UpstreamMode{UpstreamAzure, UpstreamNative}

// Upstream is where what a hub's clients do is posted to. Without rules there is
// none.
type Upstream struct {
	Mode UpstreamMode `json:"mode,omitempty"` // "" = azure
	// Rules are looked through in order; the first that matches counts, and what
	// none matches is posted nowhere.
	Rules []UpstreamRule `json:"rules,omitempty"`
	// TimeoutSeconds bounds one request, its answer included; 0 = 5.
	TimeoutSeconds int `json:"timeout_seconds,omitempty"`
	// ReconnectSeconds is how long the native mode waits for a user whose
	// connection has ended before it says so; 0 = not at all.
	ReconnectSeconds int `json:"reconnect_seconds,omitempty"`
}

// UpstreamRule sends some of the messages and events to a URL. A pattern is *,
// or names separated by commas, compared with case; "" = *.
type UpstreamRule struct {
	// URL may hold {hub}, {category} and {event} in its path and query.
	URL      string `json:"url"`
	Hub      string `json:"hub,omitempty"`
	Category string `json:"category,omitempty"`
	Event    string `json:"event,omitempty"`
}

// The categories of upstream rules, and the events of the first one. Those of
// the second are the names of the methods that clients call.
const (
	CategoryConnections = "connections"
	CategoryMessages    = "messages"
	// CategoryPresence must be named by a rule: * isn't meant for it.
	CategoryPresence = "presence"

	EventConnected    = "connected"
	EventDisconnected = "disconnected"

	EventJoined = "joined"
	EventLeft   = "left"
	// CategoryLimits is told to those alone whose rule names it.
	CategoryLimits    = "limits"
	EventLimitWarning = "warning" // 80 % are in use
	EventLimitReached = "reached" // all is, or something was refused
	EventBudget       = "budget"  // a step of the account's budget was reached
)

// The defaults and bounds of upstreams.
const (
	DefaultUpstreamSeconds = 5
	maxUpstreamSeconds     = 30
	maxReconnectSeconds    = 60
	maxUpstreamRules       = 10
	maxUpstreamURL         = 2048 // bytes
	maxUpstreamPattern     = 1024 // bytes
)

// Set reports whether there is an upstream at all.
func (u *Upstream) Set() bool { return u != nil && len(u.Rules) > 0 }

// WithDefaults returns the upstream with what is left out filled in.
func (u Upstream) WithDefaults() Upstream {
	if u.Mode == "" {
		u.Mode = UpstreamAzure
	}
	if u.TimeoutSeconds == 0 {
		u.TimeoutSeconds = DefaultUpstreamSeconds
	}
	return u
}

// Match returns the first rule for an event of a hub.
func (u *Upstream) Match(hub, category, event string) (UpstreamRule, bool) {
	if u == nil {
		return UpstreamRule{}, false
	}
	for _, r := range u.Rules {
		if (category == CategoryPresence || category == CategoryLimits) && !r.names(category) {
			continue
		}
		if matchesPattern(r.Hub, hub) && matchesPattern(r.Category, category) && matchesPattern(r.Event, event) {
			return r, true
		}
	}
	return UpstreamRule{}, false
}

// names reports whether the rule's category has a category by its name: those who
// take everything, *, aren't told of comings and goings, or of limits.
func (r UpstreamRule) names(category string) bool {
	for item := range strings.SplitSeq(r.Category, ",") {
		if strings.TrimSpace(item) == category {
			return true
		}
	}
	return false
}

// Presence reports whether the hub's upstream is told who comes to groups and leaves
// them.
func (u *Upstream) Presence(hub string) bool {
	if u == nil || u.Mode != UpstreamNative {
		return false
	}
	_, joined := u.Match(hub, CategoryPresence, EventJoined)
	_, left := u.Match(hub, CategoryPresence, EventLeft)
	return joined || left
}

func matchesPattern(pattern, name string) bool {
	if pattern == "" || pattern == "*" {
		return true
	}
	for item := range strings.SplitSeq(pattern, ",") {
		if item = strings.TrimSpace(item); item == name || item == "*" {
			return true
		}
	}
	return false
}

// Expand fills the rule's placeholders, percent-encoded. It reports false for an
// event that would become a step through the URL's folders.
func (r UpstreamRule) Expand(hub, category, event string) (string, bool) {
	for _, v := range []string{hub, category, event} {
		if v == "." || v == ".." {
			return "", false
		}
	}
	return strings.NewReplacer("{hub}", escape(hub), "{category}", escape(category), "{event}", escape(event)).Replace(r.URL), true
}

// escape leaves letters, digits and -._~ alone (RFC 3986, 2.3).
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// problems returns what is wrong, with names below prefix. Which hosts may be
// reached is not looked at here.
func (u *Upstream) problems(prefix string) []fault.Field {
	if u == nil {
		return nil
	}
	d := u.WithDefaults()
	var fields []fault.Field
	bad := func(name, message, accepted string) {
		fields = append(fields, fault.Field{Name: prefix + "." + name, Message: message, Accepted: accepted})
	}
	if !slices.Contains(UpstreamModes, d.Mode) {
		bad("mode", "is not a mode", "azure, native")
	}
	if d.TimeoutSeconds < 1 || d.TimeoutSeconds > maxUpstreamSeconds {
		bad("timeout_seconds", "is out of range", fmt.Sprintf("1 to %d", maxUpstreamSeconds))
	}
	switch {
	case d.ReconnectSeconds < 0 || d.ReconnectSeconds > maxReconnectSeconds:
		bad("reconnect_seconds", "is out of range", fmt.Sprintf("0 to %d", maxReconnectSeconds))
	case d.ReconnectSeconds > 0 && d.Mode != UpstreamNative:
		bad("reconnect_seconds", "is for the native mode", "0")
	}
	if len(d.Rules) > maxUpstreamRules {
		bad("rules", "are too many", fmt.Sprintf("at most %d", maxUpstreamRules))
	}
	if d.Mode != UpstreamNative && slices.ContainsFunc(d.Rules, func(r UpstreamRule) bool { return r.names(CategoryPresence) }) {
		bad("mode", "can't tell of presence", "native, or rules without the category presence")
	}
	for i, r := range d.Rules {
		at := fmt.Sprintf("rules.%d.", i)
		if message := r.problem(); message != "" {
			bad(at+"url", message, "an absolute URL of at most 2048 bytes, with {hub}, {category} and {event} in path or query, as in https://example.com/signalr/{event}")
		}
		for _, p := range []struct{ name, pattern string }{{"hub", r.Hub}, {"category", r.Category}, {"event", r.Event}} {
			if len(p.pattern) > maxUpstreamPattern || strings.ContainsFunc(p.pattern, hidden) {
				bad(at+p.name, "is not a pattern", fmt.Sprintf("*, or names separated by commas, at most %d bytes", maxUpstreamPattern))
			}
		}
	}
	return fields
}

// problem says what is wrong with the rule's URL, or "".
func (r UpstreamRule) problem() string {
	if r.URL == "" {
		return "is required"
	}
	if len(r.URL) > maxUpstreamURL {
		return "is too long"
	}
	head, _, _ := strings.Cut(r.URL, "{")
	if _, host, ok := strings.Cut(head, "://"); head != r.URL && (!ok || !strings.ContainsAny(host, "/?")) {
		return "has a placeholder in its host"
	}
	example, _ := r.Expand("hub", CategoryMessages, "event")
	if strings.ContainsAny(example, "{}") {
		return "has an unknown placeholder"
	}
	u, err := url.Parse(example)
	switch {
	case err != nil || strings.ContainsFunc(r.URL, hidden) || strings.Contains(r.URL, " "):
		return "is not a URL"
	case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.Opaque != "":
		return "is not an absolute http or https URL"
	case u.User != nil:
		return "must not have a user or a password"
	case u.Fragment != "" || strings.Contains(r.URL, "#"):
		return "must not have a fragment"
	}
	// net/url encodes a path anew that isn't well encoded, and what was filled in
	// with it: an encoded slash would become a folder.
	filled, _ := r.Expand("/", "/", "/")
	if v, err := url.Parse(filled); err != nil || strings.Count(v.EscapedPath(), "/") != strings.Count(u.EscapedPath(), "/") {
		return "has characters in its path that must be percent-encoded (RFC 3986, 3.3)"
	}
	return ""
}

// clean returns the upstream as it is kept: nil when there is none.
func (u *Upstream) clean() *Upstream {
	if !u.Set() {
		return nil
	}
	return u
}
