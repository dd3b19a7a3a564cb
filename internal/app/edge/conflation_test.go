package edge

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/tenants/accesstoken"
)

// Clients take the newest of each key, by their own wish or a backend's, with
// publisher and client on different edges; others get every message.
func TestConflation_across_edges(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	demo.Limits.MessagesPerSecond, demo.Limits.MessageBurst = 100_000, 100_000
	c := startCluster(t, demo)
	token := mintClient(t, demo, accesstoken.ClientOptions{UserID: "ann", Permissions: []string{"joinGroup", "leaveGroup"}}).Token
	price := func(edge int, symbol string, n int) {
		t.Helper()
		res, body := c.do(http.MethodPost, c.base(edge, demo.Slug)+"/api/v1/hubs/chat/groups/prices", restJWT(t, demo),
			fmt.Sprintf(`{"target":"price","arguments":[%q,%d]}`, symbol, n), nil)
		if res.StatusCode != http.StatusAccepted {
			t.Fatalf("send: %d %s", res.StatusCode, body)
		}
	}
	wants := func(k *client, symbol string, n int) {
		t.Helper()
		if f := k.next(); f.Target != "price" || string(f.Arguments) != fmt.Sprintf(`[%q,%d]`, symbol, n) {
			t.Fatalf("got %+v, want %s %d", f, symbol, n)
		}
	}
	slowly := map[string]any{"conflate": map[string]any{"everyMs": 10_000, "key": 0}}
	own, all := c.with(0, demo, token), c.with(0, demo, token)
	given := c.with(1, demo, mintClient(t, demo, accesstoken.ClientOptions{UserID: "bob", Permissions: []string{"leaveGroup"}}).Token)
	own.done("$joinGroup", "prices", slowly)
	all.done("$joinGroup", "prices")
	var bob struct {
		Value []struct{ ConnectionID string }
	}
	if _, body := c.do(http.MethodGet, c.base(0, demo.Slug)+"/api/hubs/chat/users/bob/connections?api-version=2022-11-01", restJWT(t, demo), "", nil); json.Unmarshal([]byte(body), &bob) != nil || len(bob.Value) != 1 {
		t.Fatalf("bob's connections: %s", body)
	}
	id := bob.Value[0].ConnectionID
	for _, edge := range []int{0, 1} { // on one of them it doesn't live
		res, body := c.do(http.MethodPut, c.base(edge, demo.Slug)+"/api/hubs/chat/groups/prices/connections/"+id+"?conflateEveryMs=10000&conflateKey=0&api-version=2022-11-01", restJWT(t, demo), "", nil)
		if res.StatusCode != http.StatusOK {
			t.Fatalf("add: %d %s", res.StatusCode, body)
		}
	}
	began := time.Now()
	price(0, "A", 0)
	for _, k := range []*client{own, given, all} {
		wants(k, "A", 0)
	}
	price(1, "B", 0)
	for _, k := range []*client{own, given, all} {
		wants(k, "B", 0)
	}
	for n := 1; n <= 20; n++ {
		price(n%2, "A", n)
		price(n%2, "B", n)
		wants(all, "A", n)
		wants(all, "B", n)
	}
	for _, k := range []*client{own, given} {
		k.write(`{"type":1,"invocationId":"1","target":"$leaveGroup","arguments":["prices"]}`)
		newest, values := map[string]int{}, 0
		for f := k.next(); f.Type != 3; f = k.next() {
			var symbol string
			var n int
			if json.Unmarshal(f.Arguments, &[]any{&symbol, &n}) != nil || n <= newest[symbol] {
				t.Fatalf("got %+v behind %v", f, newest)
			}
			newest[symbol] = n
			values++
		}
		if newest["A"] != 20 || newest["B"] != 20 {
			t.Errorf("left with %v, want the newest of each", newest)
		}
		// One of each when it leaves, and one per 10 s that the test has taken.
		if most := 2 * (1 + int(time.Since(began)/(9*time.Second))); values > most {
			t.Errorf("%d values, want at most %d", values, most)
		}
	}
	for options, text := range map[string]string{
		`{"conflate":{"everyMs":9}}`:                 "conflate.everyMs must be 10 to 10000",
		`{"conflate":{"everyMs":10001,"key":0}}`:     "conflate.everyMs must be 10 to 10000",
		`{"conflate":{"key":0}}`:                     "conflate.everyMs must be 10 to 10000",
		`{"conflate":{"everyMs":-9000000000000000}}`: "conflate.everyMs must be 10 to 10000",
		`{"conflate":{"everyMs":100,"key":-1}}`:      "conflate.key must be the index of an argument, 0 to 63, or absent",
		`{"conflate":{"everyMs":100,"key":64}}`:      "conflate.key must be the index of an argument, 0 to 63, or absent",
		`{"conflate":{"everyMs":"often"}}`:           "the options must be like",
		`{"conflate":true}`:                          "the options must be like",
		`{"often":true}`:                             "the options must say rewind or conflate",
	} {
		if f := own.call("$joinGroup", "prices", json.RawMessage(options)); !strings.Contains(f.Error, "invalid_argument: ") || !strings.Contains(f.Error, text) {
			t.Errorf("%s: %q, want %s", options, f.Error, text)
		}
	}
}
