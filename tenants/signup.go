package tenants

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
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
// Where sign-ups are confirmed first, it only sends a mail, returns nil and what
// ConfirmSignUp knows the browser by, and tells nothing of whether the address is
// known: the work and the answer are the same. Else an address that is taken answers email_taken, after the same work as
// for a free one.
func (s *Service) SignUp(ctx context.Context, c Caller, in SignUp) (made *SignedUp, waiting string, err error) {
	if in, err = in.clean(); err != nil {
		return nil, "", err
	}
	bounds := []bound{{"signup:" + network(c.IP), s.signUpsPerHour}}
	if s.confirmSignUps {
		bounds = append(bounds, bound{"signup-mail:" + emailKey(in.Email), mailsPerHour})
	}
	if _, err := s.attempt(ctx, "Too many sign-ups from your address.", time.Hour, bounds...); err != nil {
		return nil, "", err
	}
	hash, err := s.passwords.hash(ctx, in.Password.Reveal())
	if err != nil {
		return nil, "", err
	}
	if s.confirmSignUps {
		token := rand.Text()
		return nil, signUpID(token), s.store.InTx(ctx, func(tx Store) error { return s.queueSignUp(ctx, tx, c, in, hash, token) })
	}
	var out SignedUp
	err = s.store.InTx(ctx, func(tx Store) error {
		if out, err = s.createSignedUp(ctx, tx, c, in, hash, false); err != nil {
			return err
		}
		return s.queueVerification(ctx, tx, out.User)
	})
	if err != nil {
		return nil, "", err
	}
	s.hurry(ctx, out.Tenant.ID)
	return &out, "", nil
}

// signUpID tells a sign-up from others without its token.
func signUpID(token string) string { return hex.EncodeToString(tokenHash(token)) }

// queueSignUp keeps a sign-up until its address is confirmed. Whoever has a user
// already is told so by mail, and nobody else is.
func (s *Service) queueSignUp(ctx context.Context, tx Store, c Caller, in SignUp, hash, token string) error {
	until := s.now().Add(verificationLife)
	if err := tx.PutSignUp(ctx, in, hash, tokenHash(token), until); err != nil {
		return err
	}
	// Whose the address is, nobody has proved.
	if err := tx.Audit(ctx, Audit{Caller: Caller{RequestID: c.RequestID, IP: c.IP, UserAgent: c.UserAgent}, Action: "signup.requested"}); err != nil {
		return err
	}
	_, _, err := tx.UserByEmail(ctx, emailKey(in.Email))
	switch {
	case err == nil:
		return s.post(ctx, tx, in.Email, letter{
			Subject: "You have a Signalbox account already",
			Before:  []string{"Somebody, probably you, wanted to sign up for Signalbox with this address. There is a user with it already: sign in instead."},
			Action:  "Sign in", Link: s.consoleURL + "/sign-in",
			After: []string{"If you forgot your password, there is a link on that page. If it wasn't you, you can ignore this mail."},
		})
	case !isKind(err, fault.NotFound):
		return err
	}
	return s.post(ctx, tx, in.Email, letter{
		Subject: "Confirm your email address for Signalbox", Before: []string{"Welcome to Signalbox.", "Please confirm that this is your address within two days. Then everything is ready."},
		Action: "Confirm and start", Link: s.consoleURL + "/confirm-sign-up?token=" + url.QueryEscape(token),
		After: []string{"If you did not sign up, you can ignore this mail."}, GoodUntil: until,
	})
}

// ConfirmSignUp finishes a sign-up with the token that was sent to its address. Where
// the browser isn't the one that signed up, as waiting tells, it takes the password:
// else who reads the mail could confirm the sign-up, and so the password, of somebody
// else.
func (s *Service) ConfirmSignUp(ctx context.Context, c Caller, token Secret, waiting string, password Secret) (SignedUp, error) {
	if err := s.tokenAttempt(ctx, c); err != nil {
		return SignedUp{}, err
	}
	var out SignedUp
	err := s.store.InTx(ctx, func(tx Store) error {
		in, hash, err := tx.TakeSignUp(ctx, tokenHash(token.Reveal()), s.now())
		if err != nil {
			return errLink(err)
		}
		if waiting != signUpID(token.Reveal()) {
			if err := s.samePassword(ctx, password, hash); err != nil {
				return err
			}
		}
		out, err = s.createSignedUp(ctx, tx, c, in, hash, true)
		return err
	})
	if err != nil {
		return SignedUp{}, err
	}
	s.hurry(ctx, out.Tenant.ID)
	return out, nil
}

