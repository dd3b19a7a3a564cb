// Package fleet is what the processes of one deployment share: a secret, and
// all that follows from it. From the secret every process derives the same
// keys for sealing what passes through Redis and through clients, and the same
// certificate authority for mutual TLS between processes. Whoever lacks the
// secret can neither read nor speak.
//
// All of it is safe for concurrent use.
package fleet

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
)

// MinSecretLength is the shortest accepted secret, in bytes.
const MinSecretLength = 32

// KeySize is the length of a derived key, in bytes.
const KeySize = 32

// The purposes for which the service derives keys. A key of one purpose opens
// nothing of another.
const (
	PurposeDocument        = "tenant-document"
	PurposeConnectionToken = "connection-token"
	PurposePosition        = "stream-position"
)

// salt sets this service's keys apart from other uses of the same secret. The
// version in it changes only together with everything that was ever sealed.
const salt = "signalbox/fleet/1"

// sealVersion is the first byte of everything that Seal returns.
const sealVersion = 1

// ErrUnsealable is returned by Open for data that was not sealed with this
// fleet's secret, for this purpose and with this additional data, or was changed.
var ErrUnsealable = errors.New("sealed data can't be opened: it was changed, or sealed with another secret, purpose or scope")

// Fleet holds the derived keys.
type Fleet struct {
	secret []byte
	ca     *authority

	mu    sync.RWMutex
	seals map[string]cipher.AEAD // by purpose
}

// New derives the keys of the fleet with that secret, which must be at least
// MinSecretLength bytes long.
func New(secret string) (*Fleet, error) {
	if len(secret) < MinSecretLength {
		return nil, fmt.Errorf("fleet secret must have at least %d characters, has %d", MinSecretLength, len(secret))
	}
	f := &Fleet{secret: []byte(secret), seals: make(map[string]cipher.AEAD)}
	ca, err := newAuthority(f.Key("certificate-authority"))
	if err != nil {
		return nil, fmt.Errorf("derive certificate authority: %w", err)
	}
	f.ca = ca
	return f, nil
}

// Key returns the KeySize bytes for purpose (HKDF-SHA256, RFC 5869). The same
// secret and purpose give the same key in every process.
func (f *Fleet) Key(purpose string) []byte {
	k, err := hkdf.Key(sha256.New, f.secret, []byte(salt), purpose, KeySize)
	if err != nil { // only for lengths above 255 hashes
		panic(fmt.Sprintf("derive key: %v", err))
	}
	return k
}

// Seal encrypts and authenticates data (AES-256-GCM with a random nonce). aad
// is authenticated but not contained: Open needs the same.
func (f *Fleet) Seal(purpose string, aad, data []byte) []byte {
	return f.aead(purpose).Seal([]byte{sealVersion}, nil, data, aad)
}

// Open returns what was sealed for purpose with aad, or ErrUnsealable.
func (f *Fleet) Open(purpose string, aad, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != sealVersion {
		return nil, ErrUnsealable
	}
	data, err := f.aead(purpose).Open(nil, nil, sealed[1:], aad)
	if err != nil {
		return nil, ErrUnsealable
	}
	return data, nil
}

// aead returns the cipher of a purpose. Purposes are constants of the program,
// so the map stays small.
func (f *Fleet) aead(purpose string) cipher.AEAD {
	f.mu.RLock()
	a := f.seals[purpose]
	f.mu.RUnlock()
	if a != nil {
		return a
	}
	block, err := aes.NewCipher(f.Key(purpose))
	if err == nil {
		a, err = cipher.NewGCMWithRandomNonce(block)
	}
	if err != nil { // only for wrong key sizes
		panic(fmt.Sprintf("make cipher: %v", err))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seals[purpose] = a
	return a
}
