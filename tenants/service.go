package tenants

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/outbound"
)

// Config is what a Service needs.
type Config struct {
	Store     Store
	Sealer    *Sealer
	Endpoints Endpoints
	// ConsoleURL is where links in mails lead, without a slash at its end.
	ConsoleURL string
	// Publish hands a tenant's document to the data plane. It is called right
	// after a change was committed and only hurries: the queued job does the
	// same until it succeeds.
	Publish func(context.Context, ID) error
	// Refused counts what a limit of a tenant has refused, by its code. It must not
	// block; nil = nobody counts.
	Refused func(t ID, code string)
	// Outbound says which addresses tenants may give.
	Outbound outbound.Policy
	// Resolver looks up the DNS records of tenants' domains; nil = the system's.
	Resolver Resolver
	// Upstreams reaches tenants' upstreams; nil = URLs are taken as they are and
	// nothing can be replayed.
	Upstreams Upstreams
	// Deliveries is the log of what was posted to upstreams.
	Deliveries DeliveryLog
	// ConfirmSignUps makes nothing before a new address is confirmed, and so tells
	// nobody which addresses are known.
	ConfirmSignUps bool
	// SignUpsPerHour bounds sign-ups from one IP address; 0 = 20.
	SignUpsPerHour int
	// PasswordMemory is how much the hash of a password takes, in KiB; 0 = 19 MiB.
	// Less is for tests alone.
	PasswordMemory uint32
	Logger         *slog.Logger
	Now            func() time.Time // nil = time.Now
}

// defaultSignUpsPerHour is for one IP address.
const defaultSignUpsPerHour = 20

// publishTimeout bounds how long a change waits for the data plane to know it.
const publishTimeout = time.Second

// Service has the rules of the control plane. It is safe for concurrent use.
type Service struct {
	store          Store
	sealer         *Sealer
	endpoints      Endpoints
	consoleURL     string
	publish        func(context.Context, ID) error
	refused        func(ID, string)
	outbound       outbound.Policy
	resolver       Resolver
	upstreams      Upstreams
	deliveries     DeliveryLog
	signUpsPerHour int
	confirmSignUps bool
	logger         *slog.Logger
	now            func() time.Time
	passwords      *passwords
	operators      *passwords // of operators, whom no crowd of customers keeps out
	verifications  verifications
}

// NewService makes a Service.
func NewService(c Config) (*Service, error) {
	if u, err := url.Parse(c.ConsoleURL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("console URL must be an absolute http or https URL")
	}
	p, err := newPasswords(cmp.Or(c.PasswordMemory, passwordMemory))
	if err != nil {
		return nil, err
	}
	now := c.Now
	if now == nil {
		now = time.Now
	}
	s := &Service{
		store: c.Store, sealer: c.Sealer, endpoints: c.Endpoints, consoleURL: c.ConsoleURL, publish: c.Publish, refused: c.Refused, outbound: c.Outbound,
		resolver: c.Resolver, upstreams: c.Upstreams, deliveries: c.Deliveries,
		signUpsPerHour: c.SignUpsPerHour, confirmSignUps: c.ConfirmSignUps, logger: c.Logger, passwords: p, operators: p.apart(),
		now: func() time.Time { return now().Truncate(time.Microsecond) }, // as the database keeps it
	}
	if s.resolver == nil {
		s.resolver = net.DefaultResolver
	}
	if s.signUpsPerHour == 0 {
		s.signUpsPerHour = defaultSignUpsPerHour
	}
	return s, nil
}

// Endpoints tells where tenants are reached.
func (s *Service) Endpoints() Endpoints { return s.endpoints }

// ConfirmsSignUps tells whether sign-ups are confirmed first.
func (s *Service) ConfirmsSignUps() bool { return s.confirmSignUps }

// hurry publishes a tenant's document as soon as its change is committed; what
// fails is left to the queued job.
func (s *Service) hurry(ctx context.Context, t ID) {
	s.store.AfterCommit(ctx, func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, publishTimeout)
		defer cancel()
		if err := s.publish(ctx, t); err != nil {
			s.logger.WarnContext(ctx, "document not published at once, the job will", "tenant_id", string(t), "error", err)
		}
	})
}

// countRefusal has a refusal counted, if err is one of a limit.
func (s *Service) countRefusal(t ID, err error) {
	var f *fault.Error
	if s.refused == nil || !errors.As(err, &f) || f.Kind != fault.QuotaExceeded {
		return
	}
	code := f.Code
	if r, ok := Row(code); ok { // the api names some refusals by the limit
		code = r.Code
	}
	s.refused(t, code)
}

// tenantFor finds the tenant that the caller names by id or slug, and checks
// that the caller's role has the permission. A tenant that the caller is no
// member of is not found.
func (s *Service) tenantFor(ctx context.Context, c Caller, ref string, p Permission) (MemberTenant, error) {
	t, err := s.store.TenantOf(ctx, c.User, c.Account, ref)
	if err != nil {
		return MemberTenant{}, err
	}
	if t.ShutOut {
		return MemberTenant{}, errSecondFactorRequired()
	}
	return t, authorize(t.Role, p)
}

// accountFor returns the account that the caller names, or the only one there
// is when the name is empty, and checks the permission in it.
func (s *Service) accountFor(ctx context.Context, c Caller, id AccountID, p Permission) (Membership, error) {
	return accountIn(ctx, s.store, c, id, p)
}

// changeAccount runs f with the account locked. What the caller may do is judged
// before the lock, which strangers shall not take, and behind it again: who was
// removed while waiting for it changes nothing.
func (s *Service) changeAccount(ctx context.Context, c Caller, id AccountID, p Permission, f func(tx Store, m Membership) error) error {
	m, err := s.accountFor(ctx, c, id, p)
	if err != nil {
		return err
	}
	return s.store.InTx(ctx, func(tx Store) error {
		if _, _, err := tx.LockAccount(ctx, m.ID); err != nil {
			return err
		}
		m, err := accountIn(ctx, tx, c, m.ID, p)
		if err != nil {
			return err
		}
		return f(tx, m)
	})
}

func accountIn(ctx context.Context, store Store, c Caller, id AccountID, p Permission) (Membership, error) {
	m, err := membershipIn(ctx, store, c, id)
	if err != nil {
		return Membership{}, err
	}
	if m.ShutOut {
		return Membership{}, errSecondFactorRequired()
	}
	return m, authorize(m.Role, p)
}

// membershipIn is accountFor without any permission.
func membershipIn(ctx context.Context, store Store, c Caller, id AccountID) (Membership, error) {
	all, err := store.Memberships(ctx, c.User)
	if err != nil {
		return Membership{}, err
	}
	var candidates []Membership
	for _, m := range all {
		if c.inAccount(m.ID) && (id == "" || m.ID == id) {
			candidates = append(candidates, m)
		}
	}
	switch {
	case len(candidates) == 1:
		return candidates[0], nil
	case id != "" || len(candidates) == 0:
		return Membership{}, fault.New(fault.NotFound, "There is no such account, or you are not a member of it.")
	default:
		return Membership{}, fault.InvalidFields(fault.Field{Name: "account_id", Message: "is needed, because you are a member of several accounts", Accepted: "the id of one of them"})
	}
}
