package hubs_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/signalbox/signalbox/hubs"
)

// SEC-27: the one rule of names, and that everything in a Context applies it.
func TestSEC_27_names_are_bounded_and_have_no_control_characters(t *testing.T) {
	t.Parallel()
	long := func(n int) string { return strings.Repeat("\u00fc", n) }
	for name, row := range map[string]struct{ group, user string }{ // what is wrong; empty = nothing
		"blue":                          {},
		"a:b/c d":                       {},
		"*":                             {},
		"__proto__":                     {},
		"\u202eevil":                    {},
		"\U0001f600":                    {},
		"":                              {"is missing", "is missing"},
		" \u2003":                       {"is blank", "is blank"},
		"a\x00b":                        {"has control characters", "has control characters"},
		"a\nb":                          {"has control characters", "has control characters"},
		"a\u0085b":                      {"has control characters", "has control characters"},
		"\x7f":                          {"has control characters", "has control characters"},
		"\xff":                          {"is not UTF-8", "is not UTF-8"},
		"\xed\xa0\x80":                  {"is not UTF-8", "is not UTF-8"},
		long(256):                       {},
		long(257):                       {"", "is too long"},
		long(1024):                      {"", "is too long"},
		long(1025):                      {"is too long", "is too long"},
		strings.Repeat("x", 10_000_000): {"is too long", "is too long"},
	} {
		for what, row := range map[string]struct {
			err  error
			want string
		}{"group": {hubs.CheckGroup(name), row.group}, "user": {hubs.CheckUser(name), row.user}, "connection": {hubs.CheckConnectionID(name), row.user}} {
			var e *hubs.NameError
			var shown *hubs.Error
			switch {
			case row.want == "" && row.err != nil:
				t.Errorf("%s %.20q: %v", what, name, row.err)
			case row.want != "" && (!errors.As(row.err, &e) || e.Wrong != row.want || !strings.Contains(row.err.Error(), "Accepted: 1 to ")):
				t.Errorf("%s %.20q: %v, want that it %s", what, name, row.err, row.want)
			case row.want != "" && (errors.As(row.err, &shown) != (name != "") || len(row.err.Error()) > 200):
				t.Errorf("%s %.20q: clients see no text, or too much: %v", what, name, row.err)
			}
		}
	}

	s := newServer(t, hubs.Config{})
	all, ctx := s.Context(), t.Context()
	for name, err := range map[string]error{
		"join":            all.AddToGroup(ctx, "c", "a\nb"),
		"leave":           all.RemoveFromGroup(ctx, "c", "a\nb"),
		"to a group":      all.Group("a\nb").Send(ctx, "m"),
		"to groups":       all.Groups("good", "a\nb").Send(ctx, "m"),
		"to a user":       all.User("a\nb").Send(ctx, "m"),
		"to a client":     all.Client("a\nb").Send(ctx, "m"),
		"close":           all.CloseConnection(ctx, "a\nb", "", false),
		"join a stranger": all.AddToGroup(ctx, "a\nb", "good"),
	} {
		var e *hubs.NameError
		if !errors.As(err, &e) {
			t.Errorf("%s: %v, want a NameError", name, err)
		}
	}
}

// SEC-27: a client in as many groups as it may be in joins no more.
func TestSEC_27_groups_of_a_connection_are_bounded(t *testing.T) {
	t.Parallel()
	counted := new(meter)
	s := newServer(t, hubs.Config{Meter: counted, Options: hubs.Options{MaximumGroups: 50}})
	greedy, neighbour := connect(t, s, "", "greedy"), connect(t, s, "", "neighbour")
	refused := 0
	for i := range 10_000 {
		err := s.Context().AddToGroup(t.Context(), "greedy", fmt.Sprint("g", i))
		var e *hubs.Error
		if err != nil && (!errors.As(err, &e) || e.Error() != "A connection can be in at most 50 groups.") {
			t.Fatal(err)
		} else if err != nil {
			refused++
		}
	}
	if c, _ := s.Connection("greedy"); refused != 9_950 || len(c.Groups()) != 50 {
		t.Errorf("%d refused, in %d groups", refused, len(c.Groups()))
	}
	frame, n := sendTo(t, s, hubs.Entry{Kind: hubs.SendToGroups, Groups: []string{"g49", "g50"}}, "x")
	if n != 1 {
		t.Errorf("sent to %d", n)
	}
	greedy.expect(frame)
	frame, _ = sendTo(t, s, hubs.Entry{Kind: hubs.SendToAll}, "y")
	neighbour.expect(frame)
}
