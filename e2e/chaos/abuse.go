package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs/protocol"
)

// abuse is what a tenant does that offers a multiple of what it may. It runs in a
// process of its own with the lowest priority, so that what is measured is the
// service and not the machine that the abuser would bring along.
type abuse struct {
	Edges  []string `json:"edges"` // addresses
	Slug   string   `json:"slug"`
	Key    string   `json:"key"`
	Factor float64  `json:"factor"`
	// The limits of the tenant's plan.
	Connections int           `json:"connections"`
	PerSecond   int           `json:"per_second"` // messages
	Requests    int           `json:"requests"`   // of REST, a second
	Connects    int           `json:"connects"`   // a second
	For         time.Duration `json:"for"`
	// Kinds are what it does; nil = everything.
	Kinds []string `json:"kinds"`

	mu     sync.Mutex
	counts map[string]int
}

// abuseKinds are what an abuser does.
var abuseKinds = []string{"publish", "too large", "join", "connect", "call", "stall", "read"}

func (a *abuse) does(kind string) bool { return a.Kinds == nil || slices.Contains(a.Kinds, kind) }

// abuseFlag makes this program the abuser; its settings are on standard input.
const abuseFlag = "-abuse"

// elsewhere starts the abuser and returns what it counted, by what it did and the answer.
func (a *abuse) elsewhere(ctx context.Context) (map[string]int, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	input, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "nice", "-n", "19", self, abuseFlag)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(input), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("abuse: %w", err)
	}
	counts := make(map[string]int)
	return counts, json.Unmarshal(out, &counts)
}

// playAbuser is what the process does.
func playAbuser(ctx context.Context, in io.Reader, out io.Writer) error {
	a := &abuse{counts: make(map[string]int)}
	if err := json.NewDecoder(in).Decode(a); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, a.For)
	defer cancel()
	a.run(ctx)
	return json.NewEncoder(out).Encode(a.counts)
}

// abusedGroups have all of the abuser's connections each: there is a limit of what goes
// to one.
func abusedGroups() []string {
	return []string{"all-0", "all-1", "all-2", "all-3", "all-4", "all-5", "all-6", "all-7"}
}

func (a *abuse) run(ctx context.Context) {
	t := &tenant{slug: a.Slug, key: a.Key}
	w := &world{tenants: []*tenant{t}}
	copy(w.edgeAddrs[:], a.Edges)
	var all sync.WaitGroup
	defer all.Wait()
	// Three quarters of the connections that it may have: some that read nothing,
	// some that read everything, and come back when they are closed.
	hold := a.Connections * 3 / 4
	for i := range hold {
		if stalls := i%3 == 0; stalls && a.does("stall") || !stalls && a.does("read") {
			all.Go(func() { a.hold(ctx, w, t, i, stalls) })
		}
	}
	worker := func(name string, perSecond float64, workers int, do func(i int) string) {
		if !a.does(name) {
			return
		}
		every := time.Duration(float64(workers) / perSecond * float64(time.Second))
		for n := range workers {
			all.Go(func() {
				next := time.Now().Add(rand.N(every + 1))
				for i := n; ctx.Err() == nil; i += workers {
					time.Sleep(min(time.Until(next), a.For))
					if next = next.Add(every); next.Before(time.Now()) {
						next = time.Now()
					}
					if ctx.Err() != nil {
						return
					}
					if answer := do(i); ctx.Err() == nil { // else it may be its own end
						a.count(name, answer)
					}
				}
			})
		}
	}
	// A refusal may take a second, which must not be what keeps the offer small: there are
	// as many workers as requests in a second, and some.
	web.Transport.(*http.Transport).MaxIdleConnsPerHost = 4096
	many := func(perSecond float64) int { return max(2, int(1.1*perSecond)) }
	rate := a.Factor * float64(a.Requests)
	small := fmt.Appendf(nil, `{"p":%q}`, strings.Repeat("x", 900))
	large := fmt.Appendf(nil, `{"p":%q}`, strings.Repeat("x", 31<<10))
	worker("publish", 0.75*rate, many(0.75*rate), func(i int) string {
		payload := small
		if i%4 == 0 {
			payload = large
		}
		_, status := w.rest(i%len(a.Edges), t).publish(abusedGroups()[i%len(abusedGroups())], payload)
		return status
	})
	worker("too large", 0.05*rate, many(0.05*rate), func(i int) string {
		_, status := w.rest(i%len(a.Edges), t).publish("all-0", bytes.Repeat([]byte("1"), 200<<10))
		return status
	})
	worker("join", 0.2*rate, many(0.2*rate), func(i int) string {
		return fmt.Sprint(w.rest(i%len(a.Edges), t).status(ctx, http.MethodPut, fmt.Sprintf("/groups/g%d/users/abuser", i%1000)))
	})
	token, err := mint(t, "stormer", nil, nil)
	if err != nil {
		return
	}
	connects := a.Factor * float64(a.Connects)
	worker("connect", connects, many(connects), func(i int) string {
		base := "http://" + a.Edges[i%len(a.Edges)] + "/t/" + a.Slug
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		id, err := negotiate(attempt, base, hubName, token, false)
		if err != nil {
			return statusOf(err)
		}
		s, err := dial(attempt, webSockets, base, hubName, id, token, false, nil)
		if err != nil {
			return statusOf(err)
		}
		defer s.Close()
		_ = s.Write(attempt, protocol.AppendHandshakeRequest(nil, protocol.HandshakeRequest{Protocol: "json", Version: 1}))
		return "connected"
	})
}

