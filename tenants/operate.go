package tenants

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants/audit"
)

// maxReason is in characters.
const maxReason = 500

// cleanReason returns a reason that customers may read.
func cleanReason(reason string) (string, error) {
	reason = strings.TrimSpace(reason)
	if n := utf8.RuneCountInString(reason); n == 0 || n > maxReason || !utf8.ValidString(reason) || strings.ContainsFunc(reason, hidden) {
		return "", fault.InvalidFields(fault.Field{Name: "reason", Message: "is empty, too long, or has control characters", Accepted: fmt.Sprintf("1 to %d characters, which the customer sees", maxReason)})
	}
	return reason, nil
}

// AllTenants pages through all tenants, for operators.
func (s *Service) AllTenants(ctx context.Context, search string, status Status, before ID, limit int) ([]AccountTenant, error) {
	return s.store.AllTenants(ctx, search, status, before, limit)
}

// AllAccounts pages through all accounts, for operators.
func (s *Service) AllAccounts(ctx context.Context, search string, before AccountID, limit int) ([]AccountSummary, error) {
	return s.store.AllAccounts(ctx, search, before, limit)
}

// AnyTenant returns a tenant with its limits in force, for operators.
func (s *Service) AnyTenant(ctx context.Context, ref string) (AccountTenant, []Limit, error) {
	t, err := s.store.AnyTenant(ctx, ref)
	if err != nil {
		return AccountTenant{}, nil, err
	}
	of, overrides, err := s.store.Limits(ctx, t.ID, s.now())
	return t, of.List(overrides, s.now()), err
}

// operate runs an operator's change of a tenant, as change does one of its account's.
// It is in the log of the account, with the operator's name and nothing else of the
// operator, and in that of operators.
func (s *Service) operate(ctx context.Context, c Caller, ref string, a Audit, f func(tx Store, t *AccountTenant, a *Audit) error) (AccountTenant, error) {
	t, err := s.store.AnyTenant(ctx, ref)
	if err != nil {
		return AccountTenant{}, err
	}
	err = s.store.InTx(ctx, func(tx Store) error {
		if err := tx.Touch(ctx, t.ID); err != nil {
			return err
		}
		if t.Tenant, err = tx.Tenant(ctx, t.ID); err != nil {
			return err
		}
		a.Account, a.Tenant = t.Account, t.ID
		if err := f(tx, &t, &a); err != nil {
			return err
		}
		shown, whole := a, a
		shown.Caller = Caller{Operator: &Operator{Name: c.Operator.Name}, RequestID: c.RequestID}
		whole.Caller, whole.In = c, OperatorChain
		return errors.Join(tx.Audit(ctx, shown), tx.Audit(ctx, whole))
	})
	if errors.Is(err, errUnchanged) {
		return t, nil
	}
	if err != nil {
		return AccountTenant{}, err
	}
	s.hurry(ctx, t.ID)
	return t, nil
}

// SuspendAnyTenant suspends a tenant in an operator's name, whoever had suspended it:
// its account can't resume or delete it, nor have new tenants meanwhile.
func (s *Service) SuspendAnyTenant(ctx context.Context, c Caller, ref, reason string) (AccountTenant, error) {
	reason, err := cleanReason(reason)
	if err != nil {
		return AccountTenant{}, err
	}
	return s.operate(ctx, c, ref, Audit{Action: "tenant.suspended"}, func(tx Store, t *AccountTenant, a *Audit) error {
		if t.Slug == SystemSlug {
			return fault.New(fault.Conflict, "This is the service's own tenant, by which consoles hear of what happens.").WithCode("system_tenant")
		}
		a.Subject, a.Before = t.Slug, stateOf(t.Tenant)
		if changed := t.suspend(ByOperator, s.now()); !changed && t.SuspendedReason == reason {
			return errUnchanged
		}
		t.SuspendedReason = reason
		a.After = stateOf(t.Tenant)
		return tx.UpdateTenant(ctx, t.Tenant)
	})
}

// ResumeAnyTenant serves a suspended tenant again, whoever has suspended it.
func (s *Service) ResumeAnyTenant(ctx context.Context, c Caller, ref, reason string) (AccountTenant, error) {
	reason, err := cleanReason(reason)
	if err != nil {
		return AccountTenant{}, err
	}
	return s.operate(ctx, c, ref, Audit{Action: "tenant.resumed"}, func(tx Store, t *AccountTenant, a *Audit) error {
		if t.Status == Active {
			return errUnchanged
		}
		a.Subject, a.Before = t.Slug, stateOf(t.Tenant)
		t.resume()
		after := stateOf(t.Tenant)
		after.Reason = reason
		a.After = after
		return tx.UpdateTenant(ctx, t.Tenant)
	})
}

