package adminapi

import (
	"net/http"
	"strings"

	"github.com/signalbox/signalbox/tenants"
)

// ListTenants implements ServerInterface.
func (s *server) ListTenants(w http.ResponseWriter, r *http.Request, params ListTenantsParams) {
	all, err := s.tenants.Tenants(r.Context(), callerOf(r))
	page, next, err := paged(err, tenantsByName, all, params.Cursor, params.Limit)
	answer := TenantList{Tenants: make([]Tenant, 0, len(page)), NextCursor: next}
	for _, t := range page {
		answer.Tenants = append(answer.Tenants, s.tenant(t))
	}
	s.answer(w, r, http.StatusOK, answer, err)
}

var tenantsByName = order[tenants.MemberTenant]{
	list: "tenants", place: func(t tenants.MemberTenant) []string { return []string{strings.ToLower(t.Name), string(t.ID)} },
}

// CreateTenant implements ServerInterface.
func (s *server) CreateTenant(w http.ResponseWriter, r *http.Request) {
	in, err := body[CreateTenantRequest](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	t, key, err := s.tenants.CreateTenant(r.Context(), callerOf(r), tenants.AccountID(value(in.AccountID)), in.Name, value(in.Slug), tenants.Environment(value(in.Environment)))
	if err != nil {
		s.problem(w, r, err)
		return
	}
	secret, err := s.keySecret(t, key)
	w.Header().Set("Location", "/v1/tenants/"+string(t.ID))
	s.answer(w, r, http.StatusCreated, CreatedTenant{Tenant: s.tenant(t), Key: secret}, err)
}

// GetTenant implements ServerInterface.
func (s *server) GetTenant(w http.ResponseWriter, r *http.Request, ref TenantPath) {
	t, err := s.tenants.Tenant(r.Context(), callerOf(r), ref)
	s.answer(w, r, http.StatusOK, s.tenant(t), err)
}

// UpdateTenant implements ServerInterface.
func (s *server) UpdateTenant(w http.ResponseWriter, r *http.Request, ref TenantPath) {
	in, err := body[UpdateTenantRequest](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	t, err := s.tenants.UpdateTenant(r.Context(), callerOf(r), ref, tenants.TenantPatch{Name: in.Name, Environment: (*tenants.Environment)(in.Environment)})
	s.answer(w, r, http.StatusOK, s.tenant(t), err)
}

// DeleteTenant implements ServerInterface.
func (s *server) DeleteTenant(w http.ResponseWriter, r *http.Request, ref TenantPath) {
	s.done(w, r, s.tenants.DeleteTenant(r.Context(), callerOf(r), ref))
}

// SuspendTenant implements ServerInterface.
func (s *server) SuspendTenant(w http.ResponseWriter, r *http.Request, ref TenantPath) {
	t, err := s.tenants.SuspendTenant(r.Context(), callerOf(r), ref)
	s.answer(w, r, http.StatusOK, s.tenant(t), err)
}

// ResumeTenant implements ServerInterface.
func (s *server) ResumeTenant(w http.ResponseWriter, r *http.Request, ref TenantPath) {
	t, err := s.tenants.ResumeTenant(r.Context(), callerOf(r), ref)
	s.answer(w, r, http.StatusOK, s.tenant(t), err)
}

// GetLimits implements ServerInterface.
func (s *server) GetLimits(w http.ResponseWriter, r *http.Request, ref TenantPath) {
	t, limits, hubs, err := s.tenants.Limits(r.Context(), callerOf(r), ref)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	activity, err := s.billing.Activity(r.Context(), t.ID)
	used := map[string]int64{"max_hubs": int64(hubs), "max_connections": activity.ConnectionsNow}
	if s.streamBytes != nil {
		// Without Redis nobody knows, and the number is left out.
		if bytes, err := s.streamBytes(r.Context(), t.ID); err == nil {
			used["history_bytes"] = bytes
		} else {
			s.logger.WarnContext(r.Context(), "sizes of streams can't be read", "error", err)
		}
	}
	answer := LimitList{Plan: t.Plan, Limits: make([]Limit, 0, len(limits))}
	for _, l := range limits {
		shown := limit(l)
		if n, ok := used[l.Code]; ok {
			shown.Used = &n
		}
		answer.Limits = append(answer.Limits, shown)
	}
	s.answer(w, r, http.StatusOK, answer, err)
}

func (s *server) tenant(t tenants.MemberTenant) Tenant {
	return Tenant{
		ID: string(t.ID), Slug: t.Slug, Name: t.Name, Status: TenantStatus(t.Status), SuspendedAt: optional(t.SuspendedAt),
		Environment: Environment(t.Environment), AccountID: string(t.Account), Plan: t.Plan,
		Role: Role(t.Role), Endpoint: s.tenants.Endpoints().Base(t.Tenant), Hosts: s.tenants.Endpoints().Hosts(t.Tenant), CreatedAt: t.CreatedAt.UTC(),
	}
}

func limit(l tenants.Limit) Limit {
	return Limit{Code: l.Code, Name: l.Name, Value: int64(l.Value), Unit: l.Unit, Scope: LimitScope(l.Scope), Source: LimitSource(l.Source)}
}
