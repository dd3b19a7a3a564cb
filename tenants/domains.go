package tenants

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/scope"
)

// Domain is a host of a tenant's own. Edges serve the tenant under it once a DNS
// record has shown that it is the tenant's to give.
type Domain struct {
	ID        string
	Name      string // lower case, ASCII, without a dot at the end
	Token     string
	CreatedAt time.Time
	CheckedAt time.Time // zero = never
	// VerifiedAt is zero until the record was found.
	VerifiedAt time.Time
}

// The record that verifies a domain.
const (
	recordPrefix = "_signalbox."
	recordWord   = "signalbox-verification="
)

// RecordName is the name of the TXT record that verifies the domain.
func (d Domain) RecordName() string { return recordPrefix + d.Name }

// RecordValue is what that record has to say.
func (d Domain) RecordValue() string { return recordWord + d.Token }

// Resolver looks up TXT records. It is a *net.Resolver.
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

const (
	// maxDomains is for one tenant.
	maxDomains = 20
	// maxDomainLength leaves room for recordPrefix in what DNS takes.
	maxDomainLength = 253 - len(recordPrefix)
	// lookupTimeout bounds the search for a record.
	lookupTimeout = 5 * time.Second

	// codeUnverified is of a record that isn't there.
	codeUnverified = "domain_unverified"

	domainRule = "a host name in lower case ASCII with a dot, as rt.example.com; other alphabets as xn--…; no port, no wildcard"
)

var domainName = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)

// cleanDomain returns a domain as it is kept, or false for what can't be one.
func (e Endpoints) cleanDomain(name string) (string, bool) {
	name = strings.TrimSuffix(strings.ToLower(strings.TrimSpace(name)), ".")
	if len(name) > maxDomainLength || !domainName.MatchString(name) {
		return "", false
	}
	own := name == e.service.Hostname() || strings.HasSuffix(name, "."+e.domain)
	return name, !own && !strings.HasSuffix(name, ".localhost")
}

// domainState is what the audit has of a domain.
type domainState struct {
	Domain   string `json:"domain"`
	Verified bool   `json:"verified"`
}

// Domains lists a tenant's domains by name.
func (s *Service) Domains(ctx context.Context, c Caller, ref string) ([]Domain, error) {
	t, err := s.tenantFor(ctx, c, ref, SeeTenant)
	if err != nil {
		return nil, err
	}
	return s.store.Domains(ctx, t.ID)
}

// AddDomain notes that a tenant wants to be reached by a domain, and makes the record
// that shall verify it.
func (s *Service) AddDomain(ctx context.Context, c Caller, ref, name string) (Domain, error) {
	clean, ok := s.endpoints.cleanDomain(name)
	if !ok {
		return Domain{}, fault.InvalidFields(fault.Field{Name: "domain", Message: "is not a domain that can be added", Accepted: domainRule})
	}
	made := Domain{ID: newID(), Name: clean, Token: strings.ToLower(rand.Text()), CreatedAt: s.now()}
	_, err := s.change(ctx, c, ref, ChangeDomain, Audit{Action: "domain.added", Subject: clean}, func(tx Store, t *MemberTenant, a *Audit) error {
		have, err := tx.Domains(ctx, t.ID)
		if err != nil {
			return err
		}
		if len(have) >= maxDomains && !slices.ContainsFunc(have, func(d Domain) bool { return d.Name == clean }) {
			return fault.New(fault.QuotaExceeded, fmt.Sprintf("A tenant may have %d domains.", maxDomains)).WithCode("max_domains")
		}
		a.After = domainState{Domain: clean}
		return tx.PutDomain(ctx, t.ID, made)
	})
	return made, err
}

