package adminapi

import (
	"net/http"

	"github.com/signalbox/signalbox/tenants"
)

// ListIssuers implements ServerInterface.
func (s *server) ListIssuers(w http.ResponseWriter, r *http.Request, ref TenantPath, params ListIssuersParams) {
	all, err := s.tenants.Issuers(r.Context(), callerOf(r), ref)
	page, next, err := paged(err, oldestIssuers, all, params.Cursor, params.Limit)
	answer := IssuerList{Issuers: make([]Issuer, 0, len(page)), NextCursor: next}
	for _, i := range page {
		answer.Issuers = append(answer.Issuers, issuer(i))
	}
	s.answer(w, r, http.StatusOK, answer, err)
}

var oldestIssuers = order[tenants.Issuer]{
	list: "issuers", place: func(i tenants.Issuer) []string { return []string{moment(i.CreatedAt), i.ID} },
}

// GetIssuer implements ServerInterface.
func (s *server) GetIssuer(w http.ResponseWriter, r *http.Request, ref TenantPath, id string) {
	i, err := s.tenants.Issuer(r.Context(), callerOf(r), ref, id)
	s.answer(w, r, http.StatusOK, issuer(i), err)
}

// CreateIssuer implements ServerInterface.
func (s *server) CreateIssuer(w http.ResponseWriter, r *http.Request, ref TenantPath) {
	in, err := body[IssuerSettings](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	made, err := s.tenants.CreateIssuer(r.Context(), callerOf(r), ref, issuerSettings(in))
	s.answer(w, r, http.StatusCreated, issuer(made), err)
}

// ReplaceIssuer implements ServerInterface.
func (s *server) ReplaceIssuer(w http.ResponseWriter, r *http.Request, ref TenantPath, id string) {
	in, err := body[IssuerSettings](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	made, err := s.tenants.ReplaceIssuer(r.Context(), callerOf(r), ref, id, issuerSettings(in))
	s.answer(w, r, http.StatusOK, issuer(made), err)
}

// DeleteIssuer implements ServerInterface.
func (s *server) DeleteIssuer(w http.ResponseWriter, r *http.Request, ref TenantPath, id string) {
	s.done(w, r, s.tenants.DeleteIssuer(r.Context(), callerOf(r), ref, id))
}

func issuerSettings(in IssuerSettings) tenants.IssuerSettings {
	settings := tenants.IssuerSettings{
		Issuer: in.Issuer, JWKSURL: in.JwksURL, Audiences: value(in.Audiences), UserClaim: value(in.UserClaim), CloseOnExpiry: value(in.CloseOnExpiry),
	}
	for _, a := range value(in.Algorithms) {
		settings.Algorithms = append(settings.Algorithms, tenants.Algorithm(a))
	}
	return settings
}

// issuer shows an issuer with its defaults filled in.
func issuer(i tenants.Issuer) Issuer {
	settings := i.WithDefaults()
	shown := Issuer{
		ID: i.ID, Issuer: settings.Issuer, JwksURL: settings.JWKSURL, Audiences: append([]string{}, settings.Audiences...),
		UserClaim: settings.UserClaim, CloseOnExpiry: settings.CloseOnExpiry, CreatedAt: i.CreatedAt.UTC(), UpdatedAt: i.UpdatedAt.UTC(),
	}
	for _, a := range settings.Algorithms {
		shown.Algorithms = append(shown.Algorithms, string(a))
	}
	return shown
}

// ListRevocations implements ServerInterface.
func (s *server) ListRevocations(w http.ResponseWriter, r *http.Request, ref TenantPath, params ListRevocationsParams) {
	all, err := s.tenants.Revocations(r.Context(), callerOf(r), ref)
	page, next, err := paged(err, newestRevocations, all, params.Cursor, params.Limit)
	answer := RevocationList{Revocations: make([]Revocation, 0, len(page)), NextCursor: next}
	for _, v := range page {
		answer.Revocations = append(answer.Revocations, revocation(v))
	}
	s.answer(w, r, http.StatusOK, answer, err)
}

var newestRevocations = order[tenants.Revocation]{
	list: "revocations", down: true, place: func(v tenants.Revocation) []string { return []string{moment(v.CreatedAt), v.ID} },
}

// CreateRevocation implements ServerInterface.
func (s *server) CreateRevocation(w http.ResponseWriter, r *http.Request, ref TenantPath) {
	in, err := body[RevocationRequest](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	made, err := s.tenants.Revoke(r.Context(), callerOf(r), ref, tenants.RevocationKind(in.Kind), in.Value)
	s.answer(w, r, http.StatusCreated, revocation(made), err)
}

// DeleteRevocation implements ServerInterface.
func (s *server) DeleteRevocation(w http.ResponseWriter, r *http.Request, ref TenantPath, id string) {
	s.done(w, r, s.tenants.LiftRevocation(r.Context(), callerOf(r), ref, id))
}

func revocation(v tenants.Revocation) Revocation {
	return Revocation{
		ID: v.ID, Kind: RevocationKind(v.Kind), Value: v.Value, IssuedBefore: v.IssuedBefore.UTC(), ExpiresAt: v.ExpiresAt.UTC(), CreatedAt: v.CreatedAt.UTC(),
	}
}
