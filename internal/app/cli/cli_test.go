package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// service answers requests as a test says and keeps them.
type service struct {
	answer func(r *http.Request, n int) (status int, body string)
	tag    string // the ETag of all answers

	mu       sync.Mutex
	requests []*http.Request
}

func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	status, body := s.answer(r, len(s.requests))
	s.requests = append(s.requests, r)
	kind := "application/json"
	if status >= http.StatusBadRequest {
		kind = "application/problem+json"
	}
	res := answer(status, kind, body)
	if s.tag != "" {
		res.Header.Set("ETag", s.tag)
	}
	return res, nil
}

func (s *service) methods() (all []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		all = append(all, r.Method+" "+r.URL.Path)
	}
	return all
}

// restToken is the answer that has commands go to the data plane.
const restToken = `{"token":"t","id":"i","url":"` + contractData + `/t/acme","expires_at":"2999-01-01T00:00:00Z"}`

// screen is what a person sees: reads of it wait for more.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func newScreen() *screen { return &screen{more: make(chan struct{}, 1)} }

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(p)
	select {
	case s.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

// shows waits until a text is there.
func (s *screen) shows(t *testing.T, text string) {
	t.Helper()
	for late := time.After(time.Minute); ; {
		s.mu.Lock()
		there := strings.Contains(s.text.String(), text)
		s.mu.Unlock()
		if there {
			return
		}
		select {
		case <-s.more:
		case <-late:
			t.Fatalf("%q is not shown, but %q", text, s.text.String())
		}
	}
}

// withToken is an environment in which somebody is signed in.
func withToken(dir string) func(string) string {
	return func(name string) string {
		return map[string]string{envConfigDir: dir, envAPI: contractAPI, envToken: "sbt_x", envTenant: "acme", envAccount: "account"}[name]
	}
}

// at runs a command at a terminal at which somebody types.
func at(t *testing.T, s *service, typed string, args ...string) (status int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status = Run(t.Context(), System{In: strings.NewReader(typed), Out: &stdout, Err: &stderr, Env: withToken(t.TempDir()), Terminal: typed != "", Transport: s}, args)
	return status, stdout.String(), stderr.String()
}

func TestIdempotencyKey_is_for_what_the_command_is_about(t *testing.T) {
	t.Parallel()
	s := &service{answer: func(r *http.Request, _ int) (int, string) {
		if strings.HasSuffix(r.URL.Path, "/rest-tokens") {
			return http.StatusCreated, restToken
		}
		return http.StatusAccepted, `{"position":"p"}`
	}}
	if status, _, errs := at(t, s, "", "publish", "chat", "hello", "--idempotency-key", "order-1"); status != exitOK {
		t.Fatal(errs)
	}
	if got := s.requests[0].Header.Get("Idempotency-Key"); got != "" {
		t.Errorf("the request for a token has the key %q: a repeat would get the token of the first time", got)
	}
	if got := s.requests[1].Header.Get("Idempotency-Key"); got != "order-1" {
		t.Errorf("the message has the key %q", got)
	}
}

// What is wrong with arguments is said by their names, and no request is made.
func TestMistakes_in_arguments_are_named(t *testing.T) {
	t.Parallel()
	for arguments, want := range map[string]string{
		"hubs show":        "HUB is missing",
		"publish":          "HUB and TARGET are missing",
		"publish chat":     "TARGET is missing",
		"hubs return chat": "VERSION is missing",
		"hubs show a b":    `"b" is an argument too many`,
		"tenants list x":   `"x" is an argument too many`,
		"hubs lst":         `no command "lst"; did you mean list or`,
		"hubs frobnicate":  `no command "frobnicate": it has create, delete, list,`,
	} {
		s := &service{answer: func(*http.Request, int) (int, string) { return http.StatusOK, "{}" }}
		status, _, errs := at(t, s, "", strings.Fields(arguments)...)
		if status != exitUsage || !strings.Contains(errs, want) || len(s.requests) > 0 {
			t.Errorf("%s: ends with %d after %d requests, want %q: %s", arguments, status, len(s.requests), want, errs)
		}
	}
}

func TestPublish_again_with_its_key_when_the_outcome_is_not_known(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name       string
		status     int
		args       []string
		want, sent int
	}{
		{"outage", http.StatusServiceUnavailable, nil, exitOK, 2},
		{"outage_without_retries", http.StatusServiceUnavailable, []string{"--retries", "0"}, exitFailed, 1},
		{"limit", http.StatusTooManyRequests, nil, exitRefused, 1},
		{"limit_waited_out", http.StatusTooManyRequests, []string{"--wait"}, exitOK, 2},
		{"mistake", http.StatusBadRequest, []string{"--wait"}, exitUsage, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			sent := 0
			s := &service{answer: func(r *http.Request, _ int) (int, string) {
				if strings.HasSuffix(r.URL.Path, "/rest-tokens") {
					return http.StatusCreated, restToken
				}
				if sent++; sent == 1 {
					return row.status, `{"code":"c","detail":"No.","limit":"messages_per_second","max":5,"retry_after_ms":1}`
				}
				return http.StatusAccepted, `{"position":"p"}`
			}}
			status, _, errs := at(t, s, "", append([]string{"publish", "chat", "hello"}, row.args...)...)
			if status != row.want || sent != row.sent {
				t.Fatalf("ended with %d after %d sends, want %d after %d: %s", status, sent, row.want, row.sent, errs)
			}
			keys := map[string]bool{}
			for _, r := range s.requests[1:] {
				keys[r.Header.Get("Idempotency-Key")] = true
			}
			if len(keys) != 1 || keys[""] {
				t.Errorf("the sends have the keys %v, want one for all", keys)
			}
		})
	}
}

