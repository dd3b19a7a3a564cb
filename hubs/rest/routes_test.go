package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/fault"
)

const hello = `{"target":"say","arguments":["hello",1]}`

// route is one documented route with its effect.
type route struct {
	method, path string
	status       int
	send         bool        // it takes a message
	content      string      // the body of a request that takes another one
	entry        *hubs.Entry // what is published, message apart
	query        *hubs.Query // what is asked
	list         *hubs.ListQuery
	answer       string // the whole body of the answer, where it has one of its own
	missing      string // code of 404 when nothing matches; "" = never
}

func routes() []route {
	user, group, conn := []string{"u"}, []string{"g"}, []string{"c"}
	all := []route{
		// v1
		{method: "POST", path: "/api/v1/hubs/chat", status: 202, send: true, entry: &hubs.Entry{Kind: hubs.SendToAll}},
		{method: "POST", path: "/api/v1/hubs/chat/users/u", status: 202, send: true, entry: &hubs.Entry{Kind: hubs.SendToUsers, Users: user}},
		{method: "POST", path: "/api/v1/hubs/chat/connections/c", status: 202, send: true, entry: &hubs.Entry{Kind: hubs.SendToConnections, Connections: conn}},
		{method: "POST", path: "/api/v1/hubs/chat/groups/g", status: 202, send: true, entry: &hubs.Entry{Kind: hubs.SendToGroups, Groups: group}},
		{method: "DELETE", path: "/api/v1/hubs/chat/connections/c", status: 202, entry: &hubs.Entry{Kind: hubs.CloseConnections, Connections: conn}},
		{method: "PUT", path: "/api/v1/hubs/chat/groups/g/users/u", status: 202, entry: &hubs.Entry{Kind: hubs.AddUserToGroup, Users: user, Groups: group, TTLSeconds: -1}},
		{method: "DELETE", path: "/api/v1/hubs/chat/groups/g/users/u", status: 202, entry: &hubs.Entry{Kind: hubs.RemoveUserFromGroup, Users: user, Groups: group}},
		{method: "DELETE", path: "/api/v1/hubs/chat/users/u/groups", status: 202, entry: &hubs.Entry{Kind: hubs.RemoveUserFromGroups, Users: user}},
		// 2022-06-01
		{method: "POST", path: "/api/hubs/chat/:send", status: 202, send: true, entry: &hubs.Entry{Kind: hubs.SendToAll}},
		{method: "POST", path: "/api/hubs/chat/users/u/:send", status: 202, send: true, entry: &hubs.Entry{Kind: hubs.SendToUsers, Users: user}},
		{method: "POST", path: "/api/hubs/chat/connections/c/:send", status: 202, send: true, entry: &hubs.Entry{Kind: hubs.SendToConnections, Connections: conn}},
		{method: "POST", path: "/api/hubs/chat/groups/g/:send", status: 202, send: true, entry: &hubs.Entry{Kind: hubs.SendToGroups, Groups: group}},
		{method: "POST", path: "/api/hubs/chat/:closeConnections", status: 204, entry: &hubs.Entry{Kind: hubs.CloseConnections}},
		{method: "POST", path: "/api/hubs/chat/users/u/:closeConnections", status: 204, entry: &hubs.Entry{Kind: hubs.CloseConnections, Users: user}},
		{method: "POST", path: "/api/hubs/chat/groups/g/:closeConnections", status: 204, entry: &hubs.Entry{Kind: hubs.CloseConnections, Groups: group}},
		{method: "DELETE", path: "/api/hubs/chat/connections/c", status: 200, entry: &hubs.Entry{Kind: hubs.CloseConnections, Connections: conn}, missing: "Warning.Connection.NotExisted"},
		{method: "DELETE", path: "/api/hubs/chat/connections/c/groups", status: 200, entry: &hubs.Entry{Kind: hubs.RemoveFromAllGroups, Connections: conn}},
		{method: "PUT", path: "/api/hubs/chat/users/u/groups/g", status: 200, entry: &hubs.Entry{Kind: hubs.AddUserToGroup, Users: user, Groups: group, TTLSeconds: -1}},
		{method: "DELETE", path: "/api/hubs/chat/users/u/groups/g", status: 204, entry: &hubs.Entry{Kind: hubs.RemoveUserFromGroup, Users: user, Groups: group}},
		{method: "DELETE", path: "/api/hubs/chat/users/u/groups", status: 204, entry: &hubs.Entry{Kind: hubs.RemoveUserFromGroups, Users: user}},
	}
	frames := &hubs.Entry{Kind: hubs.SendToConnections, Connections: conn}
	all = append(all,
		// later additions
		route{method: "POST", path: "/api/hubs/chat/connections/c/streams/s/:send", status: 202, content: `{"a":1}`, entry: frames},
		route{method: "POST", path: "/api/hubs/chat/connections/c/streams/s/:complete", status: 202, entry: frames},
		route{method: "POST", path: "/api/hubs/chat/:execute", status: 202, content: `[{"type":"CloseConnection","reason":"over"}]`, entry: &hubs.Entry{Kind: hubs.CloseConnections, Reason: "over"}},
		route{method: "POST", path: "/api/hubs/chat/:generateToken", status: 200, answer: `{"token":"chat--1h0m0s"}`},
		// ours
		route{method: "POST", path: "/api/hubs/chat/:batch", status: 200, content: `{"messages":[{"users":["u"],"target":"say","arguments":["hello",1]}]}`, entry: &hubs.Entry{Kind: hubs.SendToUsers, Users: user}},
		route{method: "GET", path: "/api/hubs/chat/connections/:count", status: 200, query: &hubs.Query{Kind: hubs.CountConnections}, answer: `{"count":1}`},
		route{method: "GET", path: "/api/hubs/chat/groups/g/connections/:count", status: 200, query: &hubs.Query{Kind: hubs.CountGroup, Name: "g"}, answer: `{"count":1}`},
		route{method: "GET", path: "/api/hubs/chat/users/u/connections/:count", status: 200, query: &hubs.Query{Kind: hubs.CountUser, Name: "u"}, answer: `{"count":1}`},
		route{method: "GET", path: "/api/hubs/chat/presence/:count", status: 200, query: &hubs.Query{Kind: hubs.CountPresent}, answer: `{"count":1}`},
		route{method: "GET", path: "/api/hubs/chat/groups/g/presence/:count", status: 200, query: &hubs.Query{Kind: hubs.CountPresent, Name: "g"}, answer: `{"count":1}`},
		route{method: "PUT", path: "/api/hubs/chat/groups/g/presence/connections/c", status: 204, content: `{"a":[1]}`, entry: &hubs.Entry{Kind: hubs.PresenceWish, Groups: group, Connections: conn}, missing: "not_in_group"},
		route{method: "DELETE", path: "/api/hubs/chat/groups/g/presence/connections/c", status: 204, entry: &hubs.Entry{Kind: hubs.PresenceWish, Groups: group, Connections: conn}},
	)
	for path, q := range map[string]hubs.ListQuery{
		"/groups/g/presence":       {Kind: hubs.ListPresent, Group: "g"},
		"/groups/g/presence/users": {Kind: hubs.ListPresentUser, Group: "g"},
		"/connections":             {Kind: hubs.ListConnections},
		"/users":                   {Kind: hubs.ListUsers},
		"/groups":                  {Kind: hubs.ListGroups},
		"/groups/g/connections":    {Kind: hubs.ListConnections, Group: "g"},
		"/groups/g/users":          {Kind: hubs.ListUsers, Group: "g"},
		"/users/u/connections":     {Kind: hubs.ListConnections, User: "u"},
		"/users/u/groups":          {Kind: hubs.ListGroups, User: "u"},
		"/connections/c/groups":    {Kind: hubs.ListGroups, Connection: "c"},
	} {
		q.Limit = 200
		answer := `{"value":[{"connectionId":"a","userId":"ann"}]}`
		if q.Kind == hubs.ListPresent {
			answer = `{"value":[{"connectionId":"a","userId":"ann","state":null}]}`
		} else if q.Kind == hubs.ListUsers || q.Kind == hubs.ListPresentUser {
			answer = `{"value":[{"userId":"a","connections":1}]}`
		} else if q.Kind == hubs.ListGroups {
			answer = `{"value":[{"group":"a","connections":1}]}`
		}
		all = append(all, route{method: "GET", path: "/api/hubs/chat" + path, status: 200, list: &q, answer: answer})
		if q.Kind != hubs.ListConnections && q.Kind != hubs.ListPresent && q.Connection == "" {
			counted := hubs.ListQuery{Kind: q.Kind, Group: q.Group, User: q.User, Limit: hubs.MaxListedHashes, Hashed: true}
			all = append(all, route{method: "GET", path: "/api/hubs/chat" + path + "/:count", status: 200, list: &counted, answer: `{"count":1}`})
		}
	}
	for _, prefix := range []string{"/api/v1/hubs/chat", "/api/hubs/chat"} {
		all = append(all,
			route{method: "PUT", path: prefix + "/groups/g/connections/c", status: 200, entry: &hubs.Entry{Kind: hubs.AddToGroup, Groups: group, Connections: conn}, missing: "Error.Connection.NotExisted"},
			route{method: "DELETE", path: prefix + "/groups/g/connections/c", status: 200, entry: &hubs.Entry{Kind: hubs.RemoveFromGroup, Groups: group, Connections: conn}, missing: "Error.Connection.NotExisted"},
			// as Azure's emulator has them, too
			route{method: "PUT", path: prefix + "/connections/c/groups/g", status: 200, entry: &hubs.Entry{Kind: hubs.AddToGroup, Groups: group, Connections: conn}, missing: "Error.Connection.NotExisted"},
			route{method: "DELETE", path: prefix + "/connections/c/groups/g", status: 200, entry: &hubs.Entry{Kind: hubs.RemoveFromGroup, Groups: group, Connections: conn}, missing: "Error.Connection.NotExisted"},
		)
		for _, m := range []string{"GET", "HEAD"} {
			all = append(all,
				route{method: m, path: prefix + "/connections/c", status: 200, query: &hubs.Query{Kind: hubs.CountConnection, Name: "c"}, missing: "Warning.Connection.NotExisted"},
				route{method: m, path: prefix + "/groups/g", status: 200, query: &hubs.Query{Kind: hubs.CountGroup, Name: "g"}, missing: "Warning.Group.NotExisted"},
				route{method: m, path: prefix + "/users/u", status: 200, query: &hubs.Query{Kind: hubs.CountUser, Name: "u"}, missing: "Warning.User.NotExisted"},
				route{method: m, path: prefix + "/groups/g/users/u", status: 200, query: &hubs.Query{Kind: hubs.CountUserInGroup, Name: "g", User: "u"}, missing: "Info.User.NotInGroup"},
				route{method: m, path: prefix + "/users/u/groups/g", status: 200, query: &hubs.Query{Kind: hubs.CountUserInGroup, Name: "g", User: "u"}, missing: "Info.User.NotInGroup"},
			)
		}
	}
	return all
}

