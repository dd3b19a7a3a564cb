package tenants

import (
	"context"
	"time"
)

// Store keeps people and tenants. Every method that concerns a tenant takes its
// id, or the account or user through whom it is seen, and touches no other's
// rows. What is not there answers a fault of kind NotFound, what is taken one
// of kind Conflict.
type Store interface {
	People
	Members
	Sessions
	Credentials
	Identities
	Tokens
	Requests
	Sealings
	Registry
	Budgets
	Trail
	Subscriptions
	Operators
	// Unit runs f with a context that makes everything this store does with it one
	// transaction, which commits when f returns nil. It is for one goroutine.
	Unit(ctx context.Context, f func(context.Context) error) error
	// AfterCommit runs f once the unit of ctx is committed, at once outside of one.
	AfterCommit(ctx context.Context, f func(context.Context))
	// InTx runs f with a store bound to one transaction, which commits when f
	// returns nil.
	InTx(ctx context.Context, f func(Store) error) error
	// Alone runs f while no other call of the same name runs, in any process, and waits
	// for its turn as long as ctx lasts. What f writes isn't in a transaction of Alone's.
	Alone(ctx context.Context, name string, f func(context.Context) error) error
}

// People keeps users, accounts and the mail to them.
type People interface {
	// CreateUser answers email_taken for an emailKey that is known. The key is made
	// here, as the one that is looked for, because databases differ in how they
	// lower letters.
	CreateUser(ctx context.Context, u User, emailKey, passwordHash string) error
	// CreateService makes what a service token acts as.
	CreateService(ctx context.Context, u UserID) error
	DeleteService(ctx context.Context, u UserID) error
	UserByEmail(ctx context.Context, emailKey string) (u User, passwordHash string, err error)
	User(ctx context.Context, u UserID) (User, error)
	// LockUser makes other transactions that lock the user wait for this one.
	LockUser(ctx context.Context, u UserID) error
	CreateAccount(ctx context.Context, a Account) error
	Account(ctx context.Context, a AccountID) (Account, error)
	UpdateAccount(ctx context.Context, a Account) error

	// Attempt records an attempt by each subject, forgets those before since,
	// and counts what is left for each, this one included.
	Attempt(ctx context.Context, now, since time.Time, subjects ...string) (counts []int, err error)
	// ForgetAttempts forgets all attempts of a subject.
	ForgetAttempts(ctx context.Context, subject string) error
	// ForgetAttempt forgets the attempt that a subject made at a time.
	ForgetAttempt(ctx context.Context, subject string, at time.Time) error
	// CountAttempts counts a subject's attempts since then.
	CountAttempts(ctx context.Context, subject string, since time.Time) (int, error)
	// AttemptOnce records an attempt unless there was one since then, and tells
	// whether it did. Of many at once, one is told so.
	AttemptOnce(ctx context.Context, subject string, now, since time.Time) (bool, error)

	// QueueMail stores a mail to be sent once the transaction is committed.
	QueueMail(ctx context.Context, m Mail) error
	// RecentMail returns the newest mails, whether sent or not.
	RecentMail(ctx context.Context, limit int) ([]Mail, error)
}

// Members keeps who belongs to which account, and who was invited.
type Members interface {
	AddMember(ctx context.Context, a AccountID, u UserID, r Role) error
	Memberships(ctx context.Context, u UserID) ([]Membership, error)
	// Members lists the people of an account by address.
	Members(ctx context.Context, a AccountID) ([]Member, error)
	Member(ctx context.Context, a AccountID, u UserID) (Member, error)
	SetRole(ctx context.Context, a AccountID, u UserID, r Role) error
	// RemoveMember takes the member's API tokens in the account away, too.
	RemoveMember(ctx context.Context, a AccountID, u UserID) error
	// CountOwners counts the people who own the account.
	CountOwners(ctx context.Context, a AccountID) (int, error)

	// PutInvitation makes an invitation, or replaces the one of the same id. An
	// address that is invited already answers already_invited.
	PutInvitation(ctx context.Context, a AccountID, i Invitation, emailKey string, tokenHash []byte) error
	// Invitations lists those that are good, the newest first.
	Invitations(ctx context.Context, a AccountID, now time.Time) ([]Invitation, error)
	Invitation(ctx context.Context, a AccountID, id string) (Invitation, error)
	InvitationByToken(ctx context.Context, tokenHash []byte, now time.Time) (Invitation, error)
	DeleteInvitation(ctx context.Context, a AccountID, id string) error
	// DropInvitationsBy withdraws those for the roles that a user made or sent again.
	DropInvitationsBy(ctx context.Context, a AccountID, by UserID, roles []Role) error
	// DropInvitations forgets those of an account that are past.
	DropInvitations(ctx context.Context, a AccountID, now time.Time) error
}