func TestConfirm_before_what_can_not_be_undone(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		typed string
		args  []string
		want  int
		done  bool
	}{
		{"n\n", nil, exitFailed, false}, {"\n", nil, exitFailed, false}, {"y\n", nil, exitOK, true}, {"", nil, exitUsage, false}, {"", []string{"--yes"}, exitOK, true},
	} {
		for _, command := range [][]string{
			{"tenants", "delete", "acme"}, {"plan", "set", "--plan", "free"}, {"budget", "set", "--messages", "5"}, {"user", "sessions", "end", "s"}, {"revocations", "create", "user", "ann"},
		} {
			s := &service{answer: func(r *http.Request, _ int) (int, string) {
				switch {
				case r.Method == http.MethodDelete:
					return http.StatusNoContent, ""
				case r.Method == http.MethodPost:
					return http.StatusCreated, `{}`
				}
				return http.StatusOK, `{"plan":"pro","budget":{"action":"stop","messages":7,"connection_minutes":8}}`
			}}
			status, _, errs := at(t, s, row.typed, append(command, row.args...)...)
			done := false
			for _, r := range s.requests {
				done = done || r.Method != http.MethodGet
			}
			if status != row.want || done != row.done {
				t.Errorf("%v %v answered %q: status %d, done %v: %s", command, row.args, row.typed, status, done, errs)
			}
		}
	}
}

func TestBudget_set_leaves_what_is_not_said(t *testing.T) {
	t.Parallel()
	var sent map[string]any
	var seen string
	s := &service{answer: func(r *http.Request, _ int) (int, string) {
		if r.Method == http.MethodPut {
			if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
				t.Error(err)
			}
			seen = r.Header.Get("If-Match")
		}
		return http.StatusOK, `{"budget":{"action":"stop","messages":7,"connection_minutes":8,"steps":[50]}}`
	}, tag: `"seen"`}
	if status, _, errs := at(t, s, "", "budget", "set", "--messages", "0", "--step", "90", "--yes"); status != exitOK {
		t.Fatal(errs)
	}
	if seen != `"seen"` {
		t.Errorf("what was read to be changed is asked for as %s", seen)
	}
	if sent["action"] != "stop" || sent["messages"] != nil || sent["connection_minutes"] != 8.0 || sent["steps"].([]any)[0] != 90.0 {
		t.Errorf("sent %v", sent)
	}
}

func TestBudget_show_says_what_becomes_of_more(t *testing.T) {
	t.Parallel()
	s := &service{answer: func(*http.Request, int) (int, string) {
		return http.StatusOK, `{"budget":{"action":"notify","steps":[80]},"messages_used":7,"messages_allowed":5,"hard_messages":true,"connection_minutes_used":3,"connection_minutes_allowed":4,"hard_connection_minutes":false,"exceeded":true,"notices":[]}`
	}}
	status, out, errs := at(t, s, "", "budget", "show")
	for _, line := range []string{"7 used, budget no limit, 5 in the plan, more is refused\n", "3 used, budget no limit, 4 in the plan, more costs its price\n"} {
		if status != exitOK || !strings.Contains(out, line) {
			t.Errorf("%d %s printed %q, want %q in it", status, errs, out, line)
		}
	}
}