func (r route) body() string {
	if r.send {
		return hello
	}
	return r.content
}

func eachRoute(t *testing.T, test func(t *testing.T, s *service, r route)) {
	for _, r := range routes() {
		t.Run(r.method+" "+r.path, func(t *testing.T) { test(t, newService(t), r) })
	}
}

func TestRoutes_do_what_they_say(t *testing.T) {
	eachRoute(t, func(t *testing.T, s *service, r route) {
		w := s.do(request(r.method, r.path+"?api-version=2022-06-01", r.body()))
		if w.Code != r.status {
			t.Fatalf("status %d, want %d: %s", w.Code, r.status, w.Body)
		}
		switch own := strings.Contains(r.path, ":batch"); {
		case r.answer != "":
			if w.Body.String() != r.answer || w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("answer %s, want %s", w.Body, r.answer)
			}
		case own:
		case strings.HasPrefix(r.path, "/api/v1/") || r.method == "GET" || r.method == "HEAD" || r.status == 204:
			if w.Body.Len() > 0 {
				t.Errorf("an answer without a body has %s", w.Body)
			}
		default:
			var answer serviceResponse
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.StatusCode != r.status || !answer.IsSuccess || answer.Level != "Info" ||
				answer.Position != w.Header().Get("X-Signalbox-Position") {
				t.Errorf("answer %s (%v)", w.Body, err)
			}
		}
		if h := w.Header(); h.Get("RateLimit-Policy") != `"of the test";q=100;w=10` || h.Get("RateLimit") != fmt.Sprintf("%q;r=%d;t=5", "of the test", map[bool]int{true: 50, false: 60}[s.counted(r)]) {
			t.Errorf("headers %v", h)
		}
		if r.query != nil {
			if diff := cmp.Diff([]hubs.Query{*r.query}, s.queries); diff != "" {
				t.Errorf("queries (-want +got):\n%s", diff)
			}
			return
		}
		if r.list != nil {
			if diff := cmp.Diff([]hubs.ListQuery{*r.list}, s.lists); diff != "" {
				t.Errorf("lists (-want +got):\n%s", diff)
			}
			return
		}
		if r.entry == nil {
			return
		}
		got := *s.last(t, "chat")
		said := got.Message != nil && got.Message.Target == "say" && string(got.Message.Arguments.Bytes) == `["hello",1]`
		if r.send && !said {
			t.Errorf("message %+v", got.Message)
		}
		got.Message, got.Epoch, got.Number, got.At = nil, "", 0, time.Time{}
		if diff := cmp.Diff(*r.entry, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("entry (-want +got):\n%s", diff)
		}
	})
}