// SetOperatorLimit puts an operator's value in the place of the plan's, which the
// account can't change. The plan doesn't bound it, the table of limits does.
func (s *Service) SetOperatorLimit(ctx context.Context, c Caller, ref string, o Override) error {
	r, known := Row(o.Limit)
	if !known {
		return NoSuchLimit()
	}
	reason, err := cleanReason(o.Reason)
	if err != nil {
		return err
	}
	o.By, o.Reason = ByOperator, reason
	if err := o.checkOperator(r, s.now()); err != nil {
		return err
	}
	_, err = s.operate(ctx, c, ref, Audit{Action: "limit.overridden", Subject: o.Limit}, func(tx Store, t *AccountTenant, a *Audit) error {
		_, overrides, err := tx.Limits(ctx, t.ID, s.now())
		if err != nil {
			return err
		}
		a.Before, a.After = overrideState(overrides, o.Limit), o.audited()
		return tx.PutOverride(ctx, t.ID, o)
	})
	return err
}

// checkOperator returns an Invalid error that names what is wrong with an operator's
// override.
func (o Override) checkOperator(r LimitRow, now time.Time) error {
	var fields []fault.Field
	if o.Value == nil && !o.DryRun || o.Value != nil && (*o.Value < r.Least || *o.Value > r.Most) {
		fields = append(fields, fault.Field{Name: "max", Message: "is missing, or out of bounds", Accepted: fmt.Sprintf("%d to %d %s", r.Least, r.Most, r.Unit)})
	}
	if o.DryRun && r.NoDryRun != "" {
		fields = append(fields, fault.Field{Name: "dry_run", Message: "is not for " + r.Name + ": " + r.NoDryRun, Accepted: "false"})
	}
	if o.Expires != nil && o.Expires.Before(now.Add(leastOverride)) {
		fields = append(fields, fault.Field{Name: "expires_at", Message: "is over, or all but", Accepted: "a time in the future, or none"})
	}
	if len(fields) > 0 {
		return fault.InvalidFields(fields...)
	}
	return nil
}

// ClearOperatorLimit puts the plan's value back, whoever had set another one.
func (s *Service) ClearOperatorLimit(ctx context.Context, c Caller, ref, name, reason string) error {
	if _, known := Row(name); !known {
		return NoSuchLimit()
	}
	reason, err := cleanReason(reason)
	if err != nil {
		return err
	}
	_, err = s.operate(ctx, c, ref, Audit{Action: "limit.reset", Subject: name}, func(tx Store, t *AccountTenant, a *Audit) error {
		_, overrides, err := tx.Limits(ctx, t.ID, s.now())
		if err != nil {
			return err
		}
		a.Before, a.After = overrideState(overrides, name), map[string]any{"reason": reason}
		return tx.DeleteOverride(ctx, t.ID, name)
	})
	return err
}

// DecideOnEdges runs f while nobody else decides on edges, in any api. It waits for its
// turn as long as ctx lasts.
func (s *Service) DecideOnEdges(ctx context.Context, f func(context.Context) error) error {
	return s.store.Alone(ctx, "edges", f)
}

// EdgeChanged notes what an operator does with an edge, before it is done: whether the
// edge was drained, and shall be.
func (s *Service) EdgeChanged(ctx context.Context, c Caller, action, edge, reason string, was, shall bool) error {
	reason, err := cleanReason(reason)
	if err != nil {
		return err
	}
	return s.store.Audit(ctx, Audit{Caller: c, Action: action, Subject: edge, Before: map[string]any{"drained": was}, After: map[string]any{"drained": shall, "reason": reason}})
}

// OperatorAudit returns events of the operators' chain, the newest first.
func (s *Service) OperatorAudit(ctx context.Context, f AuditFilter, before int64, limit int) ([]audit.Event, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	return s.store.AuditEvents(ctx, OperatorChain, f, before, true, limit)
}

// ExportOperatorAudit is ExportAudit for the operators' chain.
func (s *Service) ExportOperatorAudit(ctx context.Context, f AuditFilter, part AuditPart, whole bool, begin func(audit.Header) error, each func(*audit.Event) error) (more bool, err error) {
	return s.exportChain(ctx, OperatorChain, f, part, whole, begin, each)
}

// VerifyOperatorAudit is VerifyAudit for the operators' chain.
func (s *Service) VerifyOperatorAudit(ctx context.Context, part AuditPart, kept audit.Head) (AuditVerification, error) {
	return s.verifyInTurn(ctx, OperatorChain, "", part, kept)
}
