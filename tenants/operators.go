package tenants

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/signalbox/signalbox/internal/fault"
)

// Operator is a person who runs the service. Operators are no users: they sign in
// elsewhere, always with a second factor.
type Operator struct {
	ID      string
	Name    string // customers see it in their audit
	Email   string
	Enabled time.Time // zero = not set up
	Created time.Time
}

// OperatorSecrets are what an operator proves to be one with.
type OperatorSecrets struct {
	PasswordHash string
	Sealed       []byte // the secret of the authenticator app
}

// OperatorToken lets a program do an operator's work.
type OperatorToken struct {
	ID       string
	Operator string // the id
	Name     string
	Hint     string
	Scopes   []Scope
	Created  time.Time
	Expires  time.Time
	LastUsed time.Time // to the minute; zero = never
}

// The scopes of operators' tokens.
const (
	OperateTenantsRead Scope = "operate:tenants:read"
	OperateTenants     Scope = "operate:tenants:write"
	OperateEdgesRead   Scope = "operate:edges:read"
	OperateEdges       Scope = "operate:edges:write"
	OperateAuditRead   Scope = "operate:audit:read"
)

// OperatorScopes lists them.
var OperatorScopes = []Scope{OperateTenantsRead, OperateTenants, OperateEdgesRead, OperateEdges, OperateAuditRead}

// OperatorOperations has a row for every operation of the operators' API.
var OperatorOperations = map[string]Operation{
	"setUpOperator":       {Callers: Anybody},
	"confirmOperator":     {Callers: Anybody},
	"signInOperator":      {Callers: Anybody},
	"signOutOperator":     {Callers: Anybody},
	"getOperatorOpenapi":  {Callers: Anybody},
	"getOperatorSession":  {Callers: WithToken},
	"listOperatorTokens":  {Callers: SignedIn},
	"createOperatorToken": {Callers: SignedIn},
	"deleteOperatorToken": {Callers: SignedIn},

	"listAllAccounts":      {Callers: WithToken, Scope: OperateTenantsRead},
	"listAllTenants":       {Callers: WithToken, Scope: OperateTenantsRead},
	"getAnyTenant":         {Callers: WithToken, Scope: OperateTenantsRead},
	"getOperatorLimit":     {Callers: WithToken, Scope: OperateTenantsRead},
	"putOperatorLimit":     {Callers: WithToken, Scope: OperateTenants},
	"deleteOperatorLimit":  {Callers: WithToken, Scope: OperateTenants},
	"suspendAnyTenant":     {Callers: WithToken, Scope: OperateTenants},
	"resumeAnyTenant":      {Callers: WithToken, Scope: OperateTenants},
	"listEdges":            {Callers: WithToken, Scope: OperateEdgesRead},
	"drainEdge":            {Callers: WithToken, Scope: OperateEdges},
	"undrainEdge":          {Callers: WithToken, Scope: OperateEdges},
	"listOperatorAudit":    {Callers: WithToken, Scope: OperateAuditRead},
	"exportOperatorAudit":  {Callers: WithToken, Scope: OperateAuditRead},
	"verifyOperatorAudits": {Callers: WithToken, Scope: OperateAuditRead},
}

const (
	operatorTokenPrefix = "sbo_"
	maxOperatorTokens   = 20 // of one operator
	maxOperatorDays     = 90 // of a token's life
	operatorSetupLife   = 24 * time.Hour
)

// Operators keeps who runs the service.
type Operators interface {
	// CreateOperator answers operator_taken for an address that is known.
	CreateOperator(ctx context.Context, o Operator, emailKey string, setupHash []byte, setupExpires time.Time) error
	// ResetOperator takes password, app, sessions and tokens away and lets the operator
	// be set up anew.
	ResetOperator(ctx context.Context, id string, setupHash []byte, setupExpires time.Time) error
	// DeleteOperator takes sessions and tokens with it.
	DeleteOperator(ctx context.Context, id string) error
	Operator(ctx context.Context, id string) (Operator, error)
	OperatorByEmail(ctx context.Context, emailKey string) (Operator, OperatorSecrets, error)
	OperatorList(ctx context.Context) ([]Operator, error)
	// OperatorBySetup finds who may be set up with a link.
	OperatorBySetup(ctx context.Context, setupHash []byte, now time.Time) (Operator, OperatorSecrets, error)
	PutOperatorSecrets(ctx context.Context, id string, v OperatorSecrets) error
	// EnableOperator voids the link.
	EnableOperator(ctx context.Context, id string, now time.Time) error
	// UseOperatorStep is as UseStep.
	UseOperatorStep(ctx context.Context, id string, step int64) (bool, error)

	CreateOperatorToken(ctx context.Context, t OperatorToken, hash []byte) error
	OperatorTokens(ctx context.Context, operator string) ([]OperatorToken, error)
	// DeleteOperatorToken returns what it deleted.
	DeleteOperatorToken(ctx context.Context, operator, id string) (OperatorToken, error)
	// OperatorTokenByHash returns a token that is good now, and notes that it was used.
	OperatorTokenByHash(ctx context.Context, hash []byte, now time.Time) (OperatorToken, error)

	// AllTenants pages through the tenants that aren't deleted, the newest first; search
	// finds parts of names, slugs and ids, also of accounts, and members' addresses.
	AllTenants(ctx context.Context, search string, status Status, before ID, limit int) ([]AccountTenant, error)
	// AnyTenant finds one by id or slug.
	AnyTenant(ctx context.Context, ref string) (AccountTenant, error)
	// AllAccounts pages through the accounts, the newest first.
	AllAccounts(ctx context.Context, search string, before AccountID, limit int) ([]AccountSummary, error)
}

