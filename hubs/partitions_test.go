package hubs_test

import (
	"context"
	"testing"

	"github.com/signalbox/signalbox/hubs"
)

// A place in several partitions is one position, which keeps the newest of each, and
// nothing of partitions that the hub has no more.
func TestPositions_of_partitions_are_joined(t *testing.T) {
	t.Parallel()
	at := func(epoch string, n uint64) hubs.Position { return hubs.Position{Epoch: epoch, Number: n} }
	across := hubs.AcrossPartitions
	for name, test := range map[string]struct{ a, b, want hubs.Position }{
		"nothing yet":             {hubs.Position{}, at("a", 1), at("a", 1)},
		"nothing more":            {at("a", 1), hubs.Position{}, at("a", 1)},
		"the same":                {at("a", 2), at("a", 1), at("a", 2)},
		"the hub began anew":      {at("a", 2), at("b", 1), at("b", 1)},
		"another partition":       {at("a.1.0", 2), at("b.1.3", 1), across(at("a.1.0", 2), at("b.1.3", 1))},
		"one of two":              {across(at("a.1.0", 2), at("b.1.3", 1)), at("b.1.3", 7), across(at("a.1.0", 2), at("b.1.3", 7))},
		"an older one of two":     {across(at("a.1.0", 2), at("b.1.3", 7)), at("b.1.3", 1), across(at("a.1.0", 2), at("b.1.3", 7))},
		"other partitions by now": {across(at("a.1.0", 2), at("b.1.3", 7)), at("c.2.0", 1), at("c.2.0", 1)},
		"it was one stream":       {at("a", 2), at("c.1.3", 1), at("c.1.3", 1)},
	} {
		if got := hubs.JoinPositions(test.a, test.b); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
	if parts := across(at("a.1.0", 2), at("", 0)).Partitions(); len(parts) != 2 || parts[0] != at("a.1.0", 2) || parts[1] != (hubs.Position{}) {
		t.Errorf("parts %v", parts)
	}
}

// What follows partitions that the hub has no more waits for nothing: it will never be
// applied by a node that came later.
func TestAwaitApplied_of_partitions_before(t *testing.T) {
	t.Parallel()
	s, err := hubs.NewServer(hubs.Config{Name: "hub"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	old := hubs.AcrossPartitions(hubs.Position{Epoch: "a.1.0", Number: 5}, hubs.Position{Epoch: "b.1.3", Number: 7})
	ended, end := context.WithCancel(t.Context())
	end()
	if err := s.AwaitApplied(ended, old); err == nil {
		t.Error("applied before anything was")
	}
	s.Begins(hubs.Position{Epoch: ".2.0"})
	s.Begins(hubs.Position{Epoch: ".2.1"})
	if err := s.AwaitApplied(ended, old); err != nil {
		t.Errorf("partitions before: %v", err)
	}
	next := hubs.AcrossPartitions(hubs.Position{Epoch: "c.2.1", Number: 1}, hubs.Position{Epoch: "d.2.0", Number: 1})
	if err := s.AwaitApplied(ended, next); err == nil {
		t.Error("applied though only begun")
	}
	s.Apply(&hubs.Entry{Epoch: "c.2.1", Number: 1})
	if err := s.AwaitApplied(ended, next); err == nil {
		t.Error("applied with one of two partitions")
	}
	s.Apply(&hubs.Entry{Epoch: "d.2.0", Number: 1})
	if err := s.AwaitApplied(ended, next); err != nil {
		t.Errorf("all partitions: %v", err)
	}
}

// A node that has no members in a partition doesn't follow it: what is in there is for
// nobody here, and nothing waits for it.
func TestAwaitApplied_of_partitions_that_are_not_followed(t *testing.T) {
	t.Parallel()
	s, err := hubs.NewServer(hubs.Config{Name: "hub"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	ended, end := context.WithCancel(t.Context())
	end()
	s.Begins(hubs.Position{Epoch: ".2.0"})
	s.Begins(hubs.Position{Epoch: ".2.3"})
	elsewhere, here := hubs.Position{Epoch: "a.2.5", Number: 7}, hubs.Position{Epoch: "b.2.3", Number: 1}
	if err := s.AwaitApplied(ended, elsewhere); err != nil {
		t.Errorf("a partition that isn't followed: %v", err)
	}
	if err := s.AwaitApplied(ended, hubs.AcrossPartitions(elsewhere, here)); err == nil {
		t.Error("applied though one that is followed has not been")
	}
	if err := s.AwaitApplied(ended, hubs.Position{Epoch: "c.3.5", Number: 1}); err == nil {
		t.Error("applied of partitions that aren't in force here yet")
	}
	s.Begins(hubs.Position{Epoch: "a.2.5", Number: 6})
	if err := s.AwaitApplied(ended, elsewhere); err == nil {
		t.Error("applied since it is followed")
	}
	waits := make(chan error, 1)
	go func() { waits <- s.AwaitApplied(t.Context(), elsewhere) }()
	s.Rests(".2.5")
	if err := <-waits; err != nil {
		t.Errorf("a partition that is followed no more: %v", err)
	}
	s.Rests(".1.3") // of partitions before
	if err := s.AwaitApplied(ended, here); err == nil {
		t.Error("applied though it is followed")
	}
}
