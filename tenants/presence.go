package tenants

// PresenceLimits bound who can be present in a group.
type PresenceLimits struct {
	Members    int // in one group
	StateBytes int // of one member's state, as JSON
}

// Presence are the limits of who can be present.
func (l *Limits) Presence() PresenceLimits {
	return PresenceLimits{Members: l.MaxPresenceMembers, StateBytes: l.MaxPresenceStateBytes}
}
