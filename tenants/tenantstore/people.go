package tenantstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/tenants"
)

// userColumns need users as u.
const userColumns = `u.id, u.email, u.email_verified_at IS NOT NULL,
	EXISTS (SELECT FROM second_factors f WHERE f.user_id = u.id AND f.enabled_at IS NOT NULL), u.password_version`

func userFields(u *tenants.User) []any {
	return []any{&u.ID, &u.Email, &u.EmailVerified, &u.SecondFactor, &u.PasswordVersion}
}

func scanUser(row pgx.CollectableRow) (u tenants.User, err error) {
	err = row.Scan(userFields(&u)...)
	return u, err
}

// CreateUser implements tenants.People.
func (s *Store) CreateUser(ctx context.Context, u tenants.User, emailKey, passwordHash string) error {
	return s.exec(ctx, "user", "INSERT INTO users (id, email, email_key, password_hash) VALUES ($1, $2, $3, $4)", u.ID, u.Email, emailKey, passwordHash)
}

// CreateService implements tenants.People. No address has its key.
func (s *Store) CreateService(ctx context.Context, u tenants.UserID) error {
	return s.exec(ctx, "service", "INSERT INTO users (id, kind, email, email_key, password_hash) VALUES ($1, 'service', '', 'service:' || $1, '')", u)
}

// DeleteService implements tenants.People.
func (s *Store) DeleteService(ctx context.Context, u tenants.UserID) error {
	return s.exec(ctx, "service", "DELETE FROM users WHERE id = $1 AND kind = 'service'", u)
}

// UserByEmail implements tenants.People.
func (s *Store) UserByEmail(ctx context.Context, emailKey string) (tenants.User, string, error) {
	type found struct {
		user tenants.User
		hash string
	}
	f, err := one(ctx, s, "user", func(row pgx.CollectableRow) (f found, err error) {
		err = row.Scan(append(userFields(&f.user), &f.hash)...)
		return f, err
	}, "SELECT "+userColumns+", u.password_hash FROM users u WHERE u.email_key = $1 AND u.kind = 'person'", emailKey)
	return f.user, f.hash, err
}

// User implements tenants.People.
func (s *Store) User(ctx context.Context, u tenants.UserID) (tenants.User, error) {
	return one(ctx, s, "user", scanUser, "SELECT "+userColumns+" FROM users u WHERE u.id = $1", u)
}

// LockUser implements tenants.People.
func (s *Store) LockUser(ctx context.Context, u tenants.UserID) error {
	_, err := one(ctx, s, "user", pgx.RowTo[tenants.UserID], "SELECT id FROM users WHERE id = $1 FOR UPDATE", u)
	return err
}

// CreateAccount implements tenants.People.
func (s *Store) CreateAccount(ctx context.Context, a tenants.Account) error {
	return s.exec(ctx, "account", "INSERT INTO accounts (id, name, plan) VALUES ($1, $2, $3)", a.ID, a.Name, a.Plan)
}

// Account implements tenants.People.
func (s *Store) Account(ctx context.Context, a tenants.AccountID) (tenants.Account, error) {
	return one(ctx, s, "account", func(row pgx.CollectableRow) (a tenants.Account, err error) {
		err = row.Scan(&a.ID, &a.Name, &a.Plan, &a.RequireSecondFactor, &a.CreatedAt)
		return a, err
	}, "SELECT id, name, plan, require_second_factor, created_at FROM accounts WHERE id = $1", a)
}

