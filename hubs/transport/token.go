package transport

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"
)

// errBadToken: the connection token wasn't made with this key for this scope.
var errBadToken = errors.New("unknown connection token")

// Layout of a connection token before sealing: kind, connection id, expiry
// in Unix milliseconds, digest of the user id. The scope is authenticated
// with it, so that a token of another scope can't be opened.
const (
	tokenPlain     = 1
	tokenResumable = 2 // of a client that has negotiated stateful reconnect
	idBytes        = 16
	userBytes      = 16
	tokenBytes     = 1 + idBytes + 8 + userBytes
	// maxTokenText bounds what is decoded at all.
	maxTokenText = 256
)

// tokens seals connection tokens with its first key and opens those of all (AES-256-GCM).
// It is safe for concurrent use.
type tokens struct{ aeads []cipher.AEAD }

func newTokens(key []byte, former ...[]byte) (*tokens, error) {
	k := new(tokens)
	for _, key := range append([][]byte{key}, former...) {
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, err
		}
		k.aeads = append(k.aeads, aead)
	}
	return k, nil
}

// connectionToken is an opened token.
type connectionToken struct {
	id      [idBytes]byte
	expires time.Time
	user    [userBytes]byte
	// resumable: stateful reconnect was negotiated.
	resumable bool
}

// newConnectionToken makes a token's content with a random connection id.
func newConnectionToken(user string, expires time.Time) connectionToken {
	t := connectionToken{expires: expires, user: userDigest(user)}
	_, _ = rand.Read(t.id[:]) // never fails
	return t
}

// connectionID is the public id: 128 random bits in base64url.
func (t *connectionToken) connectionID() string {
	return base64.RawURLEncoding.EncodeToString(t.id[:])
}

// isFor reports whether the token was made for this user.
func (t *connectionToken) isFor(user string) bool {
	d := userDigest(user)
	return subtle.ConstantTimeCompare(t.user[:], d[:]) == 1
}

func userDigest(user string) (d [userBytes]byte) {
	sum := sha256.Sum256([]byte(user))
	copy(d[:], sum[:])
	return d
}

func (k *tokens) seal(t connectionToken, scope string) string {
	b := make([]byte, 0, tokenBytes)
	kind := byte(tokenPlain)
	if t.resumable {
		kind = tokenResumable
	}
	b = append(b, kind)
	b = append(b, t.id[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(t.expires.UnixMilli()))
	b = append(b, t.user[:]...)
	return base64.RawURLEncoding.EncodeToString(k.aeads[0].Seal(nil, nil, b, []byte(scope)))
}

func (k *tokens) open(text, scope string) (connectionToken, error) {
	var t connectionToken
	if len(text) > maxTokenText {
		return t, errBadToken
	}
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return t, errBadToken
	}
	var b []byte
	for _, aead := range k.aeads {
		if b, err = aead.Open(nil, nil, sealed, []byte(scope)); err == nil {
			break
		}
	}
	if err != nil || len(b) != tokenBytes || b[0] != tokenPlain && b[0] != tokenResumable {
		return t, errBadToken
	}
	t.resumable = b[0] == tokenResumable
	b = b[1:]
	copy(t.id[:], b)
	t.expires = time.UnixMilli(int64(binary.BigEndian.Uint64(b[idBytes:])))
	copy(t.user[:], b[idBytes+8:])
	return t, nil
}
