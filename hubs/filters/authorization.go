package filters

import (
	"context"
	"slices"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
)

// Policy decides whether a connection may do something. In a filter of a
// registered hub, hubs.FromContext gives the method and its arguments.
type Policy func(ctx context.Context, c *hubs.Connection) bool

// User allows every connection that has a user.
func User() Policy {
	return func(_ context.Context, c *hubs.Connection) bool { return c.User() != "" }
}

// roleClaims are the claim types that hold roles.
var roleClaims = []string{"role", "roles", "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"}

// Role allows connections whose user has at least one of the roles.
func Role(names ...string) Policy {
	return func(_ context.Context, c *hubs.Connection) bool {
		return slices.ContainsFunc(c.Principal().Claims, func(claim hubs.Claim) bool {
			return slices.Contains(roleClaims, claim.Type) && slices.Contains(names, claim.Value)
		})
	}
}

// Claim allows connections whose user has a claim of the type, with one of the
// values when there are any.
func Claim(claimType string, values ...string) Policy {
	return func(_ context.Context, c *hubs.Connection) bool {
		return slices.ContainsFunc(c.Principal().Claims, func(claim hubs.Claim) bool {
			return claim.Type == claimType && (len(values) == 0 || slices.Contains(values, claim.Value))
		})
	}
}

// Require refuses invocations unless every policy allows them. The caller gets
// the text that ASP.NET Core has for it.
func Require(policies ...Policy) hubs.Filter { return &authorization{policies: policies} }

// RequireToConnect closes connections unless every policy allows them.
func RequireToConnect(policies ...Policy) hubs.Filter {
	return &authorization{policies: policies, connect: true}
}

type authorization struct {
	hubs.PassFilter
	policies []Policy
	connect  bool
}

func (f *authorization) allows(ctx context.Context, c *hubs.Connection) bool {
	for _, allows := range f.policies {
		if !allows(ctx, c) {
			return false
		}
	}
	return true
}

// OnConnected implements hubs.Filter.
func (f *authorization) OnConnected(ctx context.Context, c *hubs.Connection, next func(context.Context) error) error {
	if f.connect && !f.allows(ctx, c) {
		return hubs.NewError("The user is unauthorized.")
	}
	return next(ctx)
}

// OnInvocation implements hubs.Filter.
func (f *authorization) OnInvocation(ctx context.Context, c *hubs.Connection, _ *protocol.Message, next func(context.Context) error) error {
	if !f.connect && !f.allows(ctx, c) {
		return hubs.ErrUnauthorized
	}
	return next(ctx)
}
