package api

import (
	"context"
	"time"

	"github.com/signalbox/signalbox/billing"
)

// postEvery is the time between two looks for hours that are due for the ledger.
const postEvery = time.Minute

// keepLedger moves ended hours to the ledger, and changes plans whose time has come,
// until ctx ends.
func (a *app) keepLedger(ctx context.Context) error {
	tick := time.NewTicker(postEvery)
	defer tick.Stop()
	for {
		if err := a.ledger.Post(ctx, time.Now().Add(-time.Hour-billing.PostAfter)); err != nil && ctx.Err() == nil {
			a.logger.WarnContext(ctx, "ended hours not posted, trying again", "error", err)
		}
		if err := a.core.service.ApplyPlans(ctx); err != nil && ctx.Err() == nil {
			a.logger.WarnContext(ctx, "plans not changed, trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
