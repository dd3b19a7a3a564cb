package tenants

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants/audit"
)

// Audit is one entry of the audit log, as it is written.
type Audit struct {
	Caller  Caller
	Account AccountID // "" = it concerns the caller's own
	Tenant  ID        // "" = none
	Action  string
	Subject string // what it was done to
	// Before and After are what was and is there, for JSON; nil = nothing. No secrets.
	Before, After any
	// In is the chain; "" = that of the account, of the user, of operators or of the
	// service, the first of them that is known.
	In string
	// Unproved tells that the caller didn't prove to be its User.
	Unproved bool
}

// OperatorChain is the chain of what operators do.
const OperatorChain = "operators"

// AccountChain is the chain of an account.
func AccountChain(a AccountID) string { return "account:" + string(a) }

// UserChain is the chain of what concerns a user and no account.
func UserChain(u UserID) string { return "user:" + string(u) }

// Chain is the chain that the entry belongs to.
func (a Audit) Chain() string {
	switch {
	case a.In != "":
		return a.In
	case a.Account != "":
		return AccountChain(a.Account)
	case a.Caller.Operator != nil, a.Caller.AtOperators:
		return OperatorChain
	case a.Caller.User != "":
		return UserChain(a.Caller.User)
	default:
		return serviceChain(a.Caller.IP)
	}
}

// serviceChains is how many chains there are of what nobody known does: who writes to one
// waits for who else does.
const serviceChains = 16

func serviceChain(ip string) string {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(ip)) // can't fail
	return fmt.Sprintf("service:%02d", sum.Sum32()%serviceChains)
}

// Actor is the kind of who did it.
func (a Audit) Actor() audit.Actor {
	switch c := a.Caller; {
	case c.Operator != nil && !a.Unproved:
		return audit.Operator
	case c.System:
		return audit.System
	case c.User == "" || a.Unproved:
		return audit.Nobody
	case c.TokenID != "":
		return audit.APIToken
	default:
		return audit.User
	}
}

// AuditFilter picks entries; zero fields pick all.
type AuditFilter struct {
	From, To time.Time // from From on, before To
	// Actor is an id or a name of a user, an operator or a token.
	Actor string
	// Action is one, as tenant.suspended, or what several begin with, as tenant.
	Action string
	Tenant ID
}

// Trail keeps the audit log.
type Trail interface {
	// Audit writes an entry; in a transaction, at its end.
	Audit(ctx context.Context, a Audit) error
	// AuditHead is the end of a chain; the zero value where there is none.
	AuditHead(ctx context.Context, chain string) (audit.Head, error)
	// AuditEvents returns at most limit events of a chain that the filter picks, behind
	// a number in their order, or with down before one in the reverse order.
	AuditEvents(ctx context.Context, chain string, f AuditFilter, behind int64, down bool, limit int) ([]audit.Event, error)
	// AuditChains pages through the names of all chains.
	AuditChains(ctx context.Context, after string, limit int) ([]string, error)
}

// auditBatch is how many events are read at once.
const auditBatch = 1000

