// Package fleet is what the processes of one deployment share: a secret, and
// all that follows from it. From the secret every process derives the same
// keys for sealing what passes through Redis and through clients, and the same
// certificate authority for mutual TLS between processes. Whoever lacks the
// secret can neither read nor speak.
//
// The secret is exchanged while everything serves: what former secrets have sealed and
// issued is taken, what is sealed and issued anew is the present one's.
//
// All of it is safe for concurrent use.
package fleet

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/x509"
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

// ErrUnsealable is returned by Open for data that was not sealed with one of this
// fleet's secrets, for this purpose and with this additional data, or was changed.
var ErrUnsealable = errors.New("sealed data can't be opened: it was changed, or sealed with another secret, purpose or scope")

// Fleet holds the derived keys.
type Fleet struct {
	secrets [][]byte // the present one first
	ca      *authority
	trusted *x509.CertPool // the authorities of all secrets

	mu    sync.RWMutex
	seals map[string][]cipher.AEAD // by purpose, in the order of the secrets
}

// New derives the keys of the fleet with that secret. former are those that it had, or
// will have once they take the place of secret. Each must be at least MinSecretLength
// bytes long.
func New(secret string, former ...string) (*Fleet, error) {
	f := &Fleet{trusted: x509.NewCertPool(), seals: make(map[string][]cipher.AEAD)}
	for _, s := range append([]string{secret}, former...) {
		if len(s) < MinSecretLength {
			return nil, fmt.Errorf("fleet secret must have at least %d characters, has %d", MinSecretLength, len(s))
		}
		f.secrets = append(f.secrets, []byte(s))
	}
	for i, key := range f.Keys("certificate-authority") {
		ca, err := newAuthority(key)
		if err != nil {
			return nil, fmt.Errorf("derive certificate authority: %w", err)
		}
		f.trusted.AddCert(ca.cert)
		if i == 0 {
			f.ca = ca
		}
	}
	return f, nil
}

// Keys returns KeySize bytes for purpose (HKDF-SHA256, RFC 5869) for each secret, the
// present one's first. The same secret and purpose give the same key in every process.
func (f *Fleet) Keys(purpose string) [][]byte {
	keys := make([][]byte, 0, len(f.secrets))
	for _, secret := range f.secrets {
		k, err := hkdf.Key(sha256.New, secret, []byte(salt), purpose, KeySize)
		if err != nil { // only for lengths above 255 hashes
			panic(fmt.Sprintf("derive key: %v", err))
		}
		keys = append(keys, k)
	}
	return keys
}

// Seal encrypts and authenticates data (AES-256-GCM with a random nonce). aad
// is authenticated but not contained: Open needs the same.
func (f *Fleet) Seal(purpose string, aad, data []byte) []byte {
	return f.aeads(purpose)[0].Seal([]byte{sealVersion}, nil, data, aad)
}

// Open returns what was sealed for purpose with aad, or ErrUnsealable.
func (f *Fleet) Open(purpose string, aad, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || sealed[0] != sealVersion {
		return nil, ErrUnsealable
	}
	for _, a := range f.aeads(purpose) {
		if data, err := a.Open(nil, nil, sealed[1:], aad); err == nil {
			return data, nil
		}
	}
	return nil, ErrUnsealable
}

// aeads returns the ciphers of a purpose. Purposes are constants of the program, so the
// map stays small.
func (f *Fleet) aeads(purpose string) []cipher.AEAD {
	f.mu.RLock()
	all := f.seals[purpose]
	f.mu.RUnlock()
	if all != nil {
		return all
	}
	for _, key := range f.Keys(purpose) {
		block, err := aes.NewCipher(key)
		var a cipher.AEAD
		if err == nil {
			a, err = cipher.NewGCMWithRandomNonce(block)
		}
		if err != nil { // only for wrong key sizes
			panic(fmt.Sprintf("make cipher: %v", err))
		}
		all = append(all, a)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seals[purpose] = all
	return all
}
