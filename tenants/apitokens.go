package tenants

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/signalbox/signalbox/internal/fault"
)

// apiTokenPrefix lets people and secret scanners recognize a token.
const apiTokenPrefix = "sbt_"

// maxAPITokens is for one user in one account.
const maxAPITokens = 20

// Authenticate returns the caller that an API token stands for; the caller's
// RequestID and IP are left to fill in. The error is Unauthenticated for every
// token that is not good.
func (s *Service) Authenticate(ctx context.Context, token Secret) (Caller, error) {
	if !strings.HasPrefix(token.Reveal(), apiTokenPrefix) {
		return Caller{}, errAPIToken()
	}
	t, err := s.store.APITokenByHash(ctx, tokenHash(token.Reveal()), s.now())
	if isKind(err, fault.NotFound) {
		return Caller{}, errAPIToken()
	}
	if err != nil {
		return Caller{}, err
	}
	return Caller{User: t.User, Account: t.Account, TokenID: t.ID}, nil
}

func errAPIToken() error {
	return fault.New(fault.Unauthenticated, "The API token is not valid.").WithCode("invalid_token")
}

// CreateAPIToken makes a token that acts as the caller in one account; account
// "" means the only one. The secret is not kept.
func (s *Service) CreateAPIToken(ctx context.Context, c Caller, name string, account AccountID) (APIToken, Secret, error) {
	name, ok := cleanName(name)
	if !ok {
		return APIToken{}, "", fault.InvalidFields(nameField("name"))
	}
	in, err := s.accountFor(ctx, c, account, CreateToken)
	if err != nil {
		return APIToken{}, "", err
	}
	secret := Secret(apiTokenPrefix + rand.Text() + rand.Text())
	token := APIToken{ID: newID(), Account: in.ID, User: c.User, Name: name, Hint: hint(secret), CreatedAt: s.now()}
	err = s.store.InTx(ctx, func(tx Store) error {
		if _, _, err := tx.LockAccount(ctx, in.ID); err != nil {
			return err
		}
		have, err := tx.APITokens(ctx, c.User, in.ID)
		if err != nil {
			return err
		}
		if len(have) >= maxAPITokens {
			return fault.New(fault.QuotaExceeded, fmt.Sprintf("You have %d API tokens in this account, which is the most there can be.", len(have))).WithCode("max_api_tokens")
		}
		if err := tx.CreateAPIToken(ctx, token, tokenHash(secret.Reveal())); err != nil {
			return err
		}
		return tx.Audit(ctx, Audit{Caller: c, Account: in.ID, Action: "api_token.created", Subject: token.ID})
	})
	return token, secret, err
}

// APITokens lists the caller's tokens, newest first.
func (s *Service) APITokens(ctx context.Context, c Caller) ([]APIToken, error) {
	return s.store.APITokens(ctx, c.User, c.Account)
}

// DeleteAPIToken revokes one of the caller's tokens at once.
func (s *Service) DeleteAPIToken(ctx context.Context, c Caller, id string) error {
	return s.store.InTx(ctx, func(tx Store) error {
		account, err := tx.DeleteAPIToken(ctx, c.User, c.Account, id)
		if err != nil {
			return err
		}
		return tx.Audit(ctx, Audit{Caller: c, Account: account, Action: "api_token.deleted", Subject: id})
	})
}
