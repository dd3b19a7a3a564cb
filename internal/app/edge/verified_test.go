package edge

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
)

// What was good once is good for nothing else: not for another hub or tenant, not by
// another document, not after its end.
func TestVerified(t *testing.T) {
	t.Parallel()
	var v verified
	d, other := document("demo", 1), document("other", 1)
	now := time.Now()
	target := accesstoken.Target{Kind: accesstoken.Client, Hub: "chat"}
	key := keyOfToken("token", target)
	v.keep(d, key, &accesstoken.Principal{UserID: "ann", ExpiresAt: now.Add(time.Minute)}, now)
	if p := v.find(d, key, now); p == nil || p.UserID != "ann" {
		t.Fatalf("found %+v", p)
	}
	elsewhere, server, rest := target, target, target
	elsewhere.Hub, server.Kind, rest.Path = "news", accesstoken.Server, "/api"
	for name, found := range map[string]*accesstoken.Principal{
		"another token":     v.find(d, keyOfToken("token2", target), now),
		"another hub":       v.find(d, keyOfToken("token", elsewhere), now),
		"another interface": v.find(d, keyOfToken("token", server), now),
		"another path":      v.find(d, keyOfToken("token", rest), now),
		"another tenant":    v.find(other, key, now),
		"a newer document":  v.find(document("demo", 2), key, now),
		"at its end":        v.find(d, key, now.Add(time.Minute)),
		"before that":       v.find(d, key, now.Add(-time.Second)),
	} {
		if found != nil {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

// However many tokens there are, memory is bounded, and the newest are known.
func TestVerified_is_bounded(t *testing.T) {
	t.Parallel()
	var v verified
	now := time.Now()
	good := &accesstoken.Principal{ExpiresAt: now.Add(time.Minute)}
	d := document("demo", 1)
	key := func(i int) verifiedKey { return keyOfToken(fmt.Sprint(i), accesstoken.Target{}) }
	for i := range 5 * verifiedTokens {
		v.keep(d, key(i), good, now)
	}
	of := v.tenants[d.ID]
	if n := len(of.young) + len(of.old); n > 2*verifiedTokens {
		t.Errorf("%d tokens are kept", n)
	}
	if v.find(d, key(5*verifiedTokens-1), now) == nil || v.find(d, key(4*verifiedTokens+1), now) == nil || v.find(d, key(0), now) != nil {
		t.Error("not the newest are known")
	}
	for i := range 3 * verifiedTenants {
		v.keep(&tenants.Document{ID: tenants.ID(fmt.Sprint(i))}, key(0), good, now)
	}
	if n := len(v.tenants); n > verifiedTenants {
		t.Errorf("tokens of %d tenants are kept", n)
	}
}

// The second time, a token isn't taken apart; a document without its key refuses it
// all the same, and so does one that revokes it.
func TestAuthenticator_remembers(t *testing.T) {
	t.Parallel()
	a := &authenticator{serviceHosts: []string{"localhost"}, used: func(tenants.ID, string) {}, log: slog.New(slog.DiscardHandler)}
	d := document("demo", 1)
	r := httptest.NewRequest(http.MethodPost, "/client/negotiate?hub=chat", nil)
	r.Header.Set("Authorization", "Bearer "+clientJWT(t, d, 0, "chat", "ann"))
	target := a.target(d, accesstoken.Client)
	target.Hub = "chat"
	for range 2 {
		if p, err := a.client(d, r, "chat"); err != nil || p.UserID != "ann" {
			t.Fatalf("%+v, %v", p, err)
		}
		if a.verified.find(d, keyOfToken(bearerToken(r), target), time.Now()) == nil {
			t.Fatal("it isn't remembered")
		}
	}
	if _, err := a.client(d, r, "news"); err == nil {
		t.Error("another hub takes it")
	}
	without := document("demo", 2)
	without.Keys = without.Keys[1:]
	if _, err := a.client(without, r, "chat"); err == nil {
		t.Error("it is good without its key")
	}
	banned := document("demo", 3)
	banned.Revocations = []tenants.DocRevocation{revoked(tenants.RevokedUser, "ann", time.Now().Add(time.Hour))}
	if _, err := a.client(banned, r, "chat"); err == nil {
		t.Error("it is good though it is revoked")
	}
}
