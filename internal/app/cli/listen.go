package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	adminclient "github.com/signalbox/signalbox/adminapi/client"
	"github.com/signalbox/signalbox/hubs/client"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// listener is what "listen" was told, and how far it is.
type listener struct {
	p                  *program
	plane              *dataPlane
	hub, user          string
	groups, permission []string
	proto              protocol.Protocol
	count, printed     int
	once, live         bool // don't come back; don't read the history
	trail              trail
	connected          bool // it has been
}

// errEnough ends listening in the orderly way.
var errEnough = errors.New("all that was asked for has come")

func (p *program) listenCommand() *cobra.Command {
	l := &listener{p: p}
	var protocolName, since, position string
	var last int
	var long time.Duration
	c := operations(&cobra.Command{
		Use: "listen HUB", Short: "Connect as a client and print what arrives",
		Long: `Connect to a hub as a SignalR client and print each message as it arrives, until Ctrl-C.

When the connection is lost it comes back, and what was accepted meanwhile is read from
the hub's history, so that nothing is missing in between. What can't be made up for is
said. Refusals of limits ($limit), losses ($gap) and the state of the connection go to
the standard error, messages to the standard output: with -o json one object a line.

With $` + envConnection + ` no sign-in is needed.`,
		Example: `  signalbox listen chat
  signalbox listen chat --group room-7 --user ann --last 20
  signalbox listen chat -o json --count 1`,
		Args: exactly(1), ValidArgsFunction: p.completeHubs,
		RunE: func(c *cobra.Command, args []string) (err error) {
			l.hub = args[0]
			proto, known := protocol.ByName(protocolName)
			if !known {
				return usage("--protocol is %q: accepted is json or messagepack", protocolName)
			}
			l.proto = proto
			ctx, cancel := context.WithCancelCause(c.Context())
			defer cancel(nil)
			if long > 0 {
				timer := time.AfterFunc(long, func() { cancel(errEnough) })
				defer timer.Stop()
			}
			if l.plane, err = p.dataPlane(ctx); err != nil {
				return err
			}
			if err := l.begin(ctx, last, since, position); errors.Is(err, errEnough) {
				return nil
			} else if err != nil {
				return err
			}
			return l.run(ctx)
		},
	}, "createRestToken", "createClientToken")
	f := c.Flags()
	f.StringSliceVarP(&l.groups, "group", "g", nil, "a `group` to be in; may be repeated")
	f.StringVarP(&l.user, "user", "u", "", "the `user` to be; nobody when left out")
	f.StringSliceVar(&l.permission, "permission", nil, "a `permission` of the connection's token; may be repeated")
	f.StringVar(&protocolName, "protocol", "json", "hub `protocol`: json or messagepack")
	f.IntVar(&last, "last", 0, "begin with the last so `many` messages that the hub has kept")
	f.StringVar(&since, "since", "", "begin with what was accepted since a `time`, as 5m or 2030-01-31T12:00:00Z")
	f.StringVar(&position, "after", "", "begin behind this `position`, as publish and listen print them")
	c.MarkFlagsMutuallyExclusive("last", "since", "after")
	f.IntVar(&l.count, "count", 0, "end after so `many` messages")
	f.DurationVar(&long, "for", 0, "end after so `long`")
	f.BoolVar(&l.once, "no-reconnect", false, "end when the connection is lost")
	f.BoolVar(&l.live, "no-catch-up", false, "print only what arrives, don't read what was missed")
	_ = c.RegisterFlagCompletionFunc("protocol", cobra.FixedCompletions([]string{"json", "messagepack"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// begin finds the place in the hub's order behind which everything is to be printed,
// and prints what was asked for before it.
func (l *listener) begin(ctx context.Context, last int, since, position string) error {
	back := last > 0 || since != "" || position != ""
	switch {
	case last < 0 || last > maxLast:
		return usage("--last is %d: accepted is 1 to %d", last, maxLast)
	case l.count < 0:
		return usage("--count is %d: accepted is 0 or more", l.count)
	case l.live && back:
		return usage("--no-catch-up doesn't go with --last, --since and --after")
	case l.live:
		return nil
	}
	l.trail = trail{plane: l.plane, hub: l.hub, groups: l.groups, user: l.user}
	switch {
	case last > 0:
		items, err := l.trail.newest(ctx, last)
		if err != nil {
			return err
		}
		return l.printAll(items)
	case since != "":
		at, err := past("since", since)
		if err != nil {
			return err
		}
		return l.trail.from(ctx, at, l.printItem)
	case position != "":
		l.trail.base = position
		return nil
	}
	return l.trail.head(ctx)
}

func (l *listener) printAll(items []historyItem) error {
	for _, item := range items {
		if err := l.printItem(item); err != nil {
			return err
		}
	}
	return nil
}

// run connects, and connects again, until it has printed enough.
func (l *listener) run(ctx context.Context) error {
	ever := false
	for attempt := 0; ; attempt++ {
		l.connected = false
		err := l.session(ctx)
		ever = ever || l.connected
		if ctx.Err() != nil { // that is how one stops listening
			err = errEnough
		}
		switch {
		case errors.Is(err, errEnough):
			return nil
		case !ever, l.once, final(err):
			return err
		}
		if l.connected {
			attempt = 0
		}
		pause := pauseOf(err, attempt)
		l.p.say("listen: %s; again in %v", brief(err), pause.Round(100*time.Millisecond))
		_ = sleep(ctx, pause) // the next session knows
	}
}

// closedError is the service's Close message.
type closedError struct {
	text      string
	reconnect bool
}

// Error is what the service says.
func (e *closedError) Error() string {
	if e.text == "" {
		return "the service closed the connection"
	}
	return "the service closed the connection: " + e.text
}

// final tells whether trying again makes no sense.
func final(err error) bool {
	if closed, ok := errors.AsType[*closedError](err); ok {
		return !closed.reconnect
	}
	status := 0
	if refused, ok := errors.AsType[*client.Refused](err); ok {
		status = refused.Status
	} else if problem, ok := errors.AsType[*Problem](err); ok {
		status = problem.Status
	} else if _, ok := errors.AsType[*usageError](err); ok {
		return true
	}
	return status >= http.StatusBadRequest && status < http.StatusInternalServerError && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout
}

// brief is an error in a line.
func brief(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return printable(line)
}

// The first pause before connecting again, and the longest.
const (
	firstPause   = 500 * time.Millisecond
	longestPause = 30 * time.Second
)

// pauseOf is how long to wait before the next attempt: spread, so that many don't
// come back together.
func pauseOf(err error, attempt int) time.Duration {
	pause := min(firstPause<<min(attempt, 10), longestPause)
	if refused, ok := errors.AsType[*client.Refused](err); ok {
		if s, err := strconv.Atoi(refused.RetryAfter); err == nil && s > 0 {
			pause = min(time.Duration(s)*time.Second, time.Minute)
		}
	}
	return pause/2 + rand.N(pause/2+1)
}

// What a connection is kept with.
const (
	aliveEvery    = 15 * time.Second
	alivePatience = 15 * time.Second
	trailEvery    = 30 * time.Second
	waiting       = 10_000 // messages that may wait to be printed
)

// arrived is what a connection has brought: a message or its end.
type arrived struct {
	message *protocol.Message
	err     error
}

// session is one connection: what was missed, then what arrives.
func (l *listener) session(ctx context.Context) (err error) {
	if !l.live {
		if _, err = l.catchUp(ctx); err != nil {
			return err
		}
	}
	in := adminclient.ClientTokenRequest{Hub: l.hub, UserID: filled(l.user)}
	if len(l.groups) > 0 {
		in.Groups = &l.groups
	}
	if len(l.permission) > 0 {
		in.Permissions = &l.permission
	}
	address, token, err := l.plane.clientToken(ctx, in)
	if err != nil {
		return err
	}
	dialing, done := context.WithTimeoutCause(ctx, l.p.flags.timeout, fmt.Errorf("no connection within %v (--timeout)", l.p.flags.timeout))
	conn, err := client.Dial(dialing, client.Config{URL: address, Token: token, Protocol: l.proto, UserAgent: l.p.userAgent(), HTTP: l.p.client})
	err = timedOut(dialing, err)
	done()
	if err != nil {
		return err
	}
	// The reader goes on until the connection ends, so that a goodbye gets its answer.
	messages, ending := make(chan arrived, waiting), make(chan struct{})
	reading, stop := context.WithCancel(context.WithoutCancel(ctx))
	read := make(chan struct{})
	go func() {
		defer close(read)
		readAll(reading, conn, messages, ending)
	}()
	defer func() {
		close(ending)
		if ctx.Err() != nil || errors.Is(err, errEnough) {
			conn.Close()
		} else {
			conn.Abort()
		}
		stop()
		<-read
	}()
	l.connected = true
	l.p.say("listen: connected to %s as %s", l.hub, conn.ID())

	var again []uint64 // what has been printed of what may arrive, too
	if !l.live {
		if again, err = l.catchUp(ctx); err != nil {
			return err
		}
	}
	return l.follow(ctx, conn, messages, again)
}

// readAll hands on what arrives until the connection ends; from ending on nobody
// wants it.
func readAll(ctx context.Context, conn *client.Conn, messages chan<- arrived, ending <-chan struct{}) {
	for {
		m, err := conn.Next(ctx)
		a := arrived{err: err}
		if err == nil {
			if m.Type == protocol.Ping {
				continue
			}
			a.message = m.Clone()
		}
		select {
		case messages <- a:
		case <-ending:
		}
		if err != nil {
			return
		}
	}
}

// follow prints what arrives.
func (l *listener) follow(ctx context.Context, conn *client.Conn, messages <-chan arrived, again []uint64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	alive := time.NewTicker(aliveEvery)
	defer alive.Stop()
	checks := time.NewTicker(trailEvery)
	defer checks.Stop()
	lost := make(chan error, 1)
	type read struct {
		items []historyItem
		next  string
		err   error
	}
	trailed, busy := make(chan read, 1), false
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-lost:
			return fmt.Errorf("connection lost: %w", err)
		case <-alive.C:
			go func() {
				ctx, done := context.WithTimeout(ctx, alivePatience)
				defer done()
				if err := conn.Alive(ctx); err != nil && !errors.Is(ctx.Err(), context.Canceled) {
					select {
					case lost <- err:
					default:
					}
				}
			}()
		case <-checks.C:
			if l.live || busy {
				continue
			}
			busy = true
			go func(base string) {
				items, next, err := l.trail.look(ctx, base)
				trailed <- read{items, next, err}
			}(l.trail.base)
		case r := <-trailed:
			busy = false
			if r.err == nil {
				l.trail.advance(r.items, r.next)
			}
		case a := <-messages:
			if a.err != nil {
				return lostError(a.err)
			}
			var err error
			if again, err = l.handle(ctx, conn, a.message, again); err != nil {
				return err
			}
		}
	}
}

// lostError says how a connection has ended without a Close message.
func lostError(err error) error {
	if status := client.CloseStatus(err); status > 0 {
		return fmt.Errorf("connection lost: status %d", status)
	}
	if errors.Is(err, io.EOF) {
		return errors.New("connection lost")
	}
	return fmt.Errorf("connection lost: %w", err)
}

// handle deals with one message. again are messages that were printed already, in
// their order, and may arrive now.
func (l *listener) handle(ctx context.Context, conn *client.Conn, m *protocol.Message, again []uint64) ([]uint64, error) {
	switch m.Type {
	case protocol.Close:
		return nil, &closedError{printable(m.Error), m.AllowReconnect}
	case protocol.Invocation:
	default:
		return again, nil // it asked for nothing that would be answered
	}
	if m.InvocationID != "" { // somebody waits for an answer
		refusal := &protocol.Message{Type: protocol.Completion, InvocationID: m.InvocationID, Error: "signalbox listen answers nothing", HasError: true}
		if err := conn.Send(ctx, refusal); err != nil {
			return again, fmt.Errorf("connection lost: %w", err)
		}
	}
	arguments, err := protocol.AppendJSON(nil, m.Arguments)
	if err != nil {
		return again, fmt.Errorf("read the arguments of %s: %w", m.Target, err)
	}
	if m.Target == "$limit" || m.Target == "$gap" {
		l.p.say("listen: %s %s", m.Target, arguments)
		return again, nil
	}
	mark := markOf(m.Target, arguments)
	if len(again) > 0 {
		if rest, found := behind(again, mark); found {
			return rest, nil
		}
		again = nil // from here on all is new
	}
	l.trail.saw(mark)
	return again, l.print(message{Time: time.Now().UTC().Format(milliseconds), Target: m.Target, Arguments: arguments})
}

// catchUp prints what was accepted behind the trail's base, and returns the marks of
// what it has printed.
func (l *listener) catchUp(ctx context.Context) (marks []uint64, err error) {
	page := func(items []historyItem, position string) error {
		for _, item := range items {
			if !l.trail.mine(item) {
				continue
			}
			mark := markOf(item.Target, item.Arguments)
			if rest, found := behind(l.trail.seen, mark); found {
				l.trail.seen = rest
				continue
			}
			marks = append(marks, mark)
			if err := l.printItem(item); err != nil {
				return err
			}
		}
		l.trail.base = position
		return nil
	}
	err = l.trail.each(ctx, url.Values{"after": {l.trail.base}}, page)
	if lost, ok := errors.AsType[*goneError](err); ok {
		l.p.say("listen: what came behind position %s and up to %s is no longer kept (history_gone): messages are missing here", lost.From, lost.To)
		l.trail.base, l.trail.seen = lost.To, nil
		err = l.trail.each(ctx, url.Values{"after": {l.trail.base}}, page)
	}
	if err != nil {
		return nil, err
	}
	l.trail.seen = nil
	return marks, nil
}

// milliseconds is how times of messages are written.
const milliseconds = "2006-01-02T15:04:05.000Z"

// message is one as it is printed. Position is known of those from the history.
type message struct {
	Time      string          `json:"time"` // when it arrived, or was accepted
	Position  string          `json:"position,omitempty"`
	Target    string          `json:"target"`
	Arguments json.RawMessage `json:"arguments"`
}

func (l *listener) printItem(item historyItem) error {
	return l.print(message{Time: item.Time, Position: item.Position, Target: item.Target, Arguments: item.Arguments})
}

func (l *listener) print(m message) error {
	var line []byte
	var compact bytes.Buffer
	if json.Compact(&compact, m.Arguments) == nil {
		m.Arguments = compact.Bytes()
	}
	switch {
	case l.p.flags.quiet:
		line = append(line, m.Arguments...)
	case l.p.flags.output == formatJSON:
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(m); err != nil {
			return err
		}
		line = bytes.TrimSpace(b.Bytes())
	default:
		var texts []string
		for e := range protocol.Elements(protocol.Raw{Encoding: protocol.JSON, Bytes: m.Arguments}) {
			texts = append(texts, string(e.Bytes))
		}
		at := m.Time
		if t, err := time.Parse(milliseconds, m.Time); err == nil {
			at = t.Local().Format("15:04:05.000")
		}
		line = fmt.Appendf(line, "%s  %s  %s", at, printable(m.Target), printable(strings.Join(texts, "  ")))
	}
	if err := l.p.line(string(line)); err != nil {
		return err
	}
	if l.printed++; l.printed == l.count {
		return errEnough
	}
	return nil
}
