package tenants

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
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

// SealingKeySize is the length of the key that seals access keys, in bytes.
const SealingKeySize = 32

// Sealer encrypts access keys for the database with AES-256-GCM. The ids of the
// tenant and the key are authenticated with it, so that a sealed secret opens
// only in its own row.
type Sealer struct{ aead cipher.AEAD }

// NewSealer makes a Sealer with a key of SealingKeySize bytes.
func NewSealer(key []byte) (*Sealer, error) {
	if len(key) != SealingKeySize {
		return nil, fmt.Errorf("sealing key must have %d bytes, has %d", SealingKeySize, len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	return &Sealer{aead: aead}, nil
}

// Seal encrypts the secret of a tenant's key.
func (s *Sealer) Seal(tenant ID, keyID string, secret Secret) []byte {
	return s.aead.Seal(nil, nil, []byte(secret), sealScope(tenant, keyID))
}

// Open decrypts what Seal made for the same tenant and key.
func (s *Sealer) Open(tenant ID, keyID string, sealed []byte) (Secret, error) {
	secret, err := s.aead.Open(nil, nil, sealed, sealScope(tenant, keyID))
	if err != nil {
		return "", errors.New("access key can't be opened: another sealing key, or a changed row")
	}
	return Secret(secret), nil
}

func sealScope(tenant ID, keyID string) []byte { return []byte(string(tenant) + "/" + keyID) }

// makeKey makes a key with that secret, sealed for the tenant.
func (s *Sealer) makeKey(tenant ID, slot KeySlot, secret Secret, now time.Time) NewKey {
	id := newID()
	return NewKey{
		Secret:    secret,
		AccessKey: AccessKey{ID: id, Slot: slot, Sealed: s.Seal(tenant, id, secret), Hint: hint(secret), CreatedAt: now},
	}
}
