package tenants

import (
	"slices"

	"github.com/signalbox/signalbox/internal/fault"
)

// Scope is what an API token may be used for.
type Scope string

// The scopes of API tokens.
const (
	ReadTenants      Scope = "tenants:read"
	WriteTenants     Scope = "tenants:write"
	WriteHubs        Scope = "hubs:write"
	ReadKeys         Scope = "keys:read"
	WriteKeys        Scope = "keys:write"
	MintTokens       Scope = "tokens:mint"
	RevokeTokens     Scope = "tokens:revoke"
	ReadDeliveries   Scope = "deliveries:read"
	ReplayDeliveries Scope = "deliveries:replay"
	ReadUsage        Scope = "usage:read"
	ReadMembers      Scope = "members:read"
	WriteMembers     Scope = "members:write"
	WriteBudget      Scope = "budget:write"
	ReadAudit        Scope = "audit:read"
)

// Scopes lists the scopes.
var Scopes = []Scope{
	ReadTenants, WriteTenants, WriteHubs, ReadKeys, WriteKeys, MintTokens, RevokeTokens, ReadDeliveries, ReplayDeliveries, ReadUsage, ReadMembers, WriteMembers, WriteBudget, ReadAudit,
}

// Callers says who may call an operation at all.
type Callers string

// The kinds of callers.
const (
	Anybody   Callers = "anybody"   // without signing in
	SignedIn  Callers = "signed_in" // people in a session of the console
	WithToken Callers = "with_token"
)

// Operation is a row of the table of what the API does and who may do it.
type Operation struct {
	Callers Callers // WithToken = signed in, or with an API token
	// Needs is the permission in the account concerned; "" = it concerns what is the
	// caller's own.
	Needs Permission
	// Scope is what an API token needs; "" = none.
	Scope Scope
}

