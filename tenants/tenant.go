package tenants

import (
	"crypto/rand"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"

	"github.com/signalbox/signalbox/internal/fault"
)

// Authority is who decided something about a tenant.
type Authority string

// The authorities: people of the account can't undo what an operator of the service
// has decided.
const (
	ByAccount  Authority = "account"
	ByOperator Authority = "operator"
)

// errImposed refuses what would undo an operator's decision.
func errImposed(message string) error {
	return fault.New(fault.Forbidden, message).WithCode("set_by_operator")
}

// Tenant is the unit of isolation, as the control plane keeps it.
type Tenant struct {
	ID      ID
	Account AccountID
	Slug    string
	Name    string
	Status  Status
	// Environment is Production unless it says otherwise.
	Environment Environment
	Plan        string // of its account
	Revision    int64
	Hosts       []string // that the operator gave it, besides the one that its slug gives
	Domains     []string // of its own, verified
	CreatedAt   time.Time
	// SuspendedAt is zero unless Status is Suspended.
	SuspendedAt time.Time
	// SuspendedBy is "" unless Status is Suspended.
	SuspendedBy Authority
	// SuspendedReason is what an operator says of why; "" = nothing.
	SuspendedReason string
}

// MemberTenant is a tenant as one member of its account sees it.
type MemberTenant struct {
	Tenant
	Role Role
	// ShutOut is as in Membership.
	ShutOut bool
}

// SystemSlug is the slug of the tenant that the service itself uses.
const SystemSlug = "signalbox"

// FirstHub is the hub that every tenant begins with.
const FirstHub = "chat"

// maxNameLength is in characters.
const maxNameLength = 100

// hidden are characters that show as nothing or turn the text around them: a name
// of such could look like another one.
func hidden(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u200b' || r == '\u2028' || r == '\u2029' || r == '\ufeff'
}

// cleanName returns the name without surrounding space, or false when that
// leaves nothing, too much, or characters that can't be shown.
func cleanName(name string) (string, bool) {
	name = strings.TrimSpace(name)
	n := utf8.RuneCountInString(name)
	if n == 0 || n > maxNameLength || !utf8.ValidString(name) || strings.ContainsFunc(name, hidden) {
		return "", false
	}
	return name, true
}

// slugSuffixLength is how many random characters follow a slug made from a name.
const slugSuffixLength = 5

// SlugFrom makes a slug from a name; the random end makes a clash unlikely.
func SlugFrom(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9' && b.Len() > 0:
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() == 30 {
			break
		}
	}
	base := strings.Trim(b.String(), "-")
	if base == "" {
		base = "app"
	}
	return base + "-" + strings.ToLower(rand.Text()[:slugSuffixLength])
}

// newID returns a fresh ULID.
func newID() string { return ulid.Make().String() }
