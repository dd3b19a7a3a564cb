package quota

import (
	"context"
	"errors"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/hubs/protocol"
	"github.com/signalbox/signalbox/tenants"
)

// Filter charges each invocation of a hub's clients to the tenant's messages
// and refuses what is over the limit.
type Filter struct {
	hubs.PassFilter
	Messages *Messages
	Tenant   tenants.ID
	// Rate returns the limit as it is now.
	Rate func() Rate
	// Refused is told the code of every refusal; nil = nobody is.
	Refused func(code string)
}

var _ hubs.Filter = (*Filter)(nil)

// OnInvocation takes as many messages as the arguments have begun units of 64 KiB.
func (f *Filter) OnInvocation(ctx context.Context, _ *hubs.Connection, m *protocol.Message, next func(context.Context) error) error {
	if err := f.Messages.Take(ctx, f.Tenant, f.Rate(), hubs.Units(len(m.Arguments.Bytes))); err != nil {
		var refusal *Refusal
		if errors.As(err, &refusal) && f.Refused != nil {
			f.Refused(refusal.Code)
		}
		return err
	}
	return next(ctx)
}
