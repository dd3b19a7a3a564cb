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

// Headers writes a alone, see Allowances.
func (a Allowance) Headers(header http.Header) { Allowances(header, a) }

// Allowances writes what is left of several limits, the one that matters most first, in
// the header fields of draft-ietf-httpapi-ratelimit-headers. What remains is a hint:
// other processes may take from the same.
func Allowances(header http.Header, all ...Allowance) {
	// In every answer: fmt would be the dearest part of many a request.
	policies, left := make([]byte, 0, 96), make([]byte, 0, 96)
	for i, a := range all {
		if i > 0 {
			policies, left = append(policies, ", "...), append(left, ", "...)
		}
		policies = append(strconv.AppendQuote(policies, a.Name), ";q="...)
		policies = append(strconv.AppendInt(policies, a.Quota, 10), ";w="...)
		policies = append(policies, Seconds(a.Window)...)
		left = append(strconv.AppendQuote(left, a.Name), ";r="...)
		left = append(strconv.AppendInt(left, max(0, a.Remaining), 10), ";t="...)
		if a.Reset > 0 {
			left = append(left, Seconds(a.Reset)...)
		} else {
			left = append(left, '0')
		}
	}
	header[policyHeader] = []string{string(policies)}
	header[limitHeader] = []string{string(left)}
}

// Seconds writes a time to wait, rounded up to a whole second.
func Seconds(d time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(d.Seconds()))))
}
