package rest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/signalbox/signalbox/hubs"
)

func TestPresence_of_a_user_is_that_of_the_connections(t *testing.T) {
	s := newService(t)
	w := s.do(request("PUT", "/api/hubs/chat/groups/g/presence/users/ann", `{"mood":"fine"}`))
	if w.Code != 204 || len(s.entries["chat"]) != 1 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	e := s.entries["chat"][0]
	if e.Kind != hubs.PresenceWish || len(e.Connections) != 1 || e.Connections[0] != "a" || string(e.Message.Arguments.Bytes) != `{"mood":"fine"}` {
		t.Errorf("published %+v", e)
	}
	if q := s.lists[0]; q.Kind != hubs.ListConnections || q.Group != "g" || q.User != "ann" {
		t.Errorf("listed %+v", q)
	}
}

func TestPresence_is_bounded(t *testing.T) {
	for name, row := range map[string]struct {
		body    string
		present int // in the group
		known   bool
		status  int
		code    string
	}{
		"no JSON":                     {`{`, 0, false, 400, "invalid"},
		"too large":                   {`"` + strings.Repeat("x", 99) + `"`, 0, false, 413, "state_too_large"},
		"the last one":                {`1`, 9, false, 204, ""},
		"one too many":                {`1`, 10, false, 409, "presence_full"},
		"one of those that are there": {`1`, 10, true, 204, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t)
			s.matched = row.present
			if !row.known {
				s.page = hubs.Page{}
			}
			w := s.do(request("PUT", "/api/hubs/chat/groups/g/presence/connections/a", row.body))
			if w.Code != row.status || w.Header().Get(errorCode) != row.code {
				t.Errorf("%d %s, want %d %s", w.Code, w.Header().Get(errorCode), row.status, row.code)
			}
		})
	}
}

// However many connections a user has, the fleet is asked once which of them are
// present.
func TestPresence_of_a_user_costs_few_questions(t *testing.T) {
	s := newService(t)
	s.matched = 11 // more than the ten that are allowed, unless they are the same
	s.page = hubs.Page{}
	for i := range 200 {
		s.page.Items = append(s.page.Items, hubs.Listed{Name: fmt.Sprintf("c%03d", i), User: "ann", Connections: 1})
	}
	w := s.do(request("PUT", "/api/hubs/chat/groups/g/presence/users/ann", `1`))
	if refused(t, w, "PUT", 409, "presence_full", ""); len(s.lists) != 2 || s.lists[1].User != "ann" || s.lists[1].Kind != hubs.ListPresent {
		t.Errorf("%d questions: %+v", len(s.lists), s.lists[min(len(s.lists), 2)-1])
	}
}
