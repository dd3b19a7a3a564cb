package api

import "context"

// tellSeals says once, at the start, under which keys the secrets in the database are
// sealed: what none of the configured keys opens, and what waits to be sealed anew.
func (a *app) tellSeals(ctx context.Context) error {
	states, err := a.core.service.SealStates(ctx)
	if err != nil {
		if ctx.Err() == nil {
			a.logger.WarnContext(ctx, "sealed values not looked at", "error", err)
		}
		return nil
	}
	primary := a.core.service.SealingKey()
	for _, s := range states {
		for _, key := range s.Keys(s.Lost) {
			a.logger.ErrorContext(ctx, "sealed values that no configured key opens", "kind", s.Kind, "sealed_by", key, "count", s.Lost[key])
		}
		for _, key := range s.Keys(s.By) {
			if key != primary {
				a.logger.WarnContext(ctx, "sealed values of a former key, which is needed until api reseal has run", "kind", s.Kind, "sealed_by", key, "count", s.By[key])
			}
		}
	}
	return nil
}
