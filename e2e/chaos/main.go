// Command chaos breaks what the product stands on, one thing at a time, while
// clients talk through it, and checks from the outside that it keeps its promises.
//
//	chaos -rows F-01,F-03 -seeds 1
//
// It runs the real programs, a real Redis and Postgres, all on loopback, with a
// fault proxy between any two of them. Every run is kept in a results file; rows
// and seeds that passed are not run again unless they are asked for with -again.
package main

import (
	"context"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	sysload "github.com/shirou/gopsutil/v4/load"
)

// skewedTarget is the Makefile's, for the programs of -skewed.
const skewedTarget = "chaos-skewed"

// config is the command line.
type config struct {
	programs string
	rows     []*row
	seeds    []uint64
	phase    time.Duration
	outage   time.Duration // of F-05
	previous string        // folder of an earlier edge, for F-02; "" = the same
	skewed   string        // folder of edges whose clocks are off, for F-16; "" = none
	abuse    []string      // what the abuser of F-26 does; nil = everything
	scale    scale
	again    bool
	keep     bool // the folders of runs
	only     bool // the report, nothing is run
	streams  bool // edges do without Pub/Sub
	race     bool // the programs have the race detector
	results  string
	report   string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	command := run
	if len(os.Args) == 2 && os.Args[1] == abuseFlag {
		command = func(ctx context.Context, _ []string) error { return playAbuser(ctx, os.Stdin, os.Stdout) }
	}
	if len(os.Args) == 2 && os.Args[1] == wallFlag {
		command = func(ctx context.Context, _ []string) error { return playWall(ctx, os.Stdout) }
	}
	if len(os.Args) == 2 && os.Args[1] == appServerFlag {
		command = func(ctx context.Context, _ []string) error { return playAppServer(ctx, os.Stdin, os.Stdout) }
	}
	if err := command(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

func parse(args []string) (config, error) {
	c := config{scale: scale{payload: 256}}
	f := flag.NewFlagSet("chaos", flag.ContinueOnError)
	f.StringVar(&c.programs, "programs", "bin", "`folder` of the programs api and edge")
	names := f.String("rows", "", "rows, with commas; empty: all")
	seeds := f.String("seeds", "1", "seeds, with commas")
	f.DurationVar(&c.phase, "phase", 20*time.Second, "length of a phase: half of one before the fault, about one with it, one after it")
	f.DurationVar(&c.outage, "outage", time.Minute, "how long Redis is away in F-05, which asks for 5m")
	abuse := f.String("abuse", "", "what the abuser of F-26 does, with commas, to find out what of it is felt: "+strings.Join(abuseKinds, ", ")+"; empty: everything")
	f.IntVar(&c.scale.connections, "connections", 40, "connections of each tenant")
	f.IntVar(&c.scale.groups, "groups", 20, "groups of each tenant")
	f.IntVar(&c.scale.perClient, "groups-per-client", 4, "groups of each client")
	f.IntVar(&c.scale.publishers, "publishers", 4, "publishers of each tenant, half over REST, half as clients")
	f.Float64Var(&c.scale.rate, "rate", 20, "publishes per second of each tenant")
	f.StringVar(&c.previous, "previous", "", "`folder` of an earlier version's edge: F-02 replaces it by that of -programs; empty: the same version twice")
	f.StringVar(&c.skewed, "skewed", "", "`folder` of the programs edge-ahead and edge-behind, whose clocks are five minutes off, for F-16 (make "+skewedTarget+" builds them); without them the row fails")
	f.BoolVar(&c.again, "again", false, "also run what has passed")
	f.BoolVar(&c.keep, "keep", false, "keep the folders of all runs, with logs; those of failed ones are kept anyway")
	f.BoolVar(&c.only, "only-report", false, "make the page of what was kept, and run nothing")
	f.BoolVar(&c.streams, "streams-only", false, "have edges do without Pub/Sub; the runs are kept beside the others")
	f.StringVar(&c.results, "results", "e2e/chaos/results.json", "`file` that runs are kept in")
	f.StringVar(&c.report, "report", "docs/faults.md", "`page` that is made of it; empty: none")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	var problems []error
	c.rows = matrix
	if *names != "" {
		c.rows = nil
		for _, id := range strings.Split(*names, ",") {
			r := rowOf(strings.TrimSpace(id))
			if r == nil {
				problems = append(problems, fmt.Errorf("-rows: there is no row %q", id))
				continue
			}
			c.rows = append(c.rows, r)
		}
	}
	for _, kind := range strings.FieldsFunc(*abuse, func(r rune) bool { return r == ',' }) {
		if !slices.Contains(abuseKinds, kind) {
			problems = append(problems, fmt.Errorf("-abuse: there is no %q", kind))
		}
		c.abuse = append(c.abuse, kind)
	}
	for _, text := range strings.Split(*seeds, ",") {
		n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
		if err != nil {
			problems = append(problems, fmt.Errorf("-seeds: %q is no number", text))
		}
		c.seeds = append(c.seeds, n)
	}
	if c.phase < time.Second || c.phase > 10*time.Minute {
		problems = append(problems, fmt.Errorf("-phase is %v: accepted is 1s to 10m", c.phase))
	}
	if c.scale.connections < 1 || c.scale.groups < 1 || c.scale.perClient < 1 || c.scale.publishers < 1 || c.scale.rate <= 0 {
		problems = append(problems, errors.New("-connections, -groups, -groups-per-client, -publishers and -rate must be above 0"))
	}
	for _, folder := range []*string{&c.programs, &c.previous, &c.skewed} {
		if *folder != "" {
			absolute, err := filepath.Abs(*folder)
			*folder, problems = absolute, append(problems, err)
		}
	}
	return c, errors.Join(problems...)
}

func rowOf(id string) *row {
	for _, r := range matrix {
		if r.id == id {
			return r
		}
	}
	return nil
}

func run(ctx context.Context, args []string) error {
	c, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	kept, err := readResults(c.results)
	if err != nil {
		return err
	}
	bad := 0
	if c.only {
		c.rows = nil
	} else if c.race, err = raceBuilt(c.programs, "api", "edge"); err != nil {
		return err
	}
	for _, r := range c.rows {
		for _, seed := range c.seeds {
			if !c.again && kept.has(result{Row: r.id, Seed: seed, Race: c.race, Streams: c.streams}) {
				_, _ = fmt.Fprintf(os.Stdout, "%s seed %d: passed already\n", r.id, seed)
				continue
			}
			x := execute(ctx, c, r, seed, os.Stdout)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if x.Verdict == violated {
				bad++
			}
			if r == noisyNeighbour && c.abuse != nil {
				continue // a part of the row isn't the row
			}
			if err := kept.keep(x); err != nil {
				return err
			}
		}
	}
	if c.report != "" {
		if kept, err = readResults(c.results); err != nil {
			return err
		}
		if err := replaceFile(c.report, []byte(report(matrix, kept))); err != nil {
			return err
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d runs failed", bad)
	}
	return nil
}

// execute runs a row once, in a world of its own, and prints it.
func execute(ctx context.Context, c config, r *row, seed uint64, out io.Writer) (x result) {
	print := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format, args...) }
	x = result{
		Row: r.id, Seed: seed, At: time.Now().Round(time.Second), Machine: machine(), Phase: c.phase.String(), Race: c.race, Streams: c.streams,
		Scale: fmt.Sprintf("3 tenants with %d connections, %d groups and %g publishes/s each", c.scale.connections, c.scale.groups, c.scale.rate),
	}
	if l, err := sysload.Avg(); err == nil {
		x.Load = l.Load1
	}
	print("\n%s seed %d: %s\n  injected  %s\n  expected  %s\n", r.id, seed, r.fault, r.injected, r.expected)
	t := &trial{Context: ctx, config: c, row: r, seed: seed, random: rand.New(rand.NewPCG(seed, seedOf(r.id))),
		say: func(format string, args ...any) { print("  …         "+format+"\n", args...) }}
	err := t.do()
	if c.race {
		unjudged(t.bounds)
	}
	x.Bounds, x.Verdict = t.bounds, verdictOf(t.bounds, err)
	if err != nil {
		x.Error = err.Error()
	}
	for _, b := range x.Bounds {
		mark := "ok"
		switch {
		case b.OK:
		case b.Time:
			mark = "LATE"
		default:
			mark = "FAIL"
		}
		print("  measured  %-4s %s: %s", mark, b.What, b.Measured)
		if b.Bound != "" {
			print(" (%s)", b.Bound)
		}
		print("\n")
	}
	if err != nil {
		print("  error     %v\n", err)
	}
	print("  verdict   %s in %v\n", x.Verdict, time.Since(x.At).Round(time.Second))
	if x.Verdict == violated || c.keep {
		print("  logs      %s\n", t.dir)
	} else if t.dir != "" {
		_ = os.RemoveAll(t.dir)
	}
	return x
}

// raceBuilt says whether the programs were built with the race detector: all of them, or
// none.
func raceBuilt(folder string, programs ...string) (race bool, err error) {
	with := 0
	for _, name := range programs {
		info, err := buildinfo.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return false, fmt.Errorf("-programs: %w", err)
		}
		if slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
			with++
		}
	}
	if with != 0 && with != len(programs) {
		return false, fmt.Errorf("-programs: %d of %d programs in %s have the race detector", with, len(programs), folder)
	}
	return with > 0, nil
}

