package httpserver

import (
	"math"
	"net/http"
	"strconv"
	"time"
)

// Allowance is what somebody has left of a rate, as far as this process knows.
type Allowance struct {
	Name      string        // of the limit, "messages_per_second" and the like
	Quota     int64         // the most that can be taken at once
	Window    time.Duration // in which that much comes back
	Remaining int64
	Reset     time.Duration // until all of it is there again
}

// The header fields of an Allowance, as http.Header has their names.
const (
	policyHeader = "Ratelimit-Policy"
	limitHeader  = "Ratelimit"
)

// Headers writes a in the header fields of draft-ietf-httpapi-ratelimit-headers.
// What remains is a hint: other processes may take from the same.
func (a Allowance) Headers(header http.Header) {
	reset := "0"
	if a.Reset > 0 {
		reset = Seconds(a.Reset)
	}
	// In every answer, twice: fmt would be the dearest part of many a request.
	name := strconv.Quote(a.Name)
	header[policyHeader] = []string{name + ";q=" + strconv.FormatInt(a.Quota, 10) + ";w=" + Seconds(a.Window)}
	header[limitHeader] = []string{name + ";r=" + strconv.FormatInt(max(0, a.Remaining), 10) + ";t=" + reset}
}

// Seconds writes a time to wait, rounded up to a whole second.
func Seconds(d time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(d.Seconds()))))
}
