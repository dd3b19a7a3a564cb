package tenants

import (
	"slices"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
)

// Role is what a member may do in an account.
type Role string

// The roles of members.
const (
	Owner     Role = "owner"
	Admin     Role = "admin"
	Developer Role = "developer"
	Billing   Role = "billing"
	Viewer    Role = "viewer"
)

// Roles lists the roles, the mightiest first.
var Roles = []Role{Owner, Admin, Developer, Billing, Viewer}

// Permission is one thing that a role may allow.
type Permission string

// The permissions. Seeing a tenant with its hubs, limits and usage needs
// SeeTenant; each of the others says its own.
const (
	SeeTenant    Permission = "see_tenant"
	SeeKeys      Permission = "see_keys"
	CreateTenant Permission = "create_tenant"
	ChangeTenant Permission = "change_tenant"
	// SuspendTenant stops a tenant and serves it again.
	SuspendTenant Permission = "suspend_tenant"
	ChangeDomain  Permission = "change_domain"
	DeleteTenant  Permission = "delete_tenant"
	RegenerateKey Permission = "regenerate_key"
	ChangeHub     Permission = "change_hub"
	MintToken     Permission = "mint_token"
	CreateToken   Permission = "create_api_token"
	ChangeIssuer  Permission = "change_issuer"
	RevokeToken   Permission = "revoke_token"
	ChangeLimits  Permission = "change_limits"
	// SeeDeliveries shows what was posted to upstreams, which is what clients said.
	SeeDeliveries  Permission = "see_deliveries"
	ReplayDelivery Permission = "replay_delivery"
	// SeeAccount shows the account and its members.
	SeeAccount    Permission = "see_account"
	ChangeAccount Permission = "change_account"
	// RequireSecondFactor shuts out members who have none.
	RequireSecondFactor Permission = "require_second_factor"
	// ManageMembers invites, changes and removes members, but no owners: for those
	// ManageOwners is needed as well.
	ManageMembers Permission = "manage_members"
	ManageOwners  Permission = "manage_owners"
	// ManageTokens shows and revokes everybody's API tokens and makes service tokens.
	ManageTokens Permission = "manage_tokens"
	// ManageBudget says what the account wants to use.
	ManageBudget Permission = "manage_budget"
	// SeeAudit shows who did what, from which address.
	SeeAudit Permission = "see_audit"
	// ChangePlan says what the account buys.
	ChangePlan Permission = "change_plan"
)

// rolesWith is the one table of who may do what; Operations says which operation
// of the API needs which permission.
var rolesWith = map[Permission][]Role{
	SeeTenant:     {Owner, Admin, Developer, Billing, Viewer},
	SeeKeys:       {Owner, Admin, Developer},
	CreateTenant:  {Owner, Admin},
	ChangeTenant:  {Owner, Admin},
	SuspendTenant: {Owner, Admin},
	ChangeDomain:  {Owner, Admin},
	DeleteTenant:  {Owner, Admin},
	RegenerateKey: {Owner, Admin, Developer},
	ChangeHub:     {Owner, Admin, Developer},
	MintToken:     {Owner, Admin, Developer},
	CreateToken:   {Owner, Admin, Developer},
	ChangeIssuer:  {Owner, Admin, Developer},
	RevokeToken:   {Owner, Admin, Developer},
	ChangeLimits:  {Owner, Admin},

	SeeDeliveries:  {Owner, Admin, Developer},
	ReplayDelivery: {Owner, Admin, Developer},

	SeeAccount:          {Owner, Admin, Developer, Billing, Viewer},
	ChangeAccount:       {Owner, Admin},
	RequireSecondFactor: {Owner},
	ManageMembers:       {Owner, Admin},
	ManageOwners:        {Owner},
	ManageTokens:        {Owner, Admin},
	ManageBudget:        {Owner, Admin, Billing},
	SeeAudit:            {Owner, Admin},
	ChangePlan:          {Owner, Admin, Billing},
}

// Allows tells whether the role has a permission.
func (r Role) Allows(p Permission) bool { return slices.Contains(rolesWith[p], r) }

// atMost tells whether the role is no mightier than another one.
func (r Role) atMost(other Role) bool {
	i, j := slices.Index(Roles, r), slices.Index(Roles, other)
	return i >= 0 && j >= 0 && i >= j
}

// errSecondFactorRequired is for members whom the account shuts out.
func errSecondFactorRequired() error {
	return fault.New(fault.Forbidden, "This account requires a second factor of its members. Set one up in your security settings.").WithCode("second_factor_required")
}

// authorize returns a Forbidden error unless the role has the permission.
func authorize(r Role, p Permission) error {
	if r.Allows(p) {
		return nil
	}
	return fault.New(fault.Forbidden, "Your role in this account, "+string(r)+", does not allow that.")
}

// Caller is who asks, and where from.
type Caller struct {
	User UserID
	// Account is the one account in which an API token acts; "" = all of the
	// user's.
	Account AccountID
	TokenID string // of the API token; "" = a session
	// Token is the kind of the API token; "" = a session.
	Token TokenKind
	// Scopes bound what an API token is for; empty = all that its role allows.
	Scopes []Scope
	// TokenExpires is when the API token does; zero = never.
	TokenExpires time.Time
	// Session is the id of the session; "" = an API token, or nobody.
	Session string
	// Operator is who of the service asks; nil = nobody of them.
	Operator *Operator
	// AtOperators tells that it came over the operators' listener.
	AtOperators bool
	// System tells that the service does it by itself.
	System bool
	// RequestID, IP and UserAgent are for the audit.
	RequestID string
	IP        string
	UserAgent string
}

// inAccount tells whether the caller may act in the account at all.
func (c Caller) inAccount(a AccountID) bool { return c.Account == "" || c.Account == a }
