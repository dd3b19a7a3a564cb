package tenants

import (
	"context"
	"fmt"
	"slices"

	"github.com/signalbox/signalbox/internal/fault"
)

// HubPatch changes some settings; nil leaves one as it is.
type HubPatch struct {
	Handler              *Handler
	KeepAliveSeconds     *int
	ClientTimeoutSeconds *int
	AllowedOrigins       *[]string
	ClientPermissions    *[]string
	Upstream             *Upstream // without rules: none
	History              *History
	Gaps                 *Gaps
	UserConnections      *UserConnections
	MethodRates          *map[string]MethodRate
	ParallelCalls        *int
	Partitions           *int
	CloseOnExpiry        *bool
}

// apply returns the settings with the patch applied.
func (p HubPatch) apply(s HubSettings) HubSettings {
	if p.Handler != nil {
		s.Handler = *p.Handler
	}
	if p.KeepAliveSeconds != nil {
		s.KeepAliveSeconds = *p.KeepAliveSeconds
	}
	if p.ClientTimeoutSeconds != nil {
		s.ClientTimeoutSeconds = *p.ClientTimeoutSeconds
	}
	if p.AllowedOrigins != nil {
		s.AllowedOrigins = *p.AllowedOrigins
	}
	if p.ClientPermissions != nil {
		s.ClientPermissions = *p.ClientPermissions
	}
	if p.Upstream != nil {
		s.Upstream = p.Upstream
	}
	if p.History != nil {
		s.History = *p.History
	}
	if p.Gaps != nil {
		s.Gaps = *p.Gaps
	}
	if p.UserConnections != nil {
		s.UserConnections = *p.UserConnections
	}
	if p.MethodRates != nil {
		s.MethodRates = *p.MethodRates
	}
	if p.ParallelCalls != nil {
		s.ParallelCalls = *p.ParallelCalls
	}
	if p.Partitions != nil {
		s.Partitions = *p.Partitions
	}
	if p.CloseOnExpiry != nil {
		s.CloseOnExpiry = *p.CloseOnExpiry
	}
	return s
}

// Hubs lists the hubs of a tenant that have settings, by name.
func (s *Service) Hubs(ctx context.Context, c Caller, ref string) (MemberTenant, []Hub, error) {
	t, err := s.tenantFor(ctx, c, ref, SeeTenant)
	if err != nil {
		return MemberTenant{}, nil, err
	}
	hubs, err := s.store.Hubs(ctx, t.ID)
	return t, hubs, err
}

// Hub returns one hub; any name is one, because hubs need no settings.
func (s *Service) Hub(ctx context.Context, c Caller, ref, name string) (MemberTenant, Hub, error) {
	name, err := hubNamed(name)
	if err != nil {
		return MemberTenant{}, Hub{}, err
	}
	t, err := s.tenantFor(ctx, c, ref, SeeTenant)
	if err != nil {
		return MemberTenant{}, Hub{}, err
	}
	hub, err := s.store.Hub(ctx, t.ID, name)
	if isKind(err, fault.NotFound) {
		hub, err = Hub{Name: name}, nil
	}
	return t, hub, err
}

// PutHub creates a hub or replaces its settings; what the patch leaves out takes
// its default. It tells whether the hub is new.
func (s *Service) PutHub(ctx context.Context, c Caller, ref, name string, p HubPatch) (t MemberTenant, h Hub, created bool, err error) {
	name, err = hubNamed(name)
	if err != nil {
		return MemberTenant{}, Hub{}, false, err
	}
	settings := p.apply(HubSettings{})
	if err := settings.Validate(); err != nil {
		return MemberTenant{}, Hub{}, false, err
	}
	if err := s.checkUpstream(ctx, c, ref, name, p.Upstream); err != nil {
		return MemberTenant{}, Hub{}, false, err
	}
	t, err = s.change(ctx, c, ref, ChangeHub, Audit{Action: "hub.put", Subject: name}, func(tx Store, t *MemberTenant, a *Audit) error {
		was, err := tx.Hub(ctx, t.ID, name)
		if created = isKind(err, fault.NotFound); created {
			err = s.roomForHub(ctx, tx, t.ID)
		}
		if err != nil {
			return err
		}
		now := s.now()
		h, err = s.putHub(ctx, tx, c, *t, a, was, Hub{Name: name, Settings: settings.clean(), CreatedAt: now, UpdatedAt: now}, 0)
		return err
	})
	return t, h, created, err
}

// putHub writes a hub that was another one before, and keeps its settings as a
// version; returnedTo is the one that had them, 0 = none. It refuses what the plan or
// the environment doesn't allow, and when the tenant's hubs come to be too much
// together. The tenant's row is locked by the change under way, so the sum holds.
func (s *Service) putHub(ctx context.Context, tx Store, c Caller, t MemberTenant, a *Audit, was, h Hub, returnedTo int64) (Hub, error) {
	limits, overrides, err := tx.Limits(ctx, t.ID, s.now())
	if err != nil {
		return Hub{}, err
	}
	limits = limits.With(overrides, s.now())
	if err := h.Settings.History.within(limits); err != nil {
		return Hub{}, err
	}
	if err := h.Settings.ratesWithin(&limits); err != nil {
		return Hub{}, err
	}
	if err := h.Settings.suits(t.Environment); err != nil {
		return Hub{}, err
	}
	if err := roomForEndpoints(ctx, tx, t.ID, &limits, h); err != nil {
		return Hub{}, err
	}
	h, err = tx.PutHub(ctx, t.ID, h)
	if err != nil {
		return Hub{}, err
	}
	have, err := tx.HubBytes(ctx, t.ID)
	if err != nil {
		return Hub{}, err
	}
	if have > maxHubBytes {
		return Hub{}, fault.New(fault.QuotaExceeded, fmt.Sprintf("The settings of all hubs of a tenant may have %d bytes together.", maxHubBytes)).WithCode("max_hub_bytes")
	}
	if err := setPartitions(ctx, tx, t.ID, h.Name, h.Settings.WithDefaults().Partitions); err != nil {
		return Hub{}, err
	}
	if was.Name != "" {
		a.Before = was.Settings.audited()
	}
	a.After = h.Settings.audited()
	return h, tx.AddHubVersion(ctx, t.ID, c, HubVersion{Hub: h.Name, Settings: &h.Settings, ReturnedTo: returnedTo, CreatedAt: h.UpdatedAt})
}

