package adminapi

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/signalbox/signalbox/tenants"
)

// ListHubs implements ServerInterface. Hubs need no settings, so those that were
// used are as real as those that have some.
func (s *server) ListHubs(w http.ResponseWriter, r *http.Request, ref TenantPath, params ListHubsParams) {
	t, hubs, err := s.tenants.Hubs(r.Context(), callerOf(r), ref)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	used, err := s.billing.Hubs(r.Context(), t.ID)
	listed := make(map[string]bool, len(hubs)+len(used))
	for _, h := range hubs {
		listed[h.Name] = true
	}
	for _, name := range used {
		if !listed[name] {
			hubs = append(hubs, tenants.Hub{Name: name})
		}
	}
	page, next, err := paged(err, hubsByName, hubs, params.Cursor, params.Limit)
	answer := HubList{Hubs: make([]Hub, 0, len(page)), NextCursor: next}
	for _, h := range page {
		answer.Hubs = append(answer.Hubs, s.hub(t, h))
	}
	s.answer(w, r, http.StatusOK, answer, err)
}

var hubsByName = order[tenants.Hub]{list: "hubs", place: func(h tenants.Hub) []string { return []string{h.Name} }}

// GetHub implements ServerInterface.
func (s *server) GetHub(w http.ResponseWriter, r *http.Request, ref TenantPath, name HubPath) {
	t, h, err := s.tenants.Hub(r.Context(), callerOf(r), ref, name)
	s.answer(w, r, http.StatusOK, s.hub(t, h), err)
}

