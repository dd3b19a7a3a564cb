package edge

import (
	"crypto/sha256"
	"sync"
	"time"

	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
)

const (
	// verifiedTokens is how many tokens of a tenant are remembered in one generation,
	// of which there are two. A token is needed again at once: a client shows it when
	// it negotiates and when it connects.
	verifiedTokens = 512
	// verifiedTenants bounds the tenants of which there are any.
	verifiedTenants = 256
)

// verified remembers good tokens, so that the second request with one costs no second
// verification. It knows a tenant's tokens for one version of its document: a
// key that goes, and whatever else changes, takes them along. The zero value is ready.
type verified struct {
	mu      sync.Mutex
	tenants map[tenants.ID]*verifiedOf
}

// verifiedOf are the tokens that are good by one document.
type verifiedOf struct {
	doc        *tenants.Document
	young, old map[verifiedKey]verifiedToken
}

// verifiedKey is a token and what it was found to be good for.
type verifiedKey struct {
	token     [sha256.Size]byte
	kind      accesstoken.Kind
	hub, path string
}

type verifiedToken struct {
	principal *accesstoken.Principal // never changed
	at        time.Time              // of the verification
}

func keyOfToken(token string, target accesstoken.Target) verifiedKey {
	return verifiedKey{token: sha256.Sum256([]byte(token)), kind: target.Kind, hub: target.Hub, path: target.Path}
}

// find returns what a token says that was good before and can't have expired since,
// which nobody may change; nil when it has to be verified.
func (v *verified) find(t *tenants.Document, k verifiedKey, now time.Time) *accesstoken.Principal {
	v.mu.Lock()
	defer v.mu.Unlock()
	of := v.tenants[t.ID]
	if of == nil || of.doc != t {
		return nil
	}
	known, ok := of.young[k]
	if !ok {
		known, ok = of.old[k]
	}
	if !ok || now.Before(known.at) || !now.Before(known.principal.ExpiresAt) {
		return nil
	}
	return known.principal
}

// keep remembers a token that is good now by this document.
func (v *verified) keep(t *tenants.Document, k verifiedKey, p *accesstoken.Principal, now time.Time) {
	own := *p
	v.mu.Lock()
	defer v.mu.Unlock()
	of := v.tenants[t.ID]
	if of == nil || of.doc != t {
		if v.tenants == nil || len(v.tenants) >= verifiedTenants {
			v.tenants = make(map[tenants.ID]*verifiedOf)
		}
		of = &verifiedOf{doc: t, young: make(map[verifiedKey]verifiedToken)}
		v.tenants[t.ID] = of
	}
	if len(of.young) >= verifiedTokens {
		of.old, of.young = of.young, make(map[verifiedKey]verifiedToken, verifiedTokens)
	}
	of.young[k] = verifiedToken{principal: &own, at: now}
}
