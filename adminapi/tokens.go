package adminapi

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
	"github.com/signalbox/signalbox/tenants/permissions"
)

// ConsoleHub is the system tenant's hub to which consoles connect.
const ConsoleHub = "console"

// CreateClientToken implements ServerInterface.
func (s *server) CreateClientToken(w http.ResponseWriter, r *http.Request, ref TenantPath) {
	in, err := body[ClientTokenRequest](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	hub, err := tenants.HubName(in.Hub)
	if err != nil {
		s.problem(w, r, fault.InvalidFields(fault.Field{Name: "hub", Message: err.Error(), Accepted: tenants.HubNameRule}))
		return
	}
	if err := checkClientToken(in); err != nil {
		s.problem(w, r, err)
		return
	}
	t, key, err := s.tenants.SigningKey(r.Context(), callerOf(r), ref)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	minted, err := accesstoken.MintClient(key, s.tenants.Endpoints().Base(t.Tenant), accesstoken.ClientOptions{
		Hub: hub, UserID: value(in.UserID), Life: seconds(in.ExpiresInSeconds), CloseOnExpiry: value(in.CloseOnExpiry),
		Groups: value(in.Groups), Permissions: value(in.Permissions),
	}, s.now())
	if errors.Is(err, accesstoken.ErrTooLong) {
		err = fault.Wrap(fault.Invalid, fmt.Sprintf("The token would be longer than %d bytes: give it fewer groups and permissions.", accesstoken.MaxLength), err).WithCode("token_too_long")
	}
	s.answer(w, r, http.StatusCreated, dataPlaneToken(minted, minted.URL), err)
}

// nameRule is worded for error messages.
const nameRule = "not only blanks, no control characters"

// checkClientToken refuses what would make a token that no edge takes, or that says
// less than it was asked to.
func checkClientToken(in ClientTokenRequest) error {
	var fields []fault.Field
	switch user := value(in.UserID); {
	case len(user) > accesstoken.MaxUserID:
		fields = append(fields, fault.Field{Name: "user_id", Message: "is too long", Accepted: "at most 256 bytes"})
	case user != "" && !accesstoken.IsName(user):
		fields = append(fields, fault.Field{Name: "user_id", Message: "is not a user id", Accepted: nameRule})
	}
	for i, group := range value(in.Groups) {
		if !accesstoken.IsName(group) {
			fields = append(fields, fault.Field{Name: fmt.Sprintf("groups.%d", i), Message: "is not a group's name", Accepted: nameRule})
		}
	}
	if i, err := permissions.Check(value(in.Permissions)); err != nil {
		fields = append(fields, fault.Field{Name: fmt.Sprintf("permissions.%d", i), Message: err.Error(), Accepted: permissions.Rule})
	}
	if len(fields) > 0 {
		return fault.InvalidFields(fields...)
	}
	return nil
}

// CreateRestToken implements ServerInterface.
func (s *server) CreateRestToken(w http.ResponseWriter, r *http.Request, ref TenantPath) {
	in, err := body[RestTokenRequest](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	t, key, err := s.tenants.SigningKey(r.Context(), callerOf(r), ref)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	base := s.tenants.Endpoints().Base(t.Tenant)
	minted, err := accesstoken.MintREST(key, base, seconds(in.ExpiresInSeconds), s.now())
	s.answer(w, r, http.StatusCreated, dataPlaneToken(minted, base), err)
}

func dataPlaneToken(m accesstoken.Minted, url string) DataPlaneToken {
	return DataPlaneToken{Token: m.Token, ID: m.ID, URL: url, ExpiresAt: m.ExpiresAt.UTC()}
}

// CreateLiveConnection implements ServerInterface. The token is for exactly one
// group of the service's own tenant, which is sent nothing but this tenant's
// figures, and for the caller's user there, so that it ends with the membership.
func (s *server) CreateLiveConnection(w http.ResponseWriter, r *http.Request, ref TenantPath) {
	minted, err := s.liveToken(r, ref)
	s.answer(w, r, http.StatusOK, LiveConnection{Token: minted.Token, URL: minted.URL, ExpiresAt: minted.ExpiresAt.UTC()}, err)
}

func (s *server) liveToken(r *http.Request, ref string) (accesstoken.Minted, error) {
	c, at := callerOf(r), s.now() // before the membership is looked at: a removal since then takes the token back
	t, err := s.tenants.Tenant(r.Context(), c, ref)
	if err != nil {
		return accesstoken.Minted{}, err
	}
	system, err := s.tenants.SystemTenant(r.Context())
	if err != nil {
		return accesstoken.Minted{}, err
	}
	key, err := s.tenants.SystemKey(r.Context(), system)
	if err != nil {
		return accesstoken.Minted{}, err
	}
	life := tenants.LiveTokenLife
	if expires := c.TokenExpires; !expires.IsZero() {
		life = min(life, max(time.Second, expires.Sub(at))) // 0 would be an hour
	}
	minted, err := accesstoken.MintClient(key, s.tenants.Endpoints().Base(system), accesstoken.ClientOptions{
		Hub: ConsoleHub, UserID: tenants.LiveUser(t.Account, c.User), ID: tenants.LiveTokenID(c.User, cmp.Or(c.Session, c.TokenID)),
		Groups: []string{tenants.LiveGroup(t.ID)},
		Life:   life, CloseOnExpiry: true,
	}, at)
	if err != nil {
		return accesstoken.Minted{}, err
	}
	return minted, s.billing.Watch(r.Context(), t.ID, minted.ExpiresAt)
}

// ListAPITokens implements ServerInterface.
func (s *server) ListAPITokens(w http.ResponseWriter, r *http.Request, params ListAPITokensParams) {
	all, err := s.tenants.APITokens(r.Context(), callerOf(r))
	page, next, err := paged(err, newestTokens, all, params.Cursor, params.Limit)
	s.answer(w, r, http.StatusOK, apiTokenList(page, next), err)
}

var newestTokens = order[tenants.APIToken]{
	list: "api_tokens", down: true, place: func(t tenants.APIToken) []string { return []string{moment(t.Created), t.ID} },
}

// CreateAPIToken implements ServerInterface.
func (s *server) CreateAPIToken(w http.ResponseWriter, r *http.Request) {
	in, err := body[CreateAPITokenRequest](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	token, secret, err := s.tenants.CreateAPIToken(r.Context(), callerOf(r), tenants.AccountID(value(in.AccountID)), newAPIToken(in.Name, in.Scopes, in.ExpiresInDays))
	s.answer(w, r, http.StatusCreated, APITokenSecret{APIToken: apiToken(token), Secret: secret.Reveal()}, err)
}

// DeleteAPIToken implements ServerInterface.
func (s *server) DeleteAPIToken(w http.ResponseWriter, r *http.Request, id string) {
	s.done(w, r, s.tenants.DeleteAPIToken(r.Context(), callerOf(r), id))
}

// ListAccountTokens implements ServerInterface.
func (s *server) ListAccountTokens(w http.ResponseWriter, r *http.Request, account AccountPath, params ListAccountTokensParams) {
	all, err := s.tenants.AccountTokens(r.Context(), callerOf(r), tenants.AccountID(account))
	page, next, err := paged(err, newestTokens, all, params.Cursor, params.Limit)
	s.answer(w, r, http.StatusOK, apiTokenList(page, next), err)
}

// CreateServiceToken implements ServerInterface.
func (s *server) CreateServiceToken(w http.ResponseWriter, r *http.Request, account AccountPath) {
	in, err := body[CreateServiceTokenRequest](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	token, secret, err := s.tenants.CreateServiceToken(r.Context(), callerOf(r), tenants.AccountID(account), tenants.Role(in.Role), newAPIToken(in.Name, in.Scopes, in.ExpiresInDays))
	s.answer(w, r, http.StatusCreated, APITokenSecret{APIToken: apiToken(token), Secret: secret.Reveal()}, err)
}

// DeleteAccountToken implements ServerInterface.
func (s *server) DeleteAccountToken(w http.ResponseWriter, r *http.Request, account AccountPath, id APITokenPath) {
	s.done(w, r, s.tenants.DeleteAccountToken(r.Context(), callerOf(r), tenants.AccountID(account), id))
}

func newAPIToken(name string, scopes *APITokenScopes, days *APITokenDays) tenants.NewAPIToken {
	in := tenants.NewAPIToken{Name: name, Days: value(days)}
	for _, scope := range value(scopes) {
		in.Scopes = append(in.Scopes, tenants.Scope(scope))
	}
	return in
}

func apiTokenList(page []tenants.APIToken, next *string) APITokenList {
	answer := APITokenList{APITokens: make([]APIToken, 0, len(page)), NextCursor: next}
	for _, t := range page {
		answer.APITokens = append(answer.APITokens, apiToken(t))
	}
	return answer
}

func apiToken(t tenants.APIToken) APIToken {
	shown := APIToken{
		ID: t.ID, Name: t.Name, Kind: APITokenKind(t.Kind), AccountID: string(t.Account), UserEmail: given(t.Email), Role: Role(t.Role),
		Scopes: make([]APITokenScope, 0, len(t.Scopes)), Hint: t.Hint, CreatedAt: t.Created.UTC(), ExpiresAt: optional(t.Expires), LastUsedAt: optional(t.LastUsed),
	}
	for _, scope := range t.Scopes {
		shown.Scopes = append(shown.Scopes, APITokenScope(scope))
	}
	return shown
}

// seconds is a life in seconds; nil means the default.
func seconds(n *int) time.Duration { return time.Duration(value(n)) * time.Second }
