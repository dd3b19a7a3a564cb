package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// What is in a hub now is asked of the data plane (docs/rest.md).

// inHub is a command about a hub: its first argument.
func (p *program) inHub(use, short, example string, check cobra.PositionalArgs, run func(ctx context.Context, d *dataPlane, hub string, args []string) error) *cobra.Command {
	return operations(&cobra.Command{
		Use: use, Short: short, Example: example, Args: check, ValidArgsFunction: p.completeHubs,
		RunE: func(c *cobra.Command, args []string) error {
			d, err := p.dataPlane(c.Context())
			if err != nil {
				return err
			}
			return run(c.Context(), d, args[0], args[1:])
		},
	}, "createRestToken")
}

// thing is one of a list of the data plane: a connection, a user or a group.
type thing struct {
	ConnectionID string          `json:"connectionId,omitempty"`
	UserID       string          `json:"userId,omitempty"`
	Group        string          `json:"group,omitempty"`
	Connections  int             `json:"connections,omitempty"`
	State        json.RawMessage `json:"state,omitempty"`
}

// list prints all pages of a list.
func (d *dataPlane) list(ctx context.Context, path string, most int, id func(thing) string, columns ...column[thing]) error {
	return listPages(d.p, most, func(cursor *string, limit *int) ([]thing, *string, error) {
		query := url.Values{"maxpagesize": {strconv.Itoa(*limit)}}
		if cursor != nil {
			query.Set("continuationToken", *cursor)
		}
		var page struct {
			Value    []thing
			NextLink string
		}
		if err := d.ask(ctx, http.MethodGet, path, query, nil, nil, &page); err != nil {
			return nil, nil, err
		}
		next, err := url.Parse(page.NextLink)
		if err != nil {
			return nil, nil, fmt.Errorf("read nextLink: %w", err)
		}
		return page.Value, filled(next.Query().Get("continuationToken")), nil
	}, id, columns...)
}

func (d *dataPlane) count(ctx context.Context, path string) error {
	var answer struct {
		Count int64 `json:"count"`
	}
	if err := d.ask(ctx, http.MethodGet, path+"/:count", nil, nil, nil, &answer); err != nil {
		return err
	}
	return d.p.show(answer, number(answer.Count), field{"count", number(answer.Count)})
}

// The columns of lists.
var (
	connectionColumn = column[thing]{"CONNECTION", func(t thing) string { return t.ConnectionID }}
	userColumn       = column[thing]{"USER", func(t thing) string { return t.UserID }}
	countColumn      = column[thing]{"CONNECTIONS", func(t thing) string { return strconv.Itoa(t.Connections) }}
	nameColumn       = column[thing]{"GROUP", func(t thing) string { return t.Group }}
	stateColumn      = column[thing]{"STATE", func(t thing) string { return string(t.State) }}
)

func connectionOf(t thing) string { return t.ConnectionID }

// ofWhom narrows connections to a group or a user.
type ofWhom struct {
	group, user string
	most        int
	counted     bool
}

func (o *ofWhom) add(c *cobra.Command) *cobra.Command {
	c.Flags().StringVarP(&o.group, "group", "g", "", "those in this `group`")
	c.Flags().StringVarP(&o.user, "user", "u", "", "those of this `user`")
	c.MarkFlagsMutuallyExclusive("group", "user")
	c.Flags().IntVar(&o.most, "limit", 0, "at most so `many`; 0: all, page after page")
	c.Flags().BoolVar(&o.counted, "count", false, "only how many there are")
	return c
}

func (o *ofWhom) path(hub, what string) string {
	switch {
	case o.group != "":
		return hubPath(hub, "groups", o.group, what)
	case o.user != "":
		return hubPath(hub, "users", o.user, what)
	}
	return hubPath(hub, what)
}

func (p *program) connectionsCommand() *cobra.Command {
	var of, closing ofWhom
	var reason string
	var all bool
	closes := p.inHub("close HUB [CONNECTION]", "Close a connection, or those of a user, a group or the hub", "  signalbox connections close chat --user ann --reason \"signed out\" --yes", between(1, 2),
		func(ctx context.Context, d *dataPlane, hub string, args []string) error {
			query := url.Values{}
			if reason != "" {
				query.Set("reason", reason)
			}
			method := http.MethodPost
			var path, what string
			switch many := closing.group != "" || closing.user != "" || all; {
			case len(args) == 1 && !many:
				method, path, what = http.MethodDelete, hubPath(hub, "connections", args[0]), "connection "+args[0]
			case len(args) == 1 || !many:
				return usage("say one of CONNECTION, --group, --user and --all")
			case closing.group != "":
				path, what = hubPath(hub, "groups", closing.group)+"/:closeConnections", "all connections in group "+closing.group
			case closing.user != "":
				path, what = hubPath(hub, "users", closing.user)+"/:closeConnections", "all connections of user "+closing.user
			default:
				path, what = hubPath(hub)+"/:closeConnections", "all connections of hub "+hub
			}
			if err := p.confirm("close %s", what); err != nil {
				return err
			}
			if err := d.ask(ctx, method, path, query, nil, nil, nil); err != nil {
				return err
			}
			return p.done("Closed %s.", what)
		})
	closes.Flags().StringVarP(&closing.group, "group", "g", "", "all in this `group`")
	closes.Flags().StringVarP(&closing.user, "user", "u", "", "all of this `user`")
	closes.Flags().BoolVar(&all, "all", false, "all of the hub")
	closes.MarkFlagsMutuallyExclusive("group", "user", "all")
	closes.Flags().StringVar(&reason, "reason", "", "`text` that the clients are told")
	return group("connections", "Who is connected to a hub now",
		of.add(p.inHub("list HUB", "List connections", "  signalbox connections list chat --group room-7", exactly(1), func(ctx context.Context, d *dataPlane, hub string, _ []string) error {
			path := of.path(hub, "connections")
			if of.counted {
				return d.count(ctx, path)
			}
			return d.list(ctx, path, of.most, connectionOf, connectionColumn, userColumn)
		})), closes)
}

