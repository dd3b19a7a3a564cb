package main

import (
	"cmp"
	"net/http"
	"regexp"
	"strings"
	"sync"
)

// tally is what was answered to tenant N, in all of the row and by any of its limits:
// a request that one rate is tried with may be refused by another.
type tally struct {
	mu       sync.Mutex
	accepted int            // messages
	refused  map[string]int // by code
	unknown  int            // messages of which the answer was that nobody knows
	silent   int            // requests without an answer
}

func newTally() *tally { return &tally{refused: make(map[string]int)} }

// count notes one answer to a request of a rate.
func (c *tally) count(r rated, status int, text string) (admitted, refused bool) {
	code := c.answer(status, text, r.sends)
	if status > 0 && status < 300 {
		return true, false
	}
	// An edge that is behind has many under way.
	return false, status == http.StatusTooManyRequests && (code == r.code || code == atOnce)
}

// refusalCode finds the code in a problem document, and in the line of a refusal.
var refusalCode = regexp.MustCompile(`"code":"([a-z_]+)"|^([a-z_]+) scope=`)

// answer notes an answer; sends says that the request was one message. It returns the
// code of a refusal.
func (c *tally) answer(status int, text string, sends bool) (code string) {
	if found := refusalCode.FindStringSubmatch(text); found != nil {
		code = cmp.Or(found[1], found[2])
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case status == 0:
		c.silent++
	case status < 300:
		if sends {
			c.accepted++
		}
	case status == http.StatusServiceUnavailable && strings.Contains(text, "unknown whether"):
		if sends {
			c.unknown++
		}
	case status == http.StatusTooManyRequests || status == http.StatusForbidden:
		c.refused[code]++
	}
	return code
}

// same reports whether a ledger says what was answered, to the unit but for what was
// answered with nothing, or with not knowing.
func (c *tally) same(l metered) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	more := 0
	for code := range l.Refused {
		if c.refused[code] == 0 && l.Refused[code] > 0 {
			more += l.Refused[code]
		}
	}
	for code, answered := range c.refused {
		if l.Refused[code] < answered {
			return false
		}
		more += l.Refused[code] - answered
	}
	return more <= c.silent && l.Accepted >= c.accepted && l.Accepted <= c.accepted+c.unknown+c.silent
}
