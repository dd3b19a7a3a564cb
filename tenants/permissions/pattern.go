package permissions

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxPattern is the longest accepted pattern, in characters: escapes of a group
// name of the longest kind fit in it.
const MaxPattern = 2048

// userPlaceholder stands for the client's user id in a pattern.
const userPlaceholder = "{user}"

// pattern matches group names. It is anchored at both ends and has no other
// signs than these: * is any run of characters, also none and also of slashes;
// {user} is the client's user id, as it is; \ takes the meaning from the
// character after it. Names differ by case.
type pattern []part

// part is one piece of a pattern.
type part struct {
	kind partKind
	text string // of a literal
}

type partKind uint8

const (
	literal partKind = iota
	anything
	theUser
)

// errPattern says what a pattern is.
var errPattern = errors.New(`a pattern is a group's name in which * stands for any characters, {user} for the user's id, and \ goes before a *, { or \ that is meant`)

func parsePattern(s string) (pattern, error) {
	if s == "" || len(s) > 4*MaxPattern || !utf8.ValidString(s) || utf8.RuneCountInString(s) > MaxPattern || strings.ContainsFunc(s, breaking) {
		return nil, errPattern
	}
	var p pattern
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			p = append(p, part{literal, text.String()})
			text.Reset()
		}
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			if i++; i == len(s) || strings.IndexByte(`\*{`, s[i]) < 0 {
				return nil, errPattern
			}
			text.WriteByte(s[i])
		case c == '*':
			flush()
			if n := len(p); n == 0 || p[n-1].kind != anything {
				p = append(p, part{kind: anything})
			}
		case c == '{':
			if !strings.HasPrefix(s[i:], userPlaceholder) {
				return nil, errPattern
			}
			flush()
			p = append(p, part{kind: theUser})
			i += len(userPlaceholder) - 1
		default:
			text.WriteByte(c)
		}
	}
	flush()
	return p, nil
}

// breaking are characters that have no place in a setting: they show as nothing
// or as a new line.
func breaking(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }

// exact is the pattern of one name.
func exact(name string) pattern { return pattern{{literal, name}} }

// matches takes time and memory in proportion to the name and the pattern, however
// often the pattern names the user. user is the client's; without one, nothing that
// names the user matches.
func (p pattern) matches(name, user string) bool {
	// Most patterns ask for more text than there is, or are for another beginning.
	least := 0
	for _, part := range p {
		switch part.kind {
		case literal:
			least += len(part.text)
		case theUser:
			if user == "" {
				return false
			}
			least += len(user)
		}
	}
	if least > len(name) {
		return false
	}
	// Literals next to each other (a placeholder beside text) are joined, so that
	// what stands between two stars is found as a whole.
	var pieces []string // what the stars separate; the user's id is only text here
	var text strings.Builder
	for _, part := range p {
		switch part.kind {
		case literal:
			text.WriteString(part.text)
		case theUser:
			text.WriteString(user)
		case anything:
			pieces = append(pieces, text.String())
			text.Reset()
		}
	}
	piece := text.String()
	pieces = append(pieces, piece)
	if len(pieces) == 1 {
		return name == pieces[0]
	}
	first, last := pieces[0], pieces[len(pieces)-1]
	name, ok := strings.CutPrefix(name, first)
	if !ok {
		return false
	}
	if name, ok = strings.CutSuffix(name, last); !ok {
		return false
	}
	for _, between := range pieces[1 : len(pieces)-1] {
		i := strings.Index(name, between) // the leftmost leaves most for the rest
		if i < 0 {
			return false
		}
		name = name[i+len(between):]
	}
	return true
}