func (p *program) usersCommand() *cobra.Command {
	var of ofWhom
	c := of.add(p.inHub("list HUB", "List the users who are connected, with their number of connections", "  signalbox users list chat", exactly(1), func(ctx context.Context, d *dataPlane, hub string, _ []string) error {
		if of.user != "" {
			return usage("--user doesn't narrow users")
		}
		path := of.path(hub, "users")
		if of.counted {
			return d.count(ctx, path)
		}
		return d.list(ctx, path, of.most, func(t thing) string { return t.UserID }, userColumn, countColumn)
	}))
	_ = c.Flags().MarkHidden("user")
	return group("users", "The users of a hub who are connected now", c)
}

// member is who joins or leaves a group.
type member struct {
	connection, user string
	ttl              time.Duration
}

func (m *member) add(c *cobra.Command) *cobra.Command {
	c.Flags().StringVar(&m.connection, "connection", "", "the connection with this `id`")
	c.Flags().StringVarP(&m.user, "user", "u", "", "all connections of this `user`")
	c.MarkFlagsMutuallyExclusive("connection", "user")
	c.MarkFlagsOneRequired("connection", "user")
	return c
}

func (m *member) path(hub, group string) string {
	if m.connection != "" {
		return hubPath(hub, "groups", group, "connections", m.connection)
	}
	return hubPath(hub, "users", m.user, "groups", group)
}

func (p *program) groupsCommand() *cobra.Command {
	var of ofWhom
	var joins, leaves member
	lists := of.add(p.inHub("list HUB", "List the groups that somebody is in, with their number of connections", "  signalbox groups list chat", exactly(1), func(ctx context.Context, d *dataPlane, hub string, _ []string) error {
		if of.group != "" {
			return usage("--group doesn't narrow groups")
		}
		path := of.path(hub, "groups")
		if of.counted {
			return d.count(ctx, path)
		}
		return d.list(ctx, path, of.most, func(t thing) string { return t.Group }, nameColumn, countColumn)
	}))
	_ = lists.Flags().MarkHidden("group")
	add := joins.add(p.inHub("add HUB GROUP", "Put a connection, or a user, into a group", "  signalbox groups add chat room-7 --user ann --ttl 1h", exactly(2), func(ctx context.Context, d *dataPlane, hub string, args []string) error {
		query := url.Values{}
		if joins.ttl > 0 {
			if joins.user == "" {
				return usage("--ttl goes with --user")
			}
			s, err := seconds("ttl", joins.ttl)
			if err != nil {
				return err
			}
			query.Set("ttl", strconv.Itoa(s))
		}
		if err := d.ask(ctx, http.MethodPut, joins.path(hub, args[0]), query, nil, nil, nil); err != nil {
			return err
		}
		return p.done("Added.")
	}))
	add.Flags().DurationVar(&joins.ttl, "ttl", 0, "how `long` it holds for connections that the user opens later, too")
	return group("groups", "The groups of a hub", lists, add,
		leaves.add(p.inHub("remove HUB GROUP", "Take a connection, or a user, out of a group", "  signalbox groups remove chat room-7 --user ann", exactly(2), func(ctx context.Context, d *dataPlane, hub string, args []string) error {
			if err := d.ask(ctx, http.MethodDelete, leaves.path(hub, args[0]), nil, nil, nil, nil); err != nil {
				return err
			}
			return p.done("Removed.")
		})))
}

