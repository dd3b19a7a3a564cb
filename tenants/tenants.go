// Package tenants holds the unit of isolation and what it owns: accounts, users
// and members on one side, tenants with their access keys, hubs and limits on
// the other. It has the rules; stores and transports are its adapters.
package tenants

import (
	"fmt"
	"log/slog"
	"regexp"
	"strings"
)

// ID is a tenant's immutable id (a ULID). Slugs are reused, ids never: every
// key, cache and query of the data plane is scoped by it.
type ID string

// AccountID is the id of an account (a ULID).
type AccountID string

// UserID is the id of a person who signs in to the console (a ULID).
type UserID string

// Status is whether a tenant is served.
type Status string

// The states of a tenant.
const (
	Active    Status = "active"
	Suspended Status = "suspended"
	Deleted   Status = "deleted" // only in documents: a tombstone
)

// Secret is a value that never shows itself in logs, errors or JSON. Reveal it
// only where it is used.
type Secret string

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// String hides the secret.
func (Secret) String() string { return "[secret]" }

// LogValue hides the secret.
func (Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

// MarshalJSON hides the secret.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"[secret]"`), nil }

// GoString hides the secret.
func (Secret) GoString() string { return "[secret]" }

// KeySlot names one of the two access keys of a tenant.
type KeySlot string

// The two slots; either key is good at any time, so that one can be regenerated
// while the other serves.
const (
	Primary   KeySlot = "primary"
	Secondary KeySlot = "secondary"
)

// Handler says who answers the invocations of a hub.
type Handler string

// The handlers of a hub.
const (
	HandlerAuto      Handler = "auto" // app server when connected, else upstream when set, else broadcast
	HandlerBroadcast Handler = "broadcast"
	HandlerUpstream  Handler = "upstream"
	HandlerAppServer Handler = "app_server"
)

// Handlers lists the accepted values of Handler.
var Handlers = []Handler{HandlerAuto, HandlerBroadcast, HandlerUpstream, HandlerAppServer}

var hubName = regexp.MustCompile("^[A-Za-z][A-Za-z0-9_`,.\\[\\]-]{0,127}$")

// HubNameRule is the rule for hub names, worded for error messages.
const HubNameRule = "a letter, then up to 127 letters, digits or any of _ ` , . [ ] -"

// HubName returns the canonical (lower case) form of a hub's name, or an error
// with the rule. Hub names are compared in lower case.
func HubName(name string) (string, error) {
	if !hubName.MatchString(name) {
		return "", fmt.Errorf("hub name must be %s", HubNameRule)
	}
	return strings.ToLower(name), nil
}

var slug = regexp.MustCompile(`^[a-z][a-z0-9-]{1,38}[a-z0-9]$`)

// SlugRule is the rule for tenant slugs, worded for error messages.
const SlugRule = "3 to 40 characters: lower case letters, digits and hyphens, beginning with a letter and not ending with a hyphen"

// reservedSlugs are names that the service itself needs as hosts or paths, and
// such as programs and people trust by themselves when they find them under a
// domain.
var reservedSlugs = map[string]bool{
	"signalbox": true, "api": true, "app": true, "www": true, "admin": true, "console": true, "status": true,
	"docs": true, "client": true, "server": true, "health": true, "static": true, "assets": true, "mail": true,
	"internal": true, "edge": true, "billing": true, "support": true, "localhost": true,
	"account": true, "accounts": true, "auth": true, "login": true, "signin": true, "signup": true, "sso": true, "oauth": true,
	"security": true, "abuse": true, "postmaster": true, "hostmaster": true, "webmaster": true, "root": true, "system": true,
	"autoconfig": true, "autodiscover": true, "mta-sts": true, "wpad": true, "isatap": true, "smtp": true, "imap": true, "pop": true,
	"ftp": true, "ns1": true, "ns2": true, "cdn": true, "blog": true, "help": true, "metrics": true, "negotiate": true,
}

// CheckSlug returns nil when s may be taken by a customer's tenant.
func CheckSlug(s string) error {
	if !slug.MatchString(s) {
		return fmt.Errorf("slug must be %s", SlugRule)
	}
	if len(s) > 4 && s[2:4] == "--" { // xn-- and its like: browsers would show other letters
		return fmt.Errorf("slug must not have hyphens as third and fourth character")
	}
	if reservedSlugs[s] {
		return fmt.Errorf("slug %q is reserved", s)
	}
	return nil
}
