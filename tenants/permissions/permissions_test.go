package permissions_test

import (
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/signalbox/signalbox/tenants/permissions"
)

func TestMatching(t *testing.T) {
	t.Parallel()
	const join, leave, send = permissions.JoinGroup, permissions.LeaveGroup, permissions.SendToGroup
	for _, row := range []struct {
		permission string
		action     permissions.Action
		group      string
		user       string
		want       bool
	}{
		{"joinGroup", join, "any", "", true},
		{"joinGroup", leave, "any", "", false},
		{"joinGroup", send, "any", "", false},
		{"joinGroup:room", join, "room", "", true},
		{"joinGroup:room", join, "Room", "", false},
		{"joinGroup:room", join, "room2", "", false},
		{"joinGroup:room", join, "aroom", "", false},
		{"joinGroup:room", join, "room\n", "", false},
		{"joinGroup:room-*", join, "room-", "", true},
		{"joinGroup:room-*", join, "room-1/2", "", true},
		{"joinGroup:room-*", join, "a room-1", "", false},
		{"joinGroup:room-*", join, "room-1\nx", "", true},
		{"joinGroup:*-room", join, "a-room", "", true},
		{"joinGroup:*-room", join, "a-room-b", "", false},
		{"joinGroup:a*b", join, "ab", "", true},
		{"joinGroup:a*b", join, "a", "", false},
		{"joinGroup:a*a", join, "a", "", false},
		{"joinGroup:a*b*c", join, "a1b2c", "", true},
		{"joinGroup:a*b*c", join, "a1c2b", "", false},
		{"joinGroup:*ab*ab*", join, "ab", "", false},
		{"joinGroup:*ab*ab*", join, "xabxabx", "", true},
		{"joinGroup:*", join, "anything", "", true},
		{"joinGroup:**", join, "anything", "", true},
		{`joinGroup:a\*b`, join, "a*b", "", true},
		{`joinGroup:a\*b`, join, "axb", "", false},
		{`joinGroup:a\\b`, join, `a\b`, "", true},
		{`joinGroup:\{user}`, join, "{user}", "ann", true},
		{`joinGroup:\{user}`, join, "ann", "ann", false},
		// No sign of regular expressions has a meaning.
		{"joinGroup:.*", join, "xyz", "", false},
		{"joinGroup:.*", join, ".xyz", "", true},
		{"joinGroup:[a-z]+", join, "abc", "", false},
		{"joinGroup:(a|b)", join, "a", "", false},
		{"joinGroup:a$", join, "a", "", false},
		{"joinGroup:^a", join, "a", "", false},
		{"joinGroup:a?", join, "a", "", false},
		{"joinGroup:room:1", join, "room:1", "", true},
		{"joinGroup:user-{user}", join, "user-ann", "ann", true},
		{"joinGroup:user-{user}", join, "user-bob", "ann", false},
		{"joinGroup:user-{user}", join, "user-", "", false},
		{"joinGroup:user-{user}-*", join, "user-ann-1", "ann", true},
		// A user id is text, whatever is in it.
		{"joinGroup:user-{user}", join, "user-bob", "*", false},
		{"joinGroup:user-{user}", join, "user-*", "*", true},
		{"joinGroup:user-{user}", join, "user-ann", "{user}", false},
		{"readPresence:room-*", permissions.ReadPresence, "room-1", "", true},
		{"readHistory", permissions.ReadHistory, "room-1", "", true},
		{"readHistory", permissions.ReadPresence, "room-1", "", false},
		{"webpubsub.joinLeaveGroup", join, "any", "", true},
		{"webpubsub.joinLeaveGroup", leave, "any", "", true},
		{"webpubsub.joinLeaveGroup", send, "any", "", false},
		{"webpubsub.joinLeaveGroup.room", leave, "room", "", true},
		{"webpubsub.joinLeaveGroup.room", leave, "room2", "", false},
		{"webpubsub.sendToGroup.a.b", send, "a.b", "", true},
		{"webpubsub.sendToGroup.*", send, "room", "", false},
		{"webpubsub.sendToGroup.*", send, "*", "", true},
		{"webpubsub.sendToGroup.{user}", send, "ann", "ann", false},
	} {
		p, got := permissions.NewSet([]string{row.permission}).Allows(row.action, row.group, row.user)
		if got != row.want || got && p.Text != row.permission {
			t.Errorf("%s: %s of %q by %q: got %v", row.permission, row.action, row.group, row.user, got)
		}
	}
}

