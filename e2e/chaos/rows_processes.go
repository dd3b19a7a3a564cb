package main

import (
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/signalbox/signalbox/e2e/chaos/history"
	"github.com/signalbox/signalbox/hubs/protocol"
)

var rollingDeploy = &row{
	id: "F-02", fault: "edges are replaced one after the other",
	setting:  setting{sticky: true, edgeEnv: map[string]string{"SIGNALBOX_EDGE_DRAIN_GRACE": "2s", "SIGNALBOX_EDGE_DRAIN": "8s"}},
	injected: "SIGTERM to each edge in turn, with 2 s of grace and 8 s for its clients to go; a new one takes its place when it has ended: of another version, where -previous names one, so that both serve side by side meanwhile.",
	expected: "the edge isn't ready at once; its clients are asked to reconnect, evenly over the time; calls under way are answered, and those that cross the end of their connection are not carried out; it ends with status 0 within 35 s; no publish over REST fails; nothing is lost",
	run: func(t *trial) error {
		if err := t.startPrevious(); err != nil {
			return err
		}
		if err := t.warm(); err != nil {
			return err
		}
		var unready, ends []time.Duration
		var bad []string
		rate := 0.0
		for i := range edgeCount {
			t.replaced[i] = true
			there := len(t.load.on(i))
			if err := t.w.edges[i].signal(syscall.SIGTERM); err != nil {
				return err
			}
			asked := time.Now()
			if err := await(t, 5*time.Second, "the edge not to be ready", func() bool { return !t.w.edges[i].ready(t) }); err != nil {
				bad = append(bad, err.Error())
			}
			unready = append(unready, time.Since(asked))
			select {
			case <-t.w.edges[i].current().Done():
			case <-time.After(60 * time.Second):
				return fmt.Errorf("edge %d doesn't end", i+1)
			}
			ends = append(ends, time.Since(asked))
			if err := t.w.edges[i].current().Err(); err != nil {
				bad = append(bad, err.Error())
			}
			// The busiest second of those that came back, beside an even spread.
			most := 0
			for at := asked; at.Before(time.Now()); at = at.Add(250 * time.Millisecond) {
				most = max(most, t.load.comebacks(at, at.Add(2*time.Second), func(*client) bool { return true }))
			}
			rate = max(rate, float64(most)/2/(float64(there)/8))
			t.w.edges[i].program = filepath.Join(t.w.programs, "edge")
			if err := t.w.edges[i].start(); err != nil {
				return err
			}
			if _, err := t.w.edges[i].awaitReady(t, 30*time.Second); err != nil {
				return err
			}
			if err := t.pass(2 * time.Second); err != nil {
				return err
			}
		}
		if err := t.tail(); err != nil {
			return err
		}
		if err := t.conclude(); err != nil {
			return err
		}
		t.note("versions", t.versions())
		t.zero("edges that didn't end well", len(bad), fmt.Sprint(bad))
		t.within("not ready after SIGTERM", slices.Max(unready), 500*time.Millisecond)
		t.within("the slowest end", slices.Max(ends), 35*time.Second)
		broken, sample := t.disconnects(func(l *history.Life) bool { return l.Ending == history.Broken })
		t.zero("connections that broke instead of being closed", broken, sample)
		t.bounds = append(t.bounds, bound{What: "busiest reconnects, in 2 s, beside an even spread", Measured: fmt.Sprintf("%.2f×", rate), Bound: "≤ 1.2×", Time: true, OK: rate <= 1.2})
		var rest, calls []attempt
		for _, p := range t.load.senders {
			p.mu.Lock()
			if p.client == nil {
				rest = append(rest, p.attempts...)
			} else {
				calls = append(calls, p.attempts...)
			}
			p.mu.Unlock()
		}
		t.zero("publishes over REST that were not accepted", len(took(rest, failed)), reasons(rest))
		late := took(calls, func(a attempt) bool { return a.crossed(t.load.history) })
		t.note("calls of clients that crossed the Close message of their connection: sent less than 1 s before it was read, and carried out by nobody", fmt.Sprint(len(late)))
		unanswered := took(calls, func(a attempt) bool { return a.outcome == history.Unknown && !a.crossed(t.load.history) })
		t.check(len(unanswered) == 0 && len(calls) > 0, "other calls of clients that were sent and never answered", fmt.Sprintf("%d of %d%s", len(unanswered), len(calls), reasons(calls)), "0")
		return nil
	},
}

