package tenants

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"sync"
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

// AuditPart says which events of a chain are read. The zero value is all of them.
type AuditPart struct {
	After int64 // behind the event of this number
	Most  int   // this many at most; 0 = as many as there are
	// Hash is that of the event After as the caller knows it; the zero value = it doesn't.
	Hash audit.Hash
}

// auditReserve is what is left of a request's time when reading a chain ends for it, so
// that there is an answer from which the next request goes on.
const auditReserve = 5 * time.Second

// ExportAudit calls each with each event of a part of an account's chain that the filter
// picks, in their order, up to the head that begin is called with first. It reports
// whether more follow: what is not to end before that, since it could not say so, is
// whole, and fails when there is no time. No connection to the database is held while
// begin and each run.
func (s *Service) ExportAudit(ctx context.Context, c Caller, account AccountID, f AuditFilter, part AuditPart, whole bool, begin func(audit.Header) error, each func(*audit.Event) error) (more bool, err error) {
	m, err := s.accountFor(ctx, c, account, SeeAudit)
	if err != nil {
		return false, err
	}
	return s.exportChain(ctx, AccountChain(m.ID), f, part, whole, begin, each)
}

func (s *Service) exportChain(ctx context.Context, chain string, f AuditFilter, part AuditPart, whole bool, begin func(audit.Header) error, each func(*audit.Event) error) (more bool, err error) {
	if err := f.check(); err != nil {
		return false, err
	}
	head, err := s.store.AuditHead(ctx, chain)
	if err != nil {
		return false, err
	}
	from, broken, err := s.auditFrom(ctx, chain, part)
	if err != nil {
		return false, err
	}
	if broken != nil {
		return false, noAuditEvent()
	}
	h := audit.Header{Chain: chain, Filtered: f != AuditFilter{}, Number: head.Number, Hash: head.Hash.String()}
	if from.Number > 0 {
		h.After, h.AfterHash = from.Number, from.Hash.String()
	}
	if err := begin(h); err != nil {
		return false, err
	}
	return s.eachAuditEvent(ctx, chain, f, part, head.Number, whole, each)
}

func noAuditEvent() error {
	return fault.InvalidFields(fault.Field{Name: "after", Message: "is the number of no event of this log, or not with this hash", Accepted: "a number and hash that an answer had"})
}

// auditFrom returns what comes before the first event of a part, as it is in the chain
// now; and a break when it isn't what the caller knows, or by itself not what it was.
func (s *Service) auditFrom(ctx context.Context, chain string, part AuditPart) (audit.Head, *audit.Break, error) {
	if part.After == 0 {
		return audit.Head{}, nil, nil
	}
	events, err := s.store.AuditEvents(ctx, chain, AuditFilter{}, part.After-1, false, 1)
	if err != nil {
		return audit.Head{}, nil, err
	}
	switch {
	case len(events) == 0 || events[0].Number != part.After:
		return audit.Head{}, &audit.Break{Number: part.After, Reason: "is missing"}, nil
	case events[0].Sum() != events[0].Hash:
		return audit.Head{}, &audit.Break{Number: part.After, Reason: "was changed: its hash is not that of its fields"}, nil
	case part.Hash != (audit.Hash{}) && part.Hash != events[0].Hash:
		return audit.Head{}, &audit.Break{Number: part.After, Reason: "is not the one that was there when its hash was noted: the chain was written anew"}, nil
	}
	return audit.Head{Number: part.After, Hash: events[0].Hash}, nil, nil
}

// eachAuditEvent reads a part of a chain in batches, up to a number. Unless all of it is
// wanted, it ends when the time of ctx does, and says that more follow.
func (s *Service) eachAuditEvent(ctx context.Context, chain string, f AuditFilter, part AuditPart, last int64, whole bool, each func(*audit.Event) error) (more bool, err error) {
	read := 0
	for behind := part.After; behind < last; {
		size := auditBatch
		if part.Most > 0 {
			size = min(size, part.Most-read)
		}
		if deadline, ok := ctx.Deadline(); size == 0 || read > 0 && !whole && ok && time.Until(deadline) < auditReserve {
			return true, nil
		}
		batch, err := s.store.AuditEvents(ctx, chain, f, behind, false, size)
		if err != nil {
			return false, err
		}
		for i := range batch {
			if batch[i].Number > last {
				return false, nil
			}
			if err := each(&batch[i]); err != nil {
				return false, err
			}
		}
		if len(batch) < size {
			return false, nil
		}
		behind = batch[len(batch)-1].Number
		read += len(batch)
	}
	return false, nil
}