// counted reports whether a route counts against the limit of messages.
func (*service) counted(r route) bool {
	return r.send || strings.HasSuffix(r.path, "/:send") || strings.HasSuffix(r.path, "/:execute") || strings.HasSuffix(r.path, "/:batch")
}

func TestRoutes_tell_what_does_not_exist(t *testing.T) {
	eachRoute(t, func(t *testing.T, s *service, r route) {
		s.matched = 0
		w := s.do(request(r.method, r.path, r.body()))
		if r.missing == "" {
			if w.Code != r.status {
				t.Errorf("status %d, want %d", w.Code, r.status)
			}
			return
		}
		refused(t, w, r.method, http.StatusNotFound, r.missing, "")
	})
}

func TestRemove_of_a_connection_that_is_gone_by_version(t *testing.T) {
	s := newService(t)
	s.matched = 0
	for version, status := range map[string]int{"2022-06-01": 404, "2023-07-01": 404, "2024-12-01": 200, "2025-12-01-preview": 200} {
		if w := s.do(request("DELETE", "/api/hubs/chat/groups/g/connections/c?api-version="+version, "")); w.Code != status {
			t.Errorf("%s: %d, want %d", version, w.Code, status)
		}
	}
}

func TestRoutes_want_a_token(t *testing.T) {
	eachRoute(t, func(t *testing.T, s *service, r route) {
		req := request(r.method, r.path, r.body())
		req.Header.Del("Authorization")
		w := s.do(req)
		refused(t, w, r.method, http.StatusUnauthorized, "unauthenticated", "")
		if w.Header().Get("WWW-Authenticate") != "Bearer" {
			t.Error("no WWW-Authenticate")
		}
	})
}