// Sessions keeps who is signed in.
type Sessions interface {
	// Sessions lists a user's sessions, the newest first.
	Sessions(ctx context.Context, u UserID) ([]Session, error)
	EndSession(ctx context.Context, u UserID, id string) error
	// EndSessions ends all of a user's sessions but one, pending ones too, and
	// returns their ids and SeenAt; except "" spares none.
	EndSessions(ctx context.Context, u UserID, except string) ([]Session, error)
}

// Credentials keeps what people prove themselves with.
type Credentials interface {
	PasswordHash(ctx context.Context, u UserID) (string, error)
	SetPassword(ctx context.Context, u UserID, passwordHash string) error

	// CreateVerification keeps the hash of a token that proves an address. newEmailKey
	// is that of an address which the user wants to have instead; "" = the present one.
	CreateVerification(ctx context.Context, u UserID, email, newEmailKey string, tokenHash []byte, expires time.Time) error
	// Verify uses a verification up and marks the address as verified, after
	// giving it to the user if it is a new one, which answers email_taken when
	// another has it.
	Verify(ctx context.Context, tokenHash []byte, now time.Time) (Verified, error)
	// MarkVerified marks the present address as verified.
	MarkVerified(ctx context.Context, u UserID, now time.Time) error

	PutSignUp(ctx context.Context, in SignUp, passwordHash string, tokenHash []byte, expires time.Time) error
	// TakeSignUp uses a sign-up up.
	TakeSignUp(ctx context.Context, tokenHash []byte, now time.Time) (in SignUp, passwordHash string, err error)

	PutReset(ctx context.Context, u UserID, tokenHash []byte, expires time.Time) error
	// TakeReset uses a reset up.
	TakeReset(ctx context.Context, tokenHash []byte, now time.Time) (UserID, error)

	// VoidLinks makes what was sent to a user's addresses void: links that set a new
	// password and those that change the address.
	VoidLinks(ctx context.Context, u UserID) error

	// DropCredentials takes a user's API tokens, second factor and identities away, and
	// the service tokens of accounts in which there is no other person; it returns those
	// accounts that had any.
	DropCredentials(ctx context.Context, u UserID) ([]AccountID, error)

	// PutSecondFactor replaces one that isn't enabled.
	PutSecondFactor(ctx context.Context, u UserID, sealed []byte, now time.Time) error
	SecondFactor(ctx context.Context, u UserID) (SecondFactor, error)
	EnableSecondFactor(ctx context.Context, u UserID, now time.Time) error
	DeleteSecondFactor(ctx context.Context, u UserID) error
	// UseStep notes that the code of a step was taken; false = that one, or a later
	// one, was before.
	UseStep(ctx context.Context, u UserID, step int64) (bool, error)
	// SetRecoveryCodes replaces all.
	SetRecoveryCodes(ctx context.Context, u UserID, hashes [][]byte) error
	// UseRecoveryCode uses a code up; false = there is no such code.
	UseRecoveryCode(ctx context.Context, u UserID, hash []byte) (bool, error)
}

// Requests keeps which requests were carried out under which key.
type Requests interface {
	// ClaimRequest notes a request in the unit under way, or returns the one that has
	// its key. It waits for another one of the same key that is under way, and for no
	// other. One that is past counts no more.
	ClaimRequest(ctx context.Context, r Request, now time.Time) (former *Request, err error)
	// CountRequests counts what is kept of a user and not past.
	CountRequests(ctx context.Context, u UserID, now time.Time) (int, error)
	// AnswerRequest keeps the answer of a request that was claimed.
	AnswerRequest(ctx context.Context, r Request) error
	DropRequest(ctx context.Context, r Request) error
}

