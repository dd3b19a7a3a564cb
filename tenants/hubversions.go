package tenants

import (
	"context"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
)

// HubVersion is what a hub's settings became by one change.
type HubVersion struct {
	Hub     string // canonical
	Version int64  // of the hub, from 1
	// Settings are nil where the hub's settings were forgotten.
	Settings *HubSettings
	Email    string // of the person who changed them, as it was then; "" = nobody's
	Token    string // the name of the API token; "" = none
	// ReturnedTo is the version whose settings these are once more; 0 = none.
	ReturnedTo int64
	CreatedAt  time.Time
}

// The bounds of versions.
const (
	// MaxHubVersions is how many of a hub are kept.
	MaxHubVersions = 50
	// MaxForgottenHubs is of how many hubs without settings there are any.
	MaxForgottenHubs = 100
)

// HubVersions lists what a hub's settings were, the newest first.
func (s *Service) HubVersions(ctx context.Context, c Caller, ref, name string) (MemberTenant, []HubVersion, error) {
	name, err := hubNamed(name)
	if err != nil {
		return MemberTenant{}, nil, err
	}
	t, err := s.tenantFor(ctx, c, ref, SeeTenant)
	if err != nil {
		return MemberTenant{}, nil, err
	}
	all, err := s.store.HubVersions(ctx, t.ID, name)
	return t, all, err
}

// ReturnHub gives a hub the settings of a former version, as a new one. They are held
// to what holds now: plan, environment, upstream.
func (s *Service) ReturnHub(ctx context.Context, c Caller, ref, name string, version int64) (MemberTenant, Hub, error) {
	name, err := hubNamed(name)
	if err != nil {
		return MemberTenant{}, Hub{}, err
	}
	t, err := s.tenantFor(ctx, c, ref, ChangeHub)
	if err != nil {
		return MemberTenant{}, Hub{}, err
	}
	former, err := s.store.HubVersion(ctx, t.ID, name, version)
	if err != nil {
		return MemberTenant{}, Hub{}, err
	}
	if former.Settings == nil {
		return t, Hub{Name: name}, s.forgetHub(ctx, c, ref, name, version)
	}
	if err := former.Settings.Validate(); err != nil {
		return MemberTenant{}, Hub{}, err
	}
	if err := s.checkUpstream(ctx, c, ref, name, former.Settings.Upstream); err != nil {
		return MemberTenant{}, Hub{}, err
	}
	var h Hub
	t, err = s.change(ctx, c, ref, ChangeHub, Audit{Action: "hub.returned", Subject: name}, func(tx Store, t *MemberTenant, a *Audit) error {
		now := s.now()
		was, err := tx.Hub(ctx, t.ID, name)
		if isKind(err, fault.NotFound) {
			was, err = Hub{CreatedAt: now}, s.roomForHub(ctx, tx, t.ID)
		}
		if err != nil {
			return err
		}
		h, err = s.putHub(ctx, tx, c, *t, a, was, Hub{Name: name, Settings: *former.Settings, CreatedAt: was.CreatedAt, UpdatedAt: now}, version)
		return err
	})
	return t, h, err
}

// forgetHub takes the settings of a hub away; returnedTo is the version that had
// none, 0 = there is no such.
func (s *Service) forgetHub(ctx context.Context, c Caller, ref, name string, returnedTo int64) error {
	_, err := s.change(ctx, c, ref, ChangeHub, Audit{Action: "hub.deleted", Subject: name}, func(tx Store, t *MemberTenant, a *Audit) error {
		was, err := tx.Hub(ctx, t.ID, name)
		if err != nil {
			return err
		}
		a.Before = was.Settings.audited()
		if err := tx.DeleteHub(ctx, t.ID, name); err != nil {
			return err
		}
		if err := setPartitions(ctx, tx, t.ID, name, 1); err != nil {
			return err
		}
		return tx.AddHubVersion(ctx, t.ID, c, HubVersion{Hub: name, ReturnedTo: returnedTo, CreatedAt: s.now()})
	})
	return err
}