// startPrevious puts edges of the earlier version into the places of those that run.
func (t *trial) startPrevious() error {
	if t.config.previous == "" {
		return nil
	}
	for _, e := range t.w.edges {
		if err := e.kill(); err != nil {
			return err
		}
		e.program = filepath.Join(t.config.previous, "edge")
		if err := e.start(); err != nil {
			return err
		}
		if _, err := e.awaitReady(t, 60*time.Second); err != nil {
			return err
		}
	}
	return t.w.awaitTenants(t)
}

// versions says what versions the edges are of.
func (t *trial) versions() string {
	now := versionOf(filepath.Join(t.w.programs, "edge"))
	if t.config.previous == "" {
		return now + ", all of them"
	}
	return versionOf(filepath.Join(t.config.previous, "edge")) + ", then " + now
}

// versionOf names a program by its commit, where the build knows it, else by its content.
func versionOf(program string) string {
	if info, err := buildinfo.ReadFile(program); err == nil {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return "commit " + s.Value[:min(10, len(s.Value))]
			}
		}
	}
	text, err := os.ReadFile(program)
	if err != nil {
		return err.Error()
	}
	sum := sha256.Sum256(text)
	return fmt.Sprintf("build %x", sum[:4])
}

var connectStorm = &row{
	id: "F-18", fault: "storms of connects", setting: setting{planN: "free", sticky: true},
	injected: "one client that connects 50 times a second; then 2,000 connects of tenant N (plan Free: 200) in 5 s; then every client of every tenant loses its connection at once",
	expected: "others connect without a failure, p99 < 2×; N is admitted to its limit; everybody is back within 60 s; no goroutine is left behind",
	run: func(t *trial) error {
		t.load.scale.connections /= 2
		if err := t.load.start(t, t.w.tenant(tenantA), t.w.tenant(tenantB)); err != nil {
			return err
		}
		for _, e := range t.w.edges {
			h, err := e.hygiene(t)
			if err != nil {
				return err
			}
			t.baseline = append(t.baseline, h)
		}
		t.began = time.Now()
		a, n := t.w.tenant(tenantA), t.w.tenant(tenantN)
		before, failures := t.connects(a, t.phase(0.5))
		var storm sync.WaitGroup
		flapping, stop := context.WithCancel(t)
		storm.Go(func() {
			for flapping.Err() == nil {
				if s, err := stall(flapping, t.w, n, 0); err == nil {
					s.close()
				}
				_ = t.pass(20 * time.Millisecond)
			}
		})
		during, failures2 := t.connects(a, t.phase(0.5))
		stop()
		storm.Wait()
		var open, refused, other atomic.Int64
		var mu sync.Mutex
		var stalled []*stalledClient
		gate := make(chan struct{}, 64)
		storm.Go(func() {
			var all sync.WaitGroup
			for i := range 2_000 {
				gate <- struct{}{}
				all.Go(func() {
					defer func() { <-gate }()
					s, err := stall(t, t.w, n, i%edgeCount)
					switch {
					case err == nil:
						open.Add(1)
						mu.Lock()
						stalled = append(stalled, s)
						mu.Unlock()
					case statusOf(err) == "429":
						refused.Add(1)
					default:
						other.Add(1)
						t.say("N: %v", err)
					}
				})
				time.Sleep(2500 * time.Microsecond)
			}
			all.Wait()
		})
		stormy, failures3 := t.connects(a, 6*time.Second)
		storm.Wait()
		for _, s := range stalled {
			s.close()
		}
		cut := time.Now()
		for _, c := range t.load.clients {
			c.mu.Lock()
			if c.socket != nil {
				c.socket.Close()
			}
			c.mu.Unlock()
		}
		back := time.Duration(-1)
		if err := t.pass(300 * time.Millisecond); err != nil {
			return err
		}
		if t.load.awaitConnected(t, 70*time.Second) == nil {
			back = time.Since(cut)
		}
		if err := t.tail(); err != nil {
			return err
		}
		if err := t.conclude(); err != nil {
			return err
		}
		t.zero("connects of A that failed", failures+failures2+failures3, "")
		for what, list := range map[string][]time.Duration{"beside the flapping client": during, "beside the storm": stormy} {
			b, d := quantile(before, 0.99), quantile(list, 0.99)
			t.bounds = append(t.bounds, bound{What: "p99 of a connect of A " + what, Measured: fmt.Sprintf("%s, %s before", short(d), short(b)), Bound: "< 2×", Time: true, OK: d < 2*b})
		}
		t.check(open.Load() >= 196 && open.Load() <= 204, "connections of N", fmt.Sprintf("%d open, %d answered 429, %d otherwise", open.Load(), refused.Load(), other.Load()), "200 ± 2 %")
		t.zero("of N's, answered otherwise", int(other.Load()), "")
		t.bounded("all clients are back", back, 60*time.Second)
		return nil
	},
}

