package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// section is a part of the document.
type section struct{ title, text string }

// report writes the document.
func (b *benchmark) report(rows []row, sections []section) string {
	var text strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&text, format, args...) }
	say("# Benchmarks\n\n")
	model, cores := processors()
	say("Made by `make bench` on %s: %s, %s/%s, %d cores, %s. Signalbox runs as `make dev` runs it, with tenancy, limits, metering and its Redis backplane switched on, also where the peer keeps everything in memory. ",
		time.Now().UTC().Format("2 January 2006"), model, runtime.GOOS, runtime.GOARCH, cores, runtime.Version())
	say("Every server has one core to itself; Redis, Postgres, the control plane and the load generator share another. Where Redis is what is measured, it has the servers' core. Messages have %d bytes. Each figure is the median of %d runs of %s, with the smallest and the largest; ours and the peer's take turns.\n\n", size, b.runs, b.window)
	say("| measure | unit | Signalbox | peer | its figure | ratio | accept → aim | verdict | others |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		say("| %s | %s | %s | %s | %s | %.2f× | %s | %s | %s |\n", r.name, r.unit, figures(r.ours), r.peer, figures(r.theirs), r.ratio(), bounds(r), verdict(r), figures(r.foreign))
	}
	for _, r := range rows {
		if r.note != "" {
			say("\n%s: %s\n", r.name, r.note)
		}
	}
	say("\nThe last column is how many cores processes that have nothing to do with it kept busy during the runs: above 0.2, the machine was not quiet and the figures are worth less.\n")
	for _, s := range sections {
		say("\n## %s\n\n%s", s.title, s.text)
	}
	say("\nPeers: %s.\n\n", strings.Join(versions("github.com/centrifugal/centrifuge", "github.com/coder/websocket"), ", "))
	say("## To keep in mind\n\n")
	say("- Loopback on one machine: a write costs as much as it does on a network, its reader's half too. Ratios within one run count, figures of different machines don't.\n")
	say("- Latency is from when a publish was due to when the client had read it, so a server that falls behind can't hide it.\n")
	say("- Publishing as fast as everything is delivered keeps 16 messages on their way (64 for groups of 10): that decides how much is joined in one write, and no latency is compared there.\n")
	say("- Memory is what is resident %v after the last connection, kernel buffers excluded, garbage not yet given back included.\n", settle)
	say("- An edge runs its code in two threads where it has one core, and lets its timers be half a millisecond late; the peers run as Go starts them.\n")
	return text.String()
}

func figures(s sample) string {
	least, most := s.median(), s.median()
	for _, v := range s {
		least, most = min(least, v), max(most, v)
	}
	return fmt.Sprintf("%s [%s–%s]", figure(s.median()), figure(least), figure(most))
}

func figure(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func bounds(r row) string {
	sign := "≤"
	if r.atLeast {
		sign = "≥"
	}
	return fmt.Sprintf("%s %g× → %s %g×", sign, r.accept, sign, r.aim)
}

func verdict(r row) string {
	reached := func(bound float64) bool {
		if r.atLeast {
			return r.ratio() >= bound
		}
		return r.ratio() <= bound
	}
	switch {
	case reached(r.aim):
		return "aim reached"
	case reached(r.accept):
		return "accepted"
	}
	return "**short**"
}

// processors are what the machine says that it has. This program is kept on one of
// them, so the runtime doesn't know.
func processors() (model string, cores int) {
	model, cores = "unknown processor", runtime.NumCPU()
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return model, cores
	}
	listed := 0
	for _, line := range strings.Split(string(data), "\n") {
		switch name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) {
		case "processor":
			listed++
		case "model name":
			model = strings.TrimSpace(value)
		}
	}
	return model, max(cores, listed)
}

// versions names the versions of modules that this program is built with.
func versions(paths ...string) []string {
	var list []string
	info, _ := debug.ReadBuildInfo()
	for _, path := range paths {
		for _, m := range info.Deps {
			if m.Path == path {
				list = append(list, path+" "+m.Version)
			}
		}
	}
	return list
}
