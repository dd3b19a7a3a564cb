package adminapi

import (
	"net/http"

	"github.com/signalbox/signalbox/tenants"
)

// ListDomains implements ServerInterface.
func (s *server) ListDomains(w http.ResponseWriter, r *http.Request, ref TenantPath, params ListDomainsParams) {
	all, err := s.tenants.Domains(r.Context(), callerOf(r), ref)
	page, next, err := paged(err, domainsByName, all, params.Cursor, params.Limit)
	answer := DomainList{Domains: make([]Domain, 0, len(page)), NextCursor: next}
	for _, d := range page {
		answer.Domains = append(answer.Domains, domain(d))
	}
	s.answer(w, r, http.StatusOK, answer, err)
}

var domainsByName = order[tenants.Domain]{list: "domains", place: func(d tenants.Domain) []string { return []string{d.Name, d.ID} }}

// CreateDomain implements ServerInterface.
func (s *server) CreateDomain(w http.ResponseWriter, r *http.Request, ref TenantPath) {
	in, err := body[CreateDomainRequest](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	d, err := s.tenants.AddDomain(r.Context(), callerOf(r), ref, in.Domain)
	s.answer(w, r, http.StatusCreated, domain(d), err)
}

// VerifyDomain implements ServerInterface.
func (s *server) VerifyDomain(w http.ResponseWriter, r *http.Request, ref TenantPath, id DomainPath) {
	d, err := s.tenants.VerifyDomain(r.Context(), callerOf(r), ref, id)
	s.answer(w, r, http.StatusOK, domain(d), err)
}

// DeleteDomain implements ServerInterface.
func (s *server) DeleteDomain(w http.ResponseWriter, r *http.Request, ref TenantPath, id DomainPath) {
	s.done(w, r, s.tenants.RemoveDomain(r.Context(), callerOf(r), ref, id))
}

func domain(d tenants.Domain) Domain {
	return Domain{
		ID: d.ID, Domain: d.Name, Verified: !d.VerifiedAt.IsZero(), Record: DomainRecord{Type: TXT, Name: d.RecordName(), Value: d.RecordValue()},
		CreatedAt: d.CreatedAt.UTC(), CheckedAt: optional(d.CheckedAt), VerifiedAt: optional(d.VerifiedAt),
	}
}
