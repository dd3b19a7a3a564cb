package main

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// noise tells how much of the machine others use while something is measured.
type noise struct {
	at         time.Time
	busy, ours time.Duration
}

// listen begins. Everything that this program starts must have ended by then, and
// when it is asked.
func listen() noise { return noise{time.Now(), busyTime(), ownTime()} }

// foreign is how many cores others have kept busy since.
func (n noise) foreign() float64 {
	others := busyTime() - n.busy - (ownTime() - n.ours)
	return max(0, others.Seconds()/time.Since(n.at).Seconds())
}

// busyTime is how long the machine's cores were busy, all together (proc(5)).
func busyTime() time.Duration {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(data), "\n")
	fields := strings.Fields(line)
	const idle, waiting, guest = 4, 5, 9
	var ticks int
	for i := 1; i < min(len(fields), guest); i++ {
		if i != idle && i != waiting {
			n, _ := strconv.Atoi(fields[i])
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// ownTime is the CPU time of this program and of all that it started and that has
// ended.
func ownTime() time.Duration {
	var sum time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if syscall.Getrusage(who, &u) == nil {
			sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	return sum
}
