package quota

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/internal/pace"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/tenants"
)

// NoticeMethod is the client's method that is told of refused calls that wait for no
// answer. A client without it logs a warning and goes on.
const NoticeMethod = "$limit"

const (
	// noticeEvery is the least time between two notices of one limit to a connection.
	noticeEvery = 10 * time.Second
	// offencesMost refusals of a connection's own limits within offenceWindow close it.
	offencesMost  = 100
	offenceWindow = time.Minute
	// leavesPerSecond bounds what only ends something and is never refused: beyond it each
	// waits for its turn, at most mostLeaveWait.
	leavesPerSecond, leaveBurst = 50, 250
	mostLeaveWait               = time.Second
)

var (
	callsRow     = row("calls_per_second")
	bandwidthRow = row("bytes_per_second")
	streamsRow   = row("max_open_streams")
)

// methodRow is the limit that a hub's settings give to one method.
var methodRow = tenants.LimitRow{Name: "method_rate", Scope: tenants.ScopeConnection, Kind: tenants.ThrottleLimit, Code: CodeMethod}

// Filter is the hub filter that charges invocations: to the connection's limits, the
// method's and the tenant's, in this order. It stands before what answers them.
type Filter struct {
	hubs.PassFilter
	Messages *Messages
	Tenant   tenants.ID
	// Limits returns those in force.
	Limits func() *tenants.Limits
	// Method returns the rate of a method, by its name in lower case; nil = no method
	// has one.
	Method func(name string) (tenants.MethodRate, bool)
	// Refused is told the code of every refusal; nil = nobody is.
	Refused func(code string)
	// Offended is told of a connection that was closed since it wouldn't stop; nil =
	// nobody is.
	Offended func(c *hubs.Connection, r *Refusal)
	// Forced returns the limit whose refusal the connection's first call is to meet, for
	// those who try out how their app takes it; "" = none. Nil = of nobody.
	Forced  func(c *hubs.Connection) string
	Figures *Figures
}

var _ hubs.Filter = (*Filter)(nil)

// Ends reports whether a method only ends something: no limit refuses it, it is delayed
// where there are very many.
func Ends(method string) bool {
	switch strings.ToLower(method) {
	case "$leavegroup", "$clearpresence", "$unwatchpresence":
		return true
	}
	return false
}

// paces is what is kept of a connection that has called something.
type paces struct {
	mu                   sync.Mutex
	calls, tried, leaves pace.Meter
	share                Share
	methods              map[string]*pace.Meter
	noticed              map[string]time.Time // by limit
	offences             int
	offendedSince        time.Time
	closed, forced       bool
}

type pacesKey struct{}

func pacesOf(c *hubs.Connection) *paces {
	if p, ok := c.Value(pacesKey{}).(*paces); ok {
		return p
	}
	p := new(paces)
	c.SetValue(pacesKey{}, p)
	return p
}

// began is the origin of the clock of meters, ticks, which must be above 0.
var began = time.Now().Add(-time.Hour)

func ticks() int64 { return int64(time.Since(began)) }

// OnInvocation refuses what is beyond a limit.
func (f *Filter) OnInvocation(ctx context.Context, c *hubs.Connection, m *protocol.Message, next func(context.Context) error) error {
	l := f.Limits()
	p := pacesOf(c)
	if Ends(m.Target) {
		if err := p.leave(ctx, l); err != nil {
			return err
		}
		return f.translate(c, m, p, next(ctx))
	}
	if r := f.overPace(c, m, p, l); r != nil {
		return f.refused(c, m, p, r)
	}
	if err := f.Messages.ChargeFor(ctx, f.Tenant, l, hubs.Units(len(m.Arguments.Bytes)), &p.share); err != nil {
		var refusal *Refusal
		if errors.As(err, &refusal) {
			return f.refused(c, m, p, refusal)
		}
		return err
	}
	return f.translate(c, m, p, next(ctx))
}

// leave waits while a connection leaves more than anybody can have joined, or until ctx
// ends. It runs where the connection's few invocations do, so that meanwhile the client is
// read no further than these.
func (p *paces) leave(ctx context.Context, l *tenants.Limits) error {
	wait := p.leaving(ticks(), l)
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leaving counts one that leaves and returns how long it waits.
func (p *paces) leaving(now int64, l *tenants.Limits) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return min(mostLeaveWait, p.leaves.Wait(now, pace.Limit{PerSecond: leavesPerSecond, Burst: int64(max(leaveBurst, l.MaxGroupsPerConn))}, 1))
}

