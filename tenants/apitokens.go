package tenants

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/scope"
)

// TokenKind says whom an API token stands for.
type TokenKind string

// The kinds of API tokens.
const (
	PersonalToken TokenKind = "personal" // its person, with the person's role
	ServiceToken  TokenKind = "service"  // the account, with a role of its own
)

// APIToken lets a program act in one account. The token itself is kept as a hash.
type APIToken struct {
	ID      string
	Account AccountID
	Kind    TokenKind
	User    UserID // whom it acts as
	Email   string // of the person; "" = a service token
	Role    Role   // in the account, now
	Name    string
	Scopes  []Scope // empty = all that the role allows
	Hint    string  // the last characters of the token
	Created time.Time
	Expires time.Time // zero = never
	// LastUsed is kept to the minute; zero = never.
	LastUsed time.Time
}

// NewAPIToken is what a token should be.
type NewAPIToken struct {
	Name   string
	Scopes []Scope
	Days   int // of its life; 0 = it doesn't expire
}

// apiTokenPrefix lets people and secret scanners recognize a token.
const apiTokenPrefix = "sbt_"

// How many API tokens there may be: of one user, and service tokens of one account.
const (
	maxAPITokens     = 20
	maxServiceTokens = 50
	maxTokenDays     = 366
)

// lastUseSlack is by how much an API token's last use may be after what is noted of it,
// with what clocks differ by.
const lastUseSlack = 3 * time.Minute

// Authenticate returns the caller that an API token stands for; the caller's
// RequestID and IP are left to fill in. The error is Unauthenticated for every
// token that is not good.
func (s *Service) Authenticate(ctx context.Context, token Secret) (Caller, error) {
	if !strings.HasPrefix(token.Reveal(), apiTokenPrefix) {
		return Caller{}, errAPIToken()
	}
	t, err := s.store.APITokenByHash(scope.System(ctx, scope.SignIn), tokenHash(token.Reveal()), s.now())
	if isKind(err, fault.NotFound) {
		return Caller{}, errAPIToken()
	}
	if err != nil {
		return Caller{}, err
	}
	return Caller{User: t.User, Account: t.Account, TokenID: t.ID, Token: t.Kind, Scopes: t.Scopes, TokenExpires: t.Expires}, nil
}

func errAPIToken() error {
	return fault.New(fault.Unauthenticated, "The API token is not valid.").WithCode("invalid_token")
}

// CreateAPIToken makes a token that acts as the caller in one account; account
// "" means the only one. The secret is not kept.
func (s *Service) CreateAPIToken(ctx context.Context, c Caller, account AccountID, in NewAPIToken) (APIToken, Secret, error) {
	token, secret, err := s.newAPIToken(in)
	if err != nil {
		return APIToken{}, "", err
	}
	err = s.changeAccount(ctx, c, account, CreateToken, func(tx Store, m Membership) error {
		token.Kind, token.Account, token.User, token.Role = PersonalToken, m.ID, c.User, m.Role
		have, err := tx.APITokens(ctx, c.User, m.ID)
		if err != nil {
			return err
		}
		if len(have) >= maxAPITokens {
			return errMaxAPITokens(fmt.Sprintf("You have %d API tokens in this account, which is the most there can be.", len(have)))
		}
		return s.keepAPIToken(ctx, tx, c, token, secret)
	})
	return token, secret, err
}

// CreateServiceToken makes a token that belongs to the account and stays when its
// maker leaves. Its role is at most the maker's, and never owner.
func (s *Service) CreateServiceToken(ctx context.Context, c Caller, account AccountID, role Role, in NewAPIToken) (APIToken, Secret, error) {
	token, secret, err := s.newAPIToken(in)
	if err != nil {
		return APIToken{}, "", err
	}
	err = s.changeAccount(ctx, c, account, ManageTokens, func(tx Store, m Membership) error {
		if role == Owner || !role.atMost(m.Role) {
			return fault.InvalidFields(fault.Field{Name: "role", Message: "is more than a service token may have", Accepted: "admin, developer, billing, viewer"})
		}
		token.Kind, token.Account, token.User, token.Role = ServiceToken, m.ID, UserID(newID()), role
		all, err := tx.AccountTokens(ctx, m.ID)
		if err != nil {
			return err
		}
		have := len(slices.DeleteFunc(all, func(t APIToken) bool { return t.Kind != ServiceToken }))
		if have >= maxServiceTokens {
			return errMaxAPITokens(fmt.Sprintf("The account has %d service tokens, which is the most there can be.", have))
		}
		if err := tx.CreateService(ctx, token.User); err != nil {
			return err
		}
		if err := tx.AddMember(ctx, m.ID, token.User, role); err != nil {
			return err
		}
		return s.keepAPIToken(ctx, tx, c, token, secret)
	})
	return token, secret, err
}