// AuditEvents returns events of an account's chain, the newest first, before a
// number; 0 = the newest.
func (s *Service) AuditEvents(ctx context.Context, c Caller, account AccountID, f AuditFilter, before int64, limit int) ([]audit.Event, error) {
	m, err := s.accountFor(ctx, c, account, SeeAudit)
	if err != nil {
		return nil, err
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	return s.store.AuditEvents(ctx, AccountChain(m.ID), f, before, true, limit)
}

// OwnAuditEvents returns those of what concerns the caller and no account.
func (s *Service) OwnAuditEvents(ctx context.Context, c Caller, f AuditFilter, before int64, limit int) ([]audit.Event, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	return s.store.AuditEvents(ctx, UserChain(c.User), f, before, true, limit)
}

func (f AuditFilter) check() error {
	if !f.From.IsZero() && !f.To.IsZero() && !f.From.Before(f.To) {
		return fault.InvalidFields(fault.Field{Name: "from", Message: "is not before to", Accepted: "a time before to"})
	}
	return nil
}

// ExportAudit calls f with each event of an account's chain that the filter picks, in
// their order, up to the head that begin is called with first. No connection to the
// database is held while they run.
func (s *Service) ExportAudit(ctx context.Context, c Caller, account AccountID, f AuditFilter, begin func(audit.Header) error, each func(*audit.Event) error) error {
	m, err := s.accountFor(ctx, c, account, SeeAudit)
	if err != nil {
		return err
	}
	return s.exportChain(ctx, AccountChain(m.ID), f, begin, each)
}

func (s *Service) exportChain(ctx context.Context, chain string, f AuditFilter, begin func(audit.Header) error, each func(*audit.Event) error) error {
	if err := f.check(); err != nil {
		return err
	}
	head, err := s.store.AuditHead(ctx, chain)
	if err != nil {
		return err
	}
	if err := begin(audit.Header{Chain: chain, Filtered: f != AuditFilter{}, Number: head.Number, Hash: head.Hash.String()}); err != nil {
		return err
	}
	return s.eachAuditEvent(ctx, chain, f, head.Number, each)
}

// eachAuditEvent reads a chain in batches, up to a number.
func (s *Service) eachAuditEvent(ctx context.Context, chain string, f AuditFilter, last int64, each func(*audit.Event) error) error {
	for behind := int64(0); behind < last; {
		batch, err := s.store.AuditEvents(ctx, chain, f, behind, false, auditBatch)
		if err != nil {
			return err
		}
		for i := range batch {
			if batch[i].Number > last {
				return nil
			}
			if err := each(&batch[i]); err != nil {
				return err
			}
		}
		if len(batch) < auditBatch {
			return nil
		}
		behind = batch[len(batch)-1].Number
	}
	return nil
}

// AuditVerification says whether a chain is what it was.
type AuditVerification struct {
	Events int64
	Head   audit.Head
	Broken *audit.Break // nil = it is
}

// VerifyAudit verifies an account's chain from its first event to its head, and that
// a head which the caller has noted before is in it; the zero value is none.
func (s *Service) VerifyAudit(ctx context.Context, c Caller, account AccountID, kept audit.Head) (AuditVerification, error) {
	m, err := s.accountFor(ctx, c, account, SeeAudit)
	if err != nil {
		return AuditVerification{}, err
	}
	return s.verifyChain(ctx, AccountChain(m.ID), kept)
}

func (s *Service) verifyChain(ctx context.Context, chain string, kept audit.Head) (AuditVerification, error) {
	head, err := s.store.AuditHead(ctx, chain)
	if err != nil {
		return AuditVerification{}, err
	}
	c := audit.Chain{Kept: []audit.Head{head}}
	if kept != (audit.Head{}) {
		c.Kept = append(c.Kept, kept)
	}
	// Behind the head there may be events by now, but none can be missing before it.
	err = s.eachAuditEvent(ctx, chain, AuditFilter{}, math.MaxInt64, c.Add)
	if err == nil {
		err = c.End()
	}
	broken, ok := errors.AsType[*audit.Break](err)
	if err != nil && !ok {
		return AuditVerification{}, err
	}
	return AuditVerification{Events: c.Events(), Head: c.Head(), Broken: broken}, nil
}

// VerifyAllAudits verifies every chain there is and calls f with what was found. It is
// for operators.
func (s *Service) VerifyAllAudits(ctx context.Context, f func(chain string, v AuditVerification) error) error {
	const batch = 500
	for after := ""; ; {
		chains, err := s.store.AuditChains(ctx, after, batch)
		if err != nil {
			return err
		}
		for _, chain := range chains {
			v, err := s.verifyChain(ctx, chain, audit.Head{})
			if err != nil {
				return err
			}
			if err := f(chain, v); err != nil {
				return err
			}
		}
		if len(chains) < batch {
			return nil
		}
		after = chains[len(chains)-1]
	}
}
