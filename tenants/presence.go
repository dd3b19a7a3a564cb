package tenants

// PresenceLimits bound who can be present in a group.
type PresenceLimits struct {
	Members    int // in one group
	StateBytes int // of one member's state, as JSON
}

// presenceLimits are those of the plans by name.
var presenceLimits = map[string]PresenceLimits{
	"free":  {Members: 100, StateBytes: 1 << 10},
	"pro":   {Members: 1000, StateBytes: 2 << 10},
	"scale": {Members: 10_000, StateBytes: 4 << 10},
}

// Presence are the limits of the tenant's plan; those of the smallest for a plan of
// another name.
func (d *Document) Presence() PresenceLimits {
	if l, ok := presenceLimits[d.Plan]; ok {
		return l
	}
	return presenceLimits["free"]
}