// AccountTenant is a tenant with its account, as operators see it.
type AccountTenant struct {
	Tenant
	AccountName string
}

// AccountSummary is an account as operators see it.
type AccountSummary struct {
	Account
	Members, Tenants, Suspended int
}

// AddOperator makes an operator, to be set up with the token within a day. It asks for
// no permission: who runs it has the database.
func (s *Service) AddOperator(ctx context.Context, name, email string) (Operator, Secret, error) {
	name, ok := cleanName(name)
	var fields []fault.Field
	if !ok {
		fields = append(fields, nameField("name"))
	}
	email, wrong := cleanEmail("email", email)
	if wrong != nil {
		fields = append(fields, *wrong)
	}
	if len(fields) > 0 {
		return Operator{}, "", fault.InvalidFields(fields...)
	}
	o, token := Operator{ID: newID(), Name: name, Email: email, Created: s.now()}, rand.Text()
	err := s.store.InTx(ctx, func(tx Store) error {
		if err := tx.CreateOperator(ctx, o, emailKey(email), tokenHash(token), s.now().Add(operatorSetupLife)); err != nil {
			return err
		}
		return tx.Audit(ctx, onMachine("operator.added", o))
	})
	return o, Secret(token), err
}

// ResetOperator ends all that an operator has, and lets the operator be set up anew.
func (s *Service) ResetOperator(ctx context.Context, email string) (Operator, Secret, error) {
	token := rand.Text()
	o, err := s.changeOperator(ctx, email, "operator.reset", func(tx Store, o Operator) error {
		return tx.ResetOperator(ctx, o.ID, tokenHash(token), s.now().Add(operatorSetupLife))
	})
	return o, Secret(token), err
}

// RemoveOperator ends an operator.
func (s *Service) RemoveOperator(ctx context.Context, email string) error {
	_, err := s.changeOperator(ctx, email, "operator.removed", func(tx Store, o Operator) error { return tx.DeleteOperator(ctx, o.ID) })
	return err
}

// OperatorList lists them by address.
func (s *Service) OperatorList(ctx context.Context) ([]Operator, error) {
	return s.store.OperatorList(ctx)
}

func (s *Service) changeOperator(ctx context.Context, email, action string, f func(tx Store, o Operator) error) (o Operator, err error) {
	err = s.store.InTx(ctx, func(tx Store) error {
		if o, _, err = tx.OperatorByEmail(ctx, emailKey(email)); err != nil {
			return err
		}
		if err := f(tx, o); err != nil {
			return err
		}
		return tx.Audit(ctx, onMachine(action, o))
	})
	return o, err
}

// onMachine is the entry of what somebody does with a command.
func onMachine(action string, o Operator) Audit {
	return Audit{Caller: Caller{System: true, RequestID: "command"}, In: OperatorChain, Action: action, Subject: o.ID, After: map[string]any{"name": o.Name, "email": o.Email}}
}

