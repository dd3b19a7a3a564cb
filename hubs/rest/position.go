package rest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/tenants"
)

const (
	positionHeader  = "X-Signalbox-Position"
	ackHeader       = "X-Signalbox-Ack"
	positionVersion = 1
	// maxEpoch bounds the epochs of all partitions of a hub, maxToken their token.
	maxEpoch = hubs.MaxPartitions * 48
	maxToken = 2 << 10
)

// ErrPosition is the error for a token that is no position of that hub.
var ErrPosition = errors.New("not a position of this hub")

func (h *Handler) usePositionKeys(present []byte, former [][]byte) error {
	derive := func(key []byte, purpose string) []byte {
		mac := hmac.New(sha256.New, key)
		_, _ = mac.Write([]byte(purpose)) // never fails
		return mac.Sum(nil)
	}
	for _, key := range append([][]byte{present}, former...) {
		if len(key) != 32 {
			return fmt.Errorf("rest: a key of PositionKey and FormerPositionKeys has %d bytes: it must have 32", len(key))
		}
		block, err := aes.NewCipher(derive(key, "position cipher"))
		if err != nil {
			return fmt.Errorf("rest: position key: %w", err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return fmt.Errorf("rest: position key: %w", err)
		}
		h.positions = append(h.positions, aead)
	}
	nonces := derive(present, "position nonce")
	h.nonces.New = func() any { return hmac.New(sha256.New, nonces) }
	return nil
}

// SealPosition returns the opaque token of a position: it can be neither read
// nor made by others, and is worth nothing in another hub or tenant. One
// position has one token, so that clients may compare them.
func (h *Handler) SealPosition(tenant tenants.ID, hub string, p hubs.Position) string {
	plain := make([]byte, 9, 9+len(p.Epoch))
	plain[0] = positionVersion
	binary.BigEndian.PutUint64(plain[1:], p.Number)
	plain = append(plain, p.Epoch...)
	scope := []byte(string(tenant) + "/" + hub)

	var length [4]byte
	binary.BigEndian.PutUint32(length[:], uint32(len(scope)))
	nonce := h.nonce(length[:], scope, plain)
	return base64.RawURLEncoding.EncodeToString(h.positions[0].Seal(nonce, nonce, plain, scope))
}

// nonce derives the nonce of what is sealed from all of it.
func (h *Handler) nonce(parts ...[]byte) []byte {
	mac := h.nonces.Get().(hash.Hash)
	defer h.nonces.Put(mac)
	mac.Reset()
	for _, part := range parts {
		_, _ = mac.Write(part) // never fails
	}
	return mac.Sum(nil)[:h.positions[0].NonceSize()]
}

// OpenPosition returns the position of a token, or ErrPosition.
func (h *Handler) OpenPosition(tenant tenants.ID, hub, token string) (hubs.Position, error) {
	if len(token) > maxToken {
		return hubs.Position{}, ErrPosition
	}
	sealed, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return hubs.Position{}, ErrPosition
	}
	plain, err := h.unseal(sealed, []byte(string(tenant)+"/"+hub))
	if err != nil || len(plain) < 9 || len(plain) > 9+maxEpoch || plain[0] != positionVersion {
		return hubs.Position{}, ErrPosition
	}
	return hubs.Position{Number: binary.BigEndian.Uint64(plain[1:9]), Epoch: string(plain[9:])}, nil
}

// unseal opens what any of the keys has sealed for a scope.
func (h *Handler) unseal(sealed, scope []byte) (plain []byte, err error) {
	size := h.positions[0].NonceSize()
	if len(sealed) < size {
		return nil, ErrPosition
	}
	for _, key := range h.positions {
		if plain, err = key.Open(nil, sealed[:size], sealed[size:], scope); err == nil {
			return plain, nil
		}
	}
	return nil, err
}
