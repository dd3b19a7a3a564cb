package tenants

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
)

const (
	// overrideLife is how long a value above the plan's can last before it has to be
	// renewed.
	overrideLife = 31 * 24 * time.Hour
	// leastOverride is the shortest life of an override.
	leastOverride = time.Second
)

// Limits returns the limits of a tenant in force, and what its hubs and their settings
// use of those that are about them.
func (s *Service) Limits(ctx context.Context, c Caller, ref string) (t MemberTenant, limits []Limit, used map[string]int64, err error) {
	t, err = s.tenantFor(ctx, c, ref, SeeTenant)
	if err != nil {
		return MemberTenant{}, nil, nil, err
	}
	of, overrides, err := s.store.Limits(ctx, t.ID, s.now())
	if err != nil {
		return MemberTenant{}, nil, nil, err
	}
	hubs, err := s.store.Hubs(ctx, t.ID)
	if err != nil {
		return MemberTenant{}, nil, nil, err
	}
	count, err := s.store.CountHubs(ctx, t.ID)
	used = map[string]int64{"max_hubs": int64(count), "max_method_limits": 0, "max_parallel_calls": 1, endpointsRow.Name: int64(len(endpoints(hubs)))}
	for _, h := range hubs {
		used["max_method_limits"] = max(used["max_method_limits"], int64(len(h.Settings.MethodRates)))
		used["max_parallel_calls"] = max(used["max_parallel_calls"], int64(h.Settings.ParallelCalls))
	}
	return t, of.List(overrides, s.now()), used, err
}

// OverrideLimit puts a value of the tenant's own in the place of the plan's, or has
// one tried out.
func (s *Service) OverrideLimit(ctx context.Context, c Caller, ref string, o Override) error {
	r, known := Row(o.Limit)
	if !known {
		return NoSuchLimit()
	}
	_, err := s.change(ctx, c, ref, ChangeLimits, Audit{Action: "limit.overridden", Subject: o.Limit}, func(tx Store, t *MemberTenant, a *Audit) error {
		plan, overrides, err := tx.Limits(ctx, t.ID, s.now())
		if err != nil {
			return err
		}
		if err := notImposed(overrides, o.Limit); err != nil {
			return err
		}
		if err := o.check(r, r.Of(&plan), s.now()); err != nil {
			return err
		}
		a.Before, a.After = overrideState(overrides, o.Limit), o.audited()
		return tx.PutOverride(ctx, t.ID, o)
	})
	return err
}

// check returns an Invalid error that names what is wrong with an override.
func (o Override) check(r LimitRow, plan int, now time.Time) error {
	var fields []fault.Field
	switch {
	case o.Value == nil && !o.DryRun:
		fields = append(fields, fault.Field{Name: "max", Message: "is missing: only a dry run can leave the plan's value as it is", Accepted: fmt.Sprintf("%d to %d %s", r.Least, r.Ceiling(plan), r.Unit)})
	case o.Value != nil && (*o.Value < r.Least || *o.Value > r.Ceiling(plan)):
		fields = append(fields, fault.Field{Name: "max", Message: fmt.Sprintf("is out of bounds: %s can be lowered, and raised to twice the plan's %d", r.Name, plan), Accepted: fmt.Sprintf("%d to %d %s", r.Least, r.Ceiling(plan), r.Unit)})
	}
	if o.DryRun && r.NoDryRun != "" {
		fields = append(fields, fault.Field{Name: "dry_run", Message: "is not for " + r.Name + ": " + r.NoDryRun, Accepted: "false"})
	}
	switch {
	case o.Expires == nil && (o.DryRun || o.Value != nil && *o.Value > plan):
		fields = append(fields, fault.Field{Name: "expires_at", Message: "is missing: dry runs and values above the plan's end", Accepted: "a time within 31 days"})
	case o.Expires != nil && o.Expires.Before(now.Add(leastOverride)):
		fields = append(fields, fault.Field{Name: "expires_at", Message: "is over, or all but", Accepted: "a time in the future"})
	case o.Expires != nil && o.Expires.After(now.Add(overrideLife)):
		fields = append(fields, fault.Field{Name: "expires_at", Message: "is too far away", Accepted: "a time within 31 days"})
	}
	if len(fields) > 0 {
		return fault.InvalidFields(fields...)
	}
	return nil
}

// ResetLimit puts the plan's value back. It answers not_found where it is in force.
func (s *Service) ResetLimit(ctx context.Context, c Caller, ref, name string) error {
	if _, known := Row(name); !known {
		return NoSuchLimit()
	}
	_, err := s.change(ctx, c, ref, ChangeLimits, Audit{Action: "limit.reset", Subject: name}, func(tx Store, t *MemberTenant, a *Audit) error {
		_, overrides, err := tx.Limits(ctx, t.ID, s.now())
		if err != nil {
			return err
		}
		if err := notImposed(overrides, name); err != nil {
			return err
		}
		a.Before = overrideState(overrides, name)
		return tx.DeleteOverride(ctx, t.ID, name)
	})
	return err
}

// ExpireOverrides forgets overrides that are over, which nobody goes by any more, and
// says so in the audit.
func (s *Service) ExpireOverrides(ctx context.Context) error {
	const batch = 100
	for {
		ids, err := s.store.ExpiredOverrides(ctx, s.now(), batch)
		if err != nil {
			return err
		}
		var failed error
		for _, id := range ids {
			if err := s.expireOverrides(ctx, id); err != nil { // which keeps no other tenant's from ending
				failed = errors.Join(failed, fmt.Errorf("expire overrides of tenant %s: %w", id, err))
			}
		}
		if failed != nil || len(ids) < batch {
			return failed
		}
	}
}

func (s *Service) expireOverrides(ctx context.Context, id ID) error {
	return s.store.InTx(ctx, func(tx Store) error {
		t, err := tx.Tenant(ctx, id)
		if err != nil {
			return err
		}
		over, err := tx.DropOverrides(ctx, id, s.now())
		if err != nil {
			return err
		}
		for _, o := range over {
			if err := tx.Audit(ctx, Audit{Caller: Caller{System: true}, Account: t.Account, Tenant: t.ID, Action: "limit.override_expired", Subject: o.Limit, Before: o.audited()}); err != nil {
				return err
			}
		}
		return nil
	})
}

// overrideState is what the audit has of the override of a limit; nil = there is none.
func overrideState(overrides []Override, limit string) any {
	if i := slices.IndexFunc(overrides, func(o Override) bool { return o.Limit == limit }); i >= 0 {
		return overrides[i].audited()
	}
	return nil
}

func (o Override) audited() any {
	return map[string]any{"max": o.Value, "dry_run": o.DryRun, "expires_at": o.Expires, "set_by": cmp.Or(o.By, ByAccount), "reason": o.Reason}
}

// notImposed returns an error when an operator's override of a limit is in force.
func notImposed(overrides []Override, limit string) error {
	if slices.ContainsFunc(overrides, func(o Override) bool { return o.Limit == limit && o.By == ByOperator }) {
		return errImposed("An operator of the service has set " + limit + " for this tenant, and people of its account can't change it. Ask the operator.")
	}
	return nil
}

// NoSuchLimit is the refusal of a name that no limit has.
func NoSuchLimit() error {
	return fault.New(fault.NotFound, "There is no such limit. GET /v1/tenants/{tenant}/limits lists them.")
}