// VerifyDomain looks for the record of a domain. When it is there, edges serve the
// tenant under the domain, also in the place of one whose record is there no more.
func (s *Service) VerifyDomain(ctx context.Context, c Caller, ref, id string) (Domain, error) {
	t, err := s.tenantFor(ctx, c, ref, ChangeDomain)
	if err != nil {
		return Domain{}, err
	}
	d, err := s.store.Domain(ctx, t.ID, id)
	if err != nil || !d.VerifiedAt.IsZero() {
		return d, err
	}
	missing := s.findRecord(ctx, d)
	d.CheckedAt = s.now()
	if missing != nil {
		return d, errors.Join(s.store.CheckedDomain(ctx, t.ID, d), missing)
	}
	former, had, err := s.store.DomainOwner(scope.System(ctx, scope.Domains), d.Name)
	switch {
	case isKind(err, fault.NotFound):
	case err != nil:
		return d, err
	case former == t.ID: // another request was faster
		return had, nil
	default:
		if err := s.recordGone(ctx, had); err != nil {
			return d, err
		}
	}
	d.VerifiedAt = d.CheckedAt
	_, err = s.change(ctx, c, ref, ChangeDomain, Audit{Action: "domain.verified", Subject: d.Name}, func(tx Store, t *MemberTenant, a *Audit) error {
		a.Before, a.After = domainState{Domain: d.Name}, domainState{Domain: d.Name, Verified: true}
		if former != "" {
			if err := s.loseDomain(scope.System(ctx, scope.Domains), tx, c, former, had); err != nil {
				return err
			}
		}
		return tx.CheckedDomain(scope.System(ctx, scope.Domains), t.ID, d) // which looks at everybody's hosts
	})
	if err == nil && former != "" {
		s.hurry(ctx, former)
	}
	return d, err
}

// recordGone returns nil when DNS says that the record of a domain isn't there any
// more.
func (s *Service) recordGone(ctx context.Context, d Domain) error {
	err := s.findRecord(ctx, d)
	if err == nil {
		return fault.New(fault.Conflict, "This domain was verified for another tenant, whose record is still there. It has to go from the TXT records of "+d.RecordName()+", or the domain from that tenant.").WithCode("domain_taken")
	}
	if f, ok := errors.AsType[*fault.Error](err); ok && f.Code == codeUnverified {
		return nil
	}
	return err
}

// loseDomain takes a domain from a tenant, unless it is gone already. Its audit says
// nothing of who has it now.
func (s *Service) loseDomain(ctx context.Context, tx Store, c Caller, former ID, had Domain) error {
	if err := tx.Touch(ctx, former); isKind(err, fault.NotFound) {
		return nil // deleted, with its domains
	} else if err != nil {
		return err
	}
	t, err := tx.Tenant(ctx, former)
	if err != nil {
		return err
	}
	if lost, err := tx.LoseDomain(ctx, former, had, s.now()); err != nil || !lost {
		return err
	}
	return tx.Audit(ctx, Audit{
		Caller: Caller{System: true, RequestID: c.RequestID}, Account: t.Account, Tenant: former, Action: "domain.lost", Subject: had.Name,
		Before: domainState{Domain: had.Name, Verified: true}, After: domainState{Domain: had.Name},
	})
}

// findRecord returns nil when the record of a domain says what it should, else a
// fault that says what was found.
func (s *Service) findRecord(ctx context.Context, d Domain) error {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	values, err := s.resolver.LookupTXT(ctx, d.RecordName()+".") // as it is, without search domains
	missing, unknown := errors.AsType[*net.DNSError](err)
	switch {
	case err == nil:
	case unknown && missing.IsNotFound:
		values = nil
	default:
		return fault.Wrap(fault.Unavailable, "The DNS of "+d.Name+" doesn't answer now. Try again in a minute.", err).WithCode("dns_unavailable")
	}
	found := 0
	for _, v := range values {
		if v = strings.TrimSpace(v); v == d.RecordValue() {
			return nil
		}
		if strings.HasPrefix(v, recordWord) {
			found++
		}
	}
	text := "There is no TXT record " + d.RecordName() + " yet. DNS may need some minutes, or as long as the record's TTL, to show it."
	if found > 0 {
		text = "The TXT record " + d.RecordName() + " has another value than " + d.RecordValue() + ". DNS may go on showing a former value for as long as its TTL."
	}
	return fault.New(fault.Conflict, text).WithCode(codeUnverified)
}

// RemoveDomain ends the service of a tenant under a domain.
func (s *Service) RemoveDomain(ctx context.Context, c Caller, ref, id string) error {
	_, err := s.change(ctx, c, ref, ChangeDomain, Audit{Action: "domain.removed", Subject: id}, func(tx Store, t *MemberTenant, a *Audit) error {
		d, err := tx.Domain(ctx, t.ID, id)
		if err != nil {
			return err
		}
		a.Subject, a.Before = d.Name, domainState{Domain: d.Name, Verified: !d.VerifiedAt.IsZero()}
		return tx.DeleteDomain(ctx, t.ID, id)
	})
	return err
}
