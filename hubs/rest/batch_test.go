package rest

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/fault"
)

func (s *service) batch(t *testing.T, body string, header ...string) (int, batchAnswer) {
	t.Helper()
	w := s.do(request("POST", "/api/hubs/chat/:batch", body, header...))
	var answer batchAnswer
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return w.Code, answer
}

func TestBatch_keeps_the_order_and_tells_of_each(t *testing.T) {
	s := newService(t)
	status, answer := s.batch(t, `{"messages":[
		{"target":"a"},
		{"groups":["g","h"],"excluded":["x"],"target":"b","arguments":[1]},
		{"groups":["g"],"users":["u"],"target":"c"},
		{"Users":["u"],"Target":"d","Arguments":null},
		{"connections":["c"],"target":"e","arguments":{}},
		{"connections":["c"],"target":""},
		{"users":["u"],"excluded":["x"],"target":"f"},
		{"groups":[],"target":"f"},
		{"groups":[" "],"target":"f"},
		{"target":"f","arguments":["`+strings.Repeat("x", maxMessage)+`"]},
		{"target":"f","idempotencyKey":"\u0001"},
		{"connections":["c","d"],"target":"g"}
	]}`)
	if status != http.StatusMultiStatus || answer.Accepted != 4 {
		t.Errorf("status %d, %d accepted", status, answer.Accepted)
	}
	want := []batchResult{
		{Status: 202, Ack: "stream"}, {Status: 202, Ack: "stream"}, {Status: 400, Code: "invalid", Target: "users"}, {Status: 202, Ack: "stream"},
		{Status: 400, Code: "invalid", Target: "arguments"}, {Status: 400, Code: "invalid", Target: "target"},
		{Status: 400, Code: "invalid", Target: "excluded"}, {Status: 400, Code: "invalid", Target: "groups"}, {Status: 400, Code: "invalid", Target: "groups"},
		{Status: 413, Code: "message_too_large"}, {Status: 400, Code: "invalid", Target: "idempotencyKey"}, {Status: 202, Ack: "stream"},
	}
	if diff := cmp.Diff(want, answer.Results, cmpopts.IgnoreFields(batchResult{}, "Message", "Position")); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	for i, r := range answer.Results {
		if (r.Status == 202) != (r.Position != "") || (r.Status == 202) != (r.Message == "") {
			t.Errorf("result %d: %+v", i, r)
		}
	}
	var targets []string
	for _, e := range s.entries["chat"] {
		targets = append(targets, e.Message.Target)
	}
	if got := len(s.refusals); got != 8 || s.refusals[0] != "chat invalid" {
		t.Errorf("counted as refused: %q", s.refusals)
	}
	if got := strings.Join(targets, ""); got != "abdg" {
		t.Errorf("published %s", got)
	}
	if second := s.entries["chat"][1]; second.Kind != hubs.SendToGroups || len(second.Groups) != 2 || second.Excluded[0] != "x" {
		t.Errorf("%+v", second)
	}
}

func TestBatch_stops_at_a_limit(t *testing.T) {
	s := newService(t)
	s.refuse = &LimitError{Limit: fault.Limit{Code: "rate_limited", Limit: "messages_per_second", Max: 10, Burst: 10, RetryAfterMS: 1000}, Window: time.Second, Text: "Too many."}
	status, answer := s.batch(t, `{"messages":[{"target":""},{"target":"a"},{"target":"b"}]}`)
	if status != http.StatusMultiStatus || answer.Accepted != 0 || s.count("chat") != 0 {
		t.Errorf("status %d, %+v", status, answer)
	}
	for i, want := range []string{"invalid", "rate_limited", "not_tried"} {
		if got := answer.Results[i].Code; got != want {
			t.Errorf("result %d is %s, want %s", i, got, want)
		}
	}
}

