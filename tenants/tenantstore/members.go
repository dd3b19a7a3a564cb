package tenantstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/tenants"
)

// AddMember implements tenants.Members.
func (s *Store) AddMember(ctx context.Context, a tenants.AccountID, u tenants.UserID, r tenants.Role) error {
	return s.exec(ctx, "member", "INSERT INTO members (account_id, user_id, role) VALUES ($1, $2, $3)", a, u, r)
}

// Memberships implements tenants.Members.
func (s *Store) Memberships(ctx context.Context, u tenants.UserID) ([]tenants.Membership, error) {
	return many(ctx, s, "accounts", func(row pgx.CollectableRow) (m tenants.Membership, err error) {
		err = row.Scan(&m.ID, &m.Name, &m.Plan, &m.RequireSecondFactor, &m.CreatedAt, &m.Role, &m.ShutOut)
		return m, err
	}, "SELECT a.id, a.name, a.plan, a.require_second_factor, a.created_at, m.role, "+shutOut+`
		FROM members m JOIN accounts a ON a.id = m.account_id WHERE m.user_id = $1 ORDER BY a.name, a.id`, u)
}

const memberSelect = "SELECT " + userColumns + `, m.role, m.created_at, (SELECT max(s.seen_at) FROM sessions s WHERE s.user_id = u.id AND NOT s.pending)
	FROM members m JOIN users u ON u.id = m.user_id WHERE m.account_id = $1 AND u.kind = 'person'`

func scanMember(row pgx.CollectableRow) (m tenants.Member, err error) {
	var seen *time.Time
	err = row.Scan(append(userFields(&m.User), &m.Role, &m.JoinedAt, &seen)...)
	m.LastSeen = nullZero(seen)
	return m, err
}

// Members implements tenants.Members.
func (s *Store) Members(ctx context.Context, a tenants.AccountID) ([]tenants.Member, error) {
	return many(ctx, s, "members", scanMember, memberSelect+" ORDER BY u.email_key", a)
}

// Member implements tenants.Members.
func (s *Store) Member(ctx context.Context, a tenants.AccountID, u tenants.UserID) (tenants.Member, error) {
	return one(ctx, s, "member", scanMember, memberSelect+" AND u.id = $2", a, u)
}

// SetRole implements tenants.Members.
func (s *Store) SetRole(ctx context.Context, a tenants.AccountID, u tenants.UserID, r tenants.Role) error {
	return s.exec(ctx, "member", "UPDATE members SET role = $3 WHERE account_id = $1 AND user_id = $2", a, u, r)
}

// RemoveMember implements tenants.Members.
func (s *Store) RemoveMember(ctx context.Context, a tenants.AccountID, u tenants.UserID) error {
	if _, err := s.db.Exec(ctx, "DELETE FROM api_tokens WHERE account_id = $1 AND user_id = $2", a, u); err != nil {
		return postgres.Error("remove API tokens", err)
	}
	return s.exec(ctx, "member", "DELETE FROM members WHERE account_id = $1 AND user_id = $2", a, u)
}

// CountOwners implements tenants.Members.
func (s *Store) CountOwners(ctx context.Context, a tenants.AccountID) (int, error) {
	return one(ctx, s, "owners", pgx.RowTo[int],
		"SELECT count(*) FROM members m JOIN users u ON u.id = m.user_id WHERE m.account_id = $1 AND m.role = 'owner' AND u.kind = 'person'", a)
}

const invitationColumns = "id, account_id, email, role, invited_by, inviter, created_at, sent_at, expires_at"

func scanInvitation(row pgx.CollectableRow) (i tenants.Invitation, err error) {
	err = row.Scan(&i.ID, &i.Account, &i.Email, &i.Role, &i.InvitedBy, &i.Inviter, &i.CreatedAt, &i.SentAt, &i.ExpiresAt)
	return i, err
}

// PutInvitation implements tenants.Members.
func (s *Store) PutInvitation(ctx context.Context, a tenants.AccountID, i tenants.Invitation, emailKey string, tokenHash []byte) error {
	return s.exec(ctx, "invitation", `
		INSERT INTO invitations (id, account_id, email, email_key, role, token_hash, invited_by, inviter, created_at, sent_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
		ON CONFLICT (id) DO UPDATE SET token_hash = excluded.token_hash, inviter = excluded.inviter, sent_at = excluded.sent_at, expires_at = excluded.expires_at
		WHERE invitations.account_id = $2`, i.ID, a, i.Email, emailKey, i.Role, tokenHash, i.InvitedBy, i.Inviter, i.CreatedAt, i.SentAt, i.ExpiresAt)
}

// Invitations implements tenants.Members.
func (s *Store) Invitations(ctx context.Context, a tenants.AccountID, now time.Time) ([]tenants.Invitation, error) {
	return many(ctx, s, "invitations", scanInvitation,
		"SELECT "+invitationColumns+" FROM invitations WHERE account_id = $1 AND expires_at > $2 ORDER BY created_at DESC, id DESC", a, now)
}

// Invitation implements tenants.Members.
func (s *Store) Invitation(ctx context.Context, a tenants.AccountID, id string) (tenants.Invitation, error) {
	return one(ctx, s, "invitation", scanInvitation, "SELECT "+invitationColumns+" FROM invitations WHERE account_id = $1 AND id = $2", a, id)
}

// InvitationByToken implements tenants.Members.
func (s *Store) InvitationByToken(ctx context.Context, tokenHash []byte, now time.Time) (tenants.Invitation, error) {
	return one(ctx, s, "invitation", scanInvitation, "SELECT "+invitationColumns+" FROM invitations WHERE token_hash = $1 AND expires_at > $2", tokenHash, now)
}

// DeleteInvitation implements tenants.Members.
func (s *Store) DeleteInvitation(ctx context.Context, a tenants.AccountID, id string) error {
	return s.exec(ctx, "invitation", "DELETE FROM invitations WHERE account_id = $1 AND id = $2", a, id)
}

// DropInvitationsBy implements tenants.Members.
func (s *Store) DropInvitationsBy(ctx context.Context, a tenants.AccountID, by tenants.UserID, roles []tenants.Role) error {
	if _, err := s.db.Exec(ctx, "DELETE FROM invitations WHERE account_id = $1 AND inviter = $2 AND role = ANY($3)", a, by, roles); err != nil {
		return postgres.Error("withdraw invitations", err)
	}
	return nil
}

// DropInvitations implements tenants.Members.
func (s *Store) DropInvitations(ctx context.Context, a tenants.AccountID, now time.Time) error {
	if _, err := s.db.Exec(ctx, "DELETE FROM invitations WHERE account_id = $1 AND expires_at <= $2", a, now); err != nil {
		return postgres.Error("drop invitations", err)
	}
	return nil
}
