package tenants

import (
	"context"

	"github.com/signalbox/signalbox/internal/fault"
)

// Keys returns a tenant's access keys, the primary one first.
func (s *Service) Keys(ctx context.Context, c Caller, ref string) ([]AccessKey, error) {
	t, err := s.tenantFor(ctx, c, ref, SeeKeys)
	if err != nil {
		return nil, err
	}
	return s.store.Keys(ctx, t.ID)
}

// RegenerateKey replaces the key of one slot. The former one, and all that it
// signed, stops working as soon as the edges know.
func (s *Service) RegenerateKey(ctx context.Context, c Caller, ref string, slot KeySlot) (MemberTenant, NewKey, error) {
	if slot != Primary && slot != Secondary {
		return MemberTenant{}, NewKey{}, fault.InvalidFields(fault.Field{Name: "slot", Message: "is not a slot", Accepted: string(Primary) + ", " + string(Secondary)})
	}
	var key NewKey
	t, err := s.change(ctx, c, ref, RegenerateKey, "key.regenerated", string(slot), func(tx Store, t MemberTenant) error {
		key = s.sealer.makeKey(t.ID, slot, newSecret(), s.now())
		return tx.PutKey(ctx, t.ID, key.AccessKey)
	})
	return t, key, err
}

// SigningKey returns the tenant with its primary key in the clear, for minting
// tokens on behalf of the caller.
func (s *Service) SigningKey(ctx context.Context, c Caller, ref string) (MemberTenant, DocKey, error) {
	t, err := s.tenantFor(ctx, c, ref, MintToken)
	if err != nil {
		return MemberTenant{}, DocKey{}, err
	}
	keys, err := s.openKeys(ctx, t.ID)
	if err != nil {
		return MemberTenant{}, DocKey{}, err
	}
	return t, keys[0], nil
}

// openKeys returns a tenant's keys in the clear, the primary one first.
func (s *Service) openKeys(ctx context.Context, t ID) ([]DocKey, error) {
	sealed, err := s.store.Keys(ctx, t)
	if err != nil {
		return nil, err
	}
	keys := make([]DocKey, 0, len(sealed))
	for _, k := range sealed {
		secret, err := s.sealer.Open(t, k.ID, k.Sealed)
		if err != nil {
			return nil, fault.Wrap(fault.Internal, "open access key", err)
		}
		keys = append(keys, DocKey{ID: k.ID, Slot: k.Slot, Secret: secret.Reveal()})
	}
	if len(keys) == 0 {
		return nil, fault.New(fault.NotFound, "The tenant has no access keys.")
	}
	return keys, nil
}
