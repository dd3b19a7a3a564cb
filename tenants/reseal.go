package tenants

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/signalbox/signalbox/internal/scope"
)

// SealedValue is a sealed value in the database.
type SealedValue struct {
	// Row names the row among those of its kind; rows come in this order.
	Row string
	// Tenant and Key are what the value was sealed for.
	Tenant ID
	Key    string
	Sealed []byte
}

// The columns with sealed values, as table.column. Values are bound to these names.
const (
	sealedKeys           = "access_keys.sealed_secret"
	sealedWebhookSecrets = "webhook_secrets.sealed_secret"
	sealedFactors        = "second_factors.sealed_secret"
	sealedOperators      = "operators.sealed_secret"
	sealedAnswers        = "idempotent_requests.answer"
	sealedMails          = "mail_outbox.sealed"
)

// SealedKinds are all of them.
var SealedKinds = []string{sealedKeys, sealedWebhookSecrets, sealedFactors, sealedOperators, sealedAnswers, sealedMails}

// Sealings keeps the sealed values of every kind.
type Sealings interface {
	// SealedValues lists values of a kind that don't begin with head, behind a row.
	SealedValues(ctx context.Context, kind string, head []byte, after string, limit int) ([]SealedValue, error)
	// CountSealed counts the values of a kind that begin with head.
	CountSealed(ctx context.Context, kind string, head []byte) (int, error)
	// Reseal puts a value in the place of v.Sealed; false = that isn't there any more.
	Reseal(ctx context.Context, kind string, v SealedValue, with []byte) (bool, error)
}

// SealState is under which keys the values of a kind are sealed: how many by the id of
// each key. Lost are those that no configured key opens.
type SealState struct {
	Kind string
	By   map[string]int
	Lost map[string]int
}

// Keys lists the ids in a count, in order.
func (SealState) Keys(count map[string]int) []string { return slices.Sorted(maps.Keys(count)) }

// resealBatch is how many values are read at once.
const resealBatch = 200

// SealStates tells under which keys everything is sealed. It opens all that the primary
// key didn't seal.
func (s *Service) SealStates(ctx context.Context) ([]SealState, error) {
	return s.reseal(scope.System(ctx, scope.Sealing), false)
}

// SealingKey is the id of the key that seals.
func (s *Service) SealingKey() string { return s.sealer.Primary() }

// Reseal seals everything anew that another than the primary key has sealed, while
// everybody goes on; what changes meanwhile is sealed by the primary key already. It may
// be ended at any time and begun again. It returns the state afterwards, in which is also
// what a process whose primary key is another one has sealed meanwhile: only when nothing
// is under a former key may that be taken away.
func (s *Service) Reseal(ctx context.Context) ([]SealState, error) {
	ctx = scope.System(ctx, scope.Sealing)
	if all, err := s.reseal(ctx, true); err != nil {
		return all, err
	}
	return s.reseal(ctx, false)
}

func (s *Service) reseal(ctx context.Context, change bool) (all []SealState, err error) {
	for _, kind := range SealedKinds {
		state := SealState{Kind: kind, By: make(map[string]int), Lost: make(map[string]int)}
		for after := ""; ; {
			values, err := s.store.SealedValues(ctx, kind, s.sealer.head(), after, resealBatch)
			if err != nil {
				return all, fmt.Errorf("reseal %s: %w", kind, err)
			}
			for _, v := range values {
				after = v.Row
				secret, by, err := s.sealer.open(kind, v.Tenant, v.Key, v.Sealed)
				switch {
				case err != nil:
					state.Lost[by]++
				case !change:
					state.By[by]++
				default:
					if _, err := s.store.Reseal(ctx, kind, v, s.sealer.Seal(kind, v.Tenant, v.Key, secret)); err != nil {
						return all, fmt.Errorf("reseal %s: %w", kind, err)
					}
				}
			}
			if len(values) < resealBatch {
				break
			}
		}
		n, err := s.store.CountSealed(ctx, kind, s.sealer.head())
		if err != nil {
			return all, fmt.Errorf("reseal %s: %w", kind, err)
		}
		state.By[s.sealer.Primary()] += n
		all = append(all, state)
	}
	return all, nil
}

// ofKind returns what values of a kind are sealed for, by the ids in their row.
func ofKind(kind, first, second, third string) (ID, string) {
	switch kind {
	case sealedFactors:
		return factorScope(UserID(first)), factorKey
	case sealedOperators:
		return operatorScope(first), factorKey
	case sealedMails:
		return mailScope, first
	case sealedAnswers:
		return requestScope(Request{User: UserID(first), Account: AccountID(second)}), third
	}
	return ID(first), second // a tenant's own
}

// NewSealedValue makes a SealedValue of up to three ids in its row, in the order of the
// columns that name it.
func NewSealedValue(kind, row string, ids [3]string, sealed []byte) SealedValue {
	tenant, key := ofKind(kind, ids[0], ids[1], ids[2])
	return SealedValue{Row: row, Tenant: tenant, Key: key, Sealed: sealed}
}
