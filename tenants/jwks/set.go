package jwks

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/go-json-experiment/json"

	"github.com/signalbox/signalbox/tenants"
)

// The bounds of key sets and keys.
const (
	MaxSetBytes = 64 << 10
	maxKeys     = 50
	maxKeyID    = 128
	minRSABits  = 2048
	maxRSABits  = 8192 // checking a signature takes time that grows with it
)

// jwk is a JSON Web Key (RFC 7517, 4; RFC 7518, 6; RFC 8037, 2).
type jwk struct {
	Type       string   `json:"kty"`
	ID         string   `json:"kid"`
	Use        string   `json:"use"`
	Operations []string `json:"key_ops"`
	Algorithm  string   `json:"alg"`
	N          string   `json:"n"`
	E          string   `json:"e"`
	Curve      string   `json:"crv"`
	X          string   `json:"x"`
	Y          string   `json:"y"`
	D          any      `json:"d"`
}

// publicKey is a key that can be used.
type publicKey struct {
	id        string
	algorithm tenants.Algorithm
	key       crypto.PublicKey
}

// parse reads a key set. Keys that can't be used, for other purposes, of other
// kinds, too weak, are left out; the error is for a set that can't be read.
func parse(data []byte) ([]publicKey, error) {
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("read key set: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("the key set has %d keys, at most %d are accepted", len(set.Keys), maxKeys)
	}
	var keys []publicKey
	for _, k := range set.Keys {
		key, algorithm, err := k.public()
		if err == nil {
			keys = append(keys, publicKey{id: k.ID, algorithm: algorithm, key: key})
		}
	}
	return keys, nil
}

var (
	errPurpose = errors.New("a key that is not for checking signatures")
	errPrivate = errors.New("a private key was published")
	errKind    = errors.New("a kind of key that is not supported")
	errWeak    = errors.New("a key that is too weak or too large")
	errForm    = errors.New("a malformed key")
)

// public returns the key and the one algorithm that it is for.
func (k jwk) public() (crypto.PublicKey, tenants.Algorithm, error) {
	switch {
	case len(k.ID) > maxKeyID:
		return nil, "", errForm
	case k.D != nil:
		return nil, "", errPrivate // whoever reads the set can sign with it
	case k.Use != "" && k.Use != "sig", len(k.Operations) > 0 && !slices.Contains(k.Operations, "verify"):
		return nil, "", errPurpose
	}
	var key crypto.PublicKey
	var algorithm tenants.Algorithm
	var err error
	switch {
	case k.Type == "RSA":
		algorithm = tenants.RS256
		key, err = k.rsa()
	case k.Type == "EC" && k.Curve == "P-256":
		algorithm = tenants.ES256
		key, err = k.ec()
	case k.Type == "OKP" && k.Curve == "Ed25519":
		algorithm = tenants.EdDSA
		key, err = k.ed25519()
	default: // oct among them: a published secret is none
		err = errKind
	}
	if err == nil && k.Algorithm != "" && k.Algorithm != string(algorithm) && (algorithm != tenants.EdDSA || k.Algorithm != "Ed25519") {
		err = errKind
	}
	return key, algorithm, err
}

func (k jwk) rsa() (crypto.PublicKey, error) {
	n, err := number(k.N)
	if err != nil {
		return nil, err
	}
	e, err := number(k.E)
	if err != nil {
		return nil, err
	}
	if bits := n.BitLen(); bits < minRSABits || bits > maxRSABits || n.Bit(0) == 0 {
		return nil, errWeak
	}
	if e.BitLen() > 31 || e.Int64() < 65537 || e.Bit(0) == 0 {
		return nil, errWeak
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
}

func (k jwk) ec() (crypto.PublicKey, error) {
	x, err := bytesOf(k.X, 32)
	if err != nil {
		return nil, err
	}
	y, err := bytesOf(k.Y, 32)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y)) // on the curve, or an error
	if err != nil {
		return nil, errForm
	}
	return key, nil
}

func (k jwk) ed25519() (crypto.PublicKey, error) {
	x, err := bytesOf(k.X, ed25519.PublicKeySize)
	return ed25519.PublicKey(x), err
}

func number(s string) (*big.Int, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) == 0 || len(b) > maxRSABits/8+1 {
		return nil, errForm
	}
	return new(big.Int).SetBytes(b), nil
}

func bytesOf(s string, size int) ([]byte, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != size {
		return nil, errForm
	}
	return b, nil
}
