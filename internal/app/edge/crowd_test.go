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
	ctx, cancel := context.WithCancel(t.Context())
	for range requestsAtOnce(doc.Limits) {
		if err := c.enter(ctx, doc, "/api/hubs/chat/:send"); err != nil {
			t.Fatal(err)
		}
	}
	var limit *rest.LimitError
	if err := c.enter(ctx, doc, "/api/hubs/chat/:send"); !errors.As(err, &limit) || limit.Code != codeCrowd || limit.Limit != 74 {
		t.Errorf("one too many: %v", err)
	}
	if err := c.enter(ctx, doc, "/api/hubs/chat/connections/c/:invoke"); err != nil {
		t.Errorf("one that waits for a client: %v", err)
	}
	if err := c.enter(ctx, &tenants.Document{ID: "t2"}, "/api/hubs/chat/:send"); err != nil {
		t.Errorf("another tenant's: %v", err)
	}
	cancel()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		c.mu.Lock()
		left := len(c.tenants)
		c.mu.Unlock()
		if left == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d tenants are still counted", left)
		}
	}
}

// Requests whose bodies don't come take the tenant's places, and nobody else's.
func TestREST_requests_at_once_are_bounded(t *testing.T) {
	t.Parallel()
	demo, other := document("demo", 1), document("other", 1)
	c := startEdges(t, 1, demo, other)
	path := "/api/v1/hubs/chat"
	most := requestsAtOnce(demo.Limits)
	if most > 2000 {
		t.Fatalf("%d requests are more than this test makes", most)
	}
	for range most {
		body, end := io.Pipe()
		t.Cleanup(func() { _ = end.Close() })
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.base(0, demo.Slug)+path, body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+demo.Keys[0].Secret)
		r.Header.Set("Content-Type", "application/json")
		go func() {
			if res, err := http.DefaultClient.Do(r); err == nil {
				_ = res.Body.Close()
			}
		}()
	}
	post := func(d *tenants.Document) (int, string) {
		res, answer := c.do(http.MethodPost, c.base(0, d.Slug)+path, d.Keys[0].Secret, `{"target":"x","arguments":[]}`, nil)
		return res.StatusCode, answer
	}
	deadline := time.Now().Add(8 * time.Second) // bodies that don't come are given up after 10 s
	for {
		status, answer := post(demo)
		if status == http.StatusTooManyRequests && strings.Contains(answer, codeCrowd) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("one too many is answered %d %s", status, answer)
		}
	}
	if status, answer := post(other); status != http.StatusAccepted {
		t.Errorf("another tenant is answered %d %s", status, answer)
	}
}