// setPartitions notes in how many streams a hub is kept. When the number changes all
// its streams do, also where it goes back to one that it had before.
func setPartitions(ctx context.Context, tx Store, t ID, hub string, count int) error {
	all, err := tx.HubPartitions(ctx, t)
	if err != nil {
		return err
	}
	p, changed := all[hub]
	switch {
	case p.Count == count || !changed && count == 1:
		return nil
	case !changed && len(all) >= maxPartitioned:
		return fault.InvalidFields(fault.Field{Name: "partitions", Message: fmt.Sprintf("was changed of %d hubs of this tenant already", maxPartitioned), Accepted: "1"})
	}
	return tx.SetHubPartitions(ctx, t, hub, HubPartitions{Generation: p.Generation + 1, Count: count})
}

// roomForHub returns an error when the tenant has as many hubs as it may. The
// tenant's row is locked by the change under way, so the count holds.
func (s *Service) roomForHub(ctx context.Context, tx Store, t ID) error {
	limits, overrides, err := tx.Limits(ctx, t, s.now())
	if err != nil {
		return err
	}
	have, err := tx.CountHubs(ctx, t)
	if err != nil {
		return err
	}
	if most := limits.With(overrides, s.now()).MaxHubs; have >= most {
		return fault.New(fault.QuotaExceeded, fmt.Sprintf("This tenant may have %d hubs, and has %d.", most, have)).WithCode("max_hubs")
	}
	return nil
}

var endpointsRow = mustRow("max_upstream_endpoints")

// endpoints are the URLs of hubs' upstreams, each once.
func endpoints(hubs []Hub) map[string]bool {
	urls := make(map[string]bool)
	for _, h := range hubs {
		if h.Settings.Upstream == nil {
			continue
		}
		for _, r := range h.Settings.Upstream.Rules {
			urls[r.URL] = true
		}
	}
	return urls
}

// roomForEndpoints returns an error when a hub's settings bring the tenant more URLs than
// it may have. What there was before a smaller plan can be changed, and comes down.
func roomForEndpoints(ctx context.Context, tx Store, t ID, l *Limits, h Hub) error {
	if !h.Settings.Upstream.Set() {
		return nil
	}
	hubs, err := tx.Hubs(ctx, t)
	if err != nil {
		return err
	}
	had := len(endpoints(hubs))
	hubs = slices.DeleteFunc(hubs, func(other Hub) bool { return other.Name == h.Name })
	if n := len(endpoints(append(hubs, h))); n > l.MaxUpstreamEndpoints && n > had {
		return fault.New(fault.QuotaExceeded, fmt.Sprintf("The upstreams of this tenant's hubs may have %d URLs, and would have %d.", l.MaxUpstreamEndpoints, n)).
			WithLimit(endpointsRow.Refusal(l, 0))
	}
	return nil
}

// PatchHub changes some settings of a hub; an implicit one gets settings by it.
func (s *Service) PatchHub(ctx context.Context, c Caller, ref, name string, p HubPatch) (MemberTenant, Hub, error) {
	name, err := hubNamed(name)
	if err != nil {
		return MemberTenant{}, Hub{}, err
	}
	if fields := p.Upstream.problems("upstream"); len(fields) > 0 {
		return MemberTenant{}, Hub{}, fault.InvalidFields(fields...)
	}
	if err := s.checkUpstream(ctx, c, ref, name, p.Upstream); err != nil {
		return MemberTenant{}, Hub{}, err
	}
	var h Hub
	t, err := s.change(ctx, c, ref, ChangeHub, Audit{Action: "hub.patched", Subject: name}, func(tx Store, t *MemberTenant, a *Audit) error {
		now := s.now()
		was, err := tx.Hub(ctx, t.ID, name)
		if isKind(err, fault.NotFound) {
			was, err = Hub{CreatedAt: now}, s.roomForHub(ctx, tx, t.ID)
		}
		if err != nil {
			return err
		}
		settings := p.apply(was.Settings)
		if err := settings.Validate(); err != nil {
			return err
		}
		h, err = s.putHub(ctx, tx, c, *t, a, was, Hub{Name: name, Settings: settings.clean(), CreatedAt: was.CreatedAt, UpdatedAt: now}, 0)
		return err
	})
	return t, h, err
}

// DeleteHub forgets a hub's settings.
func (s *Service) DeleteHub(ctx context.Context, c Caller, ref, name string) error {
	name, err := hubNamed(name)
	if err != nil {
		return err
	}
	return s.forgetHub(ctx, c, ref, name, 0)
}

// hubNamed returns the canonical form of a hub's name.
func hubNamed(name string) (string, error) {
	canonical, err := HubName(name)
	if err != nil {
		return "", fault.InvalidFields(fault.Field{Name: "hub", Message: err.Error(), Accepted: HubNameRule})
	}
	return canonical, nil
}
