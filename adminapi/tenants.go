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

// authority is who decided something; nil = nobody did.
func authority(a tenants.Authority) *Authority {
	if a == "" {
		return nil
	}
	shown := Authority(a)
	return &shown
}

func (s *server) tenant(t tenants.MemberTenant) Tenant {
	return Tenant{
		ID: string(t.ID), Slug: t.Slug, Name: t.Name, Status: TenantStatus(t.Status), SuspendedAt: optional(t.SuspendedAt), SuspendedBy: authority(t.SuspendedBy), SuspendedReason: given(t.SuspendedReason),
		Environment: Environment(t.Environment), AccountID: string(t.Account), Plan: t.Plan,
		Role: Role(t.Role), Endpoint: s.tenants.Endpoints().Base(t.Tenant), Hosts: s.tenants.Endpoints().Hosts(t.Tenant), CreatedAt: t.CreatedAt.UTC(),
	}
}
