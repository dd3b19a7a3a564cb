package tenants

import (
	"fmt"

	"github.com/signalbox/signalbox/internal/fault"
)

// mostOfAccount bounds what an operator can set a limit of an account to.
const mostOfAccount = 10_000

// The names of the limits that are an account's. Their refusals have the same codes.
const (
	LimitTenants = "max_tenants"
	LimitMembers = "max_members"
)

// AccountLimits are what an operator has set for an account in the place of its plan's
// limits; 0 = the plan's is in force.
type AccountLimits struct {
	MaxTenants, MaxMembers int
}

// accountLimits reads limits by their names.
func accountLimits(in map[string]int) (AccountLimits, error) {
	var l AccountLimits
	var fields []fault.Field
	for name, value := range in {
		switch {
		case name != LimitTenants && name != LimitMembers:
			fields = append(fields, fault.Field{Name: name, Message: "is no limit of an account", Accepted: LimitTenants + ", " + LimitMembers})
		case value < 1 || value > mostOfAccount:
			fields = append(fields, fault.Field{Name: name, Message: fmt.Sprintf("is %d", value), Accepted: fmt.Sprintf("1 to %d", mostOfAccount)})
		case name == LimitTenants:
			l.MaxTenants = value
		default:
			l.MaxMembers = value
		}
	}
	if len(fields) > 0 {
		return AccountLimits{}, fault.InvalidFields(fields...)
	}
	return l, nil
}

// audited is what an audit event says of them.
func (l AccountLimits) audited() map[string]any {
	said := make(map[string]any)
	for name, value := range map[string]int{LimitTenants: l.MaxTenants, LimitMembers: l.MaxMembers} {
		if value != 0 {
			said[name] = value
		}
	}
	return said
}
