package tenants

import "testing"

// Comings and goings are for rules that name them.
func TestUpstream_presence(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule UpstreamRule
		mode UpstreamMode
		want bool
	}{
		{UpstreamRule{}, UpstreamNative, false},
		{UpstreamRule{Category: "*"}, UpstreamNative, false},
		{UpstreamRule{Category: "connections,messages"}, UpstreamNative, false},
		{UpstreamRule{Category: "presence"}, UpstreamNative, true},
		{UpstreamRule{Category: "messages, presence"}, UpstreamNative, true},
		{UpstreamRule{Category: "presence", Event: "left"}, UpstreamNative, true},
		{UpstreamRule{Category: "presence", Event: "connected"}, UpstreamNative, false},
		{UpstreamRule{Category: "presence", Hub: "other"}, UpstreamNative, false},
		{UpstreamRule{Category: "presence"}, UpstreamAzure, false},
	} {
		row.rule.URL = "https://example.com/"
		u := &Upstream{Mode: row.mode, Rules: []UpstreamRule{row.rule}}
		if got := u.Presence("chat"); got != row.want {
			t.Errorf("%s %+v: %v", row.mode, row.rule, got)
		}
		if problems := u.problems("upstream"); (len(problems) > 0) != (row.mode == UpstreamAzure) {
			t.Errorf("%s %+v: %+v", row.mode, row.rule, problems)
		}
	}
	var none *Upstream
	if none.Presence("chat") {
		t.Error("without an upstream somebody is told")
	}
	both := &Upstream{Rules: []UpstreamRule{{URL: "a"}, {URL: "b", Category: "presence"}}}
	if r, ok := both.Match("chat", CategoryPresence, EventJoined); !ok || r.URL != "b" {
		t.Errorf("matched %+v", r)
	}
}