// Identities keeps whom OpenID providers know users as.
type Identities interface {
	// PutIdentity answers identity_taken for one that is linked already.
	PutIdentity(ctx context.Context, i Identity) error
	IdentityBySubject(ctx context.Context, issuer, subject string) (Identity, error)
	Identities(ctx context.Context, u UserID) ([]Identity, error)
	// DeleteIdentity returns what it deleted.
	DeleteIdentity(ctx context.Context, u UserID, id string) (Identity, error)
}

// Tokens keeps API tokens as hashes.
type Tokens interface {
	CreateAPIToken(ctx context.Context, t APIToken, hash []byte) error
	// APITokens lists a user's tokens in an account, or in all, the newest first.
	APITokens(ctx context.Context, u UserID, a AccountID) ([]APIToken, error)
	// AccountTokens lists all tokens of an account, the newest first.
	AccountTokens(ctx context.Context, a AccountID) ([]APIToken, error)
	// DeleteAPIToken returns what it deleted.
	DeleteAPIToken(ctx context.Context, u UserID, a AccountID, id string) (APIToken, error)
	// DeleteAccountToken returns what it deleted.
	DeleteAccountToken(ctx context.Context, a AccountID, id string) (APIToken, error)
	// APITokenByHash returns a token that is good now, and notes that it was used.
	APITokenByHash(ctx context.Context, hash []byte, now time.Time) (APIToken, error)
}

