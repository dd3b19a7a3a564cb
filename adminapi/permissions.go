package adminapi

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
	"github.com/signalbox/signalbox/tenants/permissions"
)

// The codes of a check's answer are those that the data plane refuses with.
const (
	checkAllowed     = "allowed"
	checkToken       = "invalid_token"
	checkKind        = "wrong_token_kind"
	checkRevoked     = "token_revoked"
	checkUnavailable = "issuer_unavailable"
	checkSuspended   = "tenant_suspended"
	checkDenied      = "permission_denied"
)

// connect is the action of a check that needs a good token and no permission.
const connect = "connect"

// CheckPermission implements ServerInterface. It goes by the same functions and
// the same document as an edge.
func (s *server) CheckPermission(w http.ResponseWriter, r *http.Request, ref TenantPath) {
	in, err := body[PermissionCheckRequest](r)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	check, err := s.checkPermission(r.Context(), callerOf(r), ref, in)
	s.answer(w, r, http.StatusOK, check, err)
}

func (s *server) checkPermission(ctx context.Context, c tenants.Caller, ref string, in PermissionCheckRequest) (PermissionCheck, error) {
	hub, err := tenants.HubName(in.Hub)
	var fields []fault.Field
	if err != nil {
		fields = append(fields, fault.Field{Name: "hub", Message: err.Error(), Accepted: tenants.HubNameRule})
	}
	if in.Action != connect && strings.TrimSpace(value(in.Group)) == "" {
		fields = append(fields, fault.Field{Name: "group", Message: "is needed for this action", Accepted: "a group's name"})
	}
	if in.Token != nil && (in.UserID != nil || in.Permissions != nil) {
		fields = append(fields, fault.Field{Name: "token", Message: "can't stand beside user_id and permissions", Accepted: "a token, or a description of one"})
	}
	if len(fields) > 0 {
		return PermissionCheck{}, fault.InvalidFields(fields...)
	}
	t, doc, err := s.tenants.DocumentFor(ctx, c, ref)
	if err != nil {
		return PermissionCheck{}, err
	}
	p := &accesstoken.Principal{UserID: value(in.UserID), Permissions: permissions.NewSet(value(in.Permissions))}
	if in.Token != nil {
		var refused *PermissionCheck
		if p, refused = s.judge(ctx, t, &doc, hub, strings.TrimSpace(*in.Token)); refused != nil {
			return *refused, nil
		}
	}
	check := decide(&doc, hub, p, in)
	if in.Token != nil {
		check.Token = checkedToken(p)
	}
	return check, nil
}

// judge verifies a token as an edge would, and says why it isn't good.
func (s *server) judge(ctx context.Context, t tenants.MemberTenant, doc *tenants.Document, hub, token string) (*accesstoken.Principal, *PermissionCheck) {
	no := func(code, reason string) (*accesstoken.Principal, *PermissionCheck) {
		return nil, &PermissionCheck{Code: code, Reason: reason}
	}
	target := accesstoken.Target{Kind: accesstoken.Client, Hosts: s.hosts(t, doc), Slug: doc.Slug, Hub: hub}
	var p *accesstoken.Principal
	var err error
	if len(doc.Issuers) > 0 && accesstoken.IsIssued(token) {
		p, err = accesstoken.VerifyIssued(ctx, doc, s.keys, token, target, s.now())
	} else {
		p, err = accesstoken.Verify(doc.GoodKeys(s.now()), token, target, s.now())
	}
	switch {
	case errors.Is(err, accesstoken.ErrUnavailable):
		return no(checkUnavailable, "The keys of the token's issuer could not be fetched: its JWKS URL does not answer with a key set.")
	case errors.Is(err, accesstoken.ErrWrongKind):
		return no(checkKind, "The token is good, but not one for clients.")
	case err != nil:
		return no(checkToken, "The token is refused: "+strings.TrimPrefix(err.Error(), accesstoken.ErrInvalid.Error()+": ")+".")
	case p.UserID != "" && !accesstoken.IsName(p.UserID):
		return no(checkToken, "The token is refused: its user can't be served: "+nameRule+".")
	case doc.Revoked(p.Credential()) != "":
		return no(checkRevoked, "The token was revoked, by its "+revokedBy[doc.Revoked(p.Credential())]+".")
	case doc.Status != tenants.Active:
		return no(checkSuspended, "The tenant is suspended.")
	}
	return p, nil
}

var revokedBy = map[tenants.RevocationKind]string{tenants.RevokedToken: "id", tenants.RevokedUser: "user", tenants.RevokedKey: "key"}

// hosts are those that a token for the tenant may name.
func (s *server) hosts(t tenants.MemberTenant, doc *tenants.Document) []string {
	hosts := slices.Clone(doc.Hosts)
	for _, base := range []string{s.tenants.Endpoints().Service(), s.tenants.Endpoints().Base(t.Tenant)} {
		if u, err := url.Parse(base); err == nil {
			hosts = append(hosts, u.Host)
		}
	}
	return hosts
}

// decide says what a client with this token may do, and which permission says so.
func decide(doc *tenants.Document, hub string, p *accesstoken.Principal, in PermissionCheckRequest) PermissionCheck {
	if in.Action == connect {
		return PermissionCheck{Allowed: true, Code: checkAllowed, Reason: "The token is good for this hub."}
	}
	action, group := permissions.Action(in.Action), value(in.Group)
	for _, by := range []struct {
		source PermissionRuleSource
		set    permissions.Set
	}{{"token", p.Permissions}, {"hub", permissions.NewSet(doc.Hubs[hub].ClientPermissions)}} {
		rule, ok := by.set.Allows(action, group, p.UserID)
		if !ok {
			continue
		}
		reason := "The " + string(by.source) + "'s permission " + rule.Text + " allows it."
		return PermissionCheck{Allowed: true, Code: checkAllowed, Reason: reason, Rule: &PermissionRule{Source: by.source, Permission: rule.Text}}
	}
	return PermissionCheck{Code: checkDenied, Reason: "Neither the token nor the hub's settings have a permission " + string(action) + " that this group matches."}
}

func checkedToken(p *accesstoken.Principal) *CheckedToken {
	shown := &CheckedToken{
		KeyID: p.KeyID, ExpiresAt: p.ExpiresAt.UTC(), IssuedAt: optional(p.IssuedAt), Groups: append([]string{}, p.Groups...), Permissions: p.Permissions.Texts(),
	}
	for field, text := range map[**string]string{&shown.ID: p.TokenID, &shown.UserID: p.UserID, &shown.IssuerID: p.IssuerID} {
		if text != "" {
			*field = &text
		}
	}
	shown.Ignored = make([]struct {
		Permission string `json:"permission"`
		Reason     string `json:"reason"`
	}, len(p.Permissions.Ignored()))
	for i, ignored := range p.Permissions.Ignored() {
		shown.Ignored[i].Permission, shown.Ignored[i].Reason = ignored.Text, ignored.Reason
	}
	return shown
}