// samePassword returns a fault unless the password has that hash.
func (s *Service) samePassword(ctx context.Context, password Secret, hash string) error {
	if password == "" {
		return fault.InvalidFields(fault.Field{Name: "password", Message: "is needed, because you signed up in another browser or a while ago", Accepted: "the password that you signed up with"})
	}
	ok, err := s.passwords.check(ctx, password.Reveal(), hash)
	if err == nil && !ok {
		return fault.InvalidFields(fault.Field{Name: "password", Message: "is not the one of this sign-up. If you don't know of it, somebody else used your address: ignore the mail", Accepted: "the password that you signed up with"})
	}
	return err
}

// createSignedUp makes what a sign-up gives.
func (s *Service) createSignedUp(ctx context.Context, tx Store, c Caller, in SignUp, hash string, verified bool) (SignedUp, error) {
	out := SignedUp{
		User:    User{ID: UserID(newID()), Email: in.Email, EmailVerified: verified},
		Account: Membership{Account: Account{ID: AccountID(newID()), Name: in.AccountName, Plan: firstPlan}, Role: Owner},
	}
	c.User = out.User.ID
	if err := tx.CreateUser(ctx, out.User, emailKey(out.User.Email), hash); err != nil {
		return SignedUp{}, err
	}
	if verified {
		if err := tx.MarkVerified(ctx, out.User.ID, s.now()); err != nil {
			return SignedUp{}, err
		}
	}
	if err := tx.CreateAccount(ctx, out.Account.Account); err != nil {
		return SignedUp{}, err
	}
	if err := tx.AddMember(ctx, out.Account.ID, out.User.ID, Owner); err != nil {
		return SignedUp{}, err
	}
	made, err := s.createTenant(ctx, tx, c, newTenant{account: out.Account.Account, slug: in.TenantSlug, name: in.TenantName, env: Development})
	if err != nil {
		return SignedUp{}, err
	}
	out.Tenant, out.Key = MemberTenant{Tenant: made.tenant, Role: Owner}, made.primary
	return out, nil
}

// queueVerification queues the mail with the link that proves the user's address.
func (s *Service) queueVerification(ctx context.Context, tx Store, u User) error {
	token, until := rand.Text(), s.now().Add(verificationLife)
	if err := tx.CreateVerification(ctx, u.ID, u.Email, "", tokenHash(token), until); err != nil {
		return err
	}
	return s.post(ctx, tx, u.Email, letter{
		Subject: "Confirm your email address for Signalbox", Before: []string{"Welcome to Signalbox.", "Please confirm that this is your address within two days."},
		Action: "Confirm the address", Link: s.verifyLink(token),
		After: []string{"If you did not sign up, you can ignore this mail."}, GoodUntil: until,
	})
}

func (s *Service) verifyLink(token string) string {
	return s.consoleURL + "/verify-email?token=" + url.QueryEscape(token)
}

// tokenAttempt bounds how often somebody tries tokens of mails.
func (s *Service) tokenAttempt(ctx context.Context, c Caller) error {
	_, err := s.attempt(ctx, "Too many attempts.", attemptWindow, bound{"token:" + network(c.IP), attemptsPerCaller})
	return err
}

// errLink words the fault of a token that isn't there, and leaves others.
func errLink(err error) error {
	if isKind(err, fault.NotFound) {
		return fault.New(fault.NotFound, "This link was used already or is too old.").WithCode("link_expired")
	}
	return err
}

// RecentMail returns the newest mails, for the mailbox of a development server.
func (s *Service) RecentMail(ctx context.Context) ([]Mail, error) {
	const shown = 100
	mails, err := s.store.RecentMail(ctx, shown)
	if err != nil {
		return nil, err
	}
	for i := range mails {
		if mails[i], err = s.OpenMail(mails[i]); err != nil {
			return nil, err
		}
	}
	return mails, nil
}

// clean checks every field and fills in what was left out.
func (in SignUp) clean() (SignUp, error) {
	var fields []fault.Field
	email, wrong := cleanEmail("email", in.Email)
	if wrong != nil {
		fields = append(fields, *wrong)
	}
	in.Email = email
	if wrong := checkPassword("password", in.Password); wrong != nil {
		fields = append(fields, *wrong)
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

// checkPassword returns what is wrong with a new password; nil = nothing.
func checkPassword(field string, p Secret) *fault.Field {
	if n := utf8.RuneCountInString(p.Reveal()); n < MinPasswordLength || n > MaxPasswordLength {
		return &fault.Field{Name: field, Message: "has the wrong length", Accepted: fmt.Sprintf("%d to %d characters", MinPasswordLength, MaxPasswordLength)}
	}
	return nil
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
