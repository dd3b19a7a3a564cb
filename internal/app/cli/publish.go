package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// publisher is what "publish" was told.
type publisher struct {
	p                       *program
	plane                   *dataPlane
	hub, target             string
	group, user, connection string
	exclude                 []string
	file, ack               string
	text, lines, dry, wait  bool
	retries                 int
}

func (p *program) publishCommand() *cobra.Command {
	s := &publisher{p: p}
	c := operations(&cobra.Command{
		Use: "publish HUB TARGET [ARGUMENT...]", Short: "Send a message to everybody in a hub, a group, a user or a connection",
		Long: `Call the method TARGET of all clients of a hub, of a group, of a user or of one
connection.

An ARGUMENT is JSON: 42, true, {"a": 1}, "quoted". What isn't, and doesn't begin like an
object, a list or a quoted text, is a text as it stands: hello. With --text all are.

With --lines each line of the standard input is a message: a JSON list of arguments, or
one argument. What is sent again after an answer that was lost is sent once: each message
has an idempotency key.

With $` + envConnection + ` no sign-in is needed.`,
		Example: `  signalbox publish chat hello world
  signalbox publish chat score '{"home": 1, "away": 0}' --group match-7
  signalbox publish chat hello world --dry-run
  tail -f app.log | signalbox publish logs line --lines --text`,
		Args: atLeast(2), ValidArgsFunction: p.completeHubs,
		RunE: func(c *cobra.Command, args []string) error { return s.run(c.Context(), args[0], args[1], args[2:]) },
	}, "createRestToken")
	f := c.Flags()
	f.StringVarP(&s.group, "group", "g", "", "to this `group`")
	f.StringVarP(&s.user, "user", "u", "", "to this `user`")
	f.StringVar(&s.connection, "connection", "", "to the connection with this `id`")
	c.MarkFlagsMutuallyExclusive("group", "user", "connection")
	f.StringSliceVar(&s.exclude, "exclude", nil, "`id` of a connection that doesn't get it; may be repeated")
	f.StringVar(&s.file, "file", "", "a `file` with the arguments as a JSON list; - is the standard input")
	f.BoolVar(&s.text, "text", false, "arguments are texts as they stand")
	f.BoolVar(&s.lines, "lines", false, "a message for each line of the standard input")
	f.StringVar(&s.ack, "ack", "", "`what` the answer waits for: none, stream or replicated")
	f.BoolVar(&s.dry, "dry-run", false, "check the message and say what it would count; send nothing")
	f.BoolVar(&s.wait, "wait", false, "when a limit refuses it, wait for as long as the service says and try again")
	f.IntVar(&s.retries, "retries", 3, "how many `times` to try again when the outcome isn't known")
	_ = c.RegisterFlagCompletionFunc("ack", cobra.FixedCompletions([]string{"none", "stream", "replicated"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// published is what is printed of one message.
type published struct {
	Position       string `json:"position,omitempty"`
	Ack            string `json:"ack,omitempty"`
	Duplicate      bool   `json:"duplicate,omitempty"`
	IdempotencyKey string `json:"idempotency_key"`
}

// estimated is what a dry run says.
type estimated struct {
	MessagesAccepted  int64 `json:"messages_accepted"`
	Recipients        int64 `json:"recipients"`
	MessagesDelivered int64 `json:"messages_delivered"`
	Bytes             int64 `json:"bytes"`
	DeliveredBytes    int64 `json:"delivered_bytes"`
}

func (s *publisher) run(ctx context.Context, hub, target string, args []string) (err error) {
	s.hub, s.target = hub, target
	switch {
	case s.lines && (s.file != "" || len(args) > 0):
		return usage("--lines takes messages from the standard input: leave arguments and --file out")
	case s.file != "" && len(args) > 0:
		return usage("--file has the arguments: leave them out on the command line")
	case s.lines && s.p.flags.idempotency != "":
		return usage("--idempotency-key is for one message: --lines makes one for each")
	case s.retries < 0:
		return usage("--retries is %d: accepted is 0 or more", s.retries)
	}
	var arguments json.RawMessage
	if !s.lines {
		if arguments, err = s.arguments(args); err != nil {
			return err
		}
	}
	if s.plane, err = s.p.dataPlane(ctx); err != nil {
		return err
	}
	if s.lines {
		return s.each(ctx)
	}
	return s.one(ctx, arguments)
}

// arguments reads those of the command line or the file.
func (s *publisher) arguments(args []string) (json.RawMessage, error) {
	if s.file != "" {
		data, err := s.p.readFile(s.file)
		if err != nil {
			return nil, err
		}
		if list := []json.RawMessage{}; json.Unmarshal(data, &list) != nil {
			return nil, usage("--file %s is no JSON list of arguments, as [\"hello\", 42]", s.file)
		}
		return data, nil
	}
	list := make([]json.RawMessage, len(args))
	for i, a := range args {
		var err error
		if list[i], err = s.argument(a); err != nil {
			return nil, err
		}
	}
	return json.Marshal(list)
}

// argument reads one: JSON, or a text as it stands.
func (s *publisher) argument(text string) (json.RawMessage, error) {
	if !s.text {
		if json.Valid([]byte(text)) {
			return json.RawMessage(text), nil
		}
		if begins := strings.TrimSpace(text); begins != "" && strings.ContainsRune(`{["`, rune(begins[0])) {
			return nil, usage("an argument begins like JSON and is none: %.80q (--text takes it as it stands)", text)
		}
	}
	return json.Marshal(text)
}

func (s *publisher) one(ctx context.Context, arguments json.RawMessage) error {
	if s.dry {
		var e struct {
			MessagesAccepted, Recipients, MessagesDelivered, Bytes, DeliveredBytes int64
		}
		if err := s.send(ctx, arguments, "", &e); err != nil {
			return err
		}
		told := estimated(e)
		return s.p.show(told, number(told.MessagesAccepted+told.MessagesDelivered),
			field{"sent", "nothing, it is a dry run"}, field{"accepted messages", number(told.MessagesAccepted)}, field{"recipients", number(told.Recipients)},
			field{"delivered messages", number(told.MessagesDelivered)}, field{"bytes", number(told.Bytes)}, field{"delivered bytes", number(told.DeliveredBytes)})
	}
	done, err := s.publish(ctx, arguments, cmp.Or(s.p.flags.idempotency, rand.Text()))
	if err != nil {
		return err
	}
	return s.p.show(done, done.Position,
		field{"published", s.target}, field{"position", done.Position}, field{"ack", done.Ack}, field{"duplicate", map[bool]string{true: "yes: it was sent before with this key"}[done.Duplicate]})
}

// each sends a message for each line until the input ends.
func (s *publisher) each(ctx context.Context) error {
	lines := bufio.NewScanner(s.p.In)
	lines.Buffer(nil, maxLine)
	compact := json.NewEncoder(s.p.Out)
	count := 0
	for lines.Scan() {
		text := bytes.TrimSpace(lines.Bytes())
		if len(text) == 0 {
			continue
		}
		arguments := json.RawMessage(bytes.Clone(text))
		if text[0] != '[' || s.text || !json.Valid(text) {
			one, err := s.argument(string(text))
			if err != nil {
				return after(count, err)
			}
			arguments = append(append([]byte{'['}, one...), ']')
		}
		var done published
		var err error
		if s.dry {
			err = s.send(ctx, arguments, "", nil)
		} else {
			done, err = s.publish(ctx, arguments, rand.Text())
		}
		if err != nil {
			return after(count, err)
		}
		count++
		switch {
		case s.p.flags.quiet:
			err = s.p.line(done.Position)
		case s.p.flags.output == formatJSON:
			err = compact.Encode(done)
		}
		if err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return after(count, err)
	}
	if s.p.flags.quiet || s.p.flags.output == formatJSON {
		return nil
	}
	return s.p.line(number(count) + " published")
}

// after says how many messages were sent before something went wrong.
func after(count int, err error) error {
	return &partly{count, err}
}

// partly is an error behind some success.
type partly struct {
	count int
	error
}

// Error says how far it came.
func (e *partly) Error() string { return number(e.count) + " published, then: " + e.error.Error() }

// Unwrap returns what went wrong.
func (e *partly) Unwrap() error { return e.error }

// publish sends a message, again when its outcome isn't known.
func (s *publisher) publish(ctx context.Context, arguments json.RawMessage, key string) (published, error) {
	done := published{IdempotencyKey: key}
	for attempt := 0; ; attempt++ {
		err := s.send(ctx, arguments, key, &done)
		if err == nil || ctx.Err() != nil {
			return done, err
		}
		pause, again := s.again(err, attempt)
		if !again {
			return done, err
		}
		if err := sleep(ctx, pause); err != nil {
			return done, err
		}
	}
}

// again tells whether and when to send a message again after an error.
func (s *publisher) again(err error, attempt int) (time.Duration, bool) {
	pause := min(500*time.Millisecond<<min(attempt, 10), 10*time.Second)
	refused, ok := errors.AsType[*Problem](err)
	_, mistaken := errors.AsType[*usageError](err)
	switch {
	case mistaken || errors.Is(err, errNotSignedIn):
		return 0, false
	case !ok:
		return pause, attempt < s.retries
	case refused.Status == http.StatusTooManyRequests:
		return refused.pause(pause), s.wait
	case refused.Status >= http.StatusInternalServerError && refused.Status != http.StatusNotImplemented:
		return refused.pause(pause), attempt < s.retries
	}
	return 0, false
}

// pause is how long the service asks to wait, or else usual.
func (e *Problem) pause(usual time.Duration) time.Duration {
	if e.RetryAfterMS > 0 {
		return min(time.Duration(e.RetryAfterMS)*time.Millisecond, time.Minute)
	}
	if s, err := strconv.Atoi(e.retryAfter); err == nil && s > 0 {
		return min(time.Duration(s)*time.Second, time.Minute)
	}
	return usual
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// send posts a message once.
func (s *publisher) send(ctx context.Context, arguments json.RawMessage, key string, answer any) error {
	body, err := json.Marshal(struct {
		Target    string          `json:"target"`
		Arguments json.RawMessage `json:"arguments"`
	}{s.target, arguments})
	if err != nil {
		return usage("the arguments are no JSON: %s", err)
	}
	path := hubPath(s.hub)
	switch {
	case s.group != "":
		path = hubPath(s.hub, "groups", s.group)
	case s.user != "":
		path = hubPath(s.hub, "users", s.user)
	case s.connection != "":
		path = hubPath(s.hub, "connections", s.connection)
	}
	query := url.Values{}
	if len(s.exclude) > 0 {
		query["excluded"] = s.exclude
	}
	if s.ack != "" {
		query.Set("ack", s.ack)
	}
	header := http.Header{}
	if s.dry {
		query.Set("dry_run", "true")
	} else {
		header.Set("Idempotency-Key", key)
	}
	return s.plane.ask(ctx, http.MethodPost, path+"/:send", query, header, body, answer)
}