// overPace judges a call by the connection's own limits.
func (f *Filter) overPace(c *hubs.Connection, m *protocol.Message, p *paces, l *tenants.Limits) *Refusal {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.Forced != nil && !p.forced {
		p.forced = true
		if r, ok := tenants.Row(f.Forced(c)); ok {
			return refuse(r, r.Of(l), r.Burst(l), time.Second)
		}
	}
	now := ticks()
	if wait := c.Overdue(); wait > 0 {
		return refuse(bandwidthRow, l.BytesPerSecond, bandwidthRow.Burst(l), wait)
	}
	calls := pace.Limit{PerSecond: int64(max(1, l.CallsPerSecond)), Burst: int64(callsRow.Burst(l))}
	if l.Tried != nil && l.Tried.CallsPerSecond > 0 {
		tried := pace.Limit{PerSecond: int64(l.Tried.CallsPerSecond), Burst: int64(max(l.Tried.CallsPerSecond, l.CallBurst))}
		if p.tried.Over(now, tried) {
			f.Figures.Would(f.Tenant, callsRow.Name)
		}
	}
	if p.calls.Over(now, calls) {
		return refuse(callsRow, l.CallsPerSecond, callsRow.Burst(l), p.calls.Until(now, calls))
	}
	if f.Method == nil {
		return nil
	}
	name := strings.ToLower(m.Target)
	rate, limited := f.Method(name)
	if !limited || rate.PerSecond <= 0 {
		return nil
	}
	meter := p.methods[name]
	if meter == nil {
		if p.methods == nil || len(p.methods) > l.MaxMethodLimits { // settings have changed often
			p.methods = make(map[string]*pace.Meter)
		}
		meter = new(pace.Meter)
		p.methods[name] = meter
	}
	limit := pace.Limit{PerSecond: int64(rate.PerSecond), Burst: int64(rate.Depth())}
	if meter.Over(now, limit) {
		return refuse(methodRow, rate.PerSecond, rate.Depth(), meter.Until(now, limit))
	}
	return nil
}

// refused counts a refusal, tells who waits for no answer, and closes who won't stop.
func (f *Filter) refused(c *hubs.Connection, m *protocol.Message, p *paces, r *Refusal) error {
	r.RequestID = c.ID()
	if f.Refused != nil {
		f.Refused(r.Code)
	}
	f.tell(c, m, p, r)
	return r
}

// tell sees to what follows a refusal.
func (f *Filter) tell(c *hubs.Connection, m *protocol.Message, p *paces, r *Refusal) {
	now := time.Now()
	p.mu.Lock()
	notice := p.notice(m, r.Limit.Limit, now)
	end := false
	if r.Scope == string(tenants.ScopeConnection) && r.RetryAfterMS > 0 && !p.closed {
		if now.Sub(p.offendedSince) > offenceWindow {
			p.offences, p.offendedSince = 0, now
		}
		p.offences++
		end = p.offences >= offencesMost
		p.closed = end
	}
	p.mu.Unlock()
	if notice {
		_ = c.Send(noticeOf(r.Limit)) // has nothing that can't be encoded
	}
	if end {
		c.Close(r.Error(), true)
		if f.Offended != nil {
			f.Offended(c, r)
		}
	}
}

// translate puts what a limit further in has refused into the words of all surfaces.
func (f *Filter) translate(c *hubs.Connection, m *protocol.Message, p *paces, err error) error {
	var limit *hubs.LimitError
	var refusal *Refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &limit):
		r, ok := tenants.RowOfCode(limit.Code)
		if !ok {
			return err
		}
		if r.Code == streamsRow.Code && f.Refused != nil {
			f.Refused(r.Code) // nobody else has
		}
		refusal = refuse(r, limit.Limit, 0, 0)
	case errors.As(err, &refusal):
		if refusal.RequestID == "" && refusal.Code != membershipsRow.Code && f.Refused != nil {
			f.Refused(refusal.Code) // of what publishes are asked about; joins are counted where they are made
		}
	default:
		return err
	}
	refusal.RequestID = c.ID()
	f.tell(c, m, p, refusal)
	return refusal
}
