package loadgen

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// A message is its stamp, which readers find without parsing hub messages, and
// padding: "#load" and the publish's number in 16 hexadecimal digits.
const (
	stampMark  = "#load"
	stampSize  = len(stampMark) + 16
	stampDigit = 16
)

// stamped returns the argument of publish n, size bytes long.
func stamped(n uint64, size int) string {
	digits := strconv.FormatUint(n, 16)
	return stampMark + strings.Repeat("0", stampDigit-len(digits)) + digits + strings.Repeat("x", size-stampSize)
}

// ClockStamp is an argument, size bytes long, whose latency is measured by whoever
// holds idle connections on this machine: it says that it was due at the time at.
func ClockStamp(at time.Time, size int) string { return stamped(uint64(at.UnixMicro()), size) }

// stamps calls found with the number of every stamp in data.
func stamps(data []byte, found func(n uint64)) {
	for {
		i := bytes.Index(data, []byte(stampMark))
		if i < 0 || len(data) < i+stampSize {
			return
		}
		if n, err := strconv.ParseUint(string(data[i+len(stampMark):i+stampSize]), 16, 64); err == nil {
			found(n)
		}
		data = data[i+stampSize:]
	}
}