// connects opens a connection of the tenant again and again and returns how long
// each took, sorted, and how many failed.
func (t *trial) connects(of *tenant, d time.Duration) (took []time.Duration, failures int) {
	for until, i := time.Now().Add(d), 0; time.Now().Before(until) && t.Err() == nil; i++ {
		began := time.Now()
		s, err := stall(t, t.w, of, i%edgeCount)
		if err != nil {
			failures++
		} else {
			took = append(took, time.Since(began))
			s.close()
		}
		_ = t.pass(50 * time.Millisecond)
	}
	slices.Sort(took)
	return took, failures
}

var appServerLost = &row{
	id: "F-20", fault: "an app server is lost", setting: setting{sticky: true},
	injected: "tenant A has two app servers at two edges; one is killed with invocations under way, and comes back; then the other is asked to stop (SIGTERM)",
	expected: "invocations under way are answered within 2 s, by an error or the end of the connection; clients are with the other app server within 5 s or asked to reconnect; after SIGTERM nobody notices anything",
	run: func(t *trial) error {
		a := t.w.tenant(tenantA)
		var servers [2]*appServer
		for i := range servers {
			s, err := t.w.startAppServer(t, a, i, fmt.Sprintf("app-server-%d", i+1))
			if err != nil {
				return err
			}
			defer s.in.Close() //nolint:errcheck // it is done
			servers[i] = s
		}
		if err := t.warm(); err != nil {
			return err
		}
		callers := slices.DeleteFunc(t.load.of(tenantA), func(c *client) bool { return c.transport != webSockets })
		echoes := func() (bad int) {
			for i, c := range callers {
				if err := t.call(c, "Echo", i, 5*time.Second); err != nil {
					bad++
				}
			}
			return bad
		}
		before := echoes()
		// Each has one call under way when its server dies.
		var mu sync.Mutex
		var answers []time.Duration
		var pending sync.WaitGroup
		for _, c := range callers {
			pending.Go(func() {
				_ = t.call(c, "Slow", 8_000, 20*time.Second)
				mu.Lock()
				answers = append(answers, time.Since(t.began))
				mu.Unlock()
			})
		}
		if err := t.pass(time.Second); err != nil {
			return err
		}
		t.began = time.Now()
		if err := syscall.Kill(servers[0].run.PID(), syscall.SIGKILL); err != nil {
			return err
		}
		killed := t.began
		if err := t.pass(5 * time.Second); err != nil {
			return err
		}
		after := echoes()
		pending.Wait()
		lost := 0
		slices.Sort(answers)
		last := time.Duration(0)
		for _, d := range answers {
			if d < 6*time.Second { // the others had the server that lives
				lost++
				last = d
			}
		}
		again, err := t.w.startAppServer(t, a, 2, "app-server-3")
		if err != nil {
			return err
		}
		defer again.in.Close() //nolint:errcheck // it is done
		if err := t.awaitAppServer(a, "app-server-3"); err != nil {
			return err
		}
		calm := time.Now()
		stopping, cancel := context.WithTimeout(t, 30*time.Second)
		defer cancel()
		stopped := servers[1].run.Stop(stopping)
		graceful := echoes()
		if err := t.tail(); err != nil {
			return err
		}
		if err := t.conclude(); err != nil {
			return err
		}
		t.zero("calls that failed before", before, "")
		t.check(lost > 0, "calls under way with the server that died", fmt.Sprintf("%d of %d", lost, len(callers)), "> 0")
		t.within("the last of them is answered", last, 2*time.Second)
		t.zero("calls that failed 5 s after the kill", after, "")
		n, sample := t.load.ends(killed, calm, func(l *history.Life) bool { return l.Tenant == tenantA })
		t.note("clients of A that were asked to reconnect", fmt.Sprintf("%d (%s)", n, sample))
		n, sample = t.load.ends(killed, time.Now(), func(l *history.Life) bool { return l.Tenant != tenantA })
		t.zero("disconnects of other tenants", n, sample)
		n, sample = t.load.ends(calm, time.Now(), func(l *history.Life) bool { return l.Tenant == tenantA })
		t.zero("disconnects after SIGTERM", n, sample)
		t.check(stopped == nil, "the end of the app server", errText(stopped), "ok")
		t.zero("calls that failed after SIGTERM", graceful, "")
		return nil
	},
}

