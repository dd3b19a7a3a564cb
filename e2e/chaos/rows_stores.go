package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/e2e/chaos/history"
	"github.com/signalbox/signalbox/internal/embedded"
)

// read reads something of the control plane and returns its status and how long
// that took.
func (t *trial) read() (int, time.Duration) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(t, 10*time.Second)
	defer cancel()
	status, _, err := t.w.ask(ctx, http.MethodGet, "/v1/tenants/"+tenantA+"/hubs", "")
	if err != nil {
		return 0, time.Since(began)
	}
	return status, time.Since(began)
}

// reads reads until until and returns the statuses and how long each took, sorted.
func (t *trial) reads(until time.Time) (statuses map[int]int, took []time.Duration) {
	statuses = make(map[int]int)
	for time.Now().Before(until) && t.Err() == nil {
		status, d := t.read()
		statuses[status]++
		took = append(took, d)
		_ = t.pass(200 * time.Millisecond)
	}
	slices.Sort(took)
	return statuses, took
}

// dataPlane checks that the data plane noticed nothing.
func (t *trial) dataPlane(from, until time.Time) {
	t.noDisconnects("disconnects", func(l *history.Life) bool { return !t.replaced[edgeOf(l)] })
	all := t.load.attemptsIn("", from, until)
	t.zero("publishes that were not accepted", len(took(all, func(a attempt) bool { return failed(a) && a.status != "not connected" && a.status != "nobody listens" })), reasons(all))
}

func edgeOf(l *history.Life) int {
	n, _ := strconv.Atoi(strings.TrimPrefix(l.Edge, "edge "))
	return max(0, min(n-1, edgeCount-1))
}

var postgresAway = &row{
	id: "F-11", fault: "Postgres is away", setting: setting{sticky: true},
	injected: "Postgres is killed for 1.5 phases; meanwhile one edge is killed and a fresh one starts in its place",
	expected: "clients and publishes notice nothing; the fresh edge serves within 5 s, from what Redis has; the API answers 503 within a second or two; usage afterwards is what was accepted",
	run: func(t *trial) error {
		if err := t.warm(); err != nil {
			return err
		}
		if err := syscall.Kill(t.w.postgres.PID(), syscall.SIGKILL); err != nil {
			return err
		}
		<-t.w.postgres.Done()
		t.replaced[2] = true
		if err := t.w.edges[2].kill(); err != nil {
			return err
		}
		down := time.Now() // what the edge had under way when it was killed is F-01's
		if err := t.w.edges[2].start(); err != nil {
			return err
		}
		fresh, err := t.w.edges[2].awaitReady(t, 30*time.Second)
		if err != nil {
			return err
		}
		outcome, status := t.w.rest(2, t.w.tenant(tenantA)).publish("nobody", []byte(`{}`))
		statuses, answers := t.reads(down.Add(t.phase(1.5)))
		if err := t.w.restartPostgres(t); err != nil {
			return err
		}
		up := time.Now()
		healed := time.Duration(-1)
		if await(t, 20*time.Second, "the api", func() bool { status, _ := t.read(); return status == 200 }) == nil {
			healed = time.Since(up)
		}
		if err := t.tail(); err != nil {
			return err
		}
		if err := t.conclude(); err != nil {
			return err
		}
		t.dataPlane(down, up)
		t.within("a fresh edge is ready", fresh, 5*time.Second)
		t.check(outcome == history.Accepted, "it accepts a publish", status, "202")
		t.check(statuses[503] > 0 && statuses[503] == len(answers), "answers of the API meanwhile", fmt.Sprint(statuses), "503 alone")
		t.within("p99 of them", quantile(answers, 0.99), 1500*time.Millisecond)
		t.bounded("the API answers again", healed, 5*time.Second)
		t.usage()
		return nil
	},
}

// usage compares what the ledger has of tenant B with what the publishers know.
func (t *trial) usage() {
	accepted, unknown := 0, 0
	for _, m := range t.load.history.Messages {
		if m.ID.Tenant == tenantB {
			switch m.Outcome {
			case history.Accepted:
				accepted++
			case history.Unknown:
				unknown++
			}
		}
	}
	l, err := t.w.ledger(t, t.w.tenant(tenantB), 15*time.Second, func(l metered) bool {
		return l.Accepted >= accepted && l.Accepted <= accepted+unknown
	})
	measured := fmt.Sprintf("%d in the ledger, %d accepted, %d unknown", l.Accepted, accepted, unknown)
	if l.Refused == nil && err != nil {
		measured = err.Error()
	}
	t.check(err == nil, "accepted messages of B", measured, "equal, but for the unknown")
}

