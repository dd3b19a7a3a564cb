package adminapi

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/signalbox/signalbox/adminapi/operatorapi"
	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/audit"
)

// pageBefore reads the place before which a page of a list begins that its store cuts,
// and how many things the page may have.
func pageBefore(list string, cursor *string, limit *int) (before string, most int, err error) {
	most = cmp.Or(value(limit), defaultPage)
	if value(cursor) == "" {
		return "", most, nil
	}
	place, err := readCursor(list, *cursor)
	if err != nil {
		return "", 0, err
	}
	return place[0], most, nil
}

// ListAllAccounts implements operatorapi.ServerInterface.
func (s *operators) ListAllAccounts(w http.ResponseWriter, r *http.Request, params operatorapi.ListAllAccountsParams) {
	const list = "accounts"
	before, most, err := pageBefore(list, params.Cursor, params.Limit)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	all, err := s.tenants.AllAccounts(r.Context(), value(params.Search), tenants.AccountID(before), most+1)
	answer := operatorapi.AccountSummaryList{Accounts: make([]operatorapi.AccountSummary, 0, len(all))}
	if len(all) > most {
		all = all[:most]
		answer.NextCursor = given(writeCursor(list, []string{string(all[most-1].ID)}))
	}
	for _, a := range all {
		answer.Accounts = append(answer.Accounts, operatorapi.AccountSummary{
			ID: string(a.ID), Name: a.Name, Plan: a.Plan, Members: a.Members, Tenants: a.Tenants, SuspendedTenants: a.Suspended, CreatedAt: a.CreatedAt.UTC(),
		})
	}
	s.answer(w, r, http.StatusOK, answer, err)
}

// ListAllTenants implements operatorapi.ServerInterface.
func (s *operators) ListAllTenants(w http.ResponseWriter, r *http.Request, params operatorapi.ListAllTenantsParams) {
	const list = "all_tenants"
	before, most, err := pageBefore(list, params.Cursor, params.Limit)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	all, err := s.tenants.AllTenants(r.Context(), value(params.Search), tenants.Status(value(params.Status)), tenants.ID(before), most+1)
	answer := operatorapi.OperatorTenantList{Tenants: make([]operatorapi.OperatorTenant, 0, len(all))}
	if len(all) > most {
		all = all[:most]
		answer.NextCursor = given(writeCursor(list, []string{string(all[most-1].ID)}))
	}
	for _, t := range all {
		answer.Tenants = append(answer.Tenants, s.operatorTenant(r, t))
	}
	s.answer(w, r, http.StatusOK, answer, err)
}

func (s *operators) operatorTenant(r *http.Request, t tenants.AccountTenant) operatorapi.OperatorTenant {
	shown := operatorapi.OperatorTenant{
		ID: string(t.ID), Slug: t.Slug, Name: t.Name, Status: operatorapi.TenantStatus(t.Status), SuspendedAt: optional(t.SuspendedAt), SuspendedReason: given(t.SuspendedReason),
		Environment: operatorapi.Environment(t.Environment), Plan: t.Plan, AccountID: string(t.Account), AccountName: t.AccountName, CreatedAt: t.CreatedAt.UTC(),
	}
	if t.SuspendedBy != "" {
		by := operatorapi.Authority(t.SuspendedBy)
		shown.SuspendedBy = &by
	}
	if activity, err := s.billing.Activity(r.Context(), t.ID); err == nil {
		shown.ConnectionsNow = &activity.ConnectionsNow
	} else {
		s.logger.WarnContext(r.Context(), "a tenant's connections can't be read", "error", err)
	}
	return shown
}

// GetAnyTenant implements operatorapi.ServerInterface.
func (s *operators) GetAnyTenant(w http.ResponseWriter, r *http.Request, ref operatorapi.TenantPath) {
	t, limits, err := s.tenants.AnyTenant(r.Context(), ref)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	figures := s.figuresOf(r.Context(), t.ID)
	answer := operatorapi.OperatorTenantDetails{Tenant: s.operatorTenant(r, t), Limits: make([]operatorapi.OperatorLimit, 0, len(limits))}
	for _, l := range limits {
		answer.Limits = append(answer.Limits, operatorLimit(l, figures[l.Name]))
	}
	s.answer(w, r, http.StatusOK, answer, nil)
}

func operatorLimit(l tenants.Limit, f LimitFigures) operatorapi.OperatorLimit {
	shown := operatorapi.OperatorLimit{
		Limit: l.Name, Title: l.Title, Unit: l.Unit, Max: int64(l.Value), PlanMax: int64(l.Plan), Source: operatorapi.OperatorLimitSourcePlan,
		Lowest: int64(l.Least), Highest: int64(l.Most), CanDryRun: l.NoDryRun == "",
	}
	if f.Known {
		shown.Used = &f.Used
	}
	if f.Known || f.Largest {
		shown.Peak = &f.Peak
	}
	if l.Code != "" {
		shown.Refused = &f.Refused
	}
	if o := l.Override; o != nil {
		if l.Source == tenants.FromOverride {
			shown.Source = operatorapi.OperatorLimitSource(cmp.Or(o.By, tenants.ByAccount))
		}
		shown.DryRun, shown.ExpiresAt, shown.Reason = &o.DryRun, o.Expires, given(o.Reason)
		if o.Value != nil {
			set := int64(*o.Value)
			shown.SetMax = &set
		}
	}
	return shown
}

