package adminapi

import (
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/httpserver"
)

// defaultRequestsPerMinute is what one caller may ask for.
const defaultRequestsPerMinute = 1200

// addressFactor is how many callers behind one address may do so at once.
const addressFactor = 5

// maxBuckets bounds those that are remembered. When there are more, those of
// callers that have all of their allowance go, then any.
const maxBuckets = 100_000

// limiter bounds requests per minute and caller, in this process: an allowance
// that refills evenly.
type limiter struct {
	perMinute int
	now       func() time.Time

	mu      sync.Mutex
	buckets map[string]bucket
}

type bucket struct {
	left float64
	at   time.Time
}

func newLimiter(perMinute int, now func() time.Time) *limiter {
	return &limiter{perMinute: perMinute, now: now, buckets: make(map[string]bucket)}
}

// take takes one of the requests of who, or says how long to wait for the next one;
// times is how many callers it stands for.
func (l *limiter) take(who string, times int) (a httpserver.Allowance, wait time.Duration) {
	quota := float64(l.perMinute * times)
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	b, known := l.buckets[who]
	if !known {
		l.makeRoom(now)
		b = bucket{left: quota, at: now}
	}
	b.left = min(quota, b.left+max(0, now.Sub(b.at).Minutes())*quota)
	b.at = now
	if b.left >= 1 {
		b.left--
	} else {
		wait = time.Duration(math.Ceil((1 - b.left) / quota * float64(time.Minute)))
	}
	l.buckets[who] = b
	a = httpserver.Allowance{Name: "requests_per_minute", Quota: int64(quota), Window: time.Minute, Remaining: int64(b.left)}
	a.Reset = time.Duration(math.Ceil((quota - b.left) / quota * float64(time.Minute)))
	return a, wait
}

// makeRoom forgets buckets when there are too many. The lock is held.
func (l *limiter) makeRoom(now time.Time) {
	if len(l.buckets) < maxBuckets {
		return
	}
	for who, b := range l.buckets {
		if now.Sub(b.at) > time.Minute {
			delete(l.buckets, who)
		}
	}
	for who := range l.buckets {
		if len(l.buckets) < maxBuckets*9/10 {
			return
		}
		delete(l.buckets, who)
	}
}

// limitAddress bounds what comes from one address, before anybody is looked up.
func (s *server) limitAddress(next http.Handler) http.Handler {
	return s.limited(next, addressFactor, func(r *http.Request) string { return "address:" + network(remoteIP(r)) })
}

// limitCaller bounds what one caller asks for: a user, a token, or else an address.
func (s *server) limitCaller(next http.Handler) http.Handler {
	return s.limited(next, 1, func(r *http.Request) string {
		switch c := callerOf(r); {
		case c.Operator != nil && c.TokenID == "":
			return "operator:" + c.Operator.ID
		case c.TokenID != "":
			return "token:" + c.TokenID
		case c.User != "":
			return "user:" + string(c.User)
		default:
			return "nobody:" + network(remoteIP(r))
		}
	})
}

func (s *server) limited(next http.Handler, times int, who func(*http.Request) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, wait := s.limit.take(who(r), times)
		a.Headers(w.Header())
		if wait > 0 {
			refused := fault.New(fault.RateLimited, fmt.Sprintf("%d requests per minute are taken here, and these were more.", a.Quota)).WithCode("too_many_api_requests")
			refused.RetryAfter = wait
			s.problem(w, r, refused)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// network is what one caller is taken to have of the addresses there are.
func network(ip string) string {
	a, err := netip.ParseAddr(ip)
	if err != nil || a.Is4() {
		return ip
	}
	if a = a.Unmap(); a.Is4() {
		return a.String()
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return ip
	}
	return p.String()
}