// AuditVerification says whether a chain is what it was.
type AuditVerification struct {
	Events int64
	Head   audit.Head
	Broken *audit.Break // nil = it is
	// More tells that the chain goes on behind Head, and that was not verified.
	More bool
}

// VerifyAudit verifies an account's chain: all of it, or fails; of a part, as far as the
// time of ctx and the part go, and that a head which the caller has noted before is in it;
// the zero value is none.
func (s *Service) VerifyAudit(ctx context.Context, c Caller, account AccountID, part AuditPart, kept audit.Head) (AuditVerification, error) {
	m, err := s.accountFor(ctx, c, account, SeeAudit)
	if err != nil {
		return AuditVerification{}, err
	}
	return s.verifyInTurn(ctx, AccountChain(m.ID), c.User, part, kept)
}

// maxVerifications is how many chains of customers are verified at a time, each once and
// one for each caller: hashing is what costs the process most of all that it does for one
// request. The operators' chain is apart.
const maxVerifications = 4

// verifications are the chains that are being verified.
type verifications struct {
	mu      sync.Mutex
	running map[string]UserID // by whom
}

// begin refuses what would be too much at a time. The chain has to be ended, unless it
// was refused.
func (v *verifications) begin(chain string, by UserID) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, busy := v.running[chain]
	if chain != OperatorChain {
		customers := 0
		for of, who := range v.running {
			if of != OperatorChain {
				customers++
				busy = busy || who == by
			}
		}
		busy = busy || customers >= maxVerifications
	}
	if busy {
		refused := fault.New(fault.RateLimited, fmt.Sprintf("This log is being verified already, or another one by you, or %d by others.", maxVerifications)).WithCode("verification_busy")
		refused.RetryAfter = verifyAgain
		return refused
	}
	if v.running == nil {
		v.running = make(map[string]UserID)
	}
	v.running[chain] = by
	return nil
}

// verifyAgain is when who was refused may try again.
const verifyAgain = 5 * time.Second

func (v *verifications) end(chain string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.running, chain)
}

// verifyInTurn is verifyChain for requests, of which there may be many.
func (s *Service) verifyInTurn(ctx context.Context, chain string, by UserID, part AuditPart, kept audit.Head) (AuditVerification, error) {
	if kept != (audit.Head{}) && kept.Number <= part.After {
		return AuditVerification{}, fault.InvalidFields(fault.Field{Name: "number", Message: "is not behind after, so it would not be looked at", Accepted: "a number above after, or none"})
	}
	if err := s.verifications.begin(chain, by); err != nil {
		return AuditVerification{}, err
	}
	defer s.verifications.end(chain)
	return s.verifyChain(ctx, chain, part, kept)
}

func (s *Service) verifyChain(ctx context.Context, chain string, part AuditPart, kept audit.Head) (AuditVerification, error) {
	head, err := s.store.AuditHead(ctx, chain)
	if err != nil {
		return AuditVerification{}, err
	}
	from, broken, err := s.auditFrom(ctx, chain, part)
	if err != nil || broken != nil {
		return AuditVerification{Broken: broken}, err
	}
	c := audit.Chain{From: from, Kept: []audit.Head{head}}
	if kept != (audit.Head{}) {
		c.Kept = append(c.Kept, kept)
	}
	// Behind the head there may be events by now, but none can be missing before it.
	more, err := s.eachAuditEvent(ctx, chain, AuditFilter{}, part, math.MaxInt64, part == AuditPart{}, c.Add)
	if err == nil && !more {
		err = c.End()
	}
	broken, ok := errors.AsType[*audit.Break](err)
	if err != nil && !ok {
		return AuditVerification{}, err
	}
	return AuditVerification{Events: c.Events(), Head: c.Head(), Broken: broken, More: more}, nil
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
			v, err := s.verifyChain(ctx, chain, AuditPart{}, audit.Head{})
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
