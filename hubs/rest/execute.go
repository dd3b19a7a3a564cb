package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/signalbox/signalbox/hubs"
)

// The bounds of :execute.
const (
	maxCommands = 50
	maxFilter   = 8 << 10
	maxTerms    = 100
	// maxMoved is how many changes of groups one request can make: connections,
	// times JoinGroup and LeaveGroup.
	maxMoved = 10_000
)

// command is one step of :execute.
type command struct {
	Type      string          `json:"type"`
	Target    string          `json:"target"`    // of SendMessage
	Arguments json.RawMessage `json:"arguments"` // of SendMessage
	Group     string          `json:"group"`     // of JoinGroup, LeaveGroup
	Reason    string          `json:"reason"`    // of CloseConnection
}

// audience is whom the commands are for: what one of the lists names, or
// everybody.
type audience struct {
	groups, users, connections []string
	excluded                   []string
}

// execute carries out commands, in their order, for all connections that the
// filter names. All of them are checked before the first is carried out, and the
// groups of those connections are changed that there are at that time.
func (h *Handler) execute(w http.ResponseWriter, c *call) (int, error) {
	to, err := parseFilter(c.r.URL.Query().Get("filter"))
	if err != nil {
		return 0, err
	}
	_, body, err := c.body(w, mediaJSON)
	if err != nil {
		return 0, err
	}
	var commands []command
	if err := decodeJSON(body, &commands); err != nil {
		return 0, err
	}
	if n := len(commands); n == 0 || n > maxCommands {
		return 0, invalid("body", fmt.Sprintf("There are %d commands.", n), fmt.Sprintf("an array of 1 to %d", maxCommands))
	}
	units, moves := 0, 0
	entries := make([]*hubs.Entry, len(commands))
	charges := make([]int, len(commands))
	for i := range commands {
		var size int
		if entries[i], size, err = commands[i].entry(to); err != nil {
			return 0, err
		}
		if entries[i].Message != nil {
			if err := c.fits(size); err != nil {
				return 0, err
			}
			charges[i] = charge(size)
			units += charges[i]
		}
		if entries[i].Kind == hubs.AddToGroup || entries[i].Kind == hubs.RemoveFromGroup {
			moves++
		}
	}
	b, err := c.bus()
	if err == nil {
		err = c.admitSend(units, entries...)
	}
	if err != nil {
		return 0, err
	}
	var members []string
	if moves > 0 {
		if members, err = c.members(b, to, maxMoved/moves); err != nil {
			return 0, err
		}
	}
	for i, e := range entries {
		if e.Kind == hubs.AddToGroup || e.Kind == hubs.RemoveFromGroup {
			err = c.move(b, e, members)
		} else {
			_, err = b.Publish(c.r.Context(), e, hubs.PublishOptions{Charge: charges[i]})
		}
		if err != nil {
			return 0, err
		}
	}
	return http.StatusAccepted, nil
}

// entry checks a command.
func (m *command) entry(to audience) (e *hubs.Entry, size int, err error) {
	e = &hubs.Entry{Groups: to.groups, Users: to.users, Connections: to.connections, Excluded: to.excluded}
	switch strings.ToLower(m.Type) {
	case "sendmessage":
		e.Kind = to.send()
		if e.Message, err = broadcastOf(m.Target, m.Arguments); err != nil {
			return nil, 0, err
		}
		size = len(m.Target) + len(e.Message.Arguments.Bytes)
	case "joingroup", "leavegroup":
		if err := hubs.CheckGroup(m.Group); err != nil {
			return nil, 0, misnamed("group", err)
		}
		e = &hubs.Entry{Kind: hubs.AddToGroup, Groups: []string{m.Group}}
		if strings.EqualFold(m.Type, "LeaveGroup") {
			e.Kind = hubs.RemoveFromGroup
		}
	case "closeconnection":
		e.Kind, e.Reason = hubs.CloseConnections, m.Reason
		if err := checkReason(m.Reason); err != nil {
			return nil, 0, err
		}
	default:
		return nil, 0, invalid("type", "There is no such command.", "SendMessage, JoinGroup, LeaveGroup, CloseConnection")
	}
	return e, size, nil
}

// send is the kind of entry that reaches the audience.
func (a audience) send() hubs.Kind {
	switch {
	case a.groups != nil:
		return hubs.SendToGroups
	case a.users != nil:
		return hubs.SendToUsers
	case a.connections != nil:
		return hubs.SendToConnections
	}
	return hubs.SendToAll
}

