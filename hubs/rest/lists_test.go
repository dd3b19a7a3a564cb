package rest

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/signalbox/signalbox/hubs"
)

// names is a node that lists connections c000 to c449.
type names struct{ node }

func (*names) Apply(*hubs.Entry) int { return 1 }
func (*names) Answer(hubs.Query) int { return 450 }
func (*names) List(q hubs.ListQuery) hubs.Page {
	var p hubs.Page
	for i := range 450 {
		name := fmt.Sprintf("c%03d", i)
		switch {
		case name <= q.After:
		case len(p.Items) == q.Limit:
			p.More = true
			return p
		default:
			p.Items = append(p.Items, hubs.Listed{Name: name, User: "u", Connections: 1})
		}
	}
	return p
}

func listed(t *testing.T, s *service, target string) (ids []string, next string) {
	t.Helper()
	w := s.do(request("GET", target, ""))
	var p struct {
		Value    []member `json:"value"`
		NextLink string   `json:"nextLink"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &p); w.Code != 200 || err != nil {
		t.Fatalf("%s: %d %s", target, w.Code, w.Body)
	}
	for _, m := range p.Value {
		ids = append(ids, m.ConnectionID)
	}
	if p.NextLink == "" {
		return ids, ""
	}
	next, found := strings.CutPrefix(p.NextLink, "https://demo.example:8443/t/demo")
	if !found {
		t.Fatalf("nextLink %s", p.NextLink)
	}
	return ids, next
}

func newLists(t *testing.T) *service {
	t.Helper()
	s := newService(t)
	bus := hubs.NewMemoryBackplane()
	for _, hub := range []string{"chat", "other"} {
		if _, err := bus.Subscribe(t.Context(), &names{node{s: s, hub: hub}}); err != nil {
			t.Fatal(err)
		}
		s.hubs[hub] = &backplane{Backplane: bus, s: s}
		bus = hubs.NewMemoryBackplane()
	}
	return s
}

func TestLists_go_from_page_to_page(t *testing.T) {
	s := newLists(t)
	for query, pages := range map[string][]int{
		"":                                {200, 200, 50},
		"?maxpagesize=150":                {150, 150, 150},
		"?maxPageSize=150":                {150, 150, 150},
		"?maxpagesize=100&top=250":        {100, 100, 50},
		"?top=1":                          {1},
		"?api-version=2024-12-01&top=200": {200},
	} {
		next := "/api/hubs/chat/groups/g%2F1/connections" + query
		var sizes []int
		var all []string
		for next != "" {
			var ids []string
			ids, next = listed(t, s, next)
			sizes = append(sizes, len(ids))
			all = append(all, ids...)
		}
		if diff := cmp.Diff(pages, sizes); diff != "" {
			t.Errorf("%q (-want +got):\n%s", query, diff)
		}
		for i, id := range all {
			if id != fmt.Sprintf("c%03d", i) {
				t.Fatalf("%q: item %d is %s", query, i, id)
			}
		}
	}
}

func TestLists_want_a_token_of_their_own(t *testing.T) {
	s := newLists(t)
	_, next := listed(t, s, "/api/hubs/chat/connections")
	token := url.QueryEscape(func() string {
		u, err := url.Parse(next)
		if err != nil {
			t.Fatal(err)
		}
		return u.Query().Get("continuationToken")
	}())
	if ids, _ := listed(t, s, "/api/hubs/chat/connections?continuationToken="+token+"&maxpagesize=1"); len(ids) != 1 || ids[0] != "c200" {
		t.Errorf("the next page begins with %q", ids)
	}
	for _, target := range []string{
		"/api/hubs/other/connections?continuationToken=" + token, "/api/hubs/chat/users?continuationToken=" + token,
		"/api/hubs/chat/groups/g/connections?continuationToken=" + token, "/api/hubs/chat/connections?continuationToken=" + token[2:],
		"/api/hubs/chat/connections?continuationToken=x", "/api/hubs/chat/connections?continuationToken=" + strings.Repeat("A", 8000),
	} {
		refused(t, s.do(request("GET", target, "")), "GET", 400, "invalid", "continuationToken")
	}
	position := s.SealPosition(tenant, "chat", hubs.Position{Epoch: "e", Number: 1})
	refused(t, s.do(request("GET", "/api/hubs/chat/connections?continuationToken="+position, "")), "GET", 400, "invalid", "continuationToken")
	for name, values := range map[string][]string{"maxpagesize": {"0", "-1", "1001", "x", ""}, "maxPageSize": {"0"}, "top": {"0", "-1", "x", ""}} {
		for _, v := range values {
			refused(t, s.do(request("GET", "/api/hubs/chat/connections?"+name+"="+v, "")), "GET", 400, "invalid", name)
		}
	}
	refused(t, s.do(request("GET", "/api/hubs/chat/groups/g/connections?maxpagesize=201", "")), "GET", 400, "invalid", "maxpagesize")
}

func TestLists_are_never_short(t *testing.T) {
	s := newLists(t)
	s.broken = fmt.Errorf("%w: 1 of 2", hubs.ErrUnanswered)
	for _, target := range []string{"/connections", "/users/:count", "/connections/:count"} {
		w := s.do(request("GET", "/api/hubs/chat"+target, ""))
		refused(t, w, "GET", 503, "bus_unavailable", "")
		if w.Header().Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
}

func TestCounts(t *testing.T) {
	s := newLists(t)
	for _, target := range []string{"/connections", "/users", "/groups", "/groups/g/connections", "/groups/g/users", "/users/u/connections", "/users/u/groups"} {
		if w := s.do(request("GET", "/api/hubs/chat"+target+"/:count", "")); w.Code != 200 || w.Body.String() != `{"count":450}` {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
}
