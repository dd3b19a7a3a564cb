package edge

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/signalbox/signalbox/billing/usage"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// What the transports refuse is counted for the tenant of the URL.
func TestRefusals_of_requests_are_counted_for_the_tenant(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	demo.Hubs = map[string]tenants.HubSettings{"chat": {AllowedOrigins: []string{"https://good.example"}}}
	c := startEdges(t, 1, demo)
	client := c.base(0, "demo") + "/client/"
	ann, bob := clientJWT(t, demo, 0, "chat", "ann"), clientJWT(t, demo, 0, "chat", "bob")

	origin := func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }
	if res, _ := c.do(http.MethodPost, client+"negotiate?hub=chat", ann, "", origin); res.StatusCode != http.StatusForbidden {
		t.Errorf("a foreign origin is answered %d", res.StatusCode)
	}
	if res, _ := c.do(http.MethodPost, client+"negotiate?hub=chat&hub=chat", ann, "", nil); res.StatusCode != http.StatusBadRequest {
		t.Errorf("two hubs are answered %d", res.StatusCode)
	}
	_, body := c.do(http.MethodPost, client+"negotiate?negotiateVersion=1&hub=chat", ann, "", nil)
	var n struct{ ConnectionToken string }
	if err := json.Unmarshal([]byte(body), &n); err != nil {
		t.Fatal(err)
	}
	if res, _ := c.do(http.MethodGet, client+"?hub=chat&id="+n.ConnectionToken, bob, "", nil); res.StatusCode != http.StatusForbidden {
		t.Errorf("another user is answered %d", res.StatusCode)
	}
	refused := 0
	for i := range 30 {
		if res, _ := c.do(http.MethodGet, client+fmt.Sprintf("?hub=chat&id=%0172d", i), ann, "", nil); res.StatusCode == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused == 0 {
		t.Error("no guess is answered 429")
	}

	// What comes over a connection, too.
	k := c.connect(0, demo, "chat", "cid")
	if f := k.call("$nothing", 0); !strings.Contains(f.Error, "unknown_method") {
		t.Errorf("an unknown method is answered %+v", f)
	}
	k.write(`{"type":1,"target":`)
	for f := k.next(); f.end == nil; f = k.next() {
	}

	if err := c.ends[0](); err != nil {
		t.Fatal(err)
	}
	entries, err := c.redis.XRange(t.Context(), redisclient.UsageStream, "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, e := range entries {
		var f usage.Flush
		if err := json.Unmarshal([]byte(e.Values["flush"].(string)), &f); err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Deltas {
			for code, n := range d.Refused {
				got[d.Hub+" "+code] += n
			}
			if d.Tenant != demo.ID {
				t.Errorf("counted for tenant %s", d.Tenant)
			}
		}
	}
	want := map[string]int64{"chat origin_not_allowed": 1, " invalid": 1, "chat wrong_user": 1, "chat connection_token_guesses": int64(refused), "chat unknown_method": 1, "chat protocol_error": 1}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("counted %v, want %v", got, want)
	}
}