// SetUpOperator takes the password of who has a link and returns the secret for the
// authenticator app. Nothing is good before a code is confirmed.
func (s *Service) SetUpOperator(ctx context.Context, c Caller, token, password Secret) (SecondFactorSetup, error) {
	if wrong := checkPassword("password", password); wrong != nil {
		return SecondFactorSetup{}, fault.InvalidFields(*wrong)
	}
	if err := s.tokenAttempt(ctx, c); err != nil {
		return SecondFactorSetup{}, err
	}
	o, _, err := s.store.OperatorBySetup(ctx, tokenHash(token.Reveal()), s.now())
	if err != nil {
		return SecondFactorSetup{}, errLink(err)
	}
	hash, err := s.operators.hash(ctx, password.Reveal())
	if err != nil {
		return SecondFactorSetup{}, err
	}
	key, err := totp.Generate(totp.GenerateOpts{Issuer: totpIssuer + " operators", AccountName: o.Email, Period: uint(totpPeriod / time.Second), Rand: rand.Reader})
	if err != nil {
		return SecondFactorSetup{}, fmt.Errorf("make TOTP secret: %w", err)
	}
	c.Operator = &o
	err = s.store.InTx(ctx, func(tx Store) error {
		if err := tx.PutOperatorSecrets(ctx, o.ID, OperatorSecrets{PasswordHash: hash, Sealed: s.sealer.Seal(sealedOperators, operatorScope(o.ID), factorKey, Secret(key.Secret()))}); err != nil {
			return err
		}
		return tx.Audit(ctx, Audit{Caller: c, Action: "operator.set_up_begun", Subject: o.ID})
	})
	return SecondFactorSetup{Secret: Secret(key.Secret()), URI: Secret(key.URL())}, err
}

func operatorScope(id string) ID { return ID("operator:" + id) }

// ConfirmOperator ends the set-up with a code of the app; then the link is void.
func (s *Service) ConfirmOperator(ctx context.Context, c Caller, token, code Secret) error {
	if err := s.tokenAttempt(ctx, c); err != nil {
		return err
	}
	o, secrets, err := s.store.OperatorBySetup(ctx, tokenHash(token.Reveal()), s.now())
	if err != nil {
		return errLink(err)
	}
	ok, err := s.takeOperatorCode(ctx, o, secrets, code)
	if err != nil {
		return err
	}
	if !ok {
		return fault.InvalidFields(fault.Field{Name: "code", Message: "is not right, or was used already", Accepted: "the code that the app shows now"})
	}
	c.Operator = &o
	return s.store.InTx(ctx, func(tx Store) error {
		if err := tx.EnableOperator(ctx, o.ID, s.now()); err != nil {
			return err
		}
		return tx.Audit(ctx, Audit{Caller: c, Action: "operator.set_up", Subject: o.ID})
	})
}

// takeOperatorCode takes a code of an operator's app, once.
func (s *Service) takeOperatorCode(ctx context.Context, o Operator, v OperatorSecrets, code Secret) (bool, error) {
	if len(v.Sealed) == 0 {
		return false, nil
	}
	secret, err := s.sealer.Open(sealedOperators, operatorScope(o.ID), factorKey, v.Sealed)
	if err != nil {
		return false, fault.Wrap(fault.Internal, "open second factor", err)
	}
	step, ok, err := stepOf(secret, strings.ReplaceAll(code.Reveal(), " ", ""), s.now())
	if err != nil || !ok {
		return false, err
	}
	return s.store.UseOperatorStep(ctx, o.ID, step)
}

// SignInOperator checks address, password and a code of the app, all at once: nothing
// tells which of them was wrong.
func (s *Service) SignInOperator(ctx context.Context, c Caller, email string, password, code Secret) (Operator, error) {
	key := emailKey(email)
	if _, err := s.attempt(ctx, "Too many attempts to sign in.", attemptWindow, bound{"operator-ip:" + network(c.IP), attemptsPerCaller}); err != nil {
		return Operator{}, err
	}
	subject := "operator:" + key
	if err := s.guess(ctx, c, User{}, subject); err != nil {
		return Operator{}, err
	}
	o, secrets, err := s.store.OperatorByEmail(ctx, key)
	if err != nil && !isKind(err, fault.NotFound) {
		return Operator{}, err
	}
	hash := secrets.PasswordHash
	if o.Enabled.IsZero() {
		hash = ""
	}
	ok, err := s.operators.check(ctx, password.Reveal(), hash)
	if err == nil && ok {
		ok, err = s.takeOperatorCode(ctx, o, secrets, code)
	}
	if err != nil {
		return Operator{}, err
	}
	if !ok {
		if err := s.store.Audit(ctx, Audit{Caller: c, Action: "session.refused", Subject: o.ID, Unproved: true}); err != nil {
			return Operator{}, err
		}
		return Operator{}, fault.New(fault.Unauthenticated, "Email address, password and code don't match.").WithCode("wrong_credentials")
	}
	c.Operator = &o
	if err := s.store.ForgetAttempts(ctx, subject); err != nil {
		return Operator{}, err
	}
	return o, s.store.Audit(ctx, Audit{Caller: c, Action: "session.created", Subject: o.ID})
}