// took lists the names that reached the hub chat.
func (s *service) took() (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries["chat"] {
		all = append(append(append(all, e.Groups...), e.Users...), e.Connections...)
	}
	for _, q := range s.queries {
		all = append(all, q.Name, q.User)
	}
	for _, q := range s.lists {
		all = append(all, q.Group, q.User, q.Connection)
	}
	return all
}

// SEC-28: names that hold what breaks something elsewhere are refused by name, and those
// that are only odd stay what they are.
func TestRoutes_refuse_bad_names(t *testing.T) {
	eachRoute(t, func(t *testing.T, s *service, r route) {
		for segment, name := range map[string]string{"/chat": "hub", "/u": "user", "/g": "group", "/c": "connection", "/s": "stream"} {
			at := strings.Index(r.path+"/", segment+"/")
			if at < 0 {
				continue
			}
			bad := []string{"%20", "%20%09", strings.Repeat("x", 1025), "%ff"}
			if name != "stream" { // which is in frames alone
				bad = append(bad, "a%00b", "a%0d%0aX-Injected:%20yes")
				odd := "..%2f..%2fetc%27%3B%20DROP%20TABLE%20tenants%3B--%7B%7B7*7%7D%7D%252e$where%5B%5B__proto__%3Csvg%20onload=x%3E"
				s := newService(t)
				w := s.do(request(r.method, r.path[:at]+"/"+odd+r.path[at+len(segment):], r.body()))
				plain, err := url.PathUnescape(odd)
				if err != nil {
					t.Fatal(err)
				}
				if name == "hub" { // whose names are words
					refused(t, w, r.method, http.StatusBadRequest, "invalid", name)
				} else if !slices.Contains(s.took(), plain) {
					t.Errorf("the %s %s is taken for %q", name, plain, s.took())
				}
			}
			for _, value := range bad {
				path := r.path[:at] + "/" + value + r.path[at+len(segment):]
				refused(t, s.do(request(r.method, path, r.body())), r.method, http.StatusBadRequest, "invalid", name)
			}
		}
		refused(t, s.do(request(r.method, r.path+"?application=1", r.body())), r.method, http.StatusBadRequest, "invalid", "application")
		refused(t, s.do(request(r.method, r.path+"?a=%zz", r.body())), r.method, http.StatusBadRequest, "invalid", "query")
		if !strings.HasPrefix(r.path, "/api/v1/") {
			for _, v := range []string{"", "1", "2021-12-31", "2022-06-01x"} {
				refused(t, s.do(request(r.method, r.path+"?api-version="+v, r.body())), r.method, http.StatusBadRequest, "invalid", "api-version")
			}
		}
		if s.count("chat") != 0 {
			t.Error("something was published")
		}
	})
}

