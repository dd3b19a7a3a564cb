package tenants

import (
	"net/mail"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/signalbox/signalbox/internal/fault"
)

// User is a person who signs in, or what a service token acts as.
type User struct {
	ID            UserID
	Email         string // as typed; "" = a service
	EmailVerified bool
	SecondFactor  bool // signing in takes a second step
	// PasswordVersion says which password the user has; each new one is one more.
	PasswordVersion int64
}

// Account holds people and money; it owns tenants.
type Account struct {
	ID                  AccountID
	Name                string
	Plan                string // the plan's id
	RequireSecondFactor bool
	CreatedAt           time.Time
}

// Membership is an account as one of its members sees it.
type Membership struct {
	Account
	Role Role
	// ShutOut tells that the account requires a second factor and the member has
	// none.
	ShutOut bool
}

// emailKey is the form in which addresses are compared. A letter that has one of
// ASCII as its lower form (the Kelvin sign has k) stays what it is: it is another
// mailbox, and so another person.
func emailKey(email string) string {
	return strings.Map(func(r rune) rune {
		if lower := unicode.ToLower(r); r < utf8.RuneSelf || lower >= utf8.RuneSelf {
			return lower
		}
		return r
	}, strings.TrimSpace(email))
}

// maxEmailLength is in bytes (RFC 5321).
const maxEmailLength = 254

// cleanEmail returns an address without surrounding space, or the fault of the
// field.
func cleanEmail(field, email string) (string, *fault.Field) {
	email = strings.TrimSpace(email)
	if address, err := mail.ParseAddress(email); err != nil || address.Address != email || len(email) > maxEmailLength || strings.ContainsFunc(email, hidden) {
		return "", &fault.Field{Name: field, Message: "is not an email address", Accepted: "name@domain, at most 254 bytes"}
	}
	return email, nil
}