func TestInterrupt_at_a_prompt_ends_the_command(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		asks string
		args []string
	}{
		{"delete tenant acme", []string{"tenants", "delete", "acme"}}, {"Email:", []string{"login"}}, {"Password:", []string{"login", "--email", "ada@example.com"}},
	} {
		ctx, interrupt := context.WithCancel(t.Context())
		defer interrupt()
		in, typing := io.Pipe() // nobody types
		defer typing.Close()
		shown, ended := newScreen(), make(chan int, 1)
		s := &service{answer: func(*http.Request, int) (int, string) { return http.StatusInternalServerError, "" }}
		go func() {
			ended <- Run(ctx, System{
				In: in, Out: io.Discard, Err: shown, Env: withToken(t.TempDir()), Terminal: true, Transport: s,
				Secret: func(ctx context.Context, prompt string) (string, error) {
					_, _ = io.WriteString(shown, prompt)
					<-ctx.Done()
					return "", ctx.Err()
				},
			}, row.args)
		}()
		shown.shows(t, row.asks)
		interrupt()
		if status := <-ended; status != exitInterrupted || len(s.methods()) > 0 {
			t.Errorf("%v ended with %d after %v", row.args, status, s.methods())
		}
	}
}

func TestNames_that_mean_another_address_are_refused(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"connections", "close", "chat", "--user", ".."}, {"connections", "close", "chat", ".."}, {"connections", "close", "..", "--all"}, {"publish", "chat", "hello", "--group", "."},
		{"hubs", "delete", ".."}, {"tenants", "delete", ".."}, {"limits", "reset", "x", "-t", ".."}, {"members", "remove", "u", "--account", ".."}, {"groups", "add", "chat", "..", "--user", "ann"},
	} {
		s := &service{answer: func(*http.Request, int) (int, string) { return http.StatusCreated, restToken }}
		status, _, errs := at(t, s, "", append(args, "--yes")...)
		for _, m := range s.methods() {
			if !strings.HasSuffix(m, "/rest-tokens") {
				t.Errorf("%v asked for %s", args, m)
			}
		}
		if status != exitUsage {
			t.Errorf("%v ended with %d: %s", args, status, errs)
		}
	}
}

func TestLists_print_page_after_page(t *testing.T) {
	t.Parallel()
	// Three pages of two; the second is refused for its rate at first.
	pages := func(failing bool) *service {
		waited := false
		return &service{answer: func(r *http.Request, _ int) (int, string) {
			at, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
			if at == 1 && !waited {
				waited = true
				return http.StatusTooManyRequests, `{"code":"too_many_api_requests","retry_after_ms":1}`
			}
			if at == 2 && failing {
				return http.StatusInternalServerError, `{"code":"internal"}`
			}
			next := ""
			if at < 2 {
				next = `,"next_cursor":"` + strconv.Itoa(at+1) + `"`
			}
			n := strconv.Itoa(at)
			return http.StatusOK, `{"domains":[{"id":"a` + n + `"},{"id":"b` + n + `"}]` + next + `}`
		}}
	}
	status, out, errs := at(t, pages(false), "", "domains", "list", "-q")
	if status != exitOK || out != "a0\nb0\na1\nb1\na2\nb2\n" {
		t.Errorf("%d %q %s", status, out, errs)
	}
	var all []map[string]any
	if _, out, _ = at(t, pages(false), "", "domains", "list", "-o", "json"); json.Unmarshal([]byte(out), &all) != nil || len(all) != 6 {
		t.Errorf("JSON of all pages is %s", out)
	}
	if status, out, _ = at(t, pages(false), "", "domains", "list", "-q", "--limit", "3"); status != exitOK || !strings.HasPrefix(out, "a0\nb0\na1\n") {
		t.Errorf("three of them: %d %q", status, out)
	}
	// What broke off shows what had come, ends badly, and is no whole array.
	status, out, _ = at(t, pages(true), "", "domains", "list")
	if status != exitFailed || !strings.Contains(out, "b1") {
		t.Errorf("broken off: %d %q", status, out)
	}
	if status, out, _ = at(t, pages(true), "", "domains", "list", "-o", "json"); status != exitFailed || json.Valid([]byte(out)) {
		t.Errorf("broken off in JSON: %d %q", status, out)
	}
	empty := &service{answer: func(*http.Request, int) (int, string) { return http.StatusOK, `{"domains":[]}` }}
	if _, out, _ = at(t, empty, "", "domains", "list", "-o", "json"); json.Unmarshal([]byte(out), &all) != nil || len(all) != 0 {
		t.Errorf("none in JSON is %q", out)
	}
}

