package tenants

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// SealingKeySize is the length of a key that seals secrets, in bytes.
const SealingKeySize = 32

// sealVersion is the first byte of what is sealed; the id of the key follows. What
// sealVersionAnyColumn begins was sealed before columns were bound.
const (
	sealVersionAnyColumn = 1
	sealVersion          = 2
	sealIDBytes          = 8
	sealHeader           = 1 + sealIDBytes
)

// sealSalt sets the keys that are derived for sealing apart from other uses of a key.
const sealSalt = "signalbox sealed value 2"

// errUnsealed is for what no key of the ring opens.
var errUnsealed = errors.New("sealed value can't be opened: a key that isn't configured, or a changed row")

// Sealer encrypts secrets for the database with AES-256-GCM. Each column (as
// table.column) and each tenant, or who else a value is of, has a key of its own, derived
// from a key of the ring; and the column, the tenant and the id in its row are
// authenticated with a value, so that it opens only in its own row and column. It seals
// with its primary key and opens what any of its keys has sealed; a sealed value names its
// key by an id that is made of the key itself.
type Sealer struct{ keys []sealingKey } // the primary one first

type sealingKey struct {
	id     string
	secret []byte
	direct cipher.AEAD // with the key itself, for what was sealed before keys were derived
}

// NewSealer makes a Sealer with keys of SealingKeySize bytes. former are those that
// sealed before, or will.
func NewSealer(primary []byte, former ...[]byte) (*Sealer, error) {
	s := new(Sealer)
	for _, key := range append([][]byte{primary}, former...) {
		if len(key) != SealingKeySize {
			return nil, fmt.Errorf("sealing key must have %d bytes, has %d", SealingKeySize, len(key))
		}
		sum := sha256.Sum256(append([]byte("signalbox sealing key\x00"), key...))
		s.keys = append(s.keys, sealingKey{id: string(sum[:sealIDBytes]), secret: bytes.Clone(key), direct: newSealCipher(key)})
	}
	return s, nil
}

// newSealCipher makes the cipher of a key of SealingKeySize bytes.
func newSealCipher(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	var aead cipher.AEAD
	if err == nil {
		aead, err = cipher.NewGCMWithRandomNonce(block)
	}
	if err != nil { // only for wrong key sizes
		panic(fmt.Sprintf("make cipher: %v", err))
	}
	return aead
}

// of makes the cipher of a column and tenant (HKDF-SHA256, RFC 5869).
func (k sealingKey) of(column string, tenant ID) cipher.AEAD {
	key, err := hkdf.Key(sha256.New, k.secret, []byte(sealSalt), column+"\x00"+string(tenant), SealingKeySize)
	if err != nil { // only for lengths above 255 hashes
		panic(fmt.Sprintf("derive key: %v", err))
	}
	return newSealCipher(key)
}

// Primary is the id of the key that seals, for people.
func (s *Sealer) Primary() string { return hex.EncodeToString([]byte(s.keys[0].id)) }

// head is how all that the primary key has sealed begins.
func (s *Sealer) head() []byte { return append([]byte{sealVersion}, s.keys[0].id...) }

// Seal encrypts a secret for a column, one of SealedKinds, in the row of a tenant's key.
func (s *Sealer) Seal(column string, tenant ID, keyID string, secret Secret) []byte {
	return s.keys[0].of(column, tenant).Seal(s.head(), nil, []byte(secret), sealScope(column, tenant, keyID))
}

// Open decrypts what Seal made for the same column, tenant and key.
func (s *Sealer) Open(column string, tenant ID, keyID string, sealed []byte) (Secret, error) {
	secret, _, err := s.open(column, tenant, keyID, sealed)
	return secret, err
}

// open is Open; it tells which key it was.
func (s *Sealer) open(column string, tenant ID, keyID string, sealed []byte) (secret Secret, by string, err error) {
	for _, k := range s.keys {
		if rest, ok := bytes.CutPrefix(sealed, append([]byte{sealVersion}, k.id...)); ok {
			if plain, err := k.of(column, tenant).Open(nil, nil, rest, sealScope(column, tenant, keyID)); err == nil {
				return Secret(plain), hex.EncodeToString([]byte(k.id)), nil
			}
		}
	}
	// What was sealed before columns were bound opens in every one, until it is sealed
	// anew; what is older than that has no head.
	aad := []byte(string(tenant) + "/" + keyID)
	for _, k := range s.keys {
		for _, former := range []struct {
			head []byte
			said string
		}{{append([]byte{sealVersionAnyColumn}, k.id...), ", for any column"}, {nil, ", unnamed"}} {
			if rest, ok := bytes.CutPrefix(sealed, former.head); ok {
				if plain, err := k.direct.Open(nil, nil, rest, aad); err == nil {
					return Secret(plain), hex.EncodeToString([]byte(k.id)) + former.said, nil
				}
			}
		}
	}
	return "", s.named(sealed), errUnsealed
}

// named is the id of the key that a value says it was sealed by; "unknown" where it
// says none.
func (*Sealer) named(sealed []byte) string {
	if len(sealed) < sealHeader || sealed[0] != sealVersion && sealed[0] != sealVersionAnyColumn {
		return "unknown"
	}
	return hex.EncodeToString(sealed[1:sealHeader])
}

func sealScope(column string, tenant ID, keyID string) []byte {
	return []byte(column + "\x00" + string(tenant) + "\x00" + keyID)
}