func TestRoutes_obey_the_limits(t *testing.T) {
	eachRoute(t, func(t *testing.T, s *service, r route) {
		s.refuse = &LimitError{Limit: fault.Limit{Code: "rate_limited", Limit: "messages_per_second", Max: 10, Burst: 10, RetryAfterMS: 1100}, Window: time.Second, Text: "Too many."}
		w := s.do(request(r.method, r.path, r.body()))
		if strings.HasSuffix(r.path, "/:batch") {
			if w.Code != http.StatusMultiStatus || !strings.Contains(w.Body.String(), `"status":429,"code":"rate_limited"`) {
				t.Errorf("status %d: %s", w.Code, w.Body)
			}
		} else {
			refused(t, w, r.method, http.StatusTooManyRequests, "rate_limited", "messages_per_second")
		}
		h := w.Header()
		if h.Get("Retry-After") != "2" || h.Get("RateLimit") != `"messages_per_second";r=0;t=2` || h.Get("RateLimit-Policy") != `"messages_per_second";q=10;w=1` {
			t.Errorf("headers %v", h)
		}
		if s.count("chat") != 0 {
			t.Error("something was published")
		}
		s.refuse = nil
		w = s.do(request(r.method, strings.Replace(r.path, "/chat", "/one-too-many", 1), r.body()))
		refused(t, w, r.method, http.StatusTooManyRequests, "quota_exceeded", "max_hubs")
	})
}

func TestRoutes_say_when_the_bus_is_away(t *testing.T) {
	for err, status := range map[error]int{
		hubs.ErrUnavailable: 503,
		fmt.Errorf("%w: %w", hubs.ErrUnavailable, hubs.ErrOutcomeUnknown): 503,
		fmt.Errorf("secret of the inside"):                                500,
	} {
		eachRoute(t, func(t *testing.T, s *service, r route) {
			s.broken = err
			w := s.do(request(r.method, r.path, r.body()))
			if r.entry == nil && r.query == nil && r.list == nil {
				if w.Code != r.status {
					t.Errorf("status %d without the bus", w.Code)
				}
				return
			}
			if strings.HasSuffix(r.path, "/:batch") {
				if w.Code != http.StatusMultiStatus || !strings.Contains(w.Body.String(), fmt.Sprintf(`"status":%d`, status)) || strings.Contains(w.Body.String(), "secret") {
					t.Errorf("status %d: %s", w.Code, w.Body)
				}
				return
			}
			code := "bus_unavailable"
			if status == 500 {
				code = "internal"
			} else if w.Header().Get("Retry-After") != "2" {
				t.Error("no Retry-After")
			}
			refused(t, w, r.method, status, code, "")
			if strings.Contains(w.Body.String(), "secret") {
				t.Errorf("the inside is told: %s", w.Body)
			}
		})
	}
}

