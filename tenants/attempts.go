package tenants

import (
	"context"
	"net/netip"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
)

// bound is how many attempts a subject may make within a window.
type bound struct {
	subject string
	most    int
}

// attempt counts an attempt against every bound, or refuses it. It is counted
// before it is made, so that many at once gain nothing; at is when, for
// ForgetAttempt. What is refused doesn't count, so that nobody can be locked out
// for ever, or fill the table.
func (s *Service) attempt(ctx context.Context, refusal string, window time.Duration, bounds ...bound) (at time.Time, err error) {
	at = s.now()
	subjects := make([]string, len(bounds))
	for i, b := range bounds {
		subjects[i] = b.subject
	}
	counts, err := s.store.Attempt(ctx, at, at.Add(-window), subjects...)
	if err != nil {
		return at, err
	}
	refused := false
	for i, b := range bounds {
		refused = refused || counts[i] > b.most
	}
	if !refused {
		return at, nil
	}
	for _, subject := range subjects {
		if err := s.store.ForgetAttempt(ctx, subject, at); err != nil {
			return at, err
		}
	}
	e := fault.New(fault.RateLimited, refusal+" Please try again later.")
	e.RetryAfter = window
	return at, e
}

// networkBits is how much of an IPv6 address tells callers apart: whoever has one
// address has its whole /64.
const networkBits = 64

// network returns what attempts from an IP address are counted by.
func network(ip string) string {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return ip
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	return netip.PrefixFrom(addr, networkBits).Masked().String()
}
