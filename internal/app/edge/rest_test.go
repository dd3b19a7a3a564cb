package edge

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestREST_over_three_edges lists what is spread over them, asks clients of one
// through another, and keeps all of it from other tenants.
func TestREST_over_three_edges(t *testing.T) {
	t.Parallel()
	demo, other := document("demo", 1), document("other", 1)
	c := startEdges(t, 3, demo, other)
	key := demo.Keys[0].Secret
	var clients []*client
	for i := range 6 {
		clients = append(clients, c.connect(i%3, demo, "chat", fmt.Sprint("user ", i%2)))
	}
	c.connect(0, other, "chat", "user 0")
	ask := func(edge int, method, path, body string, into any) *http.Response {
		t.Helper()
		res, answer := c.do(method, c.base(edge, demo.Slug)+"/api/hubs/chat"+path, key, body, nil)
		if into != nil {
			if err := json.Unmarshal([]byte(answer), into); err != nil {
				t.Fatalf("%s %s: %d %s", method, path, res.StatusCode, answer)
			}
		}
		return res
	}
	type page struct {
		Value []struct {
			ConnectionID string `json:"connectionId"`
			UserID       string `json:"userId"`
		} `json:"value"`
		NextLink string `json:"nextLink"`
	}
	var ids []string
	for edge := range 3 {
		ids = ids[:0]
		next := c.base(edge, demo.Slug) + "/api/hubs/chat/connections?maxpagesize=4"
		for next != "" {
			res, body := c.do(http.MethodGet, next, key, "", nil)
			var p page
			if err := json.Unmarshal([]byte(body), &p); err != nil || res.StatusCode != http.StatusOK || len(p.Value) > 4 {
				t.Fatalf("%d %s", res.StatusCode, body)
			}
			for _, item := range p.Value {
				ids = append(ids, item.ConnectionID)
			}
			if next = p.NextLink; next != "" && !strings.HasPrefix(next, c.base(edge, demo.Slug)+"/api/hubs/chat/connections?") {
				t.Fatalf("the next page is at %s", next)
			}
		}
		if len(ids) != 6 || !slices.IsSorted(ids) {
			t.Errorf("edge %d lists %q", edge, ids)
		}
		var users struct{ Count int }
		if ask(edge, http.MethodGet, "/users/:count", "", &users); users.Count != 2 {
			t.Errorf("edge %d counts %d users", edge, users.Count)
		}
	}

	// Every client is asked through every edge and answers with its place.
	answered := make(chan struct{})
	for i, k := range clients {
		go func() {
			defer func() { answered <- struct{}{} }()
			for range 3 {
				select {
				case f := <-k.frames:
					k.write(fmt.Sprintf(`{"type":3,"invocationId":%q,"result":%d}`, f.InvocationID, i))
				case <-time.After(patience):
					t.Errorf("client %d isn't asked", i)
					return
				}
			}
		}()
	}
	seen := map[int]int{}
	for edge := range 3 {
		for _, id := range ids {
			var answer struct{ Result int }
			res := ask(edge, http.MethodPost, "/connections/"+url.PathEscape(id)+"/:invoke", `{"target":"where"}`, &answer)
			if res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Header.Get("RateLimit"), `"messages_per_second";r=`) {
				t.Fatalf("edge %d: %d %v", edge, res.StatusCode, res.Header)
			}
			seen[answer.Result]++
		}
	}
	for range clients {
		<-answered
	}
	for i := range clients {
		if seen[i] != 3 {
			t.Errorf("client %d has answered %d times", i, seen[i])
		}
	}
	if res, _ := c.do(http.MethodPost, c.base(0, other.Slug)+"/api/hubs/chat/connections/"+url.PathEscape(ids[0])+"/:invoke", other.Keys[0].Secret, `{"target":"where"}`, nil); res.StatusCode != http.StatusNotFound {
		t.Errorf("another tenant's client can be asked: %d", res.StatusCode)
	}
	var theirs page
	_, body := c.do(http.MethodGet, c.base(1, other.Slug)+"/api/hubs/chat/connections", other.Keys[0].Secret, "", nil)
	if err := json.Unmarshal([]byte(body), &theirs); err != nil || len(theirs.Value) != 1 || slices.Contains(ids, theirs.Value[0].ConnectionID) {
		t.Errorf("another tenant lists %s", body)
	}
}

// TestREST_tokens: a token made over REST connects through another edge.
func TestREST_tokens(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startCluster(t, demo)
	res, body := c.do(http.MethodPost, c.base(0, demo.Slug)+"/api/hubs/chat/:generateToken?userId=ann&minutesToExpire=5", demo.Keys[0].Secret, "", nil)
	var answer struct{ Token string }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	if _, _, err := c.dial(1, 1, demo, "chat", answer.Token); err != nil {
		t.Fatal(err)
	}
	if res, _ := c.do(http.MethodHead, c.base(0, demo.Slug)+"/api/hubs/chat/users/ann", demo.Keys[0].Secret, "", nil); res.StatusCode != http.StatusOK {
		t.Errorf("the user is not there: %d", res.StatusCode)
	}
	if res, _ := c.do(http.MethodPost, c.base(0, demo.Slug)+"/api/hubs/chat/:generateToken", answer.Token, "", nil); res.StatusCode != http.StatusForbidden {
		t.Errorf("a client's token makes tokens: %d", res.StatusCode)
	}
}
