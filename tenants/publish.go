package tenants

import (
	"context"
	"strings"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/scope"
)

// Document builds what the data plane has to know of a tenant. For a deleted
// one it is a tombstone without keys. What the database has and can't be is an error:
// edges go on with the document that they have.
func (s *Service) Document(ctx context.Context, id ID) (Document, error) {
	return s.document(scope.System(ctx, scope.Documents), id)
}

// document is Document with the rows that ctx may see.
func (s *Service) document(ctx context.Context, id ID) (Document, error) {
	// The revision is read first: the rest may be newer than it says, never
	// older, and when it is newer another publication follows.
	t, err := s.store.Tenant(ctx, id)
	if err != nil {
		return Document{}, err
	}
	doc := Document{ID: t.ID, Slug: t.Slug, Revision: t.Revision, Status: t.Status, Environment: t.Environment, Plan: t.Plan}
	if t.Status == Deleted {
		return doc, nil
	}
	doc.Hosts = s.endpoints.Hosts(t)
	limits, overrides, err := s.store.Limits(ctx, id, s.now())
	if err != nil {
		return Document{}, err
	}
	now := s.now()
	if t.Slug == SystemSlug {
		limits.MaxConnectionsPerUser = limits.MaxConnections // one person may have many pages of the console open
	}
	doc.Limits, doc.LaterLimits = limits.With(overrides, now), laterLimits(limits, overrides, now)
	sub, err := subscribed(ctx, s.store, t.Account, now)
	if err != nil {
		return Document{}, err
	}
	doc.Budget = sub.Enforced()
	period, _ := Period(sub.AnchorDay, now)
	told, err := s.store.BudgetNotices(ctx, t.Account, period)
	if err != nil {
		return Document{}, err
	}
	doc.BudgetNotices = sub.docNotices(told, now)
	// A grace of the former period may still last, or just have ended.
	former, _ := Period(sub.AnchorDay, now.Add(-PlanGrace-GraceOver))
	for _, since := range []time.Time{period, former} {
		downgrades, err := s.store.Downgrades(ctx, t.Account, since)
		if err != nil {
			return Document{}, err
		}
		if ends := sub.graceEnds(downgrades, now); !ends.IsZero() {
			doc.GraceEnds = ends.Unix()
			break
		}
	}
	hubs, err := s.store.Hubs(ctx, id)
	if err != nil {
		return Document{}, err
	}
	doc.Hubs = make(map[string]HubSettings, len(hubs))
	for _, h := range hubs {
		if err := h.Settings.Validate(); err != nil { // it was not written by us
			return Document{}, fault.Wrap(fault.Internal, "settings of hub "+h.Name+" can't be", err)
		}
		doc.Hubs[h.Name] = h.Settings
	}
	if doc.Partitioned, err = s.store.HubPartitions(ctx, id); err != nil {
		return Document{}, err
	}
	if doc.Issuers, err = s.store.Issuers(ctx, id); err != nil {
		return Document{}, err
	}
	revoked, err := s.store.Revocations(ctx, id, s.now())
	if err != nil {
		return Document{}, err
	}
	doc.Revocations = docRevocations(revoked)
	if doc.WebhookSecrets, err = s.openWebhookSecrets(ctx, id); err != nil {
		return Document{}, err
	}
	doc.Keys, err = s.openKeys(ctx, id)
	return doc, err
}

// DocumentFor returns what the data plane knows of the tenant that the caller
// names, for judging tokens on the caller's behalf. It holds secrets.
func (s *Service) DocumentFor(ctx context.Context, c Caller, ref string) (MemberTenant, Document, error) {
	t, err := s.tenantFor(ctx, c, ref, MintToken)
	if err != nil {
		return MemberTenant{}, Document{}, err
	}
	doc, err := s.document(ctx, t.ID)
	return t, doc, err
}

// DocumentBySlug is Document for the tenant that has a slug now.
func (s *Service) DocumentBySlug(ctx context.Context, slug string) (Document, error) {
	t, err := s.store.TenantBySlug(scope.System(ctx, scope.Documents), slug)
	if err != nil {
		return Document{}, err
	}
	return s.Document(ctx, t.ID)
}

// DocumentByHost is Document for the tenant that has a host now.
func (s *Service) DocumentByHost(ctx context.Context, host string) (Document, error) {
	host = strings.ToLower(host)
	t, err := s.store.TenantByHost(scope.System(ctx, scope.Documents), host)
	if isKind(err, fault.NotFound) {
		if slug, ok := s.endpoints.slugOf(host); ok {
			return s.DocumentBySlug(ctx, slug)
		}
	}
	if err != nil {
		return Document{}, err
	}
	return s.Document(ctx, t.ID)
}

// EachTenant calls f with the id of every tenant that is not deleted, until f
// returns an error.
func (s *Service) EachTenant(ctx context.Context, f func(ID) error) error {
	const page = 500
	for after := ID(""); ; {
		ids, err := s.store.TenantIDs(scope.System(ctx, scope.Documents), after, page)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := f(id); err != nil {
				return err
			}
		}
		if len(ids) < page {
			return nil
		}
		after = ids[len(ids)-1]
	}
}