// UpdateAccount implements tenants.People.
func (s *Store) UpdateAccount(ctx context.Context, a tenants.Account) error {
	return s.exec(ctx, "account", "UPDATE accounts SET name = $2, require_second_factor = $3 WHERE id = $1", a.ID, a.Name, a.RequireSecondFactor)
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

// CountAttempts implements tenants.People.
func (s *Store) CountAttempts(ctx context.Context, subject string, since time.Time) (int, error) {
	return one(ctx, s, "attempts", pgx.RowTo[int], "SELECT count(*) FROM attempts WHERE subject = $1 AND attempted_at >= $2", subject, since)
}

// AttemptOnce implements tenants.People. The lock lets one of many at once be the
// first; it ends with the transaction.
func (s *Store) AttemptOnce(ctx context.Context, subject string, now, since time.Time) (recorded bool, err error) {
	err = postgres.InTx(ctx, s.begin, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", subject); err != nil {
			return postgres.Error("lock attempts", err)
		}
		tag, err := tx.Exec(ctx, `INSERT INTO attempts (subject, attempted_at) SELECT $1, $2
			WHERE NOT EXISTS (SELECT FROM attempts WHERE subject = $1 AND attempted_at > $3)`, subject, now, since)
		if err != nil {
			return postgres.Error("record attempt", err)
		}
		recorded = tag.RowsAffected() > 0
		return nil
	})
	return recorded, err
}

// QueueMail implements tenants.People.
func (s *Store) QueueMail(ctx context.Context, m tenants.Mail) error {
	err := s.exec(ctx, "mail", "INSERT INTO mail_outbox (id, recipient, subject, sealed, created_at, good_until) VALUES ($1, $2, $3, $4, $5, $6)",
		m.ID, m.To, m.Subject, m.Sealed, m.CreatedAt, zeroNull(m.GoodUntil))
	if err != nil {
		return err
	}
	return s.insertJob(ctx, SendMail{Mail: m.ID})
}

const mailColumns = "id, recipient, subject, body, html, link, sealed, created_at, good_until"

func scanMail(row pgx.CollectableRow) (m tenants.Mail, err error) {
	var until *time.Time
	err = row.Scan(&m.ID, &m.To, &m.Subject, &m.Text, &m.HTML, &m.Link, &m.Sealed, &m.CreatedAt, &until)
	m.GoodUntil = nullZero(until)
	return m, err
}

// zeroNull is how the zero time is kept.
func zeroNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// nullZero is zeroNull the other way.
func nullZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// RecentMail implements tenants.People.
func (s *Store) RecentMail(ctx context.Context, limit int) ([]tenants.Mail, error) {
	return many(ctx, s, "mails", scanMail, "SELECT "+mailColumns+" FROM mail_outbox ORDER BY created_at DESC, id DESC LIMIT $1", limit)
}

// UnsentMail returns a mail of the outbox that was not sent yet.
func (s *Store) UnsentMail(ctx context.Context, id string) (tenants.Mail, error) {
	return one(ctx, s, "mail", scanMail, "SELECT "+mailColumns+" FROM mail_outbox WHERE id = $1 AND sent_at IS NULL", id)
}

// MailSent notes that a mail was sent, and forgets what it said unless that is to be
// kept: links in mails are as good as passwords.
func (s *Store) MailSent(ctx context.Context, id string, now time.Time, keep bool) error {
	return s.exec(ctx, "mail", `UPDATE mail_outbox SET sent_at = $2, body = CASE WHEN $3 THEN body ELSE '' END,
		html = CASE WHEN $3 THEN html ELSE '' END, link = CASE WHEN $3 THEN link ELSE '' END, sealed = CASE WHEN $3 THEN sealed END WHERE id = $1`, id, now, keep)
}

// Forget deletes attempts, sessions, mails and what links of mails are for that
// ended or were made before that time.
func (s *Store) Forget(ctx context.Context, before time.Time) error {
	for _, sql := range []string{
		"DELETE FROM sessions WHERE expiry < $1",
		"DELETE FROM operator_sessions WHERE expiry < $1",
		"DELETE FROM operator_tokens WHERE expires_at < $1",
		"DELETE FROM attempts WHERE attempted_at < $1",
		"DELETE FROM email_verifications WHERE expires_at < $1",
		"DELETE FROM signups WHERE expires_at < $1",
		"DELETE FROM password_resets WHERE expires_at < $1",
		"DELETE FROM invitations WHERE expires_at < $1",
		"DELETE FROM mail_outbox WHERE created_at < $1",
		"DELETE FROM idempotent_requests WHERE expires_at < greatest($1, now())",
	} {
		if _, err := s.db.Exec(ctx, sql, before); err != nil {
			return postgres.Error("forget old rows", err)
		}
	}
	return nil
}
