package adminapi

import (
	"net/http"

	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
)

// ListTenants implements ServerInterface.
func (s *server) ListTenants(w http.ResponseWriter, r *http.Request) {
	all, err := s.tenants.Tenants(r.Context(), callerOf(r))
	answer := TenantList{Tenants: make([]Tenant, 0, len(all))}
	for _, t := range all {
		answer.Tenants = append(answer.Tenants, s.tenant(t))
	}
	s.answer(w, r, http.StatusOK, answer, err)
}

// CreateTenant implements ServerInterface.
func (s *server) CreateTenant(w http.ResponseWriter, r *http.Request) {
	in, err := body[CreateTenantRequest](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	t, key, err := s.tenants.CreateTenant(r.Context(), callerOf(r), tenants.AccountID(value(in.AccountID)), in.Name, value(in.Slug))
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
	t, err := s.tenants.RenameTenant(r.Context(), callerOf(r), ref, value(in.Name))
	s.answer(w, r, http.StatusOK, s.tenant(t), err)
}

// DeleteTenant implements ServerInterface.
func (s *server) DeleteTenant(w http.ResponseWriter, r *http.Request, ref TenantPath) {
	s.done(w, r, s.tenants.DeleteTenant(r.Context(), callerOf(r), ref))
}

// ListKeys implements ServerInterface.
func (s *server) ListKeys(w http.ResponseWriter, r *http.Request, ref TenantPath) {
	keys, err := s.tenants.Keys(r.Context(), callerOf(r), ref)
	answer := AccessKeyList{Keys: make([]AccessKey, 0, len(keys))}
	for _, k := range keys {
		answer.Keys = append(answer.Keys, AccessKey{ID: k.ID, Slot: KeySlot(k.Slot), Hint: k.Hint, CreatedAt: k.CreatedAt.UTC()})
	}
	s.answer(w, r, http.StatusOK, answer, err)
}

// RegenerateKey implements ServerInterface.
func (s *server) RegenerateKey(w http.ResponseWriter, r *http.Request, ref TenantPath, slot KeySlot) {
	t, key, err := s.tenants.RegenerateKey(r.Context(), callerOf(r), ref, tenants.KeySlot(slot))
	if err != nil {
		s.problem(w, r, err)
		return
	}
	secret, err := s.keySecret(t, key)
	s.answer(w, r, http.StatusOK, secret, err)
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
		ID: string(t.ID), Slug: t.Slug, Name: t.Name, Status: TenantStatus(t.Status), AccountID: string(t.Account), Plan: t.Plan,
		Role: Role(t.Role), Endpoint: s.tenants.Endpoints().Base(t.Tenant), Hosts: s.tenants.Endpoints().Hosts(t.Tenant), CreatedAt: t.CreatedAt.UTC(),
	}
}

// keySecret shows a new key. The connection string names a host, because SDKs
// drop a path.
func (s *server) keySecret(t tenants.MemberTenant, k tenants.NewKey) (AccessKeySecret, error) {
	connection, err := accesstoken.NewConnectionString(s.tenants.Endpoints().HostBase(t.Tenant), k.Secret)
	if err != nil {
		return AccessKeySecret{}, err
	}
	return AccessKeySecret{
		ID: k.ID, Slot: KeySlot(k.Slot), Secret: k.Secret.Reveal(), ConnectionString: connection.Reveal(), CreatedAt: k.CreatedAt.UTC(),
	}, nil
}

func limit(l tenants.Limit) Limit {
	return Limit{Code: l.Code, Name: l.Name, Value: int64(l.Value), Unit: l.Unit, Scope: LimitScope(l.Scope), Source: LimitSource(l.Source)}
}
