package upstream_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/upstream"
	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
)

// A tenant's limit of requests that are under way has further ones wait for their turn,
// then refuses calls in the words of all limits; a change is in force for those who wait.
func TestRequestsUnderWayAreLimited(t *testing.T) {
	t.Parallel()
	for _, mode := range []tenants.UpstreamMode{tenants.UpstreamAzure, tenants.UpstreamNative} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			var limit, underWay, most atomic.Int32
			limit.Store(2)
			answer, counted := make(chan struct{}), make(chan struct{}, 10)
			notices := make(chan fault.Limit, 10)
			w := newWorld(t, mode, answers(func(w http.ResponseWriter, r *http.Request) {
				now := underWay.Add(1)
				defer underWay.Add(-1)
				for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
				}
				counted <- struct{}{}
				select {
				case <-answer:
				case <-r.Context().Done():
				}
				w.WriteHeader(http.StatusNoContent)
			}), setting{
				up: func(u *tenants.Upstream) { u.TimeoutSeconds = 30 },
				config: func(c *upstream.Config) {
					c.Limits = func(tenants.ID) *tenants.Limits {
						return &tenants.Limits{MaxUpstreamRequests: int(limit.Load())}
					}
					c.Notify = func(c *hubs.Connection, m *protocol.Message, l fault.Limit) {
						if m.InvocationID == "" {
							notices <- l
						}
					}
				},
			})
			patience := func(seconds int) {
				w.mu.Lock()
				defer w.mu.Unlock()
				u := *w.doc.Hubs[hubName].Upstream
				u.TimeoutSeconds = seconds
				w.doc.Hubs = map[string]tenants.HubSettings{hubName: {Upstream: &u}}
			}
			var all []*client
			for i := range 6 {
				all = append(all, w.connect(protocol.NewJSON(), fmt.Sprintf("con%d", i)))
				w.event("connected")
			}
			for _, c := range all[:2] { // which take all places for long
				c.invoke("1", "send", `[]`)
				<-counted
			}
			patience(1)
			all[2].invoke("1", "send", `[]`)
			all[3].invoke("", "send", `[]`)
			line := all[2].completion("1")
			want := "upstream_requests scope=tenant limit=max_upstream_requests max=2 counted=edge retry_after_ms=1000 request_id=con2 see=https://signalbox.dev/docs/errors/upstream_requests"
			if !strings.HasSuffix(line, want) {
				t.Errorf("told %q, want %q", line, want)
			}
			select {
			case l := <-notices:
				if l.Code != "upstream_requests" || l.Max != 2 || l.RequestID != "con3" {
					t.Errorf("noticed %+v", l)
				}
			case <-time.After(wait):
				t.Error("who waits for no answer isn't told")
			}
			w.ledger.until(t, "both refusals", func(l *ledger) bool { return l.refused["upstream_requests"] == 2 })
			if n := most.Load(); n != 2 {
				t.Errorf("%d requests were under way at once, want 2", n)
			}

			patience(30)
			limit.Store(3)
			for _, c := range all[2:] {
				c.invoke("2", "send", `[]`)
			}
			<-counted     // one more
			close(answer) // the others' turn comes
			for _, c := range all[:2] {
				c.completion("1")
			}
			for _, c := range all[2:] {
				if got := c.completion("2"); got != "" && got != "null" {
					t.Errorf("a call that waited for its turn got %q", got)
				}
			}
			if n := most.Load(); n != 3 {
				t.Errorf("%d requests were under way at once, want 3", n)
			}
		})
	}
}
