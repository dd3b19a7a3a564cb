package tenants

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/mail"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/signalbox/signalbox/internal/fault"
)

// The bounds of what people type in.
const (
	MinPasswordLength = 10 // characters
	MaxPasswordLength = 128
	maxEmailLength    = 254 // bytes, RFC 5321
)

// verificationLife is how long the link in the first mail is good.
const verificationLife = 48 * time.Hour

// firstPlan is the plan of a new account.
const firstPlan = "free"

// SignUp is what a new user says.
type SignUp struct {
	Email    string
	Password Secret
	// What is left out is made up: names from the address, the slug from the
	// tenant's name.
	AccountName, TenantName, TenantSlug string
}

// SignedUp is what there is after a sign-up.
type SignedUp struct {
	User    User
	Account Membership
	Tenant  MemberTenant
	Key     NewKey
}

// SignUp makes a user with an account, its first tenant with two keys and a
// hub, in one transaction; when it returns, the data plane knows the tenant
// unless it is away.
//
// An address that is taken answers email_taken. Signing up is the one place that
// tells; it does so after the same work as for a free address, and only so
// often for one IP address.
func (s *Service) SignUp(ctx context.Context, c Caller, in SignUp) (SignedUp, error) {
	in, err := in.clean()
	if err != nil {
		return SignedUp{}, err
	}
	if _, err := s.attempt(ctx, "Too many sign-ups from your address.", time.Hour, bound{"signup:" + network(c.IP), s.signUpsPerHour}); err != nil {
		return SignedUp{}, err
	}
	hash, err := s.passwords.hash(ctx, in.Password.Reveal())
	if err != nil {
		return SignedUp{}, err
	}
	out := SignedUp{
		User:    User{ID: UserID(newID()), Email: in.Email},
		Account: Membership{Account: Account{ID: AccountID(newID()), Name: in.AccountName, Plan: firstPlan}, Role: Owner},
	}
	c.User = out.User.ID
	err = s.store.InTx(ctx, func(tx Store) error {
		if err := tx.CreateUser(ctx, out.User, emailKey(out.User.Email), hash); err != nil {
			return err
		}
		if err := tx.CreateAccount(ctx, out.Account.Account); err != nil {
			return err
		}
		if err := tx.AddMember(ctx, out.Account.ID, out.User.ID, Owner); err != nil {
			return err
		}
		made, err := s.createTenant(ctx, tx, c, newTenant{account: out.Account.Account, slug: in.TenantSlug, name: in.TenantName})
		if err != nil {
			return err
		}
		out.Tenant, out.Key = MemberTenant{Tenant: made.tenant, Role: Owner}, made.primary
		return s.queueVerification(ctx, tx, out.User)
	})
	if err != nil {
		return SignedUp{}, err
	}
	s.hurry(ctx, out.Tenant.ID)
	return out, nil
}

// queueVerification queues the mail with the link that proves the address.
func (s *Service) queueVerification(ctx context.Context, tx Store, u User) error {
	token := rand.Text()
	if err := tx.CreateVerification(ctx, u.ID, u.Email, tokenHash(token), s.now().Add(verificationLife)); err != nil {
		return err
	}
	link := s.consoleURL + "/verify-email?token=" + url.QueryEscape(token)
	return tx.QueueMail(ctx, Mail{
		ID: newID(), To: u.Email, Subject: "Confirm your email address for Signalbox", Link: link, CreatedAt: s.now(),
		Text: "Welcome to Signalbox.\n\nPlease confirm that this is your address by opening this link within two days:\n\n" +
			link + "\n\nIf you did not sign up, you can ignore this mail.\n",
	})
}

// VerifyEmail confirms an address with the token that was sent to it, once.
func (s *Service) VerifyEmail(ctx context.Context, c Caller, token Secret) (email string, err error) {
	if _, err := s.attempt(ctx, "Too many attempts.", attemptWindow, bound{"token:" + network(c.IP), attemptsPerCaller}); err != nil {
		return "", err
	}
	return s.store.Verify(ctx, tokenHash(token.Reveal()), s.now())
}

// RecentMail returns the newest mails, for the mailbox of a development server.
func (s *Service) RecentMail(ctx context.Context) ([]Mail, error) {
	const shown = 100
	return s.store.RecentMail(ctx, shown)
}

// clean checks every field and fills in what was left out.
func (in SignUp) clean() (SignUp, error) {
	var fields []fault.Field
	in.Email = strings.TrimSpace(in.Email)
	if address, err := mail.ParseAddress(in.Email); err != nil || address.Address != in.Email || len(in.Email) > maxEmailLength {
		fields = append(fields, fault.Field{Name: "email", Message: "is not an email address", Accepted: fmt.Sprintf("name@domain, at most %d bytes", maxEmailLength)})
	}
	if n := utf8.RuneCountInString(in.Password.Reveal()); n < MinPasswordLength || n > MaxPasswordLength {
		fields = append(fields, fault.Field{Name: "password", Message: "has the wrong length", Accepted: fmt.Sprintf("%d to %d characters", MinPasswordLength, MaxPasswordLength)})
	}
	local, _, _ := strings.Cut(in.Email, "@")
	named := in.TenantName != ""
	for _, n := range []struct {
		field, fallback string
		value           *string
	}{{"account_name", local, &in.AccountName}, {"tenant_name", "My app", &in.TenantName}} {
		if *n.value == "" {
			*n.value = string([]rune(n.fallback)[:min(len([]rune(n.fallback)), maxNameLength)])
		}
		name, ok := cleanName(*n.value)
		if !ok {
			fields = append(fields, nameField(n.field))
		}
		*n.value = name
	}
	switch {
	case in.TenantSlug == "" && named:
		in.TenantSlug = SlugFrom(in.TenantName)
	case in.TenantSlug == "":
		in.TenantSlug = SlugFrom(local)
	default:
		if err := CheckSlug(in.TenantSlug); err != nil {
			fields = append(fields, fault.Field{Name: "tenant_slug", Message: err.Error(), Accepted: SlugRule})
		}
	}
	if len(fields) > 0 {
		return in, fault.InvalidFields(fields...)
	}
	return in, nil
}

func nameField(field string) fault.Field {
	return fault.Field{Name: field, Message: "is empty, too long, or has control characters", Accepted: fmt.Sprintf("1 to %d characters", maxNameLength)}
}

// tokenHash is what is kept of a token that was handed out.
func tokenHash(token string) []byte {
	h := sha256.Sum256([]byte(token))
	return h[:]
}

// isKind tells whether err is a fault of that kind.
func isKind(err error, k fault.Kind) bool {
	e, ok := errors.AsType[*fault.Error](err)
	return ok && e.Kind == k
}
