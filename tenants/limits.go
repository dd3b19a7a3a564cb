package tenants

// LimitScope is what a limit is counted over.
type LimitScope string

// The scopes of limits.
const (
	ScopeTenant     LimitScope = "tenant"
	ScopeHub        LimitScope = "hub"
	ScopeConnection LimitScope = "connection"
	ScopeMessage    LimitScope = "message"
)

// LimitSource is where a limit's value comes from.
type LimitSource string

// The sources of limits.
const (
	FromPlan     LimitSource = "plan"
	FromOverride LimitSource = "override"
)

// Limit is one limit in force, with its documentation.
type Limit struct {
	Code   string
	Name   string
	Unit   string
	Scope  LimitScope
	Value  int
	Source LimitSource
}

// Override replaces one limit of the plan for one tenant.
type Override struct {
	Code  string
	Value int
}

// limitKinds lists every limit: its words and where it is in Limits.
var limitKinds = []struct {
	code, name, unit string
	scope            LimitScope
	of               func(*Limits) *int
}{
	{"max_connections", "Concurrent connections", "connections", ScopeTenant, func(l *Limits) *int { return &l.MaxConnections }},
	{"messages_per_second", "Accepted messages per second", "messages/s", ScopeTenant, func(l *Limits) *int { return &l.MessagesPerSecond }},
	{"message_burst", "Burst of accepted messages", "messages", ScopeTenant, func(l *Limits) *int { return &l.MessageBurst }},
	{"max_message_bytes", "Message size", "bytes", ScopeMessage, func(l *Limits) *int { return &l.MaxMessageBytes }},
	{"max_groups_per_connection", "Groups of one connection", "groups", ScopeConnection, func(l *Limits) *int { return &l.MaxGroupsPerConn }},
	{"max_group_memberships", "Group memberships of all connections", "memberships", ScopeTenant, func(l *Limits) *int { return &l.MaxMemberships }},
	{"max_hubs", "Hubs", "hubs", ScopeTenant, func(l *Limits) *int { return &l.MaxHubs }},
	{"idempotency_seconds", "Memory of idempotency keys", "seconds", ScopeHub, func(l *Limits) *int { return &l.IdempotencySeconds }},
	{"retention_seconds", "Messages kept for clients that come back", "seconds", ScopeHub, func(l *Limits) *int { return &l.RetentionSeconds }},
	{"history_bytes", "Bytes of all messages that are kept", "bytes", ScopeTenant, func(l *Limits) *int { return &l.HistoryBytes }},
	{"resume_window_seconds", "Window of stateful reconnect", "seconds", ScopeConnection, func(l *Limits) *int { return &l.ResumeWindowSeconds }},
	{"resume_buffer_bytes", "Buffer of stateful reconnect", "bytes", ScopeConnection, func(l *Limits) *int { return &l.ResumeBufferBytes }},
}

// With returns the limits with overrides in place of the plan's values.
// Overrides of unknown limits are left out.
func (l Limits) With(overrides []Override) Limits {
	for _, o := range overrides {
		for _, kind := range limitKinds {
			if kind.code == o.Code {
				*kind.of(&l) = o.Value
			}
		}
	}
	return l
}

// List returns the limits one by one; overrides tells where each comes from.
func (l Limits) List(overrides []Override) []Limit {
	overridden := make(map[string]bool, len(overrides))
	for _, o := range overrides {
		overridden[o.Code] = true
	}
	effective := l.With(overrides)
	list := make([]Limit, 0, len(limitKinds))
	for _, kind := range limitKinds {
		source := FromPlan
		if overridden[kind.code] {
			source = FromOverride
		}
		list = append(list, Limit{Code: kind.code, Name: kind.name, Unit: kind.unit, Scope: kind.scope, Value: *kind.of(&effective), Source: source})
	}
	return list
}
