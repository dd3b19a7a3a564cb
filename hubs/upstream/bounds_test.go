package upstream_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/hubs/upstream"
	"github.com/signalbox/signalbox/tenants"
)

// beside serves the same hub of another tenant with the same gateway.
func (w *world) beside(id tenants.ID, url string) *world {
	w.t.Helper()
	other := &world{t: w.t, arrived: w.arrived, ledger: w.ledger, gateway: w.gateway}
	other.doc = *w.document()
	other.doc.ID = id
	other.doc.Hubs = map[string]tenants.HubSettings{hubName: {Upstream: &tenants.Upstream{Rules: []tenants.UpstreamRule{{URL: url}}}}}
	d := w.gateway.Hub(id, hubName, other.document)
	server, err := hubs.NewServer(hubs.Config{Name: hubName, Dispatcher: d, Linger: time.Millisecond})
	if err != nil {
		w.t.Fatal(err)
	}
	other.server = server
	w.t.Cleanup(func() {
		_ = server.Close()
		d.Close()
	})
	return other
}

// F-19: an upstream that never answers holds 100 requests of its tenant and no more,
// costs little memory, and holds up no other tenant's upstream.
func TestUpstreamThatHangsHoldsUpItsTenantAlone_F_19(t *testing.T) {
	t.Parallel()
	var underWay, most atomic.Int32
	w := newWorld(t, tenants.UpstreamAzure, answers(func(_ http.ResponseWriter, r *http.Request) {
		now := underWay.Add(1)
		defer underWay.Add(-1)
		for {
			m := most.Load()
			if now <= m || most.CompareAndSwap(m, now) {
				break
			}
		}
		<-r.Context().Done()
	}), setting{up: func(u *tenants.Upstream) { u.TimeoutSeconds = 30 }})
	healthy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	t.Cleanup(healthy.Close)
	other := w.beside("01OTHER", healthy.URL).connect(protocol.NewJSON(), "other")

	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const clients = 120
	var all []*client
	for i := range clients {
		all = append(all, w.connect(protocol.NewJSON(), fmt.Sprintf("con%d", i)))
	}
	for _, c := range all {
		c.invoke("1", "send", `[]`)
	}
	for deadline := time.Now().Add(wait); underWay.Load() < 100; {
		if time.Now().After(deadline) {
			t.Fatalf("%d requests are under way, at most %d were", underWay.Load(), most.Load())
		}
		time.Sleep(time.Millisecond) // between two looks
	}
	for i := range 50 {
		other.invoke(fmt.Sprint(i), "send", `[]`)
		if got := other.completion(fmt.Sprint(i)); got != "" {
			t.Fatalf("the other tenant's client got %q", got)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapInuse) - int64(before.HeapInuse); grown > 20<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	if got := most.Load(); got != 100 {
		t.Errorf("at most %d requests were under way, want 100", got)
	}
}

// SEC-42: many tenants together don't flood one address: what is beyond its share
// waits for its turn, and is refused when that doesn't come in time.
func TestAddressGetsSoManyRequests_SEC_42(t *testing.T) {
	t.Parallel()
	var arrived atomic.Int32
	victim := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		arrived.Add(1)
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(victim.Close)
	w := newWorld(t, tenants.UpstreamAzure, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, oneSecond)
	const perTenant, burst, perSecond = 60, 400, 200
	var done sync.WaitGroup
	var served, refused atomic.Int32
	began := time.Now()
	for i := range 20 {
		// The connected event is the first request of each.
		c := w.beside(tenants.ID(fmt.Sprintf("01TENANT%d", i)), victim.URL).connect(protocol.NewJSON(), fmt.Sprintf("con%d", i))
		done.Go(func() {
			for n := range perTenant {
				c.invoke(fmt.Sprint(n), "send", `[]`)
				if got := c.completion(fmt.Sprint(n)); got == "" {
					served.Add(1)
				} else {
					refused.Add(1)
				}
			}
		})
	}
	done.Wait()
	took := time.Since(began)
	if most := burst + int(took.Seconds()*perSecond) + perSecond/10; int(arrived.Load()) > most {
		t.Errorf("%d requests reached one address within %s, at most %d may", arrived.Load(), took, most)
	}
	if served.Load() == 0 || served.Load()+refused.Load() != 20*perTenant {
		t.Errorf("%d served, %d refused", served.Load(), refused.Load())
	}
	t.Logf("%d requests of 20 tenants in %s; %d refused", arrived.Load(), took, refused.Load())
}

// When its turn doesn't come within the time-out, the client is told.
func TestAddressWithoutATurnIsBusy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, tenants.UpstreamAzure, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, oneSecond)
	upstream.Exhaust(w.gateway, w.url, 10*time.Second)
	c := w.connect(protocol.NewJSON(), "con1")
	c.invoke("1", "send", `[]`)
	if got := c.completion("1"); got != "error: Invocation failed, status code 503" {
		t.Errorf("got %q", got)
	}
	w.ledger.until(t, "both refusals", func(l *ledger) bool { return l.refused["upstream_busy"] == 2 })
	if n := len(w.arrived); n > 0 {
		a := w.next()
		t.Errorf("%d requests arrived nevertheless, the first at %s with %d bytes", n, a.path, len(a.body))
	}
}
