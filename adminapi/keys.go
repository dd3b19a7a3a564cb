package adminapi

import (
	"net/http"
	"strconv"

	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
)

// ListKeys implements ServerInterface.
func (s *server) ListKeys(w http.ResponseWriter, r *http.Request, ref TenantPath, params ListKeysParams) {
	t, keys, err := s.tenants.Keys(r.Context(), callerOf(r), ref)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	used, err := s.billing.Keys(r.Context(), t.ID)
	page, next, err := paged(err, keysBySlot, keys, params.Cursor, params.Limit)
	answer := AccessKeyList{Keys: make([]AccessKey, 0, len(page)), NextCursor: next}
	for _, k := range page {
		answer.Keys = append(answer.Keys, AccessKey{
			ID: k.ID, Slot: KeySlot(k.Slot), Hint: k.Hint, CreatedAt: k.CreatedAt.UTC(), ExpiresAt: optional(k.Expires), LastUsedAt: optional(used[k.ID]),
		})
	}
	s.answer(w, r, http.StatusOK, answer, err)
}

// keysBySlot has those in use first.
var keysBySlot = order[tenants.AccessKey]{list: "keys", place: func(k tenants.AccessKey) []string {
	return []string{strconv.FormatBool(!k.Expires.IsZero()), string(k.Slot), k.ID}
}}

// RegenerateKey implements ServerInterface.
func (s *server) RegenerateKey(w http.ResponseWriter, r *http.Request, ref TenantPath, slot KeySlot) {
	var in RegenerateKeyRequest
	if r.ContentLength != 0 {
		var err error
		if in, err = body[RegenerateKeyRequest](r); err != nil {
			s.problem(w, r, err)
			return
		}
	}
	t, key, err := s.tenants.RegenerateKey(r.Context(), callerOf(r), ref, tenants.KeySlot(slot), value(in.OverlapSeconds))
	if err != nil {
		s.problem(w, r, err)
		return
	}
	secret, err := s.keySecret(t, key)
	s.answer(w, r, http.StatusOK, secret, err)
}

// EndFormerKey implements ServerInterface.
func (s *server) EndFormerKey(w http.ResponseWriter, r *http.Request, ref TenantPath, slot KeySlot) {
	s.done(w, r, s.tenants.EndFormerKey(r.Context(), callerOf(r), ref, tenants.KeySlot(slot)))
}

// keySecret shows a new key. The connection string names a host, because SDKs
// drop a path.
func (s *server) keySecret(t tenants.MemberTenant, k tenants.NewKey) (AccessKeySecret, error) {
	connection, err := accesstoken.NewConnectionString(s.tenants.Endpoints().HostBase(t.Tenant), k.Secret)
	if err != nil {
		return AccessKeySecret{}, err
	}
	return AccessKeySecret{
		ID: k.ID, Slot: KeySlot(k.Slot), Secret: k.Secret.Reveal(), ConnectionString: connection.Reveal(), CreatedAt: k.CreatedAt.UTC(),
	}, nil
}
