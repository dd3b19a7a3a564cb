package edge

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs/rest"
	"github.com/signalbox/signalbox/tenants"
)

func TestCrowd_counts_what_is_under_way(t *testing.T) {
	t.Parallel()
	var c crowd
	doc := &tenants.Document{ID: "t1", Limits: tenants.Limits{MessagesPerSecond: 100}}
	var leave []func()
	for range requestsAtOnce(&doc.Limits) {
		done, err := c.enter(doc, "/api/hubs/chat/:send")
		if err != nil {
			t.Fatal(err)
		}
		leave = append(leave, done)
	}
	var limit *rest.LimitError
	if _, err := c.enter(doc, "/api/hubs/chat/:send"); !errors.As(err, &limit) || limit.Code != codeCrowd || limit.Max != 74 {
		t.Errorf("one too many: %v", err)
	}
	if _, err := c.enter(doc, "/api/hubs/chat/connections/c/:invoke"); err != nil {
		t.Errorf("one that waits for a client: %v", err)
	}
	other, err := c.enter(&tenants.Document{ID: "t2"}, "/api/hubs/chat/:send")
	if err != nil {
		t.Fatalf("another tenant's: %v", err)
	}
	for _, done := range append(leave, other) {
		done()
	}
	if len(c.tenants) != 0 {
		t.Errorf("%d tenants are still counted", len(c.tenants))
	}
}

// Requests whose bodies don't come take the tenant's places, and nobody else's.
func TestREST_requests_at_once_are_bounded(t *testing.T) {
	t.Parallel()
	demo, other := document("demo", 1), document("other", 1)
	c := startEdges(t, 1, demo, other)
	path := "/api/v1/hubs/chat"
	most := requestsAtOnce(&demo.Limits)
	if most > 2000 {
		t.Fatalf("%d requests are more than this test makes", most)
	}
	for range most {
		go drip(t.Context(), c.base(0, demo.Slug)+path, demo.Keys[0].Secret)
	}
	underWay := func() int {
		crowd := &c.edges[0].crowd
		crowd.mu.Lock()
		defer crowd.mu.Unlock()
		return crowd.tenants[demo.ID]
	}
	for deadline := time.Now().Add(8 * time.Second); underWay() < most; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) { // bodies that don't come are given up after 10 s
			t.Fatalf("only %d of %d requests are under way", underWay(), most)
		}
	}
	post := func(d *tenants.Document) (int, string) {
		res, answer := c.do(http.MethodPost, c.base(0, d.Slug)+path, d.Keys[0].Secret, `{"target":"x","arguments":[]}`, nil)
		return res.StatusCode, answer
	}
	if status, answer := post(demo); status != http.StatusTooManyRequests || !strings.Contains(answer, codeCrowd) {
		t.Errorf("one too many is answered %d %s", status, answer)
	}
	if status, answer := post(other); status != http.StatusAccepted {
		t.Errorf("another tenant is answered %d %s", status, answer)
	}
}

// drip makes a request whose body never comes, and returns when that is answered.
func drip(ctx context.Context, url, key string) {
	body, end := io.Pipe()
	defer func() { _ = end.Close() }()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	if err != nil {
		return
	}
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("Content-Type", "application/json")
	if res, err := http.DefaultClient.Do(r); err == nil {
		_ = res.Body.Close()
	}
}