// members are the connections of an audience that there are now, each once. Every
// question to the fleet counts as a request; the first is the request itself.
func (c *call) members(b hubs.Backplane, to audience, most int) ([]string, error) {
	known := make(map[string]bool)
	for _, id := range to.excluded {
		known[id] = true
	}
	var ids []string
	add := func(id string) error {
		if known[id] {
			return nil
		}
		if len(ids) == most {
			return invalid("filter", fmt.Sprintf("More than %d changes of groups would be made.", maxMoved), "a narrower filter, or fewer of JoinGroup and LeaveGroup")
		}
		known[id] = true
		ids = append(ids, id)
		return nil
	}
	for _, id := range to.connections {
		if err := add(id); err != nil {
			return nil, err
		}
	}
	for i, q := range to.queries() {
		for more := true; more; {
			if i > 0 || q.After != "" {
				if err := c.admit(0); err != nil {
					return nil, err
				}
			}
			page, err := b.List(c.r.Context(), q)
			if err != nil {
				return nil, err
			}
			for _, item := range page.Items {
				if err := add(item.Name); err != nil {
					return nil, err
				}
				q.After = item.Name
			}
			more = page.More
		}
	}
	return ids, nil
}

// queries find the connections of an audience that isn't a list of them.
func (a audience) queries() (all []hubs.ListQuery) {
	if a.connections != nil {
		return nil
	}
	for _, g := range a.groups {
		all = append(all, hubs.ListQuery{Group: g})
	}
	for _, u := range a.users {
		all = append(all, hubs.ListQuery{User: u})
	}
	if all == nil {
		all = make([]hubs.ListQuery, 1) // everybody
	}
	for i := range all {
		all[i].Kind, all[i].Limit = hubs.ListConnections, hubs.MaxListed
	}
	return all
}

// move puts connections into a group or out of it.
func (c *call) move(b hubs.Backplane, e *hubs.Entry, members []string) error {
	for some := range slices.Chunk(members, hubs.MaxListed) {
		part := *e
		part.Connections = some
		if _, err := b.Publish(c.r.Context(), &part, hubs.PublishOptions{}); err != nil {
			return err
		}
	}
	return nil
}

const filterRule = "userId eq 'name', connectionId eq 'id' or 'name' in groups, several of one kind joined by or; connectionId ne 'id' joined by and leaves one out"

// term is one comparison of a filter: OData writes a quote in a text as two.
var term = regexp.MustCompile(`^\s*(?:(userId|connectionId)\s+(eq|ne)\s+('(?:[^']|'')*')|('(?:[^']|'')*')\s+in\s+groups)\s*`)

// parseFilter reads the part of OData that names an audience.
func parseFilter(s string) (a audience, err error) {
	bad := func(problem string) (audience, error) { return audience{}, invalid("filter", problem, filterRule) }
	if len(s) > maxFilter {
		return bad(fmt.Sprintf("The filter is longer than %d bytes.", maxFilter))
	}
	if strings.TrimSpace(s) == "" {
		return a, nil
	}
	join, kinds := "", map[string]bool{}
	for terms := 1; ; terms++ {
		m := term.FindStringSubmatch(s)
		if m == nil || terms > maxTerms {
			return bad(fmt.Sprintf("The filter can't be read from %q on, or has more than %d parts.", shorten(s), maxTerms))
		}
		s = s[len(m[0]):]
		switch {
		case m[4] != "":
			a.groups = append(a.groups, unquote(m[4]))
			kinds["groups"] = true
		case m[1] == "connectionId" && m[2] == "ne" && join != "or":
			a.excluded = append(a.excluded, unquote(m[3]))
		case m[2] == "ne":
			return bad("Only connections can be left out, with and.")
		case m[1] == "userId":
			a.users = append(a.users, unquote(m[3]))
			kinds["users"] = true
		default:
			a.connections = append(a.connections, unquote(m[3]))
			kinds["connections"] = true
		}
		if join == "and" && m[2] != "ne" {
			return bad("Only connectionId ne can follow and.")
		}
		if s == "" {
			break
		}
		word, rest, _ := strings.Cut(s, " ")
		if word != "and" && word != "or" || join == "and" && word == "or" {
			return bad(fmt.Sprintf("The filter can't be read from %q on.", shorten(s)))
		}
		join, s = word, rest
	}
	if len(kinds) > 1 {
		return bad("The parts of the filter are not of one kind.")
	}
	if len(a.excluded) > 0 && (a.users != nil || a.connections != nil) {
		return bad("Connections can be left out of groups and of all.")
	}
	return a, a.check()
}

func unquote(s string) string { return strings.ReplaceAll(s[1:len(s)-1], "''", "'") }

// check applies the rules of names.
func (a audience) check() error {
	for _, l := range []struct {
		names []string
		check func(string) error
	}{{a.groups, hubs.CheckGroup}, {a.users, hubs.CheckUser}, {a.connections, hubs.CheckConnectionID}, {a.excluded, hubs.CheckConnectionID}} {
		for _, name := range l.names {
			if err := l.check(name); err != nil {
				return misnamed("filter", err)
			}
		}
	}
	return nil
}
