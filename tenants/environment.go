package tenants

import (
	"fmt"
	"slices"
	"strings"

	"github.com/signalbox/signalbox/internal/fault"
)

// Environment is what a tenant is for.
type Environment string

// The environments. Production is the strict one: it has no demo permissions and
// tells nobody why a token isn't good.
const (
	Development Environment = "development"
	Production  Environment = "production"
)

// Environments lists the environments.
var Environments = []Environment{Development, Production}

// DemoPermissions are what clients of the first hub of a development tenant may do
// by themselves, so that groups can be tried without a backend. Production tenants
// can't have them: what anybody may do there somebody has to have meant.
var DemoPermissions = []string{"joinGroup:demo", "leaveGroup:demo", "sendToGroup:demo", "readPresence:demo", "readHistory:demo"}

// environmentField is the fault of a field that is no environment.
func environmentField() fault.Field {
	return fault.Field{Name: "environment", Message: "is not an environment", Accepted: string(Development) + ", " + string(Production)}
}

// firstHub is what every tenant begins with.
func (e Environment) firstHub() HubSettings {
	if e == Development {
		return HubSettings{ClientPermissions: slices.Clone(DemoPermissions)}
	}
	return HubSettings{}
}

// suits returns an Invalid fault that names the settings that the environment
// doesn't have.
func (s HubSettings) suits(e Environment) error {
	if e == Development {
		return nil
	}
	var fields []fault.Field
	for i, p := range s.ClientPermissions {
		if slices.Contains(DemoPermissions, p) {
			fields = append(fields, fault.Field{
				Name: fmt.Sprintf("client_permissions.%d", i), Message: "is a permission of the demo, which a production tenant can't have",
				Accepted: "permissions for groups other than demo",
			})
		}
	}
	if len(fields) > 0 {
		return fault.InvalidFields(fields...)
	}
	return nil
}

// readyFor returns a Conflict that names the hubs whose settings the environment
// doesn't have.
func readyFor(e Environment, hubs []Hub) error {
	var demos []string
	for _, h := range hubs {
		if h.Settings.suits(e) != nil {
			demos = append(demos, h.Name)
		}
	}
	if len(demos) > 0 {
		return fault.New(fault.Conflict, "Production tenants can't have the permissions of the demo. Take them out of the settings of these hubs first: "+strings.Join(demos, ", ")+".").WithCode("demo_permissions")
	}
	return nil
}
