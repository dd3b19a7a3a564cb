package rest

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestSend_dry_run_says_what_it_would_count(t *testing.T) {
	s := newService(t)
	s.matched = 3
	body := `{"target":"m","arguments":["` + strings.Repeat("x", 100) + `"]}`
	for path, want := range map[string]estimate{
		"/api/hubs/chat/:send":              {true, 1, 3, 3, 105, 315},
		"/api/v1/hubs/chat":                 {true, 1, 3, 3, 105, 315},
		"/api/hubs/chat/groups/g/:send":     {true, 1, 3, 3, 105, 315},
		"/api/v1/hubs/chat/users/u":         {true, 1, 3, 3, 105, 315},
		"/api/v1/hubs/chat/connections/abc": {true, 1, 3, 3, 105, 315},
	} {
		w := s.do(request("POST", path+"?dry_run=true", body))
		var got estimate
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 || got != want {
			t.Errorf("%s: %d %+v, want %+v: %v", path, w.Code, got, want, err)
		}
	}
	if n := s.count("chat"); n != 0 {
		t.Errorf("%d messages were sent", n)
	}
	refused(t, s.do(request("POST", "/api/hubs/chat/:send?dry_run=maybe", body)), "POST", 400, "invalid", "dry_run")
	refused(t, s.do(request("POST", "/api/hubs/chat/:send?dry_run=true", `{"target":""}`)), "POST", 400, "invalid", "target")
	if w := s.do(request("POST", "/api/hubs/chat/:send?dry_run=false", body)); w.Code != 202 || s.count("chat") != 1 {
		t.Errorf("a send answers %d", w.Code)
	}
}
