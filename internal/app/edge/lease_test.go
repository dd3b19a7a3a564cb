package edge

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/signalbox/signalbox/tenants/accesstoken"
)

// SEC-17: when a hub begins to close, connections whose tokens have expired end in each
// of the next seconds, and those whose tokens haven't at their own time.
func TestLeases_that_have_expired_end_one_after_the_other_SEC_17(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const n = 200
		began := time.Now()
		g := new(gate)
		ends := make(chan time.Duration, n)
		var all []*lease
		for range n {
			l := &lease{hub: g, close: func() { ends <- time.Since(began) }, token: &accesstoken.Principal{ExpiresAt: began.Add(-time.Minute)}}
			l.renew(nil, 0)
			all = append(all, l)
		}
		late := &lease{hub: g, close: func() { ends <- -time.Since(began) }, token: &accesstoken.Principal{ExpiresAt: began.Add(time.Hour)}}
		all = append(all, late)
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(ends) > 0 {
			t.Fatalf("%d end where the hub doesn't close", len(ends))
		}
		g.closes.Store(true)
		began = time.Now()
		late.token.ExpiresAt = began.Add(time.Hour)
		for _, l := range all {
			l.renew(nil, expiredSpread)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		var seconds [4]int
		for range n {
			seconds[min(<-ends/time.Second, 3)]++
		}
		if seconds[0] < 1 || seconds[1] < 1 || seconds[2] < 1 || seconds[3] > 0 {
			t.Errorf("%v of %d end in each second", seconds, n)
		}
		if end := -<-ends; end != time.Hour {
			t.Errorf("one whose token ends in an hour ends after %s", end)
		}
	})
}
