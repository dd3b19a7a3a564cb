package tenantstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/tenants"
)

const userColumns = "id, email, email_verified_at IS NOT NULL"

func scanUser(row pgx.CollectableRow) (u tenants.User, err error) {
	err = row.Scan(&u.ID, &u.Email, &u.EmailVerified)
	return u, err
}

// CreateUser implements tenants.People.
func (s *Store) CreateUser(ctx context.Context, u tenants.User, emailKey, passwordHash string) error {
	return s.exec(ctx, "user", "INSERT INTO users (id, email, email_key, password_hash) VALUES ($1, $2, $3, $4)", u.ID, u.Email, emailKey, passwordHash)
}

// SetPassword implements tenants.People.
func (s *Store) SetPassword(ctx context.Context, u tenants.UserID, passwordHash string) error {
	return s.exec(ctx, "user", "UPDATE users SET password_hash = $2 WHERE id = $1", u, passwordHash)
}

// UserByEmail implements tenants.People.
func (s *Store) UserByEmail(ctx context.Context, emailKey string) (tenants.User, string, error) {
	type found struct {
		user tenants.User
		hash string
	}
	f, err := one(ctx, s, "user", func(row pgx.CollectableRow) (f found, err error) {
		err = row.Scan(&f.user.ID, &f.user.Email, &f.user.EmailVerified, &f.hash)
		return f, err
	}, "SELECT "+userColumns+", password_hash FROM users WHERE email_key = $1", emailKey)
	return f.user, f.hash, err
}

// User implements tenants.People.
func (s *Store) User(ctx context.Context, u tenants.UserID) (tenants.User, error) {
	return one(ctx, s, "user", scanUser, "SELECT "+userColumns+" FROM users WHERE id = $1", u)
}

// CreateAccount implements tenants.People.
func (s *Store) CreateAccount(ctx context.Context, a tenants.Account) error {
	return s.exec(ctx, "account", "INSERT INTO accounts (id, name, plan) VALUES ($1, $2, $3)", a.ID, a.Name, a.Plan)
}

// SetPlan implements tenants.People.
func (s *Store) SetPlan(ctx context.Context, a tenants.AccountID, plan string) error {
	return s.exec(ctx, "account", "UPDATE accounts SET plan = $2 WHERE id = $1", a, plan)
}

// AddMember implements tenants.People.
func (s *Store) AddMember(ctx context.Context, a tenants.AccountID, u tenants.UserID, r tenants.Role) error {
	return s.exec(ctx, "member", "INSERT INTO members (account_id, user_id, role) VALUES ($1, $2, $3)", a, u, r)
}

// Memberships implements tenants.People.
func (s *Store) Memberships(ctx context.Context, u tenants.UserID) ([]tenants.Membership, error) {
	return many(ctx, s, "accounts", func(row pgx.CollectableRow) (m tenants.Membership, err error) {
		err = row.Scan(&m.ID, &m.Name, &m.Plan, &m.Role)
		return m, err
	}, "SELECT a.id, a.name, a.plan, m.role FROM members m JOIN accounts a ON a.id = m.account_id WHERE m.user_id = $1 ORDER BY a.name, a.id", u)
}

// Attempt implements tenants.People.
func (s *Store) Attempt(ctx context.Context, now, since time.Time, subjects ...string) ([]int, error) {
	counts := make([]int, len(subjects))
	for i, subject := range subjects {
		if _, err := s.db.Exec(ctx, "DELETE FROM attempts WHERE subject = $1 AND attempted_at < $2", subject, since); err != nil {
			return nil, postgres.Error("forget old attempts", err)
		}
		if _, err := s.db.Exec(ctx, "INSERT INTO attempts (subject, attempted_at) VALUES ($1, $2)", subject, now); err != nil {
			return nil, postgres.Error("record attempt", err)
		}
		if err := s.db.QueryRow(ctx, "SELECT count(*) FROM attempts WHERE subject = $1 AND attempted_at >= $2", subject, since).Scan(&counts[i]); err != nil {
			return nil, postgres.Error("count attempts", err)
		}
	}
	return counts, nil
}