// PutHub implements ServerInterface.
func (s *server) PutHub(w http.ResponseWriter, r *http.Request, ref TenantPath, name HubPath) {
	in, err := body[HubSettings](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	t, h, created, err := s.tenants.PutHub(r.Context(), callerOf(r), ref, name, patch(in))
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	s.answer(w, r, status, s.hub(t, h), err)
}

// PatchHub implements ServerInterface.
func (s *server) PatchHub(w http.ResponseWriter, r *http.Request, ref TenantPath, name HubPath) {
	in, err := body[HubSettings](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	t, h, err := s.tenants.PatchHub(r.Context(), callerOf(r), ref, name, patch(in))
	s.answer(w, r, http.StatusOK, s.hub(t, h), err)
}

// DeleteHub implements ServerInterface.
func (s *server) DeleteHub(w http.ResponseWriter, r *http.Request, ref TenantPath, name HubPath) {
	s.done(w, r, s.tenants.DeleteHub(r.Context(), callerOf(r), ref, name))
}

// ListHubVersions implements ServerInterface.
func (s *server) ListHubVersions(w http.ResponseWriter, r *http.Request, ref TenantPath, name HubPath, params ListHubVersionsParams) {
	t, all, err := s.tenants.HubVersions(r.Context(), callerOf(r), ref, name)
	page, next, err := paged(err, newestVersions, all, params.Cursor, params.Limit)
	answer := HubVersionList{Versions: make([]HubVersion, 0, len(page)), NextCursor: next}
	for _, v := range page {
		shown := HubVersion{Version: v.Version, CreatedAt: v.CreatedAt.UTC(), ChangedBy: filled(v.Email), Token: filled(v.Token), ReturnedTo: filled(v.ReturnedTo)}
		if v.Settings != nil {
			settings := shownSettings(t, *v.Settings)
			shown.Settings = &settings
		}
		answer.Versions = append(answer.Versions, shown)
	}
	s.answer(w, r, http.StatusOK, answer, err)
}

var newestVersions = order[tenants.HubVersion]{
	list: "versions", down: true, place: func(v tenants.HubVersion) []string { return []string{fmt.Sprintf("%020d", v.Version)} },
}

// ReturnHub implements ServerInterface.
func (s *server) ReturnHub(w http.ResponseWriter, r *http.Request, ref TenantPath, name HubPath, version int64) {
	t, h, err := s.tenants.ReturnHub(r.Context(), callerOf(r), ref, name, version)
	s.answer(w, r, http.StatusOK, s.hub(t, h), err)
}

// shownSettings shows settings with their defaults filled in.
func shownSettings(t tenants.MemberTenant, of tenants.HubSettings) HubSettings {
	of = of.WithDefaults()
	origins, permissions, history := append([]string{}, of.AllowedOrigins...), append([]string{}, of.ClientPermissions...), shownHistory(of.History)
	rates := shownMethodRates(of.MethodRates)
	return HubSettings{
		Handler: (*HubHandler)(&of.Handler), KeepAliveSeconds: &of.KeepAliveSeconds, ClientTimeoutSeconds: &of.ClientTimeoutSeconds,
		AllowedOrigins: &origins, ClientPermissions: &permissions, Upstream: shownUpstream(of.Upstream, t.Role.Allows(tenants.SeeKeys)),
		History: &history, Gaps: (*Gaps)(&of.Gaps), Partitions: &of.Partitions, CloseOnExpiry: &of.CloseOnExpiry,
		UserConnections: (*UserConnections)(&of.UserConnections), MethodRates: &rates, ParallelCalls: &of.ParallelCalls,
	}
}

func patch(in HubSettings) tenants.HubPatch {
	return tenants.HubPatch{
		Handler: (*tenants.Handler)(in.Handler), KeepAliveSeconds: in.KeepAliveSeconds,
		ClientTimeoutSeconds: in.ClientTimeoutSeconds, AllowedOrigins: in.AllowedOrigins, Upstream: upstreamOf(in.Upstream),
		ClientPermissions: in.ClientPermissions,
		History:           historyOf(in.History), Gaps: (*tenants.Gaps)(in.Gaps),
		UserConnections: (*tenants.UserConnections)(in.UserConnections), MethodRates: methodRates(in.MethodRates), ParallelCalls: in.ParallelCalls,
		Partitions: in.Partitions, CloseOnExpiry: in.CloseOnExpiry,
	}
}

// historyOf reads a whole history: what is left out is what the plan allows.
func historyOf(in *History) *tenants.History {
	if in == nil {
		return nil
	}
	return &tenants.History{Seconds: deref(in.Seconds), Messages: deref(in.Messages), Bytes: deref(in.Bytes), GroupIndex: deref(in.GroupIndex)}
}

func shownHistory(h tenants.History) History {
	return History{Seconds: &h.Seconds, Messages: &h.Messages, Bytes: &h.Bytes, GroupIndex: &h.GroupIndex}
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// hub shows a hub with its defaults filled in and its addresses.
func (s *server) hub(t tenants.MemberTenant, h tenants.Hub) Hub {
	settings := h.Settings.WithDefaults()
	base := s.tenants.Endpoints().Base(t.Tenant)
	return Hub{
		Name: h.Name, Handler: HubHandler(settings.Handler), KeepAliveSeconds: settings.KeepAliveSeconds,
		ClientTimeoutSeconds: settings.ClientTimeoutSeconds, AllowedOrigins: append([]string{}, settings.AllowedOrigins...),
		ClientPermissions: append([]string{}, settings.ClientPermissions...),
		Upstream:          shownUpstream(settings.Upstream, t.Role.Allows(tenants.SeeKeys)),
		History:           shownHistory(settings.History), Gaps: Gaps(settings.Gaps),
		UserConnections: UserConnections(settings.UserConnections), MethodRates: shownMethodRates(settings.MethodRates), ParallelCalls: settings.ParallelCalls,
		Partitions: settings.Partitions, CloseOnExpiry: settings.CloseOnExpiry,
		ClientURL: base + "/client/?hub=" + url.QueryEscape(h.Name), RestURL: base + "/api/v1/hubs/" + url.PathEscape(h.Name),
		Implicit: h.Implicit(), CreatedAt: optional(h.CreatedAt), UpdatedAt: optional(h.UpdatedAt),
	}
}
