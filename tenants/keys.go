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
		former, err := tx.Keys(ctx, t.ID)
		if err != nil {
			return err
		}
		key = s.sealer.makeKey(t.ID, slot, newSecret(), s.now())
		if err := tx.PutKey(ctx, t.ID, key.AccessKey); err != nil {
			return err
		}
		for _, f := range former {
			if f.Slot == slot {
				return forgetKey(ctx, tx, t.ID, f.ID, s.now())
			}
		}
		return nil
	})
	return t, key, err
}

// SigningKey returns the tenant with its primary key in the clear, for minting
// tokens on behalf of the caller; with the secondary key while the primary one is
// revoked.
func (s *Service) SigningKey(ctx context.Context, c Caller, ref string) (MemberTenant, DocKey, error) {
	t, err := s.tenantFor(ctx, c, ref, MintToken)
	if err != nil {
		return MemberTenant{}, DocKey{}, err
	}
	keys, err := s.openKeys(ctx, t.ID)
	if err != nil {
		return MemberTenant{}, DocKey{}, err
	}
	revoked, err := s.store.Revocations(ctx, t.ID, s.now())
	if err != nil {
		return MemberTenant{}, DocKey{}, err
	}
	doc := &Document{Keys: keys, Revocations: docRevocations(revoked)}
	key, ok := doc.SigningKey()
	if !ok {
		return MemberTenant{}, DocKey{}, fault.New(fault.Conflict, "Both access keys are revoked: nothing that they sign is good. Regenerate one of them.").WithCode("keys_revoked")
	}
	return t, key, nil
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