// SEC-28: bodies of other types than they say, too large, too deep, and numbers as text.
func TestRoutes_that_take_messages_check_them(t *testing.T) {
	eachRoute(t, func(t *testing.T, s *service, r route) {
		if !r.send {
			return
		}
		for name, test := range map[string]struct {
			body, media  string
			status       int
			code, target string
		}{
			"no body":            {"", "application/json", 400, "invalid", "body"},
			"no JSON":            {"hello", "application/json", 400, "invalid", "body"},
			"cut JSON":           {hello[:20], "application/json", 400, "invalid", "body"},
			"an array":           {"[]", "application/json", 400, "invalid", "body"},
			"more after":         {hello + "x", "application/json", 400, "invalid", "body"},
			"two values":         {hello + hello, "application/json", 400, "invalid", "body"},
			"no target":          {`{"arguments":[]}`, "application/json", 400, "invalid", "target"},
			"empty target":       {`{"target":""}`, "application/json", 400, "invalid", "target"},
			"null target":        {`{"target":null}`, "application/json", 400, "invalid", "target"},
			"target no text":     {`{"target":1}`, "application/json", 400, "invalid", "target"},
			"target twice":       {`{"target":"a","Target":"b"}`, "application/json", 400, "invalid", "target"},
			"arguments no array": {`{"target":"a","arguments":{}}`, "application/json", 400, "invalid", "arguments"},
			"too many arguments": {`{"target":"a","arguments":[` + strings.Repeat("1,", 70) + `1]}`, "application/json", 400, "invalid", "arguments"},
			"too deep":           {`{"target":"a","arguments":[` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `]}`, "application/json", 400, "invalid", "arguments"},
			"very deep":          {`{"target":"a","arguments":` + strings.Repeat("[", 20000), "application/json", 400, "invalid", "body"},
			"unknown field":      {`{"target":"a","argument":[]}`, "application/json", 400, "invalid", "argument"},
			"no UTF-8":           {"{\"target\":\"\xff\"}", "application/json", 400, "invalid", "body"},
			"other media type":   {hello, "text/plain", 415, "unsupported_media_type", ""},
			"a form":             {hello, "application/x-www-form-urlencoded", 415, "unsupported_media_type", ""},
			"msgpack nothing":    {"\x80", "application/x-msgpack", 400, "invalid", "target"},
			"msgpack array":      {"\x91\x01", "application/x-msgpack", 400, "invalid", "body"},
			"msgpack cut":        {"\x81\xa6target\xa5sa", "application/x-msgpack", 400, "invalid", "body"},
			"msgpack target":     {"\x81\xa6target\x01", "application/x-msgpack", 400, "invalid", "target"},
			"msgpack arguments":  {"\x82\xa6target\xa3say\xa9arguments\x01", "application/x-msgpack", 400, "invalid", "arguments"},
			"msgpack twice":      {"\x82\xa6target\xa3say\xa6target\xa3say", "application/x-msgpack", 400, "invalid", "target"},
			"msgpack field":      {"\x82\xa6target\xa3say\xa1x\x01", "application/x-msgpack", 400, "invalid", "x"},
			"msgpack after":      {"\x81\xa6target\xa3say\x01", "application/x-msgpack", 400, "invalid", "body"},
			"other charset":      {hello, "application/json; charset=utf-16", 415, "unsupported_media_type", ""},
			"no media type":      {hello, "", 415, "unsupported_media_type", ""},
			"large message":      {`{"target":"say","arguments":["` + strings.Repeat("x", maxMessage) + `"]}`, "application/json", 413, "message_too_large", ""},
			"large body":         {`{"target":"say","arguments":["` + strings.Repeat("x", testLimits.MaxRequestBytes) + `"]}`, "application/json", 413, "body_too_large", ""},
			"no map":             {"\x91\x01", "application/octet-stream", 400, "invalid", "body"},
			"no frames":          {"\x80", "application/octet-stream", 400, "invalid", "body"},
			"a huge map":         {"\xdf\x7f\xff\xff\xff", "application/octet-stream", 400, "invalid", "body"},
			"a huge frame":       {"\x81\xa4json\xc6\x7f\xff\xff\xff", "application/octet-stream", 400, "invalid", "body"},
			"unserved frames":    {"\x81\xaablazorpack\xc4\x01\x00", "application/octet-stream", 400, "invalid", "body"},
			"a ping":             {"\x81\xa4json\xc4\x0b{\"type\":6}\x1e", "application/octet-stream", 400, "invalid", "body"},
			"half a frame":       {"\x81\xa4json\xc4\x0a{\"type\":6}", "application/octet-stream", 400, "invalid", "body"},
		} {
			w := s.do(request(r.method, r.path, test.body, "Content-Type", test.media))
			refused(t, w, r.method, test.status, test.code, test.target)
			if t.Failed() {
				t.Fatalf("in: %s", name)
			}
		}
		refused(t, s.do(request(r.method, r.path, hello, "Content-Encoding", "gzip")), r.method, 415, "unsupported_media_type", "")
		refused(t, s.do(request(r.method, r.path, hello, "Idempotency-Key", strings.Repeat("k", 129))), r.method, 400, "invalid", "Idempotency-Key")
		refused(t, s.do(request(r.method, r.path, hello, "Idempotency-Key", "a\x01")), r.method, 400, "invalid", "Idempotency-Key")
		if len(s.hubs) != 0 || len(s.admitted) != 0 {
			t.Errorf("hubs made: %d, admitted: %d", len(s.hubs), len(s.admitted))
		}
	})
}