// SignedInOperator returns an operator who has a session, if there still is one.
func (s *Service) SignedInOperator(ctx context.Context, id string) (Operator, error) {
	o, err := s.store.Operator(ctx, id)
	if isKind(err, fault.NotFound) || err == nil && o.Enabled.IsZero() {
		return Operator{}, fault.New(fault.Unauthenticated, "Sign in, or send a token.")
	}
	return o, err
}

// OperatorSignedOut notes that an operator ends the own session, as SignedOut does.
func (s *Service) OperatorSignedOut(ctx context.Context, c Caller) error {
	if c.Operator == nil || c.TokenID != "" {
		return nil
	}
	return s.store.Audit(ctx, Audit{Caller: c, Action: "session.ended", Subject: c.Operator.ID})
}

// AuthenticateOperator returns the caller that an operator's token stands for.
func (s *Service) AuthenticateOperator(ctx context.Context, token Secret) (Caller, error) {
	refused := fault.New(fault.Unauthenticated, "The token is not valid.").WithCode("invalid_token")
	if !strings.HasPrefix(token.Reveal(), operatorTokenPrefix) {
		return Caller{}, refused
	}
	t, err := s.store.OperatorTokenByHash(ctx, tokenHash(token.Reveal()), s.now())
	if isKind(err, fault.NotFound) {
		return Caller{}, refused
	}
	if err != nil {
		return Caller{}, err
	}
	o, err := s.store.Operator(ctx, t.Operator)
	if err != nil {
		return Caller{}, err
	}
	return Caller{Operator: &o, TokenID: t.ID, Token: PersonalToken, Scopes: t.Scopes}, nil
}

// CreateOperatorToken makes a token of the caller's, which has an end.
func (s *Service) CreateOperatorToken(ctx context.Context, c Caller, name string, scopes []Scope, days int) (OperatorToken, Secret, error) {
	name, ok := cleanName(name)
	var fields []fault.Field
	if !ok {
		fields = append(fields, nameField("name"))
	}
	if len(scopes) == 0 || slices.ContainsFunc(scopes, func(v Scope) bool { return !slices.Contains(OperatorScopes, v) }) {
		fields = append(fields, fault.Field{Name: "scopes", Message: "are none, or not such", Accepted: fmt.Sprint(OperatorScopes)})
	}
	if days < 1 || days > maxOperatorDays {
		fields = append(fields, fault.Field{Name: "expires_in_days", Message: "is out of range", Accepted: fmt.Sprintf("1 to %d", maxOperatorDays)})
	}
	if len(fields) > 0 {
		return OperatorToken{}, "", fault.InvalidFields(fields...)
	}
	secret := Secret(operatorTokenPrefix + rand.Text() + rand.Text())
	t := OperatorToken{ID: newID(), Operator: c.Operator.ID, Name: name, Hint: hint(secret), Scopes: scopes, Created: s.now(), Expires: s.now().AddDate(0, 0, days)}
	err := s.store.InTx(ctx, func(tx Store) error {
		have, err := tx.OperatorTokens(ctx, t.Operator)
		if err != nil {
			return err
		}
		if len(have) >= maxOperatorTokens {
			return errMaxAPITokens(fmt.Sprintf("You have %d tokens, which is the most there can be.", len(have)))
		}
		if err := tx.CreateOperatorToken(ctx, t, tokenHash(secret.Reveal())); err != nil {
			return err
		}
		return tx.Audit(ctx, Audit{Caller: c, Action: "operator_token.created", Subject: t.ID, After: t.audited()})
	})
	return t, secret, err
}

func (t OperatorToken) audited() any {
	return map[string]any{"name": t.Name, "scopes": t.Scopes, "expires_at": t.Expires.UTC()}
}

// OperatorTokens lists the caller's, the newest first.
func (s *Service) OperatorTokens(ctx context.Context, c Caller) ([]OperatorToken, error) {
	return s.store.OperatorTokens(ctx, c.Operator.ID)
}

// DeleteOperatorToken ends one of the caller's at once.
func (s *Service) DeleteOperatorToken(ctx context.Context, c Caller, id string) error {
	return s.store.InTx(ctx, func(tx Store) error {
		t, err := tx.DeleteOperatorToken(ctx, c.Operator.ID, id)
		if err != nil {
			return err
		}
		return tx.Audit(ctx, Audit{Caller: c, Action: "operator_token.deleted", Subject: id, Before: t.audited()})
	})
}

// OperatorSetupLink is where an operator is set up with a token.
func OperatorSetupLink(base string, token Secret) string {
	return strings.TrimSuffix(base, "/") + "/set-up#token=" + url.QueryEscape(token.Reveal())
}