func TestBatch_may_be_repeated(t *testing.T) {
	s := newService(t)
	const body = `{"messages":[{"target":"a"},{"target":"b","idempotencyKey":"own"}]}`
	_, first := s.batch(t, body, "Idempotency-Key", strings.Repeat("k", 128))
	_, again := s.batch(t, body, "Idempotency-Key", strings.Repeat("k", 128))
	for i := range first.Results {
		if first.Results[i].Duplicate || !again.Results[i].Duplicate || first.Results[i].Position != again.Results[i].Position {
			t.Errorf("%+v, then %+v", first.Results[i], again.Results[i])
		}
	}
	if s.count("chat") != 2 {
		t.Errorf("%d entries", s.count("chat"))
	}
	_, other := s.batch(t, `{"messages":[{"target":"c"}]}`, "Idempotency-Key", strings.Repeat("k", 128))
	if other.Results[0].Status != 409 || other.Results[0].Code != "idempotency_conflict" {
		t.Errorf("%+v", other.Results[0])
	}
}

func TestBatch_checks_its_form(t *testing.T) {
	s := newService(t)
	many := strings.TrimSuffix(strings.Repeat(`{"target":"a"},`, testLimits.MaxBatchItems+1), ",")
	for body, want := range map[string][2]string{
		`{"messages":[]}`:                 {"batch_too_large", "messages"},
		`{}`:                              {"batch_too_large", "messages"},
		`{"messages":[` + many + `]}`:     {"batch_too_large", "messages"},
		`{"messages":{}}`:                 {"invalid", "messages"},
		`{"messages":[{"target":1}]}`:     {"invalid", "messages.target"},
		`{"items":[]}`:                    {"invalid", "items"},
		`{"messages":[{"target":"a"}]} x`: {"invalid", "body"},
		`[`:                               {"invalid", "body"},
	} {
		refused(t, s.do(request("POST", "/api/hubs/chat/:batch", body)), "POST", 400, want[0], want[1])
	}
	if got := s.refusals[0]; got != " batch_too_large" && got != " invalid" {
		t.Errorf("counted as refused before the hub is known: %q", got)
	}
	refused(t, s.do(request("POST", "/api/hubs/chat/:batch", "x", "Content-Type", "text/plain")), "POST", 415, "unsupported_media_type", "")
	refused(t, s.do(request("POST", "/api/hubs/chat/:batch", strings.Repeat(" ", testLimits.MaxRequestBytes+1))), "POST", 413, "body_too_large", "")
	refused(t, s.do(request("POST", "/api/hubs/chat/:batch", hello, "Idempotency-Key", "\x01")), "POST", 400, "invalid", "Idempotency-Key")
}

func TestExecute_carries_out_commands_in_order(t *testing.T) {
	s := newService(t)
	for filter, want := range map[string]hubs.Entry{
		"":                                     {Kind: hubs.SendToAll},
		"userId eq 'ann'":                      {Kind: hubs.SendToUsers, Users: []string{"ann"}},
		"userId eq 'ann' or userId eq 'o''me'": {Kind: hubs.SendToUsers, Users: []string{"ann", "o'me"}},
		"'g' in groups":                        {Kind: hubs.SendToGroups, Groups: []string{"g"}},
		"'g' in groups or 'h' in groups and connectionId ne 'c'": {Kind: hubs.SendToGroups, Groups: []string{"g", "h"}, Excluded: []string{"c"}},
		"connectionId eq 'c'":                         {Kind: hubs.SendToConnections, Connections: []string{"c"}},
		"connectionId ne 'c' and connectionId ne 'd'": {Kind: hubs.SendToAll, Excluded: []string{"c", "d"}},
	} {
		before := s.count("chat")
		r := request("POST", "/api/hubs/chat/:execute", `[{"type":"SendMessage","target":"a","arguments":[1]},{"type":"JoinGroup","group":"new"},{"type":"leavegroup","group":"old"},{"type":"CloseConnection","reason":"over"}]`)
		r.URL.RawQuery = "filter=" + strings.ReplaceAll(strings.ReplaceAll(filter, "'", "%27"), " ", "+")
		if w := s.do(r); w.Code != 202 {
			t.Fatalf("%s: %d %s", filter, w.Code, w.Body)
		}
		var kinds []hubs.Kind
		entries := s.entries["chat"][before:]
		for _, e := range entries {
			kinds = append(kinds, e.Kind)
		}
		expected := []hubs.Kind{want.Kind, hubs.AddToGroup, hubs.RemoveFromGroup, hubs.CloseConnections}
		if diff := cmp.Diff(expected, kinds); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", filter, diff)
		}
		got := *entries[0]
		got.Message, got.Epoch, got.Number, got.At = nil, "", 0, time.Time{}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", filter, diff)
		}
		if joined := entries[1]; joined.Groups[0] != "new" || len(joined.Connections) != 1 {
			t.Errorf("%s: %+v", filter, joined)
		}
	}
	for _, filter := range []string{
		"x", "userId", "userId eq ann", "userId eq 'ann' and 'g' in groups", "userId eq 'ann' or 'g' in groups", "userId ne 'ann'", "userId eq 'ann",
		"userId eq 'ann' xor userId eq 'b'", "userId eq ' '", "connectionId eq 'c' and connectionId ne 'd'", "userId eq 'ann' or", strings.Repeat("userId eq 'a' or ", 101) + "userId eq 'a'",
		"connectionId ne 'c' and userId eq 'ann' or userId eq 'b'", strings.Repeat(" ", 8193),
	} {
		r := request("POST", "/api/hubs/chat/:execute", `[{"type":"CloseConnection"}]`)
		r.URL.RawQuery = "filter=" + strings.ReplaceAll(strings.ReplaceAll(filter, "'", "%27"), " ", "+")
		refused(t, s.do(r), "POST", 400, "invalid", "filter")
	}
	before := s.count("chat")
	for body, field := range map[string]string{
		`[]`: "body", `{}`: "body", `[{"type":"CloseConnection"},{"type":"Nothing"}]`: "type",
		`[{"type":"CloseConnection"},{"type":"SendMessage"}]`: "target", `[{"type":"JoinGroup"}]`: "group",
		`[{"type":"CloseConnection","reason":"` + strings.Repeat("x", 1025) + `"}]`:            "reason",
		`[` + strings.TrimSuffix(strings.Repeat(`{"type":"CloseConnection"},`, 51), ",") + `]`: "body",
	} {
		refused(t, s.do(request("POST", "/api/hubs/chat/:execute", body)), "POST", 400, "invalid", field)
	}
	if s.count("chat") != before {
		t.Error("something was published")
	}
}

