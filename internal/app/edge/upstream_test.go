package edge

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/deliveries"
)

// echo is an upstream that completes every invocation with the id 1, and says
// what was posted to it.
func echo(t *testing.T) (url string, posted chan string) {
	t.Helper()
	posted = make(chan string, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		posted <- r.URL.Path + " " + string(body)
		if strings.HasPrefix(r.URL.Path, "/messages/") {
			_, _ = io.WriteString(w, `{"type":3,"invocationId":"1","result":"done"}`+separator)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL + "/{category}/{event}", posted
}

func TestUpstream_serves_clients_as_soon_as_a_hub_has_one(t *testing.T) {
	t.Parallel()
	d := document("demo", 1)
	c := startEdges(t, 1, d)
	k := c.connect(0, d, "chat", "ann")
	k.write(`{"type":1,"invocationId":"1","target":"send","arguments":["x"]}`)
	if f := k.next(); f.Type != 3 || !strings.Contains(f.Error, "has no handler") {
		t.Fatalf("without an upstream: %+v", f)
	}

	url, posted := echo(t)
	with := *d
	with.Revision, with.Hubs = 2, map[string]tenants.HubSettings{"chat": {Upstream: &tenants.Upstream{Rules: []tenants.UpstreamRule{{URL: url}}}}}
	c.publish(&with)
	c.eventually("the upstream answers", func() bool {
		k.write(`{"type":1,"invocationId":"1","target":"send","arguments":["x"]}`)
		return k.next().Error == ""
	})
	if got := <-posted; got != `/messages/send {"type":1,"invocationId":"1","target":"send","arguments":["x"]}` {
		t.Errorf("posted %s", got)
	}
	c.connect(0, d, "chat", "ann")
	if got := <-posted; got != `/connections/connected {"type":10}` {
		t.Errorf("posted %s", got)
	}

	log := deliveries.New(c.redis, c.edges[0].log)
	c.eventually("the log has both", func() bool {
		page, _, err := log.Deliveries(t.Context(), d.ID, tenants.DeliveryQuery{Limit: 10})
		return err == nil && len(page) == 2 && page[0].Event == "connected" && page[1].Event == "send" && page[1].Status == http.StatusOK
	})
	if page, _, err := log.Deliveries(t.Context(), "another", tenants.DeliveryQuery{Limit: 10}); err != nil || len(page) > 0 {
		t.Errorf("another tenant sees %v, %v", page, err)
	}

	if err := c.ends[0](); err != nil {
		t.Errorf("the edge ends: %v", err)
	}
	for range 2 {
		if got := <-posted; !strings.HasPrefix(got, `/connections/disconnected {"Type":11`) {
			t.Errorf("posted %s", got)
		}
	}
}

func TestUpstream_is_not_asked_while_the_hub_only_broadcasts(t *testing.T) {
	t.Parallel()
	url, posted := echo(t)
	d := document("demo", 1)
	d.Hubs = map[string]tenants.HubSettings{"chat": {Handler: tenants.HandlerBroadcast, Upstream: &tenants.Upstream{Rules: []tenants.UpstreamRule{{URL: url}}}}}
	c := startEdges(t, 1, d)
	k := c.connect(0, d, "chat", "ann")
	k.write(`{"type":1,"invocationId":"1","target":"send","arguments":["x"]}`)
	if f := k.next(); !strings.Contains(f.Error, "has no handler") {
		t.Errorf("got %+v", f)
	}
	if len(posted) > 0 {
		t.Errorf("posted %s", <-posted)
	}
}
