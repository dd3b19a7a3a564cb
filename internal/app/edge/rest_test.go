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

	"github.com/signalbox/signalbox/tenants"
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

// TestREST_batch_over_three_edges: a batch that is repeated through other edges is
// carried out once: each client gets each message once, in the batch's order, and
// every answer names the same positions.
func TestREST_batch_over_three_edges(t *testing.T) {
	t.Parallel()
	demo, other := document("demo", 1), document("other", 1)
	c := startEdges(t, 3, demo, other)
	var clients []*client
	for edge := range 3 {
		clients = append(clients, c.connect(edge, demo, "chat", fmt.Sprint("user ", edge)))
	}
	type result struct {
		Status    int    `json:"status"`
		Position  string `json:"position"`
		Duplicate bool   `json:"duplicate"`
		Code      string `json:"code"`
	}
	send := func(edge int, d *tenants.Document, key, body string) (int, []result) {
		t.Helper()
		res, text := c.do(http.MethodPost, c.base(edge, d.Slug)+"/api/hubs/chat/:batch", d.Keys[0].Secret, body, func(r *http.Request) {
			r.Header.Set("Idempotency-Key", key)
		})
		var answer struct{ Results []result }
		if err := json.Unmarshal([]byte(text), &answer); err != nil {
			t.Fatalf("%d %s", res.StatusCode, text)
		}
		return res.StatusCode, answer.Results
	}
	batch := func(last string) string {
		return `{"messages":[
			{"target":"m","arguments":["one"]},
			{"target":""},
			{"target":"m","arguments":["two"],"users":["user 0","user 1","user 2"]},
			{"target":"m","arguments":["three"],"idempotencyKey":"own"},
			{"target":"m","arguments":["` + last + `"]}]}`
	}
	var first []result
	for edge := range 3 {
		status, got := send(edge, demo, "k", batch("four"))
		if status != http.StatusMultiStatus || len(got) != 5 || got[1].Code != "invalid" {
			t.Fatalf("edge %d: %d %+v", edge, status, got)
		}
		if edge == 0 {
			first = got
		}
		for i, r := range got {
			if i == 1 {
				continue
			}
			if r.Status != http.StatusAccepted || r.Position == "" || r.Position != first[i].Position || r.Duplicate != (edge > 0) {
				t.Errorf("edge %d, message %d: %+v, first %+v", edge, i, r, first[i])
			}
		}
	}
	// The key of one message is that of the hub: another batch repeats it, too.
	if _, got := send(1, demo, "another", `{"messages":[{"target":"m","arguments":["three"],"idempotencyKey":"own"}]}`); !got[0].Duplicate || got[0].Position != first[3].Position {
		t.Errorf("the message with its own key: %+v", got)
	}
	if status, got := send(2, demo, "k", batch("changed")); status != http.StatusMultiStatus || got[4].Status != http.StatusConflict || got[4].Code != "idempotency_conflict" || !got[0].Duplicate {
		t.Errorf("another message under the same key: %d %+v", status, got)
	}
	if _, got := send(0, other, "k", batch("theirs")); got[0].Duplicate || got[4].Status != http.StatusAccepted {
		t.Errorf("another tenant's batch under the same key: %+v", got)
	}
	if status, got := send(2, demo, "end", `{"messages":[{"target":"m","arguments":["five"]}]}`); status != http.StatusOK || got[0].Duplicate {
		t.Errorf("%d %+v", status, got)
	}
	for _, k := range clients {
		for _, want := range []string{"one", "two", "three", "four", "five"} {
			k.want("m", want)
		}
	}
}
