package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/signalbox/signalbox/internal/app/loadgen"
)

// scale holds many connections, spread over edges and over processes that make
// them, since one process may have only so many descriptors.
type scale struct {
	programs    string
	connections int
	processes   int // edges, and load generators, each with an edge of its own
	hold, every time.Duration
	rate        int // connections per second
}

// connectTime is how long connecting may take beyond what the rate asks for.
const connectTime = 10 * time.Minute

func runScale(args []string) error {
	var s scale
	f := flag.NewFlagSet("scale", flag.ContinueOnError)
	f.StringVar(&s.programs, "programs", "../bin", "`directory` with the programs dev, api, edge and loadgen")
	report := f.String("report", "", "`file` whose section on scale is replaced; empty: only what is printed")
	f.IntVar(&s.connections, "connections", 100_000, "how many clients")
	f.IntVar(&s.processes, "processes", 6, "edges, and load generators")
	f.DurationVar(&s.hold, "hold", 10*time.Minute, "how long all are held")
	f.DurationVar(&s.every, "every", time.Minute, "how often all get a message")
	f.IntVar(&s.rate, "rate", 1500, "connections per second")
	if err := f.Parse(args); err != nil {
		return err
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	const spare = 1000
	switch {
	case s.processes < 1 || s.processes > 8:
		return fmt.Errorf("-processes is %d: accepted is 1 to 8", s.processes)
	case s.connections < s.processes || uint64(s.connections/s.processes+spare) > limit.Cur:
		return fmt.Errorf("-connections is %d: %d processes that may open %d files each can have %d to %d", s.connections, s.processes, limit.Cur, s.processes, s.processes*int(limit.Cur-spare))
	case s.every <= 0 || s.hold < s.every || s.hold > 24*time.Hour:
		return errors.New("-hold must be at least -every and at most 24h")
	case s.rate < 1:
		return errors.New("-rate must be at least 1")
	}
	directory, err := filepath.Abs(s.programs)
	if err != nil {
		return err
	}
	s.programs = directory
	ctx, stop := notified()
	defer stop()
	text, err := s.run(ctx)
	if err != nil {
		return err
	}
	fmt.Print(text)
	if *report == "" {
		return nil
	}
	return replaceSection(*report, scaleSection, text)
}

// generator is one process that makes load.
type generator struct {
	cmd      *exec.Cmd
	out, err bytes.Buffer
}

func (s scale) run(ctx context.Context) (string, error) {
	p, err := startProduct(ctx, s.programs, s.processes)
	if err != nil {
		return "", err
	}
	defer p.end()
	empty, err := loadgen.Memory(p.pids...)
	if err != nil {
		return "", err
	}
	quiet := listen()
	connecting := time.Duration(s.connections/s.rate) * time.Second
	// A generator holds from when it has connected all of its own.
	hold := s.hold + connecting + time.Minute
	var generators []*generator
	began := time.Now()
	for i, url := range p.edges {
		n := s.connections / s.processes
		if i < s.connections%s.processes {
			n++
		}
		g := &generator{}
		g.cmd = pinned(ctx, otherCore, filepath.Join(s.programs, "loadgen"), "-url", url, "-key", p.key, "-connections", strconv.Itoa(n),
			"-connect-rate", strconv.Itoa(max(1, s.rate/s.processes)), "-duration", "0", "-hold", hold.String(), "-json")
		g.cmd.Stdout, g.cmd.Stderr = &g.out, &g.err
		if err := g.cmd.Start(); err != nil {
			return "", err
		}
		generators = append(generators, g)
	}
	ended := make(chan error, len(generators))
	for _, g := range generators {
		go func() {
			if err := g.cmd.Wait(); err != nil {
				ended <- fmt.Errorf("%w: %s", err, g.err.String())
				return
			}
			ended <- nil
		}()
	}
	b := &backend{url: p.edges[0] + "/api/hubs/load", key: p.key}
	for deadline := began.Add(connecting + connectTime); ; {
		n, err := b.connections(ctx)
		if err == nil && n == s.connections {
			break
		}
		progress("%d of %d connections after %.0f s", n, s.connections, time.Since(began).Seconds())
		if time.Now().After(deadline) {
			return "", fmt.Errorf("only %d of %d connections: %w", n, s.connections, errors.Join(err, context.DeadlineExceeded))
		}
		select {
		case err := <-ended:
			return "", errors.Join(errors.New("a load generator has ended before all were connected"), err)
		case <-time.After(5 * time.Second):
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
	connected := time.Since(began)
	progress("%d connections after %.0f s", s.connections, connected.Seconds())
	select {
	case <-time.After(settle):
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	full, err := loadgen.Memory(p.pids...)
	if err != nil {
		return "", err
	}
	before, err := loadgen.CPU(p.pids...)
	if err != nil {
		return "", err
	}
	broadcasts, from := 0, time.Now()
	for ; time.Since(from) < s.hold; broadcasts++ {
		if err := b.send(ctx, loadgen.ClockStamp(time.Now(), size)); err != nil {
			return "", err
		}
		select {
		case err := <-ended:
			return "", errors.Join(errors.New("a load generator has ended early"), err)
		case <-time.After(s.every):
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
	after, err := loadgen.CPU(p.pids...)
	if err != nil {
		return "", err
	}
	held := time.Since(from)
	left, err := b.connections(ctx)
	if err != nil {
		return "", err
	}
	progress("%d connections after %.0f s more; waiting for the load generators", left, held.Seconds())
	var all loadgen.Result
	p50 := sample{}
	for range generators {
		if err := <-ended; err != nil {
			return "", err
		}
	}
	for _, g := range generators {
		var r loadgen.Result
		if err := json.Unmarshal(g.out.Bytes(), &r); err != nil {
			return "", fmt.Errorf("a load generator said %q: %w", g.out.String(), err)
		}
		all.Received += r.Received
		all.Ended += r.Ended
		p50 = append(p50, r.P50)
		all.P99, all.Max = max(all.P99, r.P99), max(all.Max, r.Max)
	}
	var text strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&text, format+"\n", args...) }
	say("`make scale` on %s: %d connections over %d edges, that share one core, from %d load generators that share another with Redis.\n", time.Now().UTC().Format("2 January 2006"), s.connections, s.processes, s.processes)
	say("| | |\n|---|---|")
	say("| connected, with negotiate and token, in | %.0f s: %.0f/s |", connected.Seconds(), float64(s.connections)/connected.Seconds())
	say("| memory of the edges, resident | %.1f KB per connection, %.2f GB |", float64(full-empty)/float64(s.connections)/1024, float64(full)/(1<<30))
	say("| held for | %.0f s, with pings both ways every 15 s |", held.Seconds())
	say("| CPU of the edges meanwhile, broadcasts included | %.2f cores, %.1f µs per connection and second |", (after-before).Seconds()/held.Seconds(), 1e6*(after-before).Seconds()/held.Seconds()/float64(s.connections))
	say("| connections lost | %d, %d ended by themselves |", s.connections-left, all.Ended)
	say("| broadcasts of %d bytes to all | %d, %d of %d deliveries came |", size, broadcasts, all.Received, broadcasts*s.connections)
	say("| from before the publish to the reader, the load generators' median | %.0f ms |", p50.median())
	say("| the slowest load generator's p99, and the slowest of all | %.0f ms, %.0f ms |", all.P99, all.Max)
	say("| others kept busy | %.2f cores |", quiet.foreign())
	return text.String(), nil
}

// backend is a tenant's backend.
type backend struct{ url, key string }

func (b *backend) do(ctx context.Context, method, path, body string, want int, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, b.url+path+"?api-version=2022-06-01", strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+b.key)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != want {
		return fmt.Errorf("%s %s: %s", method, path, res.Status)
	}
	if answer == nil {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(answer)
}

func (b *backend) connections(ctx context.Context) (int, error) {
	var answer struct{ Count int }
	err := b.do(ctx, http.MethodGet, "/connections/:count", "", http.StatusOK, &answer)
	return answer.Count, err
}

func (b *backend) send(ctx context.Context, argument string) error {
	return b.do(ctx, http.MethodPost, "/:send", `{"target":"load","arguments":["`+argument+`"]}`, http.StatusAccepted, nil)
}

// scaleSection is the document's section on scale.
const scaleSection = "Scale"

// replaceSection puts text in the place of a section of a document, or behind all
// others when there is none of the title.
func replaceSection(file, title, text string) error {
	data, err := os.ReadFile(file) //nolint:gosec // the caller's
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	document, head := string(data), "## "+title+"\n"
	before, rest, found := strings.Cut(document, head)
	if !found {
		before = strings.TrimRight(document, "\n") + "\n\n"
	}
	if _, behind, more := strings.Cut(rest, "\n## "); more {
		text += "\n## " + behind
	}
	return os.WriteFile(file, []byte(before+head+"\n"+text), 0o644) //nolint:gosec // a document
}

// sectionOf returns a section of a document, "" when there is none.
func sectionOf(file, title string) string {
	data, err := os.ReadFile(file) //nolint:gosec // the caller's
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(data), "## "+title+"\n")
	text, _, _ := strings.Cut(rest, "\n## ")
	return strings.TrimSpace(text)
}