// unjudged takes those bounds from a run with the race detector that say nothing of
// it: it makes everything some times slower and larger.
func unjudged(bounds []bound) {
	for i := range bounds {
		if b := &bounds[i]; b.Time || b.Plain {
			b.OK, b.Bound = true, b.Bound+", not judged with the race detector"
		}
	}
}

// setting is the row's, as the command line has it.
func (t *trial) setting() setting {
	s := t.row.setting
	if !t.config.streams {
		return s
	}
	s.edgeEnv = maps.Clone(s.edgeEnv)
	if s.edgeEnv == nil {
		s.edgeEnv = make(map[string]string)
	}
	s.edgeEnv["SIGNALBOX_STREAMS_ONLY"] = "true"
	return s
}

// worldsTried is how often a world is made whose ports prove to be taken.
const worldsTried = 3

// do makes the world, runs the row in it and ends it.
func (t *trial) do() (err error) {
	for range worldsTried {
		if t.dir != "" {
			_ = os.RemoveAll(t.dir)
		}
		if t.dir, err = os.MkdirTemp("", "signalbox-chaos-"+t.row.id+"-"); err != nil {
			return err
		}
		if t.w, err = startWorld(t, t.config.programs, t.dir, t.setting()); err == nil || !strings.Contains(err.Error(), "address already in use") {
			break // else others on this machine were faster
		}
	}
	if err != nil {
		return fmt.Errorf("start the world: %w", err)
	}
	defer t.w.close()
	t.load = newLoad(t.w, t.config.scale)
	defer func() { t.load.endSend(); t.load.endRead() }()
	return t.row.run(t)
}
