package tenants

import (
	"net/url"
	"strings"
	"testing"
)

// FuzzURLTemplate holds that nothing that clients choose changes where a rule's URL
// leads to: not its scheme, host or user, nor the folders of its path.
func FuzzURLTemplate(f *testing.F) {
	for _, event := range []string{"say", "..", ".", "../..", "@evil.example", "%2e%2e", "a/b", "\r\nHost: x", "//evil.example", "?x=y", "#", "{hub}", "\\..\\", "\x00", "é", ""} {
		f.Add("https://example.com/{hub}/{category}/{event}", "chat", event)
		f.Add("https://example.com/hooks?of={event}&hub={hub}", "chat", event)
		f.Add("https://example.com/a/.{event}", "chat", event)
		f.Add("https://{event}.example.com/", "chat", event)
		f.Add("https://example.com{event}/", "chat", event)
		f.Add("https://a@{event}/", "chat", event)
		f.Add(`https://example.com/"{event}`, "chat", event)
	}
	f.Fuzz(func(t *testing.T, template, hub, event string) {
		r := UpstreamRule{URL: template}
		if _, err := HubName(hub); err != nil || r.problem() != "" {
			return
		}
		raw, ok := r.Expand(hub, CategoryMessages, event)
		if !ok {
			return
		}
		plain, _ := r.Expand("hub", CategoryMessages, "event")
		want, err := url.Parse(plain)
		if err != nil {
			t.Fatalf("the rule %q was accepted and isn't a URL: %v", template, err)
		}
		got, err := url.Parse(raw)
		if err != nil {
			t.Fatalf("%q with %q isn't a URL: %v", template, event, err)
		}
		if got.Scheme != want.Scheme || got.Host != want.Host || got.User != nil || got.Fragment != "" {
			t.Errorf("%q with %q leads to %q", template, event, raw)
		}
		if strings.Count(got.EscapedPath(), "/") != strings.Count(want.EscapedPath(), "/") || steps(got.EscapedPath()) != steps(want.EscapedPath()) {
			t.Errorf("%q with %q leads to the path %q", template, event, got.EscapedPath())
		}
	})
}

// steps counts the segments that lead to another folder, encoded or not.
func steps(path string) int {
	n := 0
	for s := range strings.SplitSeq(path, "/") {
		if s = strings.ReplaceAll(strings.ToLower(s), "%2e", "."); s == ".." {
			n++
		}
	}
	return n
}