// newAPIToken checks what a token should be and makes it, without account and user.
func (s *Service) newAPIToken(in NewAPIToken) (APIToken, Secret, error) {
	var fields []fault.Field
	name, ok := cleanName(in.Name)
	if !ok {
		fields = append(fields, nameField("name"))
	}
	for i, scope := range in.Scopes {
		if !slices.Contains(Scopes, scope) {
			fields = append(fields, fault.Field{Name: fmt.Sprintf("scopes.%d", i), Message: "is not a scope"})
		}
	}
	if in.Days < 0 || in.Days > maxTokenDays {
		fields = append(fields, fault.Field{Name: "expires_in_days", Message: "is out of range", Accepted: fmt.Sprintf("1 to %d", maxTokenDays)})
	}
	if len(fields) > 0 {
		return APIToken{}, "", fault.InvalidFields(fields...)
	}
	secret := Secret(apiTokenPrefix + rand.Text() + rand.Text())
	token := APIToken{ID: newID(), Name: name, Scopes: in.Scopes, Hint: hint(secret), Created: s.now()}
	if in.Days > 0 {
		token.Expires = token.Created.AddDate(0, 0, in.Days)
	}
	return token, secret, nil
}

func errMaxAPITokens(message string) error {
	return fault.New(fault.QuotaExceeded, message).WithCode("max_api_tokens")
}

func (s *Service) keepAPIToken(ctx context.Context, tx Store, c Caller, t APIToken, secret Secret) error {
	if err := tx.CreateAPIToken(ctx, t, tokenHash(secret.Reveal())); err != nil {
		return err
	}
	return tx.Audit(ctx, Audit{Caller: c, Account: t.Account, Action: "api_token.created", Subject: t.ID, After: t.audited()})
}

// audited is what the audit trail says of a token.
func (t APIToken) audited() any {
	shown := map[string]any{"name": t.Name, "kind": t.Kind, "role": t.Role, "scopes": t.Scopes}
	if !t.Expires.IsZero() {
		shown["expires_at"] = t.Expires.UTC()
	}
	return shown
}

// APITokens lists the caller's tokens, newest first.
func (s *Service) APITokens(ctx context.Context, c Caller) ([]APIToken, error) {
	return s.store.APITokens(ctx, c.User, c.Account)
}

// DeleteAPIToken revokes one of the caller's tokens at once.
func (s *Service) DeleteAPIToken(ctx context.Context, c Caller, id string) error {
	return s.liveEnded(ctx, s.store.InTx(ctx, func(tx Store) error {
		t, err := tx.DeleteAPIToken(ctx, c.User, c.Account, id)
		if err != nil {
			return err
		}
		if err := s.endTokenLive(ctx, tx, t); err != nil {
			return err
		}
		return tx.Audit(ctx, Audit{Caller: c, Account: t.Account, Action: "api_token.deleted", Subject: id, Before: t.audited()})
	}))
}

// endTokenLive takes back what a token that is gone may have been given to see figures
// live. A service token is the only one that sees them as its user.
func (s *Service) endTokenLive(ctx context.Context, tx Store, t APIToken) error {
	switch {
	case s.now().Sub(t.LastUsed) >= LiveTokenLife+lastUseSlack:
		return nil
	case t.Kind == ServiceToken:
		return s.endLive(ctx, tx, membershipEnd(t.Account, t.User))
	}
	return s.endLive(ctx, tx, credentialEnd(t.User, t.ID))
}

// AccountTokens lists everybody's tokens in an account, newest first.
func (s *Service) AccountTokens(ctx context.Context, c Caller, account AccountID) ([]APIToken, error) {
	m, err := s.accountFor(ctx, c, account, ManageTokens)
	if err != nil {
		return nil, err
	}
	return s.store.AccountTokens(ctx, m.ID)
}

// DeleteAccountToken revokes anybody's token in an account at once.
func (s *Service) DeleteAccountToken(ctx context.Context, c Caller, account AccountID, id string) error {
	return s.liveEnded(ctx, s.changeAccount(ctx, c, account, ManageTokens, func(tx Store, m Membership) error {
		t, err := tx.DeleteAccountToken(ctx, m.ID, id)
		if err != nil {
			return err
		}
		if t.Kind == ServiceToken {
			if err := tx.DeleteService(ctx, t.User); err != nil {
				return err
			}
			if err := tx.DropInvitationsBy(ctx, m.ID, t.User, Roles); err != nil {
				return err
			}
		}
		if err := s.endTokenLive(ctx, tx, t); err != nil {
			return err
		}
		return tx.Audit(ctx, Audit{Caller: c, Account: m.ID, Action: "api_token.deleted", Subject: id, Before: t.audited()})
	}))
}