// TestAnswers_tell_what_is_left_of_the_limit walks the router, so that no route
// is left out: whatever is answered to who may use the tenant, from 200 to 503, has
// the RateLimit fields; who may not is told nothing of it.
func TestAnswers_tell_what_is_left_of_the_limit(t *testing.T) {
	names := strings.NewReplacer("{hub}", "chat", "{user}", "u", "{group}", "g", "{connection}", "c", "{stream}", "s")
	seen := make(map[int]bool)
	ask := func(s *service, method, path, body string) {
		t.Helper()
		r := request(method, path, body)
		w := s.do(r)
		seen[w.Code] = true
		h := w.Header()
		if !strings.HasPrefix(h.Get("RateLimit"), `"`) || !strings.HasPrefix(h.Get("RateLimit-Policy"), `"`) {
			t.Errorf("%s %s: %d without the fields: %v", method, path, w.Code, h)
		}
		r = request(method, path, body)
		r.Header.Del("Authorization")
		if w := s.do(r); w.Header().Get("RateLimit") != "" || w.Code < 400 {
			t.Errorf("%s %s without a token: %d %v", method, path, w.Code, w.Header())
		}
	}
	walked := 0
	if err := chi.Walk(newService(t).routes, func(method, path string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if strings.HasSuffix(path, "/health") || path == "/api/openapi.yaml" {
			return nil // for everybody, of no tenant
		}
		walked++
		path = names.Replace(path)
		for name, state := range map[string]func(*service){
			"as it should be": func(*service) {},
			"nothing there":   func(s *service) { s.matched = 0 },
			"no bus":          func(s *service) { s.broken = hubs.ErrUnavailable },
			"a defect":        func(s *service) { s.broken = errors.New("a defect") },
			"over the limit": func(s *service) {
				s.refuse = &LimitError{Limit: fault.Limit{Code: "rate_limited", Limit: "messages_per_second", Max: 10, Burst: 10, RetryAfterMS: 1000}, Window: time.Second, Text: "Too many."}
			},
		} {
			if strings.HasSuffix(path, ":invoke") && name == "as it should be" {
				continue // nobody answers: it waits
			}
			s := newService(t)
			state(s)
			body := ""
			if method == http.MethodPost {
				body = hello
			}
			if strings.HasSuffix(path, "/:batch") {
				body = `{"messages":[{"target":"say"}]}`
			}
			ask(s, method, path, body)
			ask(s, method, strings.Replace(path, "/chat", "/one-too-many", 1), body)
		}
		s := newService(t)
		ask(s, method, path+"?a=%zz", "")
		ask(s, method, path+"?application=1", "x")
		ask(s, http.MethodPatch, path, "")
		ask(s, method, path+"/more/and/more", "")
		ask(s, method, strings.Replace(path, "/chat", "/", 1), "")
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, status := range []int{200, 202, 204, 207, 400, 404, 405, 415, 429, 500, 501, 503} {
		if !seen[status] {
			t.Errorf("no answer was %d", status)
		}
	}
	if walked < len(routes()) {
		t.Errorf("%d routes walked, %d are known", walked, len(routes()))
	}
}

func TestRoutes_unknown_and_wrong_verbs(t *testing.T) {
	s := newService(t)
	for _, target := range []string{
		"/", "/api", "/api/", "/api/v2/hubs/chat", "/api/hubs", "/api/hubs/", "/api/v1/hubs//users/u", "/api/hubs/chat/users//:send",
		"/api/v1/hubs/chat/:send", "/api/hubs/chat/:nothing", "/api/hubs/chat/groups/g/users/u/more", "/client/", "/api/v1/hubs/chat/:batch",
	} {
		w := s.do(request("POST", target, hello))
		refused(t, w, "POST", 404, "not_found", "")
	}
	for target, allow := range map[string]string{
		"/api/v1/hubs/chat":            "POST",
		"/api/hubs/chat/:send":         "POST",
		"/api/hubs/chat/connections/c": "GET, HEAD, DELETE",
		"/api/hubs/chat/groups/g%2F":   "GET, HEAD",
	} {
		w := s.do(request("PATCH", target, ""))
		refused(t, w, "PATCH", 405, "method_not_allowed", "")
		if got := w.Header().Get("Allow"); got != allow {
			t.Errorf("%s allows %q, want %q", target, got, allow)
		}
	}
}

func TestHealth_needs_no_token(t *testing.T) {
	s := newService(t)
	for _, target := range []string{"/api/health?api-version=2022-06-01", "/api/v1/health"} {
		for _, method := range []string{"GET", "HEAD"} {
			r := request(method, target, "")
			r.Header.Del("Authorization")
			if w := s.do(r); w.Code != 200 {
				t.Errorf("%s %s: %d", method, target, w.Code)
			}
		}
	}
}

func TestConflation_of_a_membership(t *testing.T) {
	for query, want := range map[string]hubs.Conflation{
		"conflateEveryMs=100&conflateKey=2": {Every: 100 * time.Millisecond, Key: 2},
		"conflateEveryMs=10000":             {Every: hubs.MaxConflation, Key: hubs.NoKey},
	} {
		s := newService(t)
		s.do(request("PUT", "/api/hubs/chat/groups/g/connections/c?api-version=2022-11-01&"+query, ""))
		if e := s.last(t, "chat"); e.Kind != hubs.AddToGroup || e.Conflate == nil || *e.Conflate != want {
			t.Errorf("%s: %+v", query, e)
		}
	}
	for query, want := range map[string]string{
		"conflateEveryMs=9":                   "whole milliseconds from 10 to 10000",
		"conflateEveryMs=10001":               "whole milliseconds from 10 to 10000",
		"conflateEveryMs=often":               "whole milliseconds from 10 to 10000",
		"conflateEveryMs=100&conflateKey=-1":  "the index of an argument, 0 to 63",
		"conflateEveryMs=100&conflateKey=64":  "the index of an argument, 0 to 63",
		"conflateEveryMs=100&conflateKey=sym": "the index of an argument, 0 to 63",
		"conflateKey=0":                       "conflateEveryMs with it",
	} {
		s := newService(t)
		w := s.do(request("PUT", "/api/hubs/chat/groups/g/connections/c?api-version=2022-11-01&"+query, ""))
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", query, w.Code, w.Body)
		}
	}
}

// What a limit refuses is answered slowly, and counts no longer as under way meanwhile.
func TestScope_has_ended_when_a_refusal_takes_its_time(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.refuse = &LimitError{Limit: fault.Limit{Code: "rate_limited", Limit: "messages_per_second", Max: 10, Burst: 10, RetryAfterMS: 1000}, Window: time.Second, Text: "Too many."}
	if w := s.do(request(http.MethodPost, "/api/hubs/chat/:send", hello)); w.Code != http.StatusTooManyRequests {
		t.Fatalf("answered %d %s", w.Code, w.Body)
	}
	if len(s.slowed) != 1 || s.slowed[0] != 0 || s.ended != s.begun {
		t.Errorf("took its time with %v under way; %d of %d ended", s.slowed, s.ended, s.begun)
	}
	s.refuse = nil
	for path, status := range map[string]int{"/api/hubs/chat/:send": http.StatusAccepted, "/api/hubs/chat/none": http.StatusNotFound} {
		if w := s.do(request(http.MethodPost, path, hello)); w.Code != status {
			t.Errorf("%s: answered %d, want %d", path, w.Code, status)
		}
	}
	if len(s.slowed) != 1 {
		t.Errorf("what no limit refuses took its time, too: %v", s.slowed)
	}
}

// What a request's Scope begins ends with the answer, whatever the route and the answer.
func TestScope_is_ended_on_every_route(t *testing.T) {
	t.Parallel()
	s := newService(t)
	names := strings.NewReplacer("{hub}", "chat", "{user}", "u", "{group}", "g", "{connection}", "c", "{stream}", "s")
	check := func(method, path string, scoped bool) {
		t.Helper()
		before := s.begun
		s.ServeHTTP(httptest.NewRecorder(), request(method, path, ""))
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.begun != s.ended {
			t.Errorf("%s %s: %d Scopes begun, %d ended", method, path, s.begun, s.ended)
		}
		if scoped != (s.begun == before+1) {
			t.Errorf("%s %s: %d Scopes", method, path, s.begun-before)
		}
	}
	if err := chi.Walk(s.routes, func(method, path string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		check(method, names.Replace(path), !strings.HasSuffix(path, "/health") && !strings.HasSuffix(path, ".yaml"))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	check("GET", "/api/nowhere", true)
	check("DELETE", "/api/hubs/chat/:send", true)
	check("GET", "/api/hubs/chat/users//groups", true)
}
