// Package audit has the form in which audit events leave the service, the hash
// chain that they are in, and its verification. It knows no database, so that
// whoever has an export verifies it with the same code as the service itself.
package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"
)

// Format names the encoding that hashes are of. Another encoding is another name.
const Format = "signalbox-audit-1"

// TimeForm is how times are written, in exports and for hashes.
const TimeForm = "2006-01-02T15:04:05.000000Z"

// Actor is the kind of who did something.
type Actor string

// The kinds of actors.
const (
	User     Actor = "user"      // a person in a session
	APIToken Actor = "api_token" // a program, for a person or an account
	Operator Actor = "operator"  // of the service
	System   Actor = "system"    // the service by itself
	Nobody   Actor = "nobody"    // who didn't prove who it is
)

// Actors lists the kinds.
var Actors = []Actor{User, APIToken, Operator, System, Nobody}

// Event is one entry of a chain. Empty fields are unknown or don't apply.
type Event struct {
	Chain  string // account:…, user:…, operators or service:…
	Number int64  // within its chain, from 1 without gaps
	At     time.Time

	Actor     Actor
	ActorID   string // of the user or operator
	TokenID   string // of the API token
	ActorName string // as it was then
	Account   string
	Tenant    string
	Action    string // as tenant.suspended
	Subject   string // what it was done to
	RequestID string
	IP        string
	UserAgent string
	// Before and After are what was and what is there: JSON, byte by byte as it was
	// hashed. Nil = nothing.
	Before, After json.RawMessage

	// Previous is the hash of the event before; of the first one it is Genesis.
	Previous Hash
	Hash     Hash
}

// Hash is a SHA-256.
type Hash [sha256.Size]byte

// Genesis is before the first event of every chain.
var Genesis Hash

// String is the hash in hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// ParseHash reads what String wrote.
func ParseHash(text string) (h Hash, ok bool) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(h) {
		return h, false
	}
	return Hash(raw), true
}

// Head is the end of a chain: who has kept one can tell later whether what came
// before it is still what it was. The zero value is that of an empty chain.
type Head struct {
	Number int64
	Hash   Hash
}

// fields are what is hashed, in its order.
func (e *Event) fields() []string {
	return []string{
		Format, e.Chain, strconv.FormatInt(e.Number, 10), e.At.UTC().Format(TimeForm), string(e.Actor), e.ActorID, e.TokenID, e.ActorName,
		e.Account, e.Tenant, e.Action, e.Subject, e.RequestID, e.IP, e.UserAgent, string(e.Before), string(e.After), e.Previous.String(),
	}
}

// Sum is the hash that the event should have: SHA-256 of its fields, each as its
// length in bytes, a colon, its bytes in UTF-8 and a comma, so that no two events
// are the same bytes.
func (e *Event) Sum() Hash {
	var text []byte
	for _, f := range e.fields() {
		text = strconv.AppendInt(text, int64(len(f)), 10)
		text = append(text, ':')
		text = append(text, f...)
		text = append(text, ',')
	}
	return sha256.Sum256(text)
}
