package tenants

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// SealingKeySize is the length of a key that seals secrets, in bytes.
const SealingKeySize = 32

// sealVersion is the first byte of what is sealed; the id of the key follows.
const (
	sealVersion = 1
	sealIDBytes = 8
	sealHeader  = 1 + sealIDBytes
)

// errUnsealed is for what no key of the ring opens.
var errUnsealed = errors.New("sealed value can't be opened: a key that isn't configured, or a changed row")

// Sealer encrypts secrets for the database with AES-256-GCM. What they are of, as the
// ids of a tenant and of a key, is authenticated with them, so that a sealed secret opens
// only in its own row. It seals with its primary key and opens what any of its keys has
// sealed; a sealed value names its key by an id that is made of the key itself.
type Sealer struct{ keys []sealingKey } // the primary one first

type sealingKey struct {
	id   string
	aead cipher.AEAD
}

// NewSealer makes a Sealer with keys of SealingKeySize bytes. former are those that
// sealed before, or will.
func NewSealer(primary []byte, former ...[]byte) (*Sealer, error) {
	s := new(Sealer)
	for _, key := range append([][]byte{primary}, former...) {
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
		sum := sha256.Sum256(append([]byte("signalbox sealing key\x00"), key...))
		s.keys = append(s.keys, sealingKey{id: string(sum[:sealIDBytes]), aead: aead})
	}
	return s, nil
}

// Primary is the id of the key that seals, for people.
func (s *Sealer) Primary() string { return hex.EncodeToString([]byte(s.keys[0].id)) }

// head is how all that the primary key has sealed begins.
func (s *Sealer) head() []byte { return append([]byte{sealVersion}, s.keys[0].id...) }

// Seal encrypts the secret of a tenant's key.
func (s *Sealer) Seal(tenant ID, keyID string, secret Secret) []byte {
	return s.keys[0].aead.Seal(s.head(), nil, []byte(secret), sealScope(tenant, keyID))
}

// Open decrypts what Seal made for the same tenant and key.
func (s *Sealer) Open(tenant ID, keyID string, sealed []byte) (Secret, error) {
	secret, _, err := s.open(tenant, keyID, sealed)
	return secret, err
}

// open is Open; it tells which key it was.
func (s *Sealer) open(tenant ID, keyID string, sealed []byte) (secret Secret, by string, err error) {
	aad := sealScope(tenant, keyID)
	for _, k := range s.keys {
		if rest, ok := bytes.CutPrefix(sealed, append([]byte{sealVersion}, k.id...)); ok {
			if plain, err := k.aead.Open(nil, nil, rest, aad); err == nil {
				return Secret(plain), hex.EncodeToString([]byte(k.id)), nil
			}
		}
	}
	// What was sealed before values named their keys has no head.
	for _, k := range s.keys {
		if plain, err := k.aead.Open(nil, nil, sealed, aad); err == nil {
			return Secret(plain), hex.EncodeToString([]byte(k.id)) + ", unnamed", nil
		}
	}
	return "", s.named(sealed), errUnsealed
}

// named is the id of the key that a value says it was sealed by; "unknown" where it
// says none.
func (*Sealer) named(sealed []byte) string {
	if len(sealed) < sealHeader || sealed[0] != sealVersion {
		return "unknown"
	}
	return hex.EncodeToString(sealed[1:sealHeader])
}

func sealScope(tenant ID, keyID string) []byte { return []byte(string(tenant) + "/" + keyID) }