var postgresSlow = &row{
	id: "F-12", fault: "Postgres is slow, a table is locked",
	injected: "2 s more for each answer of Postgres for a phase; then table tenants is locked for a phase",
	expected: "the API answers within 3.5 s, with 503 at worst, and as before 3 s after; it lives and stays ready; clients and publishes notice nothing",
	run: func(t *trial) error {
		if err := t.warm(); err != nil {
			return err
		}
		if err := t.w.apiPostgres.delay(2000, 0); err != nil {
			return err
		}
		slow, first := t.reads(time.Now().Add(t.phase(1)))
		healthy := t.w.api.alive(t)
		t.w.apiPostgres.clean()
		conn, err := pgx.Connect(t, t.w.postgres.URL(embedded.Database))
		if err != nil {
			return err
		}
		defer conn.Close(context.WithoutCancel(t)) //nolint:errcheck // the end of the row
		tx, err := conn.Begin(t)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(t, "LOCK TABLE tenants IN ACCESS EXCLUSIVE MODE"); err != nil {
			return err
		}
		locked, second := t.reads(time.Now().Add(t.phase(1)))
		healthy = healthy && t.w.api.alive(t)
		if err := tx.Rollback(t); err != nil {
			return err
		}
		free := time.Now()
		healed := time.Duration(-1)
		if await(t, 20*time.Second, "the api", func() bool { status, _ := t.read(); return status == 200 }) == nil {
			healed = time.Since(free)
		}
		if err := t.tail(); err != nil {
			return err
		}
		if err := t.conclude(); err != nil {
			return err
		}
		t.dataPlane(t.began, t.over)
		for _, x := range []struct {
			what     string
			statuses map[int]int
			took     []time.Duration
		}{{"while Postgres is slow", slow, first}, {"while a table is locked", locked, second}} {
			t.check(x.statuses[200]+x.statuses[503] == len(x.took) && len(x.took) > 0, "answers of the API "+x.what, fmt.Sprint(x.statuses), "200 or 503")
			t.within("p99 of them", quantile(x.took, 0.99), 3500*time.Millisecond)
		}
		t.check(healthy, "the api says that it lives", fmt.Sprint(healthy), "true")
		t.bounded("the API answers as before", healed, 3*time.Second)
		return nil
	},
}

// alive asks /healthz.
func (p *process) alive(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.admin+"/healthz", nil)
	if err != nil {
		return false
	}
	req.Close = true
	res, err := new(http.Client).Do(req)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

var redisFull = &row{
	id: "F-10", fault: "Redis is full, or may evict",
	setting:  setting{throwaway: true, sticky: true},
	injected: "maxmemory is set to 24 MB more than is used, and tenant N publishes messages of 30 KiB as fast as it may, until Redis refuses; then maxmemory is raised. Before that an edge is started anew with maxmemory-policy allkeys-lru",
	expected: "an edge that could lose keys isn't ready; when Redis is full publishes are answered 503, nobody is disconnected, nothing is lost; A and B publish again as soon as there is room",
	run: func(t *trial) error {
		if err := t.warm(); err != nil {
			return err
		}
		if err := t.w.redis.ConfigSet(t, "maxmemory-policy", "allkeys-lru").Err(); err != nil {
			return err
		}
		t.replaced[2] = true
		if err := t.w.edges[2].kill(); err != nil {
			return err
		}
		if err := t.w.edges[2].start(); err != nil {
			return err
		}
		if err := t.pass(4 * time.Second); err != nil {
			return err
		}
		unfit := !t.w.edges[2].ready(t)
		if err := t.w.redis.ConfigSet(t, "maxmemory-policy", "noeviction").Err(); err != nil {
			return err
		}
		if _, err := t.w.edges[2].awaitReady(t, 15*time.Second); err != nil {
			return err
		}
		info, err := t.w.redis.InfoMap(t, "memory").Result()
		if err != nil {
			return err
		}
		used, _ := strconv.Atoi(info["Memory"]["used_memory"])
		if err := t.w.redis.ConfigSet(t, "maxmemory", strconv.Itoa(used+24<<20)).Err(); err != nil {
			return err
		}
		t.began = time.Now()
		n := t.w.tenant(tenantN)
		large := fmt.Appendf(nil, `{"p":%q}`, strings.Repeat("x", 30<<10))
		var mu sync.Mutex
		var flooding sync.WaitGroup
		full := time.Duration(-1)
		accepted := 0
		for worker := range 6 {
			flooding.Go(func() {
				for time.Since(t.began) < t.phase(1.5) && t.Err() == nil {
					outcome, status := t.w.rest(worker%2, n).publish("nobody", large)
					mu.Lock()
					switch {
					case outcome == history.Accepted:
						accepted++
					case strings.HasPrefix(status, "503") && full < 0:
						full = time.Since(t.began)
					}
					mu.Unlock()
				}
			})
		}
		flooding.Wait()
		if err := t.w.redis.ConfigSet(t, "maxmemory", "0").Err(); err != nil {
			return err
		}
		room := time.Now()
		if err := t.tail(); err != nil {
			return err
		}
		if err := t.conclude(); err != nil {
			return err
		}
		t.check(unfit, "an edge whose Redis may evict is ready", fmt.Sprint(!unfit), "false")
		t.noDisconnects("disconnects", func(l *history.Life) bool { return edgeOf(l) != 2 })
		measured := "never"
		if full >= 0 {
			measured = short(full)
		}
		t.note("N's publishes are refused with 503 after", fmt.Sprintf("%s, %d of them accepted", measured, accepted))
		for _, slug := range []string{tenantA, tenantB} {
			all := t.load.attemptsIn(slug, t.began, room)
			ok := len(took(all, succeeded))
			t.check(float64(ok) >= 0.999*float64(len(all)), "publishes of "+slug+" that were accepted meanwhile", fmt.Sprintf("%d of %d%s", ok, len(all), reasons(all)), "≥ 99.9 %")
		}
		t.resumes("deliveries flow when there is room", room, 3*time.Second)
		return nil
	},
}