func TestExecute_moves_a_bounded_number(t *testing.T) {
	s := newService(t)
	s.members = 10_001
	const join, leave = `{"type":"JoinGroup","group":"new"}`, `{"type":"LeaveGroup","group":"old"}`
	refused(t, s.do(request("POST", "/api/hubs/chat/:execute", "["+join+"]")), "POST", 400, "invalid", "filter")
	s.members = 5001
	refused(t, s.do(request("POST", "/api/hubs/chat/:execute", "["+join+","+leave+"]")), "POST", 400, "invalid", "filter")
	if n := s.count("chat"); n != 0 {
		t.Errorf("%d entries", n)
	}
	s.members = 5000
	if w := s.do(request("POST", "/api/hubs/chat/:execute", "["+join+","+leave+"]")); w.Code != 202 || s.count("chat") != 10 {
		t.Errorf("%d %s, %d entries", w.Code, w.Body, s.count("chat"))
	}
}

// However many commands there are, the fleet is asked once for each part of the
// filter, each question counts as a request, and one that is refused has done
// nothing.
func TestExecute_counts_its_questions(t *testing.T) {
	s := newService(t)
	commands := "[" + strings.TrimSuffix(strings.Repeat(`{"type":"LeaveGroup","group":"g"},{"type":"JoinGroup","group":"h"},`, 25), ",") + "]"
	r := func() *http.Request {
		r := request("POST", "/api/hubs/chat/:execute", commands)
		r.URL.RawQuery = "filter=%27g%27+in+groups+or+%27i%27+in+groups+or+%27j%27+in+groups"
		return r
	}
	if w := s.do(r()); w.Code != 202 || len(s.lists) != 3 || len(s.admitted) != 3 || s.count("chat") != 50 {
		t.Fatalf("%d %s, %d questions, %d admitted, %d entries", w.Code, w.Body, len(s.lists), len(s.admitted), s.count("chat"))
	}
	s.left, s.refuse = 2, &LimitError{Limit: fault.Limit{Code: "too_many_requests", Limit: "requests_per_second", Max: 2, Burst: 2, RetryAfterMS: 1000}, Window: time.Second, Text: "Too many."}
	refused(t, s.do(r()), "POST", 429, "too_many_requests", "requests_per_second")
	if n := s.count("chat"); n != 50 {
		t.Errorf("%d commands were carried out", n-50)
	}
}
