package main

import "testing"

// What a ledger says must be what was answered, by whatever limit, and no more.
func TestTally(t *testing.T) {
	t.Parallel()
	c := newTally()
	messages := rated{limit: "messages_per_second", code: "rate_limited", sends: true}
	for _, x := range []struct {
		status            int
		text              string
		admitted, refused bool
	}{
		{202, "", true, false},
		{429, `{"type":"…","code":"rate_limited"}`, false, true},
		{429, `{"type":"…","code":"too_many_requests_at_once"}`, false, true},
		{429, `{"type":"…","code":"too_many_requests"}`, false, false}, // of another limit
		{429, "connect_rate scope=tenant limit=connects_per_second", false, false},
		{503, `{"code":"bus_unavailable","detail":"The message bus is away; nothing was carried out."}`, false, false},
	} {
		if admitted, refused := c.count(messages, x.status, x.text); admitted != x.admitted || refused != x.refused {
			t.Errorf("%d %s: admitted %v, refused %v", x.status, x.text, admitted, refused)
		}
	}
	exact := func() metered {
		return metered{Accepted: 1, Refused: map[string]int{"rate_limited": 1, "too_many_requests_at_once": 1, "too_many_requests": 1, "connect_rate": 1}}
	}
	if !c.same(exact()) {
		t.Error("what was answered isn't the same")
	}
	for name, change := range map[string]func(*metered){
		"a message more":          func(l *metered) { l.Accepted++ },
		"a message less":          func(l *metered) { l.Accepted-- },
		"a refusal more":          func(l *metered) { l.Refused["rate_limited"]++ },
		"a refusal less":          func(l *metered) { l.Refused["connect_rate"]-- },
		"a refusal of a new code": func(l *metered) { l.Refused["connection_limit"]++ },
	} {
		l := exact()
		change(&l)
		if c.same(l) {
			t.Errorf("%s is the same", name)
		}
	}
	// Nobody can know what became of these.
	c.count(messages, 503, `{"code":"bus_unavailable","detail":"It is unknown whether the request was carried out."}`)
	c.count(messages, 0, "timeout")
	l := exact()
	l.Accepted, l.Refused["rate_limited"] = 3, 2
	if !c.same(exact()) || !c.same(l) {
		t.Error("what has no answer may have been carried out, or not")
	}
}