func TestWhatCanNotBeReadAllowsNothing(t *testing.T) {
	t.Parallel()
	bad := []string{
		"", "*", "join", "JoinGroup", "joinGroup:", "joinGroup ", " joinGroup", "joinGroup:a\\", `joinGroup:a\b`, "joinGroup:{", "joinGroup:{User}",
		"joinGroup:{user", "joinGroup:\xff", "joinGroup:a\nb", "joinGroup:a\u2028", "joinGroup:" + strings.Repeat("x", permissions.MaxPattern+1), "sendToAll", "webpubsub.", "webpubsub.sendToGroup.",
		"webpubsub.sendToGroups", "webpubsub.joinLeaveGroups.x", "webpubsub.invokeEvent",
	}
	s := permissions.NewSet(bad)
	if !s.Empty() || len(s.Ignored()) != len(bad) {
		t.Fatalf("counts %v, ignores %v", s.Texts(), s.Ignored())
	}
	for i, text := range bad {
		if n, err := permissions.Check([]string{"joinGroup", text}); err == nil || n != 1 {
			t.Errorf("%q: got %d, %v", text, n, err)
		}
		if s.Ignored()[i].Reason == "" {
			t.Errorf("%q is ignored without a reason", text)
		}
	}
	many := make([]string, permissions.MaxPermissions+1)
	for i := range many {
		many[i] = "leaveGroup"
	}
	many[permissions.MaxPermissions] = "joinGroup"
	if _, ok := permissions.NewSet(many).Allows(permissions.JoinGroup, "g", ""); ok {
		t.Error("one permission too many counts")
	}
	if _, err := permissions.Check(many); err == nil {
		t.Error("one permission too many passes")
	}
}

// A pattern that would send a matcher with backtracking astray.
func TestMatchingIsFast(t *testing.T) {
	t.Parallel()
	s := permissions.NewSet([]string{"joinGroup:" + strings.Repeat("a*", 500) + "b"})
	done := make(chan bool, 1)
	go func() {
		_, ok := s.Allows(permissions.JoinGroup, strings.Repeat("a", permissions.MaxGroup), "")
		done <- ok
	}()
	select {
	case ok := <-done:
		if ok {
			t.Error("matched without its last letter")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("matching takes for ever")
	}
}

// A pattern that names the user as often as it can costs no more than its size,
// whatever the user is called: a hub may have a hundred of them, and they are asked
// with every call.
func TestMatchingIsSmall(t *testing.T) {
	user := strings.Repeat("u", 256)
	many := strings.Repeat("{user}", permissions.MaxPattern/len("{user}"))
	for _, row := range []struct{ pattern, group, user string }{
		{many, strings.Repeat("u", permissions.MaxGroup), user},
		{many + "*", "room", user},
		{many, strings.Repeat("u", permissions.MaxGroup), "u"},
		{strings.Repeat("{user}a", 200) + "b", strings.Repeat("ua", 500), "u"},
	} {
		p := permissions.NewSet([]string{"joinGroup:" + row.pattern})
		const times = 100
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range times {
			if _, ok := p.Allows(permissions.JoinGroup, row.group, row.user); ok {
				t.Fatal("matched")
			}
		}
		runtime.ReadMemStats(&after)
		bytes := (after.TotalAlloc - before.TotalAlloc) / times
		if most := uint64(4 * permissions.MaxPattern); bytes > most {
			t.Errorf("%.20s… of a user of %d bytes: %d bytes, at most %d", row.pattern, len(row.user), bytes, most)
		}
	}
}

// FuzzPattern compares with regular expressions made by hand.
func FuzzPattern(f *testing.F) {
	for _, row := range [][3]string{{"room-*", "room-1", ""}, {`a\*{user}*`, "a*annx", "ann"}, {"*a*", "bab", "*"}, {"{user}", "*", "*"}, {".*", "x", ""}, {"*", "", "ann"}} {
		f.Add(row[0], row[1], row[2])
	}
	f.Fuzz(func(t *testing.T, pattern, group, user string) {
		p, err := permissions.Parse("joinGroup:" + pattern)
		if err != nil {
			return
		}
		var expression strings.Builder
		expression.WriteString(`(?s)\A`)
		never := false
		for i := 0; i < len(pattern); i++ {
			switch c := pattern[i]; {
			case c == '\\':
				i++
				expression.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
			case c == '*':
				expression.WriteString(".*")
			case c == '{':
				never = never || user == ""
				expression.WriteString(regexp.QuoteMeta(user))
				i += len("user}")
			default:
				_, size := utf8.DecodeRuneInString(pattern[i:])
				expression.WriteString(regexp.QuoteMeta(pattern[i : i+size]))
				i += size - 1
			}
		}
		oracle, err := regexp.Compile(expression.String() + `\z`)
		if err != nil {
			return // the user id is not UTF-8
		}
		_, got := permissions.NewSet([]string{p.Text}).Allows(permissions.JoinGroup, group, user)
		never = never || group == "" // which is no group
		if utf8.ValidString(group) && got != (!never && oracle.MatchString(group)) {
			t.Fatalf("%q on %q by %q: got %v", pattern, group, user, got)
		}
	})
}
