package permissions

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxPermissions is how many one token, or one hub's settings, may have.
const MaxPermissions = 100

// MaxGroup is the longest group name, in characters.
const MaxGroup = 1024

// Action is one thing that a client may be allowed to do with a group.
type Action string

// The actions, by the names that permissions use.
const (
	JoinGroup    Action = "joinGroup"
	LeaveGroup   Action = "leaveGroup"
	SendToGroup  Action = "sendToGroup"
	ReadPresence Action = "readPresence"
	ReadHistory  Action = "readHistory"
)

// Actions lists the actions.
var Actions = []Action{JoinGroup, LeaveGroup, SendToGroup, ReadPresence, ReadHistory}

// The roles of Azure Web PubSub that have a meaning here.
const (
	roleJoinLeave = "webpubsub.joinLeaveGroup"
	roleSend      = "webpubsub.sendToGroup"
	rolePrefix    = "webpubsub."
)

// Rule is worded for error messages.
const Rule = "joinGroup, leaveGroup, sendToGroup, readPresence or readHistory, alone or followed by a colon and a pattern of group names; " +
	"or webpubsub.joinLeaveGroup or webpubsub.sendToGroup, alone or followed by a dot and one group's name"

// Permission allows some actions on the groups of a pattern.
type Permission struct {
	// Text is the permission as it was written.
	Text    string
	actions []Action
	pattern pattern // nil = every group
}

// Parse reads one permission. The error says what one is.
func Parse(text string) (Permission, error) {
	if strings.HasPrefix(text, rolePrefix) {
		return parseRole(text)
	}
	name, groups, limited := strings.Cut(text, ":")
	if !slices.Contains(Actions, Action(name)) {
		return Permission{}, errors.New("is not a permission")
	}
	p := Permission{Text: text, actions: []Action{Action(name)}}
	if !limited {
		return p, nil
	}
	var err error
	p.pattern, err = parsePattern(groups)
	return p, err
}

// parseRole reads a role of Web PubSub: with a group's name behind the second
// dot, which is that name and no pattern, or for all groups.
func parseRole(text string) (Permission, error) {
	for role, actions := range map[string][]Action{roleJoinLeave: {JoinGroup, LeaveGroup}, roleSend: {SendToGroup}} {
		if text == role {
			return Permission{Text: text, actions: actions}, nil
		}
		if group, ok := strings.CutPrefix(text, role+"."); ok && group != "" {
			return Permission{Text: text, actions: actions, pattern: exact(group)}, nil
		}
	}
	return Permission{}, errors.New("is a role of Web PubSub that has no meaning here")
}

// IsRole reports whether a value of a role claim is meant as a permission.
// Applications have roles of their own, which are none of the service's business.
func IsRole(text string) bool { return strings.HasPrefix(text, rolePrefix) }

func (p Permission) allows(a Action, group, user string) bool {
	return slices.Contains(p.actions, a) && (p.pattern == nil || group != "" && p.pattern.matches(group, user))
}

// Ignored is a permission that couldn't be read, and why.
type Ignored struct{ Text, Reason string }

// Set is what one token or one hub allows. The zero Set allows nothing. Sets are
// not changed once made and may be shared.
type Set struct {
	all     []Permission
	ignored []Ignored
}

// NewSet reads permissions; those that can't be read are ignored, and so is what
// comes after MaxPermissions.
func NewSet(texts []string) Set {
	var s Set
	for i, text := range texts {
		p, err := Parse(text)
		switch {
		case i >= MaxPermissions:
			s.ignored = append(s.ignored, Ignored{Text: text, Reason: fmt.Sprintf("there are more than %d permissions", MaxPermissions)})
		case err != nil:
			s.ignored = append(s.ignored, Ignored{Text: text, Reason: err.Error()})
		default:
			s.all = append(s.all, p)
		}
	}
	return s
}

// Check returns an error that names the first permission that can't be read, by
// its index.
func Check(texts []string) (index int, err error) {
	if len(texts) > MaxPermissions {
		return MaxPermissions, fmt.Errorf("are more than %d", MaxPermissions)
	}
	for i, text := range texts {
		if _, err := Parse(text); err != nil {
			return i, err
		}
	}
	return 0, nil
}

// Texts lists the permissions that count, as they were written.
func (s Set) Texts() []string {
	texts := make([]string, len(s.all))
	for i, p := range s.all {
		texts[i] = p.Text
	}
	return texts
}

// Ignored lists those that couldn't be read.
func (s Set) Ignored() []Ignored { return s.ignored }

// Allows returns the permission that lets a client of this user do it to this
// group, if there is one. user is "" for a client without; group is "" for what
// concerns the whole hub, which needs a permission without a pattern.
func (s Set) Allows(a Action, group, user string) (Permission, bool) {
	for _, p := range s.all {
		if p.allows(a, group, user) {
			return p, true
		}
	}
	return Permission{}, false
}

// Empty reports whether the set allows nothing.
func (s Set) Empty() bool { return len(s.all) == 0 }
