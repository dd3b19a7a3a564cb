package quota

import (
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/tenants"
)

// TestFigures_of_the_largest: of limits that each user and each address has by itself,
// the most that one of them had is kept, over all edges.
func TestFigures_of_the_largest(t *testing.T) {
	t.Parallel()
	client, _ := startRedis(t)
	l := &tenants.Limits{MaxConnectionsPerUser: 10, MaxConnectionsPerIP: 10}
	for i, n := range []int{3, 2} { // edges
		f := NewFigures(client, "run "+string(rune('a'+i)), slog.New(slog.DiscardHandler))
		f.Limits, f.Open = func(tenants.ID) *tenants.Limits { return l }, func(tenants.ID) int { return 0 }
		users, addresses := NewUsers(redisclient.NewBatch(client), f.run, f, slog.New(slog.DiscardHandler)), NewAddresses(f)
		for c := range n {
			if _, _, err := users.Admit(t.Context(), "T", "ann", l, false, UserConnection{Hub: "chat", ID: string(rune('0' + c))}); err != nil {
				t.Fatal(err)
			}
			release, err := addresses.Open("T", netip.MustParseAddr("192.0.2.1"), l)
			if err != nil {
				t.Fatal(err)
			}
			defer release()
		}
		if err := f.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		users.Wait()
	}
	figures, err := ReadFigures(t.Context(), client, "T", NewFigures(client, "", nil).now())
	if err != nil {
		t.Fatal(err)
	}
	for limit, want := range map[string]int64{"max_connections_per_user": 5, "max_connections_per_ip": 3} {
		if g := figures[limit]; g.Peak != want || !g.Largest || g.Known {
			t.Errorf("%s: %+v, want a peak of %d", limit, g, want)
		}
	}
	// What is said to be shown is what is kept, here or of hubs by the control plane.
	elsewhere := []string{"max_hubs", "max_upstream_endpoints", "history_bytes", "max_method_limits", "max_parallel_calls"}
	for _, r := range tenants.Rows() {
		g := figures[r.Name]
		if kept, said := g.Known || g.Largest || slices.Contains(elsewhere, r.Name), !strings.HasPrefix(r.Shown(), "none: "); kept != said {
			t.Errorf("%s: kept %t, but said is %q", r.Name, kept, r.Shown())
		}
	}
}