// Operations has a row for every operation of the API, by its operationId.
var Operations = map[string]Operation{
	"signUp":               {Callers: Anybody},
	"confirmSignUp":        {Callers: Anybody},
	"signIn":               {Callers: Anybody},
	"finishSignIn":         {Callers: Anybody},
	"signOut":              {Callers: Anybody},
	"verifyEmail":          {Callers: Anybody},
	"requestPasswordReset": {Callers: Anybody},
	"resetPassword":        {Callers: Anybody},
	"lookUpInvitation":     {Callers: Anybody},
	"acceptInvitation":     {Callers: Anybody},
	"getSignInOptions":     {Callers: Anybody},
	"beginOidc":            {Callers: Anybody},
	"finishOidc":           {Callers: Anybody},
	"listPlans":            {Callers: Anybody},
	"getOpenapi":           {Callers: Anybody},
	"getDevMailbox":        {Callers: Anybody},

	"getSession":          {Callers: WithToken},
	"listSessions":        {Callers: SignedIn},
	"endSession":          {Callers: SignedIn},
	"endOtherSessions":    {Callers: SignedIn},
	"changePassword":      {Callers: SignedIn},
	"changeEmail":         {Callers: SignedIn},
	"resendVerification":  {Callers: SignedIn},
	"getSecondFactor":     {Callers: SignedIn},
	"beginSecondFactor":   {Callers: SignedIn},
	"confirmSecondFactor": {Callers: SignedIn},
	"renewRecoveryCodes":  {Callers: SignedIn},
	"removeSecondFactor":  {Callers: SignedIn},
	"listIdentities":      {Callers: SignedIn},
	"linkIdentity":        {Callers: SignedIn},
	"unlinkIdentity":      {Callers: SignedIn},
	"listApiTokens":       {Callers: SignedIn},
	"createApiToken":      {SignedIn, CreateToken, ""},
	"deleteApiToken":      {Callers: SignedIn},

	"createAccount":      {Callers: SignedIn},
	"getAccount":         {WithToken, SeeAccount, ReadMembers},
	"updateAccount":      {SignedIn, ChangeAccount, ""},
	"getPlan":            {WithToken, SeeAccount, ReadUsage},
	"putPlan":            {SignedIn, ChangePlan, ""},
	"leaveAccount":       {SignedIn, SeeAccount, ""},
	"listMembers":        {WithToken, SeeAccount, ReadMembers},
	"getMember":          {WithToken, SeeAccount, ReadMembers},
	"updateMember":       {WithToken, ManageMembers, WriteMembers},
	"removeMember":       {WithToken, ManageMembers, WriteMembers},
	"listInvitations":    {WithToken, ManageMembers, ReadMembers},
	"createInvitation":   {WithToken, ManageMembers, WriteMembers},
	"revokeInvitation":   {WithToken, ManageMembers, WriteMembers},
	"resendInvitation":   {WithToken, ManageMembers, WriteMembers},
	"listAccountTokens":  {SignedIn, ManageTokens, ""},
	"createServiceToken": {SignedIn, ManageTokens, ""},
	"deleteAccountToken": {SignedIn, ManageTokens, ""},

	"listAuditEvents":    {WithToken, SeeAudit, ReadAudit},
	"exportAudit":        {WithToken, SeeAudit, ReadAudit},
	"verifyAudit":        {WithToken, SeeAudit, ReadAudit},
	"listOwnAuditEvents": {Callers: SignedIn},

	"listTenants":   {WithToken, "", ReadTenants},
	"createTenant":  {WithToken, CreateTenant, WriteTenants},
	"getTenant":     {WithToken, SeeTenant, ReadTenants},
	"updateTenant":  {WithToken, ChangeTenant, WriteTenants},
	"deleteTenant":  {WithToken, DeleteTenant, WriteTenants},
	"suspendTenant": {WithToken, SuspendTenant, WriteTenants},
	"resumeTenant":  {WithToken, SuspendTenant, WriteTenants},
	"listDomains":   {WithToken, SeeTenant, ReadTenants},
	"createDomain":  {WithToken, ChangeDomain, WriteTenants},
	"verifyDomain":  {WithToken, ChangeDomain, WriteTenants},
	"deleteDomain":  {WithToken, ChangeDomain, WriteTenants},
	"getLimits":     {WithToken, SeeTenant, ReadTenants},
	"getLimit":      {WithToken, SeeTenant, ReadTenants},
	"putLimit":      {WithToken, ChangeLimits, WriteTenants},
	"deleteLimit":   {WithToken, ChangeLimits, WriteTenants},

	"listKeys":            {WithToken, SeeKeys, ReadKeys},
	"regenerateKey":       {WithToken, RegenerateKey, WriteKeys},
	"endFormerKey":        {WithToken, RegenerateKey, WriteKeys},
	"listWebhookSecrets":  {WithToken, SeeKeys, ReadKeys},
	"rotateWebhookSecret": {WithToken, RegenerateKey, WriteKeys},
	"listIssuers":         {WithToken, SeeTenant, ReadTenants},
	"createIssuer":        {WithToken, ChangeIssuer, WriteKeys},
	"getIssuer":           {WithToken, SeeTenant, ReadTenants},
	"replaceIssuer":       {WithToken, ChangeIssuer, WriteKeys},
	"deleteIssuer":        {WithToken, ChangeIssuer, WriteKeys},

	"createClientToken": {WithToken, MintToken, MintTokens},
	"createRestToken":   {WithToken, MintToken, MintTokens},
	"checkPermission":   {WithToken, MintToken, MintTokens},
	"listRevocations":   {WithToken, SeeTenant, ReadTenants},
	"createRevocation":  {WithToken, RevokeToken, RevokeTokens},
	"deleteRevocation":  {WithToken, RevokeToken, RevokeTokens},

	"listHubs":        {WithToken, SeeTenant, ReadTenants},
	"getHub":          {WithToken, SeeTenant, ReadTenants},
	"putHub":          {WithToken, ChangeHub, WriteHubs},
	"patchHub":        {WithToken, ChangeHub, WriteHubs},
	"deleteHub":       {WithToken, ChangeHub, WriteHubs},
	"listHubVersions": {WithToken, SeeTenant, ReadTenants},
	"returnHub":       {WithToken, ChangeHub, WriteHubs},

	"listUpstreamDeliveries": {WithToken, SeeDeliveries, ReadDeliveries},
	"replayUpstreamDelivery": {WithToken, ReplayDelivery, ReplayDeliveries},

	"getUsage":             {WithToken, SeeTenant, ReadUsage},
	"getUsageTop":          {WithToken, SeeTenant, ReadUsage},
	"getLedger":            {WithToken, SeeTenant, ReadUsage},
	"getBudget":            {WithToken, SeeAccount, ReadUsage},
	"putBudget":            {WithToken, ManageBudget, WriteBudget},
	"getStatement":         {WithToken, SeeAccount, ReadUsage},
	"getAccountLedger":     {WithToken, SeeAccount, ReadUsage},
	"getActivity":          {WithToken, SeeTenant, ReadUsage},
	"createLiveConnection": {WithToken, SeeTenant, ReadUsage},
}

// Admit returns a fault unless a caller of that kind, with these scopes, may call
// the operation; the role is judged where the account is known.
func (o Operation) Admit(c Caller) error {
	switch {
	case o.Callers == Anybody:
		return nil
	case c.User == "" && c.Operator == nil:
		return fault.New(fault.Unauthenticated, "Sign in, or send an API token.")
	case c.Token == "":
		return nil
	case o.Callers == SignedIn:
		return fault.New(fault.Forbidden, "API tokens can't do that: sign in to the console.").WithCode("session_required")
	case len(c.Scopes) > 0 && o.Scope != "" && !slices.Contains(c.Scopes, o.Scope):
		return fault.New(fault.Forbidden, "The API token lacks the scope "+string(o.Scope)+".").WithCode("insufficient_scope")
	}
	return nil
}
