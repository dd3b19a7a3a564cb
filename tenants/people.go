package tenants

import (
	"strings"
	"time"
)

// User is a person who signs in.
type User struct {
	ID            UserID
	Email         string // as typed
	EmailVerified bool
}

// Account holds people and money; it owns tenants.
type Account struct {
	ID   AccountID
	Name string
	Plan string // the plan's id
}

// Membership is an account as one of its members sees it.
type Membership struct {
	Account
	Role Role
}

// APIToken lets a program act as a user in one account. The token itself is kept
// as a hash.
type APIToken struct {
	ID         string
	Account    AccountID
	User       UserID
	Name       string
	Hint       string // the last characters of the token
	CreatedAt  time.Time
	LastUsedAt time.Time // zero = never; kept to the minute
}

// Mail is a message to a person.
type Mail struct {
	ID        string
	To        string
	Subject   string
	Text      string
	Link      string // the link in Text; "" = none
	CreatedAt time.Time
}

// emailKey is the form in which addresses are compared.
func emailKey(email string) string { return strings.ToLower(strings.TrimSpace(email)) }