func TestCredentials_go_where_they_belong(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "config.json")
	if err := os.WriteFile(file, []byte(`{"profiles":{"default":{"api_url":"`+contractAPI+`","session":"signalbox=secret"}}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		api, extra string
		want       int
		shown      bool
	}{
		{contractAPI, "", exitOK, true}, {"https://other.invalid", "", exitSignIn, false}, {"http://api.invalid", "", exitUsage, false},
		{"http://acme.localhost:1", "", exitSignIn, false}, {"ftp://api.invalid", "", exitUsage, false},
	} {
		s := &service{answer: func(*http.Request, int) (int, string) { return http.StatusOK, `{"user":{},"accounts":[]}` }}
		var stderr bytes.Buffer
		status := Run(t.Context(), System{In: http.NoBody, Out: io.Discard, Err: &stderr, Transport: s, Env: func(name string) string {
			return map[string]string{envConfigDir: dir, envAPI: row.api}[name]
		}}, []string{"whoami", "--debug"})
		shown := len(s.requests) > 0 && s.requests[0].Header.Get("Cookie") == "signalbox=secret"
		if status != row.want || shown != row.shown || !shown && len(s.requests) > 0 {
			t.Errorf("%s: status %d, credentials shown %v: %s", row.api, status, shown, stderr.String())
		}
		if strings.Contains(stderr.String(), "secret") && !strings.Contains(stderr.String(), "holds secrets") || strings.Contains(stderr.String(), "signalbox=secret") {
			t.Errorf("%s: the secret is shown: %s", row.api, stderr.String())
		}
		if status == exitSignIn && !strings.Contains(stderr.String(), "is for "+contractAPI) {
			t.Errorf("%s: it isn't said for which address the sign-in is: %s", row.api, stderr.String())
		}
		if status == exitOK && !strings.Contains(stderr.String(), "chmod 600") {
			t.Errorf("nothing is said of a file that others can read: %s", stderr.String())
		}
	}
}

func TestSettings_are_not_needed_where_the_environment_says_all(t *testing.T) {
	t.Setenv("HOME", "")
	t.Setenv("XDG_CONFIG_HOME", "")
	s := &service{answer: func(*http.Request, int) (int, string) { return http.StatusOK, `{"slug":"acme"}` }}
	for _, row := range []struct {
		args []string
		want int
	}{{[]string{"tenants", "show", "acme"}, exitOK}, {[]string{"tenants", "use", "acme"}, exitFailed}} {
		var stderr bytes.Buffer
		status := Run(t.Context(), System{In: http.NoBody, Out: io.Discard, Err: &stderr, Transport: s, Env: func(name string) string {
			return map[string]string{envAPI: contractAPI, envToken: "sbt_x"}[name]
		}}, row.args)
		if status != row.want || status != exitOK && !strings.Contains(stderr.String(), envConfigDir) {
			t.Errorf("%v without a home ended with %d: %s", row.args, status, stderr.String())
		}
	}
}

func TestListen_prints_what_it_missed_and_nothing_twice(t *testing.T) {
	t.Parallel()
	item := func(n int, groups ...string) historyItem {
		return historyItem{Position: "p" + strconv.Itoa(n), Time: "2030-01-31T12:00:00.000Z", Target: "n", Arguments: json.RawMessage(strconv.Itoa(n)), Groups: groups}
	}
	type read struct {
		after    string
		items    []historyItem
		position string
		gone     *goneError
	}
	for _, row := range []struct {
		name    string
		groups  []string
		seen    []int
		reads   []read
		want    string // the arguments that are printed
		base    string
		missing bool // it says that messages are missing
	}{
		{"nothing", nil, nil, []read{{"p0", nil, "p0", nil}}, "", "p0", false},
		{"all_has_arrived", nil, []int{1, 2}, []read{{"p0", []historyItem{item(1), item(2)}, "p2", nil}}, "", "p2", false},
		{"the_last_is_missing", nil, []int{1}, []read{{"p0", []historyItem{item(1), item(2)}, "p2", nil}}, "2", "p2", false},
		{"frames_that_are_in_no_history", nil, []int{1, 100, 2}, []read{{"p0", []historyItem{item(1), item(2), item(3)}, "p3", nil}}, "3", "p3", false},
		{"equal_messages", nil, []int{7, 7}, []read{{"p0", []historyItem{item(7), item(7), item(7)}, "p3", nil}}, "7", "p3", false},
		{"groups_of_others", []string{"blue"}, []int{1}, []read{{"p0", []historyItem{item(1), item(2, "red"), item(3, "blue")}, "p4", nil}}, "3", "p4", false},
		{"gone", nil, []int{1, 2}, []read{{"p0", nil, "", &goneError{"p0", "p5"}}, {"p5", []historyItem{item(6)}, "p6", nil}}, "6", "p6", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := &service{answer: func(r *http.Request, n int) (int, string) {
				if n >= len(row.reads) || r.URL.Query().Get("after") != row.reads[n].after {
					t.Errorf("read %d is after %q", n, r.URL.Query().Get("after"))
					return http.StatusInternalServerError, ""
				}
				now := row.reads[n]
				if now.gone != nil {
					return http.StatusGone, `{"code":"history_gone","from":"` + now.gone.From + `","to":"` + now.gone.To + `"}`
				}
				body, err := json.Marshal(map[string]any{"messages": now.items, "position": now.position})
				if err != nil {
					t.Error(err)
				}
				return http.StatusOK, string(body)
			}}
			var out, errs bytes.Buffer
			p := newProgram(t.Context(), System{In: http.NoBody, Out: &out, Err: &errs, Env: func(string) string { return "" }, Transport: s})
			p.flags.quiet, p.flags.timeout = true, time.Minute
			d := &dataPlane{p: p, base: contractData, key: "k"}
			l := &listener{p: p, trail: trail{plane: d, hub: "chat", groups: row.groups, base: "p0"}}
			for _, n := range row.seen {
				l.trail.saw(markOf("n", json.RawMessage(strconv.Itoa(n))))
			}
			marks, err := l.catchUp(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(strings.Fields(out.String()), " "); got != row.want || l.trail.base != row.base || len(l.trail.seen) > 0 || len(marks) != len(strings.Fields(row.want)) {
				t.Errorf("printed %q, is at %s; want %q at %s", got, l.trail.base, row.want, row.base)
			}
			if said := strings.Contains(errs.String(), "missing here"); said != row.missing {
				t.Errorf("said %q", errs.String())
			}
		})
	}
}

func TestTrail_moves_on_over_what_has_arrived(t *testing.T) {
	t.Parallel()
	item := func(n int) historyItem {
		return historyItem{Position: "p" + strconv.Itoa(n), Target: "n", Arguments: json.RawMessage(strconv.Itoa(n))}
	}
	tr := trail{base: "p0"}
	for _, n := range []int{1, 2, 4} {
		tr.saw(markOf("n", json.RawMessage(strconv.Itoa(n))))
	}
	all := []historyItem{item(1), item(2), item(3), item(4)}
	tr.advance(all, "p4")
	if tr.base != "p2" || len(tr.seen) != 1 {
		t.Fatalf("is at %s with %d seen: what hasn't arrived yet may be under way", tr.base, len(tr.seen))
	}
	tr.advance(all[2:], "p4")
	if tr.base != "p4" || len(tr.seen) != 0 {
		t.Fatalf("is at %s with %d seen: what doesn't arrive isn't for this connection", tr.base, len(tr.seen))
	}
	// Content counts, whatever notation it came in.
	if markOf("n", json.RawMessage(`[1.0, {"b":2,"a":1}]`)) != markOf("n", json.RawMessage(`[1,{"a":1,"b":2}]`)) || markOf("n", json.RawMessage(`[1]`)) == markOf("m", json.RawMessage(`[1]`)) {
		t.Error("marks don't stand for content")
	}
}
