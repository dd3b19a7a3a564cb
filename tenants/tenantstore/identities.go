package tenantstore

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/tenants"
)

const identityColumns = "id, user_id, issuer, subject, email, created_at"

func scanIdentity(row pgx.CollectableRow) (i tenants.Identity, err error) {
	err = row.Scan(&i.ID, &i.User, &i.Issuer, &i.Subject, &i.Email, &i.Linked)
	return i, err
}

// PutIdentity implements tenants.Identities.
func (s *Store) PutIdentity(ctx context.Context, i tenants.Identity) error {
	return s.exec(ctx, "identity", "INSERT INTO identities (id, user_id, issuer, subject, email, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
		i.ID, i.User, i.Issuer, i.Subject, i.Email, i.Linked)
}

// IdentityBySubject implements tenants.Identities.
func (s *Store) IdentityBySubject(ctx context.Context, issuer, subject string) (tenants.Identity, error) {
	return one(ctx, s, "identity", scanIdentity, "SELECT "+identityColumns+" FROM identities WHERE issuer = $1 AND subject = $2", issuer, subject)
}

// Identities implements tenants.Identities.
func (s *Store) Identities(ctx context.Context, u tenants.UserID) ([]tenants.Identity, error) {
	return many(ctx, s, "identities", scanIdentity, "SELECT "+identityColumns+" FROM identities WHERE user_id = $1 ORDER BY created_at, id", u)
}

// DeleteIdentity implements tenants.Identities.
func (s *Store) DeleteIdentity(ctx context.Context, u tenants.UserID, id string) (tenants.Identity, error) {
	return one(ctx, s, "identity", scanIdentity, "DELETE FROM identities WHERE user_id = $1 AND id = $2 RETURNING "+identityColumns, u, id)
}