// awaitAppServer returns when every edge gives clients to an app server.
func (t *trial) awaitAppServer(of *tenant, name string) error {
	token, err := mint(of, "looks-for-"+name, nil, nil)
	if err != nil {
		return err
	}
	for edge := range edgeCount {
		err := await(t, 30*time.Second, fmt.Sprintf("edge %d to give clients to %s", edge+1, name), func() bool {
			ctx, cancel := context.WithCancel(t)
			defer cancel()
			c := &client{name: "looks-for-" + name, tenant: of, edge: edge, transport: webSockets, proto: protocol.NewJSON(), token: token,
				base: func(edge int) string { return "http://" + t.w.edgeAddrs[edge] + "/t/" + of.slug }}
			ended := make(chan struct{})
			go func() { defer close(ended); _, _ = c.live(ctx) }()
			defer func() { cancel(); <-ended }()
			if await(t, 5*time.Second, "the client to connect", c.connected.Load) != nil {
				return false
			}
			answer, err := c.invoke(ctx, "Name", protocol.Raw{Encoding: protocol.JSON, Bytes: []byte("[]")})
			if err != nil || answer.HasError {
				return false
			}
			text, err := protocol.AppendJSON(nil, answer.Result)
			return err == nil && string(text) == fmt.Sprintf("%q", name)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// call invokes a method with one number.
func (t *trial) call(c *client, method string, n int, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(t, patience)
	defer cancel()
	m, err := c.invoke(ctx, method, protocol.Raw{Encoding: protocol.JSON, Bytes: fmt.Appendf(nil, "[%d]", n)})
	if err == nil && m.HasError {
		err = fmt.Errorf("%s", m.Error)
	}
	return err
}

var filesOut = &row{
	id: "F-22", fault: "an edge runs out of file descriptors", setting: setting{sticky: true, edgeRun: func(program string) *exec.Cmd {
		return exec.Command("prlimit", "--nofile=220", program)
	}},
	injected: "edges may have 220 files; 400 connections that say nothing are opened to one of them, and again when they are closed, for a phase",
	expected: "what is connected stays; the admin address answers; the process doesn't spin; connections are taken again within a second of the release",
	run: func(t *trial) error {
		t.load.scale.connections = min(t.load.scale.connections, 20)
		if err := t.warm(); err != nil {
			return err
		}
		a := t.w.tenant(tenantA)
		// Connections that say nothing cost the attacker least, and are opened again
		// whenever the edge closes them.
		ctx, cancel := context.WithCancel(t)
		defer cancel()
		var opening sync.WaitGroup
		var open atomic.Int64
		for range 400 {
			opening.Go(func() {
				for ctx.Err() == nil {
					conn, err := new(net.Dialer).DialContext(ctx, "tcp", t.w.edgeAddrs[0])
					if err != nil {
						_ = t.pass(100 * time.Millisecond)
						continue
					}
					open.Add(1)
					stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
					_, _ = conn.Read(make([]byte, 1))
					stop()
					_ = conn.Close()
					open.Add(-1)
				}
			})
		}
		if err := t.pass(3 * time.Second); err != nil {
			return err
		}
		cpu := t.cpu(0)
		answered, asked := 0, 0
		for until := time.Now().Add(t.phase(1)); time.Now().Before(until); asked++ {
			if t.w.edges[0].alive(t) { // on a connection of its own
				answered++
			}
			if err := t.pass(300 * time.Millisecond); err != nil {
				return err
			}
		}
		busy := (t.cpu(0) - cpu) / t.phase(1).Seconds()
		held := open.Load()
		cancel()
		opening.Wait()
		free := time.Now()
		taken := time.Duration(-1)
		if await(t, 20*time.Second, "", func() bool {
			s, err := stall(t, t.w, a, 0)
			if err == nil {
				s.close()
			}
			return err == nil
		}) == nil {
			taken = time.Since(free)
		}
		if err := t.tail(); err != nil {
			return err
		}
		if err := t.conclude(); err != nil {
			return err
		}
		t.noDisconnects("disconnects", func(l *history.Life) bool { return l.Transport != longPolling })
		t.note("connections, accepted or not, beside the load's", fmt.Sprint(held))
		t.check(answered == asked && asked > 0, "the admin address answers new connections", fmt.Sprintf("%d of %d", answered, asked), "always")
		t.bounds = append(t.bounds, bound{What: "processor time of the edge", Measured: fmt.Sprintf("%.0f %% of a core", 100*busy), Bound: "< 50 %", Time: true, OK: busy < 0.5})
		t.bounded("a connection is taken again", taken, time.Second)
		return nil
	},
}

// cpu is the processor time, in seconds, that an edge has used.
func (t *trial) cpu(edge int) float64 {
	m, err := t.w.edges[edge].scrape(t)
	if err != nil {
		return 0
	}
	return m["process_cpu_seconds_total"]
}

const (
	// memoryMost is what the process may be in F-23: its limit, and its program, which
	// isn't counted in that.
	memoryMost = 112 << 20
	// hoarders are clients that don't read. For each of them a megabyte may wait, once
	// its socket has some four of them.
	hoarders = 60
)

var memoryShort = &row{
	id: "F-23", fault: "an edge is short of memory",
	setting:  setting{sticky: true, edgeEnv: map[string]string{"GOMEMLIMIT": "48MiB"}},
	injected: "edges have GOMEMLIMIT=48MiB; 60 clients of tenant N on one edge stop reading, and each is sent messages of its own, 31 KiB at a time, through the other edges, for up to 45 s and 3 s after something was refused",
	expected: "the process keeps within its limit (and its program) and isn't ended; what it refuses or cuts off meanwhile is counted as edge_memory, A and B are not disconnected; soon after it takes everything again",
	run: func(t *trial) error {
		if err := t.load.start(t, t.w.tenant(tenantA), t.w.tenant(tenantB)); err != nil {
			return err
		}
		t.began = time.Now()
		n := t.w.tenant(tenantN)
		var stalled []*stalledClient
		defer func() {
			for _, s := range stalled {
				s.close()
			}
		}()
		for i := range hoarders {
			s, err := stall(t, t.w, n, 0, fmt.Sprintf("hoard-%d", i))
			if err != nil {
				return err
			}
			stalled = append(stalled, s)
		}
		var flood sync.WaitGroup
		var sent atomic.Int64
		flooding, enough := context.WithTimeout(t, 45*time.Second)
		defer enough()
		for worker := range 16 {
			flood.Go(func() { sent.Add(t.hoard(flooding, n, worker, 16)) })
		}
		most, refused := 0.0, 0.0
		for flooding.Err() == nil {
			if m, err := t.w.edges[0].scrape(t); err == nil {
				most = max(most, m[metricMemory])
				now := m.sum(metricRefusals, `"edge_memory"`)
				if now > 0 && refused == 0 {
					time.AfterFunc(3*time.Second, enough)
				}
				refused = max(refused, now)
			}
			if err := t.pass(200 * time.Millisecond); err != nil {
				return err
			}
		}
		flood.Wait()
		t.over = time.Now()
		again := await(t, 20*time.Second, "the edge to take a client", func() bool {
			s, err := stall(t, t.w, n, 0)
			if err == nil {
				s.close()
			}
			return err == nil
		})
		taken := time.Since(t.over)
		if err := t.pass(t.phase(1)); err != nil {
			return err
		}
		if err := t.conclude(); err != nil {
			return err
		}
		t.noDisconnects("disconnects of A and B", everyLife)
		t.note("accepted for clients that don't read", fmt.Sprintf("%d messages of 31 KiB", sent.Load()))
		t.plainly(most > 0 && most < memoryMost, "most memory of the edge", fmt.Sprintf("%.0f MB", most/1e6), fmt.Sprintf("< %.0f MB", float64(memoryMost)/1e6))
		t.plainly(refused > 0, "connections, publishes and clients refused or cut off as edge_memory", fmt.Sprintf("%.0f", refused), "> 0")
		t.check(again == nil, "the edge takes clients again", errText(again), "soon")
		t.within("after", taken, 5*time.Second)
		return nil
	},
}

// hoard publishes to the groups of the hoarders by turns, until ctx ends.
func (t *trial) hoard(ctx context.Context, of *tenant, worker, workers int) (accepted int64) {
	payload := fmt.Appendf(nil, `{"p":%q}`, strings.Repeat("x", 31<<10))
	for n := worker; ctx.Err() == nil; n += workers {
		if outcome, _ := t.w.rest(1+n%2, of).publish(fmt.Sprintf("hoard-%d", n%hoarders), payload); outcome == history.Accepted {
			accepted++
		}
	}
	return accepted
}
