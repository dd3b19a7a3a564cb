package tenants

import (
	"fmt"
	"slices"
	"strings"

	"github.com/signalbox/signalbox/internal/fault"
)

// UserConnections says what becomes of a connection beyond max_connections_per_user.
type UserConnections string

// The ways.
const (
	RefuseNewest UserConnections = "refuse_newest"
	CloseOldest  UserConnections = "close_oldest" // of the user, in whatever hub, on whatever edge
)

// MethodRate is how often one connection may call a method.
type MethodRate struct {
	PerSecond int `json:"per_second"`
	Burst     int `json:"burst,omitempty"` // 0 = PerSecond
}

// Depth is how many calls may come at once.
func (m MethodRate) Depth() int { return max(m.Burst, m.PerSecond) }

// The bounds of a method's rate.
const (
	maxMethodName  = 256
	maxMethodRate  = 10_000
	maxMethodBurst = 50_000
)

// rateProblems are what is wrong with the settings that concern limits.
func (s HubSettings) rateProblems() (fields []fault.Field) {
	if !slices.Contains([]UserConnections{"", RefuseNewest, CloseOldest}, s.UserConnections) {
		fields = append(fields, fault.Field{Name: "user_connections", Message: "is no way to deal with them", Accepted: string(RefuseNewest) + ", " + string(CloseOldest)})
	}
	names := make([]string, 0, len(s.MethodRates))
	for name := range s.MethodRates {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		r := s.MethodRates[name]
		field := "method_rates." + name
		if !plainText(name, maxMethodName) {
			fields = append(fields, fault.Field{Name: "method_rates", Message: "has a name that no method can have", Accepted: fmt.Sprintf("1 to %d bytes without control characters", maxMethodName)})
			continue
		}
		if strings.HasPrefix(strings.ToLower(name), "$leave") {
			fields = append(fields, fault.Field{Name: field, Message: "is never refused", Accepted: "other methods"})
		}
		if r.PerSecond < 1 || r.PerSecond > maxMethodRate {
			fields = append(fields, fault.Field{Name: field + ".per_second", Message: "is out of range", Accepted: fmt.Sprintf("1 to %d", maxMethodRate)})
		}
		if r.Burst < 0 || r.Burst > maxMethodBurst {
			fields = append(fields, fault.Field{Name: field + ".burst", Message: "is out of range", Accepted: fmt.Sprintf("0 for per_second, or up to %d", maxMethodBurst)})
		}
	}
	if most := mustRow("max_parallel_calls").Most; s.ParallelCalls < 0 || s.ParallelCalls > most {
		fields = append(fields, fault.Field{Name: "parallel_calls", Message: "is out of range", Accepted: fmt.Sprintf("0 for one after the other, or up to %d", most)})
	}
	return fields
}

// ratesWithin returns an error that names what the tenant's limits don't allow.
func (s HubSettings) ratesWithin(l *Limits) error {
	var fields []fault.Field
	if n := len(s.MethodRates); n > l.MaxMethodLimits {
		fields = append(fields, fault.Field{Name: "method_rates", Message: fmt.Sprintf("has %d methods, which is more than the plan allows (max_method_limits)", n), Accepted: fmt.Sprintf("up to %d", l.MaxMethodLimits)})
	}
	if s.ParallelCalls > l.MaxParallelCalls {
		fields = append(fields, fault.Field{Name: "parallel_calls", Message: "is more than the plan allows (max_parallel_calls)", Accepted: fmt.Sprintf("up to %d", l.MaxParallelCalls)})
	}
	if len(fields) > 0 {
		return fault.InvalidFields(fields...)
	}
	return nil
}

// cleanRates are method rates as they are kept: by names in lower case.
func cleanRates(rates map[string]MethodRate) map[string]MethodRate {
	if len(rates) == 0 {
		return nil
	}
	clean := make(map[string]MethodRate, len(rates))
	for name, r := range rates {
		clean[strings.ToLower(name)] = r
	}
	return clean
}
