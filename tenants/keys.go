package tenants

import (
	"context"
	"fmt"
	"time"

	"github.com/signalbox/signalbox/internal/fault"
)

// Keys returns a tenant's access keys that are good: the primary one first, those
// that were replaced last.
func (s *Service) Keys(ctx context.Context, c Caller, ref string) (MemberTenant, []AccessKey, error) {
	t, err := s.tenantFor(ctx, c, ref, SeeKeys)
	if err != nil {
		return MemberTenant{}, nil, err
	}
	keys, err := s.store.Keys(ctx, t.ID, s.now())
	return t, keys, err
}

// RegenerateKey replaces the key of one slot. The former one, and all that it signed,
// is good for overlapSeconds more; with 0 it stops working as soon as the edges know,
// and so does one that was replaced before it.
func (s *Service) RegenerateKey(ctx context.Context, c Caller, ref string, slot KeySlot, overlapSeconds int) (MemberTenant, NewKey, error) {
	var fields []fault.Field
	if !validSlot(slot) {
		fields = append(fields, slotField())
	}
	if overlapSeconds < 0 || overlapSeconds > maxOverlapSeconds {
		fields = append(fields, fault.Field{Name: "overlap_seconds", Message: "is out of range", Accepted: fmt.Sprintf("0 to %d", maxOverlapSeconds)})
	}
	if len(fields) > 0 {
		return MemberTenant{}, NewKey{}, fault.InvalidFields(fields...)
	}
	var key NewKey
	t, err := s.change(ctx, c, ref, RegenerateKey, Audit{Action: "key.regenerated", Subject: string(slot)}, func(tx Store, t *MemberTenant, a *Audit) error {
		now := s.now()
		all, err := tx.Keys(ctx, t.ID, now)
		if err != nil {
			return err
		}
		key = s.sealer.makeKey(t.ID, slot, newSecret(), now)
		until := now.Add(time.Duration(overlapSeconds) * time.Second)
		for _, k := range all {
			switch {
			case k.Slot != slot:
			case !k.Expires.IsZero() && overlapSeconds > 0:
				// It would end at once, with whoever relies on its overlap.
				return fault.New(fault.Conflict, fmt.Sprintf("The key ending in %s was replaced and is good until %s. End it, wait, or replace both at once with overlap_seconds 0.",
					k.Hint, k.Expires.UTC().Format(time.RFC3339))).WithCode("overlap_running")
			default:
				if k.Expires.IsZero() {
					a.Before = keyState{ID: k.ID, Hint: k.Hint}
				}
				if overlapSeconds == 0 {
					if err := forgetKey(ctx, tx, t.ID, k.ID, now); err != nil {
						return err
					}
				}
			}
		}
		a.After = keyState{ID: key.ID, Hint: key.Hint, Overlap: overlapSeconds}
		return tx.PutKey(ctx, t.ID, key.AccessKey, until)
	})
	return t, key, err
}

// EndFormerKey ends the overlap of a slot: the key that was replaced stops working as
// soon as the edges know.
func (s *Service) EndFormerKey(ctx context.Context, c Caller, ref string, slot KeySlot) error {
	if !validSlot(slot) {
		return fault.InvalidFields(slotField())
	}
	_, err := s.change(ctx, c, ref, RegenerateKey, Audit{Action: "key.overlap_ended", Subject: string(slot)}, func(tx Store, t *MemberTenant, a *Audit) error {
		ended, err := tx.EndFormerKey(ctx, t.ID, slot, s.now())
		if err != nil {
			return err
		}
		a.Before = keyState{ID: ended.ID, Hint: ended.Hint}
		return forgetKey(ctx, tx, t.ID, ended.ID, s.now())
	})
	return err
}

// keyState is what the audit has of a key.
type keyState struct {
	ID      string `json:"id"`
	Hint    string `json:"hint"`
	Overlap int    `json:"overlap_seconds,omitempty"` // of the one that it replaced
}

func validSlot(k KeySlot) bool { return k == Primary || k == Secondary }

func slotField() fault.Field {
	return fault.Field{Name: "slot", Message: "is not a slot", Accepted: string(Primary) + ", " + string(Secondary)}
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

// openKeys returns a tenant's keys in the clear, in the order of Keys.
func (s *Service) openKeys(ctx context.Context, t ID) ([]DocKey, error) {
	sealed, err := s.store.Keys(ctx, t, s.now())
	if err != nil {
		return nil, err
	}
	keys := make([]DocKey, 0, len(sealed))
	for _, k := range sealed {
		secret, err := s.sealer.Open(sealedKeys, t, k.ID, k.Sealed)
		if err != nil {
			return nil, fault.Wrap(fault.Internal, "open access key", err)
		}
		d := DocKey{ID: k.ID, Slot: k.Slot, Secret: secret.Reveal()}
		if !k.Expires.IsZero() {
			d.Expires = k.Expires.Unix()
		}
		keys = append(keys, d)
	}
	if len(keys) == 0 {
		return nil, fault.New(fault.NotFound, "The tenant has no access keys.")
	}
	return keys, nil
}