func (p *program) presenceCommand() *cobra.Command {
	var most int
	var counted, byUser bool
	var sets, clears member
	lists := p.inHub("list HUB GROUP", "List who is present in a group, with the state that they have told", "  signalbox presence list chat room-7", exactly(2), func(ctx context.Context, d *dataPlane, hub string, args []string) error {
		path := hubPath(hub, "groups", args[0], "presence")
		if byUser {
			path += "/users"
		}
		if counted {
			return d.count(ctx, path)
		}
		if byUser {
			return d.list(ctx, path, most, func(t thing) string { return t.UserID }, userColumn, countColumn)
		}
		return d.list(ctx, path, most, connectionOf, connectionColumn, userColumn, stateColumn)
	})
	lists.Flags().IntVar(&most, "limit", 0, "at most so `many`; 0: all, page after page")
	lists.Flags().BoolVar(&counted, "count", false, "only how many there are")
	lists.Flags().BoolVar(&byUser, "by-user", false, "the users instead of the connections")
	change := func(method string, m *member) func(ctx context.Context, d *dataPlane, hub string, args []string) error {
		return func(ctx context.Context, d *dataPlane, hub string, args []string) error {
			path := hubPath(hub, "groups", args[0], "presence", "users", m.user)
			if m.connection != "" {
				path = hubPath(hub, "groups", args[0], "presence", "connections", m.connection)
			}
			var state []byte
			if len(args) == 2 {
				s, err := (&publisher{p: p}).argument(args[1])
				if err != nil {
					return err
				}
				state = s
			}
			if err := d.ask(ctx, method, path, nil, nil, state, nil); err != nil {
				return err
			}
			return p.done("Done.")
		}
	}
	return group("presence", "Who says that they are there", lists,
		sets.add(p.inHub("set HUB GROUP STATE", "Make a connection, or a user's that are in the group, present with a state", "  signalbox presence set chat room-7 '{\"typing\": true}' --user ann", exactly(3), change(http.MethodPut, &sets))),
		clears.add(p.inHub("clear HUB GROUP", "End the presence of a connection or a user", "  signalbox presence clear chat room-7 --user ann", exactly(2), change(http.MethodDelete, &clears))))
}

func (p *program) historyCommand() *cobra.Command {
	var groupName, since, position string
	var last int
	c := p.inHub("history HUB", "Print what a hub keeps of its messages, oldest first", "  signalbox history chat --last 20\n  signalbox history chat --group room-7 --since 5m -o json", exactly(1), func(ctx context.Context, d *dataPlane, hub string, _ []string) error {
		t := trail{plane: d, hub: hub}
		query := url.Values{}
		if groupName != "" {
			query.Set("group", groupName)
		}
		switch {
		case last < 0 || last > historyPage:
			return usage("--last is %d: accepted is 1 to %d", last, historyPage)
		case position != "":
			query.Set("after", position)
		case since != "":
			at, err := past("since", since)
			if err != nil {
				return err
			}
			query.Set("since", at.Format(time.RFC3339))
		}
		var found []historyItem
		var err error
		if last > 0 {
			found, err = t.last(ctx, query, last)
		} else {
			err = t.each(ctx, query, func(items []historyItem, _ string) error {
				found = append(found, items...)
				return nil
			})
		}
		if err != nil {
			return err
		}
		return list(p, found, func(i historyItem) string { return i.Position },
			column[historyItem]{"TIME", func(i historyItem) string { return i.Time }}, column[historyItem]{"TO", toWhom}, column[historyItem]{"TARGET", func(i historyItem) string { return i.Target }},
			column[historyItem]{"ARGUMENTS", func(i historyItem) string { return string(i.Arguments) }})
	})
	c.Flags().StringVarP(&groupName, "group", "g", "", "those to this `group`")
	c.Flags().IntVar(&last, "last", 0, "the last so `many`")
	c.Flags().StringVar(&since, "since", "", "what was accepted since a `time`, as 5m or 2030-01-31T12:00:00Z")
	c.Flags().StringVar(&position, "after", "", "what is behind this `position`")
	c.MarkFlagsMutuallyExclusive("last", "since", "after")
	return c
}

// toWhom says who got a message.
func toWhom(i historyItem) string {
	switch {
	case len(i.Groups) > 0:
		return "groups " + joined(i.Groups)
	case len(i.Users) > 0:
		return "users " + joined(i.Users)
	case len(i.Connections) > 0:
		return "connections " + joined(i.Connections)
	}
	return "all"
}

func (p *program) invokeCommand() *cobra.Command {
	var wait time.Duration
	s := &publisher{p: p}
	c := p.inHub("invoke HUB CONNECTION METHOD [ARGUMENT...]", "Call a method of one client and print its answer", "  signalbox invoke chat 7ZtkPDVoFAVo0sxbqn1GdA ask 42", atLeast(3), func(ctx context.Context, d *dataPlane, hub string, args []string) error {
		arguments, err := s.arguments(args[2:])
		if err != nil {
			return err
		}
		body, err := json.Marshal(map[string]any{"target": args[1], "arguments": arguments})
		if err != nil {
			return err
		}
		n, err := seconds("wait", wait)
		if err != nil {
			return err
		}
		var answer struct {
			Result json.RawMessage `json:"result,omitempty"`
		}
		if err := d.ask(ctx, http.MethodPost, hubPath(hub, "connections", args[0])+"/:invoke", url.Values{"timeout": {strconv.Itoa(n)}}, nil, body, &answer); err != nil {
			return err
		}
		return p.show(answer, string(answer.Result), field{"result", string(answer.Result)})
	})
	c.Flags().DurationVar(&wait, "wait", 10*time.Second, "how `long` the client may take, 1s to 100s")
	c.Flags().BoolVar(&s.text, "text", false, "arguments are texts as they stand")
	return c
}
