package loadgen

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// usage is what processes have used so far (proc(5)).
type usage struct {
	cpu    time.Duration // user and system
	memory int64         // resident, bytes
}

// clockTick is the unit of CPU times in /proc: 100 per second on every
// architecture that Linux runs Go on.
const clockTick = 10 * time.Millisecond

// usageOf sums up processes of this machine.
func usageOf(pids []int) (usage, error) {
	var sum usage
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return usage{}, fmt.Errorf("read CPU time of process %d: %w", pid, err)
		}
		// The name in parentheses may hold anything; what follows it doesn't.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		const user, system, resident = 11, 12, 21
		if len(fields) <= resident {
			return usage{}, fmt.Errorf("read CPU time of process %d: %q", pid, stat)
		}
		for _, i := range []int{user, system} {
			ticks, err := strconv.ParseInt(string(fields[i]), 10, 64)
			if err != nil {
				return usage{}, fmt.Errorf("read CPU time of process %d: %w", pid, err)
			}
			sum.cpu += time.Duration(ticks) * clockTick
		}
		pages, err := strconv.ParseInt(string(fields[resident]), 10, 64)
		if err != nil {
			return usage{}, fmt.Errorf("read memory of process %d: %w", pid, err)
		}
		sum.memory += pages * int64(os.Getpagesize())
	}
	return sum, nil
}

// CPU is the processor time that processes of this machine have used so far.
func CPU(pids ...int) (time.Duration, error) {
	u, err := usageOf(pids)
	return u.cpu, err
}

// Memory is what processes of this machine have in memory, in bytes.
func Memory(pids ...int) (int64, error) {
	u, err := usageOf(pids)
	return u.memory, err
}