// GetOperatorLimit implements operatorapi.ServerInterface.
func (s *operators) GetOperatorLimit(w http.ResponseWriter, r *http.Request, ref operatorapi.TenantPath, name string) {
	t, limits, err := s.tenants.AnyTenant(r.Context(), ref)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	i := slices.IndexFunc(limits, func(l tenants.Limit) bool { return l.Name == name })
	if i < 0 {
		s.problem(w, r, tenants.NoSuchLimit())
		return
	}
	w.Header().Set(etagHeader, limitTag(limits[i]))
	s.answer(w, r, http.StatusOK, operatorLimit(limits[i], s.figuresOf(r.Context(), t.ID)[name]), nil)
}

// PutOperatorLimit implements operatorapi.ServerInterface.
func (s *operators) PutOperatorLimit(w http.ResponseWriter, r *http.Request, ref operatorapi.TenantPath, name string) {
	in, err := body[operatorapi.OperatorLimitOverride](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	o := tenants.Override{Limit: name, DryRun: value(in.DryRun), Expires: in.ExpiresAt, Reason: in.Reason}
	if in.Max != nil {
		set := int(*in.Max)
		o.Value = &set
	}
	if err := s.tenants.SetOperatorLimit(r.Context(), callerOf(r), ref, o); err != nil {
		s.problem(w, r, err)
		return
	}
	s.GetOperatorLimit(w, r, ref, name)
}

// DeleteOperatorLimit implements operatorapi.ServerInterface.
func (s *operators) DeleteOperatorLimit(w http.ResponseWriter, r *http.Request, ref operatorapi.TenantPath, name string, params operatorapi.DeleteOperatorLimitParams) {
	s.done(w, r, s.tenants.ClearOperatorLimit(r.Context(), callerOf(r), ref, name, params.Reason))
}

// SuspendAnyTenant implements operatorapi.ServerInterface.
func (s *operators) SuspendAnyTenant(w http.ResponseWriter, r *http.Request, ref operatorapi.TenantPath) {
	s.stop(w, r, func(reason string) (tenants.AccountTenant, error) {
		return s.tenants.SuspendAnyTenant(r.Context(), callerOf(r), ref, reason)
	})
}

// ResumeAnyTenant implements operatorapi.ServerInterface.
func (s *operators) ResumeAnyTenant(w http.ResponseWriter, r *http.Request, ref operatorapi.TenantPath) {
	s.stop(w, r, func(reason string) (tenants.AccountTenant, error) {
		return s.tenants.ResumeAnyTenant(r.Context(), callerOf(r), ref, reason)
	})
}

// stop carries out a change that takes a reason.
func (s *operators) stop(w http.ResponseWriter, r *http.Request, f func(reason string) (tenants.AccountTenant, error)) {
	in, err := body[operatorapi.Reason](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	t, err := f(in.Reason)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	s.answer(w, r, http.StatusOK, s.operatorTenant(r, t), nil)
}

// ListEdges implements operatorapi.ServerInterface.
func (s *operators) ListEdges(w http.ResponseWriter, r *http.Request) {
	all, err := s.edges.Edges(r.Context())
	slices.SortFunc(all, func(a, b FleetEdge) int { return cmp.Compare(a.Run, b.Run) })
	answer := operatorapi.EdgeList{Edges: make([]operatorapi.Edge, 0, len(all))}
	for _, e := range all {
		answer.Edges = append(answer.Edges, shownEdge(e))
	}
	s.answer(w, r, http.StatusOK, answer, err)
}

// DrainEdge implements operatorapi.ServerInterface.
func (s *operators) DrainEdge(w http.ResponseWriter, r *http.Request, edge operatorapi.EdgePath) {
	in, err := body[operatorapi.Drain](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	s.holdEdge(w, r, edge, "edge.drained", in.Reason, drainTime(in), func(all []FleetEdge) error {
		if value(in.Force) {
			return nil
		}
		return otherReady(all, edge)
	})
}

// drainTime is for how long an edge is to be drained.
func drainTime(in operatorapi.Drain) time.Duration {
	if in.Minutes == nil {
		return time.Hour
	}
	return time.Duration(*in.Minutes) * time.Minute
}

// UndrainEdge implements operatorapi.ServerInterface.
func (s *operators) UndrainEdge(w http.ResponseWriter, r *http.Request, edge operatorapi.EdgePath) {
	in, err := body[operatorapi.Reason](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	s.holdEdge(w, r, edge, "edge.undrained", in.Reason, 0, func([]FleetEdge) error { return nil })
}

// decisionTime bounds a decision on an edge, below the time that a transaction may idle.
const decisionTime = 8 * time.Second

// holdEdge notes what is about to be done and does it, when allowed has nothing against
// it: better a note of what failed than an edge that was emptied by nobody. One edge is
// decided on at a time, over all apis: the edges stay as allowed sees them until it is
// done.
func (s *operators) holdEdge(w http.ResponseWriter, r *http.Request, run, action, reason string, life time.Duration, allowed func([]FleetEdge) error) {
	err := s.tenants.DecideOnEdges(r.Context(), func(ctx context.Context) error {
		// Who asked may go away: nobody else decides before this is known to be done.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), decisionTime)
		defer cancel()
		all, err := s.edges.Edges(ctx)
		if err != nil {
			return err
		}
		e, err := edgeOf(all, run)
		if err == nil {
			err = allowed(all)
		}
		if err == nil {
			err = s.tenants.EdgeChanged(ctx, callerOf(r), action, run, reason, e.State.Held, life > 0)
		}
		if err == nil {
			err = s.edges.Hold(ctx, e, life)
		}
		return err
	})
	var all []FleetEdge
	if err == nil {
		all, err = s.edges.Edges(r.Context())
	}
	var e FleetEdge
	if err == nil {
		e, err = edgeOf(all, run)
	}
	s.answer(w, r, http.StatusOK, shownEdge(e), err)
}

// otherReady refuses to take the only edge that is ready away.
func otherReady(all []FleetEdge, run string) error {
	ready := func(e FleetEdge) bool { return e.State != nil && e.State.Ready }
	if slices.ContainsFunc(all, func(e FleetEdge) bool { return e.Run == run && ready(e) }) &&
		!slices.ContainsFunc(all, func(e FleetEdge) bool { return e.Run != run && ready(e) }) {
		return fault.New(fault.Conflict, "No other edge is ready: nobody could connect. Undrain or start another one first, or drain this one with force.").WithCode("last_ready_edge")
	}
	return nil
}

// edgeOf finds one that lives and answers.
func edgeOf(all []FleetEdge, run string) (FleetEdge, error) {
	i := slices.IndexFunc(all, func(e FleetEdge) bool { return e.Run == run })
	switch {
	case i < 0:
		return FleetEdge{}, fault.New(fault.NotFound, "There is no such edge. Each has another id when it starts again.")
	case all[i].State == nil:
		return FleetEdge{}, fault.New(fault.Unavailable, "The edge doesn't answer.").WithCode("edge_unreachable")
	}
	return all[i], nil
}

func shownEdge(e FleetEdge) operatorapi.Edge {
	shown := operatorapi.Edge{ID: e.Run, Address: e.Address, Reachable: e.State != nil}
	if v := e.State; v != nil {
		shown.Version, shown.Revision, shown.StartedAt = &v.Version, given(v.Revision), optional(v.Started)
		shown.Ready, shown.Drained, shown.Draining, shown.CutOff = &v.Ready, &v.Held, &v.Draining, &v.CutOff
		if v.HeldFor > 0 {
			until := time.Now().Add(time.Duration(v.HeldFor * float64(time.Second))).UTC().Truncate(time.Second)
			shown.DrainedUntil = &until
		}
		shown.Connections, shown.ServerConnections, shown.Tenants, shown.Hubs = &v.Connections, &v.ServerConnections, &v.Tenants, &v.Hubs
		shown.HubsBehind, shown.EntriesWaiting, shown.LagSeconds, shown.RedisAway = &v.HubsBehind, &v.EntriesWaiting, &v.Lag, &v.RedisAway
	}
	return shown
}

// ListOperatorAudit implements operatorapi.ServerInterface.
func (s *operators) ListOperatorAudit(w http.ResponseWriter, r *http.Request, params operatorapi.ListOperatorAuditParams) {
	f := auditFilter(params.From, params.To, params.Actor, params.Action, params.Tenant)
	s.auditPage(w, r, params.Cursor, params.Limit, func(before int64, limit int) ([]audit.Event, error) {
		return s.tenants.OperatorAudit(r.Context(), f, before, limit)
	})
}

// ExportOperatorAudit implements operatorapi.ServerInterface.
func (s *operators) ExportOperatorAudit(w http.ResponseWriter, r *http.Request, params operatorapi.ExportOperatorAuditParams) {
	f := auditFilter(params.From, params.To, params.Actor, params.Action, params.Tenant)
	asCSV, part := value(params.Format) == "csv", tenants.AuditPart{After: value(params.After), Most: value(params.Most)}
	s.exportAudit(w, r, asCSV, func(begin func(audit.Header) error, each func(*audit.Event) error) (bool, error) {
		return s.tenants.ExportOperatorAudit(r.Context(), f, part, asCSV, begin, each)
	})
}

// VerifyOperatorAudits implements operatorapi.ServerInterface.
func (s *operators) VerifyOperatorAudits(w http.ResponseWriter, r *http.Request, params operatorapi.VerifyOperatorAuditsParams) {
	kept, err := keptHead(params.Number, params.Hash)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	part, err := auditPart(params.After, params.AfterHash, params.Most)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	v, err := s.tenants.VerifyOperatorAudit(r.Context(), part, kept)
	s.answer(w, r, http.StatusOK, auditVerification(v), err)
}