// ForgetAttempts implements tenants.People.
func (s *Store) ForgetAttempts(ctx context.Context, subject string) error {
	if _, err := s.db.Exec(ctx, "DELETE FROM attempts WHERE subject = $1", subject); err != nil {
		return postgres.Error("forget attempts", err)
	}
	return nil
}

// ForgetAttempt implements tenants.People.
func (s *Store) ForgetAttempt(ctx context.Context, subject string, at time.Time) error {
	if _, err := s.db.Exec(ctx, "DELETE FROM attempts WHERE subject = $1 AND attempted_at = $2", subject, at); err != nil {
		return postgres.Error("forget attempt", err)
	}
	return nil
}

// CreateVerification implements tenants.People.
func (s *Store) CreateVerification(ctx context.Context, u tenants.UserID, email string, tokenHash []byte, expires time.Time) error {
	return s.exec(ctx, "verification", "INSERT INTO email_verifications (token_hash, user_id, email, expires_at) VALUES ($1, $2, $3, $4)", tokenHash, u, email, expires)
}

// Verify implements tenants.People. The address is marked only if it is still
// the user's.
func (s *Store) Verify(ctx context.Context, tokenHash []byte, now time.Time) (string, error) {
	email, err := one(ctx, s, "verification", pgx.RowTo[string], `
		WITH used AS (
			DELETE FROM email_verifications WHERE token_hash = $1 RETURNING user_id, email, expires_at
		)
		UPDATE users u SET email_verified_at = coalesce(u.email_verified_at, $2)
		FROM used WHERE u.id = used.user_id AND u.email = used.email AND used.expires_at > $2
		RETURNING u.email`, tokenHash, now)
	if fault.KindOf(err) == fault.NotFound {
		return "", fault.New(fault.NotFound, "This link was used already or is too old.")
	}
	return email, err
}

// QueueMail implements tenants.People.
func (s *Store) QueueMail(ctx context.Context, m tenants.Mail) error {
	err := s.exec(ctx, "mail", "INSERT INTO mail_outbox (id, recipient, subject, body, link, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
		m.ID, m.To, m.Subject, m.Text, m.Link, m.CreatedAt)
	if err != nil {
		return err
	}
	return s.insertJob(ctx, SendMail{Mail: m.ID})
}

const mailColumns = "id, recipient, subject, body, link, created_at"

func scanMail(row pgx.CollectableRow) (m tenants.Mail, err error) {
	err = row.Scan(&m.ID, &m.To, &m.Subject, &m.Text, &m.Link, &m.CreatedAt)
	return m, err
}

// RecentMail implements tenants.People.
func (s *Store) RecentMail(ctx context.Context, limit int) ([]tenants.Mail, error) {
	return many(ctx, s, "mails", scanMail, "SELECT "+mailColumns+" FROM mail_outbox ORDER BY created_at DESC, id DESC LIMIT $1", limit)
}

// UnsentMail returns a mail of the outbox that was not sent yet.
func (s *Store) UnsentMail(ctx context.Context, id string) (tenants.Mail, error) {
	return one(ctx, s, "mail", scanMail, "SELECT "+mailColumns+" FROM mail_outbox WHERE id = $1 AND sent_at IS NULL", id)
}

// MailSent notes that a mail was sent.
func (s *Store) MailSent(ctx context.Context, id string, now time.Time) error {
	return s.exec(ctx, "mail", "UPDATE mail_outbox SET sent_at = $2 WHERE id = $1", id, now)
}

// Forget deletes attempts, sessions, verifications and mails that ended or were
// made before that time.
func (s *Store) Forget(ctx context.Context, before time.Time) error {
	for _, sql := range []string{
		"DELETE FROM sessions WHERE expiry < $1",
		"DELETE FROM attempts WHERE attempted_at < $1",
		"DELETE FROM email_verifications WHERE expires_at < $1",
		"DELETE FROM mail_outbox WHERE created_at < $1",
	} {
		if _, err := s.db.Exec(ctx, sql, before); err != nil {
			return postgres.Error("forget old rows", err)
		}
	}
	return nil
}