// hold is a client that calls as fast as its share of the abuse is.
func (a *abuse) hold(ctx context.Context, w *world, t *tenant, i int, stalls bool) {
	for ctx.Err() == nil {
		if stalls {
			s, err := stall(ctx, w, t, i%len(a.Edges), append(abusedGroups(), groupName(0))...)
			if err == nil {
				a.count("hold", "stalled")
				select { // until it must have been closed
				case <-ctx.Done():
				case <-time.After(8 * time.Second):
				}
				s.close()
				continue
			}
			a.held(ctx, statusOf(err))
		} else {
			a.held(ctx, a.talk(ctx, t, i))
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// held counts how a client fared, unless that is the abuser's own end.
func (a *abuse) held(ctx context.Context, how string) {
	if ctx.Err() == nil || how == "lasted" {
		a.count("hold", how)
	}
}

// talk is one life of a client that reads everything and calls too much.
func (a *abuse) talk(ctx context.Context, t *tenant, i int) string {
	token, err := mint(t, fmt.Sprintf("abuser-%d", i), append(abusedGroups(), groupName(0)), []string{"sendToGroup", "joinGroup"})
	if err != nil {
		return err.Error()
	}
	base := "http://" + a.Edges[i%len(a.Edges)] + "/t/" + a.Slug
	id, err := negotiate(ctx, base, hubName, token, false)
	if err != nil {
		return statusOf(err)
	}
	s, err := dial(ctx, webSockets, base, hubName, id, token, false, nil)
	if err != nil {
		return statusOf(err)
	}
	defer s.Close()
	if err := s.Write(ctx, protocol.AppendHandshakeRequest(nil, protocol.HandshakeRequest{Protocol: "json", Version: 1})); err != nil {
		return "handshake"
	}
	calling, stop := context.WithCancel(ctx)
	defer stop()
	if i%10 == 1 && a.does("call") {
		every := time.Duration(float64(time.Second) * float64(a.Connections) / 10 / (a.Factor * float64(a.PerSecond)))
		go func() {
			for n := 0; calling.Err() == nil; n++ {
				call := fmt.Appendf(nil, `{"type":1,"invocationId":"%d","target":"$sendToGroup","arguments":["all-0","m",["x"]]}`+"\x1e", n)
				if s.Write(calling, call) != nil {
					return
				}
				a.count("call", "sent")
				time.Sleep(every)
			}
		}()
	}
	for {
		if _, err := s.Read(ctx); err != nil {
			if ctx.Err() != nil {
				return "lasted"
			}
			return "closed"
		}
	}
}

func (a *abuse) count(what, answer string) {
	if len(answer) > 80 { // the address is in the middle
		answer = answer[:24] + "…" + answer[len(answer)-50:]
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.counts[what+" "+answer]++
}

func statusOf(err error) string {
	var refused *refusedError
	if errors.As(err, &refused) {
		return fmt.Sprint(refused.status)
	}
	return "error " + err.Error()
}

// told formats counts, and sums up those of them that aren't documented answers.
func told(counts map[string]int) (text string, undocumented int) {
	var all []string
	for name, n := range counts {
		all = append(all, fmt.Sprintf("%s: %d", name, n))
		_, answer, _ := strings.Cut(name, " ")
		for _, bad := range []string{"0", "error", "transport", "5"} {
			if strings.HasPrefix(strings.TrimPrefix(answer, "large "), bad) {
				undocumented += n
				break
			}
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", "), undocumented
}