var diskFull = &row{
	id: "F-21", fault: "the disks of Redis and of Postgres are full", setting: setting{onTmpfs: true, sticky: true},
	injected: "Redis' append-only file is on a file system of 16 MB, which is filled up for a phase and freed again; then that of Postgres, of 256 MB, together with its log of changes. Edges and the api write no files",
	expected: "no process of ours ends; publishes that Redis can't write down are refused with 503; when there is room again, all goes on within 10 s; without Postgres' disk changes are refused with 503, never with 500, clients and publishes notice nothing, and when there is room again the API changes things within 10 s; usage is what was accepted",
	run: func(t *trial) error {
		if err := t.warm(); err != nil {
			return err
		}
		full, free, err := t.fillDisk(t.w.redisDir, func() error { return t.pass(t.phase(1)) })
		if err != nil {
			return err
		}
		t.began = full
		if err := t.pass(t.phase(1)); err != nil {
			return err
		}
		// A new session may want to write a file of its own.
		conn, err := pgx.Connect(t, t.w.postgres.URL(embedded.Database))
		if err != nil {
			return err
		}
		statuses := make(map[int]int)
		fullAgain, freeAgain, err := t.fillDisk(t.w.postgresDir, func() error { return t.changeOnFullDisk(conn, statuses) })
		if err != nil {
			return err
		}
		ended := false
		select {
		case <-t.w.postgres.Done():
			ended = true
			if err := t.w.restartPostgres(t); err != nil {
				return err
			}
		default:
		}
		mended := time.Duration(-1)
		if await(t, 30*time.Second, "the api to change something", func() bool { return t.changeHub(15) == http.StatusOK }) == nil {
			mended = time.Since(freeAgain)
		}
		if err := t.tail(); err != nil {
			return err
		}
		if err := t.conclude(); err != nil {
			return err
		}
		t.noDisconnects("disconnects", everyLife)
		t.publishes("publishes while Redis' disk was full", "", t.began.Add(3*time.Second), free)
		t.resumes("all goes on", free, 10*time.Second)
		refused := statuses[http.StatusServiceUnavailable]
		t.check(refused > 0 && refused+statuses[http.StatusOK] == sum(statuses), "answers to changes while Postgres' disk was full", fmt.Sprintf("%v, Postgres ended: %v", statuses, ended), "503, or 200 as long as it can")
		all := t.load.attemptsIn("", fullAgain, freeAgain)
		t.zero("publishes meanwhile that were not accepted", len(took(all, failed)), reasons(all))
		t.bounded("the API changes things again", mended, 10*time.Second)
		t.usage()
		return nil
	},
}

func sum(counts map[int]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// fillDisk fills the file system of a folder, has during happen and makes room again.
func (t *trial) fillDisk(folder string, during func() error) (full, free time.Time, err error) {
	ballast := filepath.Join(folder, "ballast")
	_ = exec.CommandContext(t, "dd", "if=/dev/zero", "of="+ballast, "bs=64k").Run() // ends when the disk is full
	full = time.Now()
	err = during()
	return full, time.Now(), errors.Join(err, os.Remove(ballast))
}

// changeOnFullDisk has Postgres need a new file for its log of changes, and changes a
// hub again and again for a phase; it counts the answers by status. It closes conn.
func (t *trial) changeOnFullDisk(conn *pgx.Conn, statuses map[int]int) error {
	_, _ = conn.Exec(t, "SELECT pg_switch_wal()")
	_ = conn.Close(context.WithoutCancel(t))
	for until, i := time.Now().Add(t.phase(1)), 0; time.Now().Before(until); i++ {
		statuses[t.changeHub(13+i%2)]++
		if err := t.pass(200 * time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// changeHub changes a setting of a hub that no row minds, and returns the status.
func (t *trial) changeHub(seconds int) int {
	ctx, cancel := context.WithTimeout(t, 10*time.Second)
	defer cancel()
	status, _, err := t.w.ask(ctx, http.MethodPatch, "/v1/tenants/"+tenantB+"/hubs/"+hubName, fmt.Sprintf(`{"keep_alive_seconds":%d}`, seconds))
	if err != nil {
		return 0
	}
	return status
}
