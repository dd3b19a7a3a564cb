package tenants

import (
	"crypto/rand"
	"encoding/base64"
	"time"
)

// AccessKey is one of a tenant's two keys, or one that was replaced and is good for
// a while beside the new one of its slot.
type AccessKey struct {
	ID        string
	Slot      KeySlot
	Sealed    []byte // the secret as Sealer.Seal made it
	Hint      string // the last characters of the secret
	CreatedAt time.Time
	// Expires is when a key that was replaced stops being good; zero = it is in use.
	Expires time.Time
}

// NewKey is a key together with its secret, right after it was made.
type NewKey struct {
	AccessKey
	Secret Secret
}

// secretBytes is the entropy of an access key, in bytes, as in Azure's keys.
const secretBytes = 32

// hintLength is how many characters of a secret are shown later.
const hintLength = 4

// newSecret returns a fresh access key in base64, which is how SDKs expect it.
func newSecret() Secret {
	b := make([]byte, secretBytes)
	_, _ = rand.Read(b) // never fails (Go 1.24)
	return Secret(base64.StdEncoding.EncodeToString(b))
}

// hint returns the end of a secret.
func hint(s Secret) string {
	v := string(s)
	return v[max(0, len(v)-hintLength):]
}

// makeKey makes a key with that secret, sealed for the tenant.
func (s *Sealer) makeKey(tenant ID, slot KeySlot, secret Secret, now time.Time) NewKey {
	id := newID()
	return NewKey{
		Secret:    secret,
		AccessKey: AccessKey{ID: id, Slot: slot, Sealed: s.Seal(sealedKeys, tenant, id, secret), Hint: hint(secret), CreatedAt: now},
	}
}
