package hubs

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The most characters in names that programs choose.
const (
	MaxGroupName    = 1024
	MaxUserID       = 256
	MaxConnectionID = 256
)

// NameError says that a name can't be used. A client whose invocation fails with
// it sees its text, unless the name is missing: that is the program's mistake and,
// as in ASP.NET Core, not the client's to know.
type NameError struct {
	What     string // "group name", for example
	Wrong    string // what is wrong with it, as a verb with what belongs to it
	Accepted string // the rule
}

// Error says everything.
func (e *NameError) Error() string {
	return fmt.Sprintf("The %s %s. Accepted: %s.", e.What, e.Wrong, e.Accepted)
}

// Unwrap returns an *Error with the same text where clients may see it.
func (e *NameError) Unwrap() error {
	if e.Wrong == isMissing {
		return nil
	}
	return NewError(e.Error())
}

const isMissing = "is missing"

// CheckGroup returns a *NameError unless name can name a group: it must have 1 to
// 1,024 characters of UTF-8, not all of them blanks and none of them a control
// character. Whatever takes names of groups, users or connections from outside
// applies these rules, by these functions.
func CheckGroup(name string) error { return checkName("group name", name, MaxGroupName) }

// CheckUser does the same for user ids, of at most 256 characters.
func CheckUser(id string) error { return checkName("user id", id, MaxUserID) }

// CheckConnectionID does the same for connection ids, of at most 256 characters.
func CheckConnectionID(id string) error { return checkName("connection id", id, MaxConnectionID) }

func checkName(what, name string, most int) error {
	var wrong string
	switch {
	case name == "":
		wrong = isMissing
	case len(name) > most*utf8.UTFMax || utf8.RuneCountInString(name) > most:
		wrong = "is too long"
	case !utf8.ValidString(name):
		wrong = "is not UTF-8"
	case strings.TrimSpace(name) == "":
		wrong = "is blank"
	case strings.ContainsFunc(name, unicode.IsControl):
		wrong = "has control characters"
	default:
		return nil
	}
	return &NameError{what, wrong, fmt.Sprintf("1 to %d characters of UTF-8, not all of them blanks, no control characters", most)}
}

// checkNames checks whom the entry is for.
func (e *Entry) checkNames() error {
	for _, all := range []struct {
		names []string
		check func(string) error
	}{{e.Groups, CheckGroup}, {e.Users, CheckUser}, {e.Connections, CheckConnectionID}} {
		for _, name := range all.names {
			if err := all.check(name); err != nil {
				return err
			}
		}
	}
	if e.Conflate != nil {
		return e.Conflate.Check()
	}
	return nil
}
