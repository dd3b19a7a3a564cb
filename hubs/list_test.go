package hubs_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// TestList_bounds_a_page lists groups with the longest names: a page holds fewer
// than it was asked for, and says so.
func TestList_bounds_a_page(t *testing.T) {
	t.Parallel()
	s := newServer(t, hubs.Config{Options: hubs.Options{MaximumGroups: 1000}})
	dial(t, s, protocol.NewJSON(), "u", "c")
	const groups = 400
	for i := range groups {
		command(t, s, &hubs.Entry{Kind: hubs.AddToGroup, Connections: []string{"c"}, Groups: []string{fmt.Sprintf("%s%03d", strings.Repeat("ü", 1000), i)}})
	}
	q := hubs.ListQuery{Kind: hubs.ListGroups, Limit: hubs.MaxListed}
	got, pages := 0, 0
	for {
		p, err := s.Backplane().List(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range p.Items {
			if !strings.HasSuffix(item.Name, fmt.Sprintf("%03d", got)) || item.Connections != 1 {
				t.Fatalf("item %d is %+v", got, item)
			}
			got++
		}
		if pages++; !p.More {
			break
		}
		q.After = p.Items[len(p.Items)-1].Name
	}
	if got != groups || pages < 3 {
		t.Errorf("%d groups on %d pages", got, pages)
	}
	if n, err := hubs.CountListed(t.Context(), s.Backplane(), q); n != groups || err != nil {
		t.Errorf("counted %d, %v", n, err)
	}
}