// Registry keeps tenants and what they own.
type Registry interface {
	// LockAccount makes other transactions that lock the account wait for this one.
	LockAccount(ctx context.Context, a AccountID) (maxTenants, tenants int, err error)
	// CreateTenant answers slug_taken or host_taken.
	CreateTenant(ctx context.Context, t Tenant) error
	// TenantsOf lists the tenants that a user sees; account "" means any.
	TenantsOf(ctx context.Context, u UserID, account AccountID) ([]MemberTenant, error)
	// TenantOf finds one of them by id or slug.
	TenantOf(ctx context.Context, u UserID, account AccountID, ref string) (MemberTenant, error)
	// TenantBySlug is for what the service does by itself.
	TenantBySlug(ctx context.Context, slug string) (Tenant, error)
	// TenantByHost finds the tenant that has a host of its own, besides the one
	// that its slug gives.
	TenantByHost(ctx context.Context, host string) (Tenant, error)
	// Tenant returns a tenant by its id, deleted ones too.
	Tenant(ctx context.Context, t ID) (Tenant, error)
	// SuspendedByOperator tells whether an operator has suspended a tenant of an account.
	SuspendedByOperator(ctx context.Context, a AccountID) (bool, error)
	// TenantIDs pages through the ids of all tenants that are not deleted.
	TenantIDs(ctx context.Context, after ID, limit int) ([]ID, error)
	// UpdateTenant writes name, environment and suspension.
	UpdateTenant(ctx context.Context, t Tenant) error
	SetHosts(ctx context.Context, t ID, hosts []string) error
	// DeleteTenant leaves a tombstone, and queues the end of what edges keep of the
	// tenant.
	DeleteTenant(ctx context.Context, t ID, now time.Time) error
	// MarkPurged notes that nothing is left with edges, and tells whether it wasn't noted
	// before.
	MarkPurged(ctx context.Context, t ID, now time.Time) (first bool, err error)
	// Touch begins every change of a tenant: it locks its row, bumps its revision and
	// queues the publication of its document.
	Touch(ctx context.Context, t ID) error
	// PutKey puts a key in use in its slot; the one that was is good until
	// formerUntil, and one before that no longer.
	PutKey(ctx context.Context, t ID, k AccessKey, formerUntil time.Time) error
	// Keys returns those that are good: those in use, the primary one first, then
	// those that were replaced.
	Keys(ctx context.Context, t ID, now time.Time) ([]AccessKey, error)
	// EndFormerKey ends the key that was replaced in a slot and still is good.
	EndFormerKey(ctx context.Context, t ID, slot KeySlot, now time.Time) (AccessKey, error)

	// Domains lists a tenant's domains by name, verified or not.
	Domains(ctx context.Context, t ID) ([]Domain, error)
	Domain(ctx context.Context, t ID, id string) (Domain, error)
	// PutDomain answers domain_exists for one that the tenant has.
	PutDomain(ctx context.Context, t ID, d Domain) error
	// DomainOwner returns the tenant for which a domain is verified, and its domain.
	DomainOwner(ctx context.Context, name string) (ID, Domain, error)
	// LoseDomain makes a domain unverified, if it still is as verified as d says.
	LoseDomain(ctx context.Context, t ID, d Domain, now time.Time) (lost bool, err error)
	// CheckedDomain notes when a domain's record was looked for, and whether it was
	// found; it answers domain_taken for one that is another tenant's.
	CheckedDomain(ctx context.Context, t ID, d Domain) error
	DeleteDomain(ctx context.Context, t ID, id string) error

	// RotateWebhookSecret puts a secret in use; the one that was goes on until
	// formerUntil, and one before that goes.
	RotateWebhookSecret(ctx context.Context, t ID, w WebhookSecret, formerUntil time.Time) error
	// WebhookSecrets returns those that sign now, the one in use first.
	WebhookSecrets(ctx context.Context, t ID, now time.Time) ([]WebhookSecret, error)

	Hubs(ctx context.Context, t ID) ([]Hub, error)
	Hub(ctx context.Context, t ID, name string) (Hub, error)
	CountHubs(ctx context.Context, t ID) (int, error)
	// HubBytes is the size of the names and settings of all hubs, in bytes.
	HubBytes(ctx context.Context, t ID) (int, error)
	// PutHub creates or replaces a hub and returns it as it is kept.
	PutHub(ctx context.Context, t ID, h Hub) (Hub, error)
	DeleteHub(ctx context.Context, t ID, name string) error
	// HubPartitions returns those of the hubs of which SetHubPartitions was called.
	HubPartitions(ctx context.Context, t ID) (map[string]HubPartitions, error)
	SetHubPartitions(ctx context.Context, t ID, hub string, p HubPartitions) error
	// AddHubVersion keeps what a hub's settings have become and who made them so,
	// unless they are what they were, and numbers it. The oldest ones go.
	AddHubVersion(ctx context.Context, t ID, c Caller, v HubVersion) error
	// HubVersions lists those of a hub, the newest first.
	HubVersions(ctx context.Context, t ID, hub string) ([]HubVersion, error)
	HubVersion(ctx context.Context, t ID, hub string, version int64) (HubVersion, error)

	// Issuers come with the oldest first.
	Issuers(ctx context.Context, t ID) ([]Issuer, error)
	// PutIssuer creates or replaces an issuer, whose name no other of the tenant has.
	PutIssuer(ctx context.Context, t ID, i Issuer) error
	DeleteIssuer(ctx context.Context, t ID, id string) error

	// Revocations returns those in force, the newest first.
	Revocations(ctx context.Context, t ID, now time.Time) ([]Revocation, error)
	// PutRevocation creates a revocation, or renews the one of the same kind and
	// value.
	PutRevocation(ctx context.Context, t ID, r Revocation) error
	DeleteRevocation(ctx context.Context, t ID, id string) error
	// DropRevocations forgets those that have expired.
	DropRevocations(ctx context.Context, t ID, now time.Time) error
	// CountRevocations returns how many there are and the bytes of their values.
	CountRevocations(ctx context.Context, t ID) (count, bytes int, err error)

	// LockTenant makes other changes of the tenant wait for the unit under way.
	LockTenant(ctx context.Context, t ID) error

	// Limits returns the plan's limits and the overrides in force.
	Limits(ctx context.Context, t ID, now time.Time) (Limits, []Override, error)
	// PutOverride creates or replaces the override of a limit.
	PutOverride(ctx context.Context, t ID, o Override) error
	// ExpiredOverrides lists tenants that have overrides which are over.
	ExpiredOverrides(ctx context.Context, now time.Time, limit int) ([]ID, error)
	// DropOverrides forgets those of a tenant that are over, and returns them.
	DropOverrides(ctx context.Context, t ID, now time.Time) ([]Override, error)
	// DeleteOverride answers not_found when there is none in force.
	DeleteOverride(ctx context.Context, t ID, limit string) error
}
