package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/host"
	"github.com/shirou/gopsutil/v4/mem"
)

// The verdicts of a run.
const (
	passed   = "pass"
	late     = "late" // every bound but those of time holds
	violated = "FAIL"
)

// result is one run of one row, as it is kept.
type result struct {
	Row     string    `json:"row"`
	Seed    uint64    `json:"seed"`
	At      time.Time `json:"at"`
	Machine string    `json:"machine"`
	Scale   string    `json:"scale"`
	Phase   string    `json:"phase"`
	Load    float64   `json:"machine_load"`           // of the last minute, when the run began
	Race    bool      `json:"race,omitempty"`         // the programs had the race detector
	Streams bool      `json:"streams_only,omitempty"` // the edges did without Pub/Sub
	Bounds  []bound   `json:"bounds"`
	Error   string    `json:"error,omitempty"`
	Verdict string    `json:"verdict"`
}

// name is the run's among those of its row; those of a kind of their own come last.
func (x *result) name() string {
	name := fmt.Sprint(x.Seed)
	if x.Streams {
		name = "streams-only " + name
	}
	if x.Race {
		name = "race " + name
	}
	return name
}

// again reports whether x is a run of the same kind, row and seed as y.
func (x *result) again(y *result) bool { return x.Row == y.Row && x.name() == y.name() }

func verdictOf(bounds []bound, err error) string {
	verdict := passed
	for _, b := range bounds {
		switch {
		case b.OK:
		case b.Time && verdict == passed:
			verdict = late
		case !b.Time:
			verdict = violated
		}
	}
	if err != nil {
		return violated
	}
	return verdict
}

// results are all that were kept, in a file.
type results struct {
	path string
	All  []result `json:"results"`
}

func readResults(path string) (*results, error) {
	r := &results{path: path}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	return r, json.Unmarshal(text, r)
}

// has reports whether the row passed with the seed, in a run of the same kind.
func (r *results) has(run result) bool {
	return slices.ContainsFunc(r.All, func(x result) bool { return x.again(&run) && x.Verdict == passed })
}

// keep replaces what was known of the row and seed, and writes the file, to which
// other processes may have added meanwhile.
func (r *results) keep(x result) error {
	folder, err := os.Open(filepath.Dir(r.path))
	if err != nil {
		return err
	}
	defer folder.Close() //nolint:errcheck // that ends the lock
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	now, err := readResults(r.path)
	if err != nil {
		return err
	}
	r.All = now.All
	r.All = slices.DeleteFunc(r.All, func(old result) bool { return old.again(&x) })
	r.All = append(r.All, x)
	slices.SortFunc(r.All, func(a, b result) int {
		return cmp.Or(strings.Compare(a.Row, b.Row), cmp.Compare(a.name(), b.name()))
	})
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return replaceFile(r.path, append(text, '\n'))
}

func replaceFile(path string, text []byte) error {
	if err := os.WriteFile(path+".new", text, 0o644); err != nil { //nolint:gosec // a page of the documentation
		return err
	}
	return os.Rename(path+".new", path)
}

// machine describes where the runs are made.
func machine() string {
	model := "unknown processor"
	if info, err := cpu.Info(); err == nil && len(info) > 0 {
		model = strings.TrimSpace(info[0].ModelName)
	}
	memory := ""
	if m, err := mem.VirtualMemory(); err == nil {
		memory = fmt.Sprintf(", %.0f GiB", float64(m.Total)/(1<<30))
	}
	system := ""
	if h, err := host.Info(); err == nil {
		system = fmt.Sprintf(", %s %s, Linux %s", h.Platform, h.PlatformVersion, h.KernelVersion)
	}
	return fmt.Sprintf("%d cores of %s%s%s, %s", runtime.NumCPU(), model, memory, system, runtime.Version())
}
