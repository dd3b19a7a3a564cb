package jwks_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/signalbox/signalbox/internal/outbound"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
	"github.com/signalbox/signalbox/tenants/jwks"
)

var (
	rsaKey     = must(rsa.GenerateKey(rand.Reader, 2048))
	weakKey    = must(rsa.GenerateKey(rand.Reader, 1024))
	ecKey      = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	p384Key    = must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	edKey      = must2(ed25519.GenerateKey(rand.Reader))
	strangeKey = must(rsa.GenerateKey(rand.Reader, 2048))
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func must2[A, T any](_ A, v T, err error) T { return must(v, err) }

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// public makes the JWK of a key.
func public(id string, key crypto.Signer, more map[string]any) map[string]any {
	m := map[string]any{"kid": id}
	switch k := key.Public().(type) {
	case *rsa.PublicKey:
		m["kty"], m["n"], m["e"] = "RSA", b64(k.N.Bytes()), b64(big.NewInt(int64(k.E)).Bytes())
	case *ecdsa.PublicKey:
		point := must(k.Bytes())
		size := (len(point) - 1) / 2
		m["kty"], m["crv"], m["x"], m["y"] = "EC", k.Params().Name, b64(point[1:1+size]), b64(point[1+size:])
	case ed25519.PublicKey:
		m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", b64(k)
	}
	maps.Copy(m, more)
	return m
}

// provider is an identity provider on this machine, over HTTPS.
type provider struct {
	*httptest.Server
	asked atomic.Int32
	mu    sync.Mutex
	body  string
	code  int
}

func newProvider(t *testing.T, keys ...map[string]any) *provider {
	t.Helper()
	p := &provider{code: http.StatusOK}
	p.publish(keys...)
	p.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.asked.Add(1)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.code == http.StatusFound {
			http.Redirect(w, r, "/elsewhere", p.code)
			return
		}
		w.WriteHeader(p.code)
		_, _ = w.Write([]byte(p.body))
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *provider) publish(keys ...map[string]any) {
	p.answer(http.StatusOK, string(must(json.Marshal(map[string]any{"keys": keys}))))
}

func (p *provider) answer(code int, body string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.code, p.body = code, body
}

// clock is a time that tests set.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.at.Store(time.Now().Unix())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(c.at.Load(), 0) }
func (c *clock) advance(d time.Duration) { c.at.Add(int64(d / time.Second)) }

func newCache(t *testing.T, p *provider, c *clock) *jwks.Cache {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(p.Certificate())
	transport := outbound.NewTransport(outbound.Config{
		Policy: outbound.Policy{Allowed: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, RootCAs: roots,
	})
	t.Cleanup(transport.CloseIdleConnections)
	return must(jwks.New(jwks.Config{Transport: transport, Logger: slog.New(slog.DiscardHandler), Now: c.now}))
}

const issuerName = "https://id.example.com/"

func tenantOf(p *provider, change func(*tenants.IssuerSettings)) *tenants.Document {
	s := tenants.IssuerSettings{Issuer: issuerName, JWKSURL: p.URL + "/keys", Audiences: []string{"signalbox"}}
	if change != nil {
		change(&s)
	}
	return &tenants.Document{ID: "01A", Slug: "acme", Issuers: []tenants.Issuer{{ID: "issuer-1", IssuerSettings: s}}}
}

var toChat = accesstoken.Target{Kind: accesstoken.Client, Hosts: []string{"acme.example.com"}, Slug: "acme", Hub: "chat"}

// token signs good claims, with changes; a nil value removes a claim.
func token(method jwt.SigningMethod, key any, at time.Time, header, changes map[string]any) string {
	claims := jwt.MapClaims{"iss": issuerName, "aud": "signalbox", "sub": "ann", "iat": at.Unix(), "exp": at.Add(time.Hour).Unix()}
	for name, v := range changes {
		if claims[name] = v; v == nil {
			delete(claims, name)
		}
	}
	t := jwt.NewWithClaims(method, claims)
	maps.Copy(t.Header, header)
	return must(t.SignedString(key))
}

func kid(id string) map[string]any { return map[string]any{"kid": id} }

// SEC-03, SEC-05, SEC-06, SEC-08 for tokens of issuers.
func TestTokensOfIssuers(t *testing.T) {
	t.Parallel()
	p := newProvider(t,
		public("rsa", rsaKey, map[string]any{"alg": "RS256", "use": "sig"}), public("ec/+=", ecKey, nil), public("ed", edKey, nil),
		public("weak", weakKey, nil), public("p384", p384Key, nil), public("encryption", rsaKey, map[string]any{"use": "enc"}),
		public("signing", rsaKey, map[string]any{"key_ops": []string{"sign"}}), public("leaked", rsaKey, map[string]any{"d": "AQAB"}),
		public("rs512", rsaKey, map[string]any{"alg": "RS512"}), public("off-curve", ecKey, map[string]any{"x": b64(make([]byte, 32))}),
		public("e3", rsaKey, map[string]any{"e": "Aw"}),
		map[string]any{"kid": "oct", "kty": "oct", "k": b64([]byte("a shared secret that was published"))},
	)
	c := newClock()
	now := c.now()
	cache := newCache(t, p, c)
	rs := func(header, changes map[string]any) string {
		return token(jwt.SigningMethodRS256, rsaKey, now, header, changes)
	}
	der := must(x509.MarshalPKIXPublicKey(rsaKey.Public()))
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	for _, row := range []struct {
		name, token string
		ok          bool
	}{
		{"rs256", rs(kid("rsa"), nil), true},
		{"es256", token(jwt.SigningMethodES256, ecKey, now, kid("ec/+="), nil), true},
		{"eddsa", token(jwt.SigningMethodEdDSA, edKey, now, kid("ed"), nil), true},
		{"no_kid_and_one_such_key", token(jwt.SigningMethodES256, ecKey, now, nil, nil), true},
		{"x5t", rs(map[string]any{"kid": "rsa", "x5t": "abc", "x5t#S256": "abc"}, nil), true},
		{"access_token_type", rs(map[string]any{"kid": "rsa", "typ": "at+jwt"}, nil), true},
		{"type_of_another_use", rs(map[string]any{"kid": "rsa", "typ": "logout+jwt"}, nil), false},
		{"rs512", token(jwt.SigningMethodRS512, rsaKey, now, kid("rsa"), nil), false},
		{"ps256", token(jwt.SigningMethodPS256, rsaKey, now, kid("rsa"), nil), false},
		{"es384", token(jwt.SigningMethodES384, p384Key, now, kid("p384"), nil), false},
		{"none", token(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, now, kid("rsa"), nil), false},
		{"hs256_with_the_public_key", token(jwt.SigningMethodHS256, der, now, kid("rsa"), nil), false},
		{"hs256_with_the_published_secret", token(jwt.SigningMethodHS256, []byte("a shared secret that was published"), now, kid("oct"), nil), false},
		{"unknown_kid", token(jwt.SigningMethodRS256, strangeKey, now, kid("strange"), nil), false},
		{"known_kid_other_key", token(jwt.SigningMethodRS256, strangeKey, now, kid("rsa"), nil), false},
		{"kid_of_another_kind_of_key", rs(kid("ec/+="), nil), false},
		{"weak_key", token(jwt.SigningMethodRS256, weakKey, now, kid("weak"), nil), false},
		{"key_for_encryption", rs(kid("encryption"), nil), false},
		{"key_for_signing_alone", rs(kid("signing"), nil), false},
		{"leaked_key", rs(kid("leaked"), nil), false},
		{"key_of_another_algorithm", rs(kid("rs512"), nil), false},
		{"key_off_the_curve", token(jwt.SigningMethodES256, ecKey, now, kid("off-curve"), nil), false},
		{"small_exponent", rs(kid("e3"), nil), false},
		{"kid_path", rs(kid("../../etc/passwd"), nil), false},
		{"kid_url", rs(kid("https://evil.example/key"), nil), false},
		{"kid_sql", rs(kid("' OR 1=1--"), nil), false},
		{"kid_long", rs(kid(strings.Repeat("k", 1000)), nil), false},
		{"jku", rs(map[string]any{"kid": "rsa", "jku": p.URL + "/mine"}, nil), false},
		{"x5u", rs(map[string]any{"kid": "rsa", "x5u": p.URL + "/mine"}, nil), false},
		{"jwk", token(jwt.SigningMethodRS256, strangeKey, now, map[string]any{"jwk": public("rsa", strangeKey, nil)}, nil), false},
		{"crit", rs(map[string]any{"kid": "rsa", "crit": []string{"exp"}}, nil), false},
		{"other_issuer", rs(kid("rsa"), map[string]any{"iss": "https://other.example.com/"}), false},
		{"issuer_without_its_slash", rs(kid("rsa"), map[string]any{"iss": strings.TrimSuffix(issuerName, "/")}), false},
		{"no_issuer", rs(kid("rsa"), map[string]any{"iss": nil}), false},
		{"issuers", rs(kid("rsa"), map[string]any{"iss": []string{issuerName}}), false},
		{"other_audience", rs(kid("rsa"), map[string]any{"aud": "another-api"}), false},
		{"several_audiences", rs(kid("rsa"), map[string]any{"aud": []string{"another-api", "signalbox"}}), true},
		{"no_audience", rs(kid("rsa"), map[string]any{"aud": nil}), false},
		{"no_user", rs(kid("rsa"), map[string]any{"sub": nil}), false},
		{"user_of_another_claim", rs(kid("rsa"), map[string]any{"sub": nil, "nameid": "bob", "asrs.s.uid": "bob"}), false},
		{"no_exp", rs(kid("rsa"), map[string]any{"exp": nil}), false},
		{"expired", rs(kid("rsa"), map[string]any{"iat": at(-2 * time.Hour), "exp": at(-61 * time.Second)}), false},
		{"not_yet", rs(kid("rsa"), map[string]any{"nbf": at(61 * time.Second)}), false},
		{"issued_in_an_hour", rs(kid("rsa"), map[string]any{"iat": at(time.Hour), "exp": at(2 * time.Hour)}), false},
		{"ten_years", rs(kid("rsa"), map[string]any{"exp": at(87600 * time.Hour)}), false},
		{"long", rs(kid("rsa"), map[string]any{"pad": strings.Repeat("x", accesstoken.MaxLength)}), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			principal, err := accesstoken.VerifyIssued(t.Context(), tenantOf(p, nil), cache, row.token, toChat, now)
			switch {
			case row.ok && err != nil:
				t.Fatal(err)
			case row.ok && (principal.UserID != "ann" || principal.IssuerID != "issuer-1" || principal.KeyID == ""):
				t.Fatalf("got %+v", principal)
			case !row.ok && !errors.Is(err, accesstoken.ErrInvalid):
				t.Fatalf("got %v, want ErrInvalid", err)
			}
		})
	}
	if n := p.asked.Load(); n != 1 {
		t.Errorf("the provider was asked %d times, want once", n)
	}
}

func TestSettingsOfIssuers(t *testing.T) {
	t.Parallel()
	p := newProvider(t, public("rsa", rsaKey, nil), public("ec", ecKey, nil))
	c := newClock()
	now := c.now()
	cache := newCache(t, p, c)
	hub := "https://acme.example.com/client/?hub=chat"
	for _, row := range []struct {
		name   string
		change func(*tenants.IssuerSettings)
		claims map[string]any
		kind   accesstoken.Kind
		user   string // "" = refused
	}{
		{"algorithm_left_out", func(s *tenants.IssuerSettings) { s.Algorithms = []tenants.Algorithm{tenants.ES256} }, nil, accesstoken.Client, ""},
		{"audience_of_the_hub", func(s *tenants.IssuerSettings) { s.Audiences = nil }, map[string]any{"aud": hub}, accesstoken.Client, "ann"},
		{"audience_of_another_hub", func(s *tenants.IssuerSettings) { s.Audiences = nil }, map[string]any{"aud": hub + "2"}, accesstoken.Client, ""},
		{"user_claim", func(s *tenants.IssuerSettings) { s.UserClaim = "email" }, map[string]any{"email": "ann@example.com"}, accesstoken.Client, "ann@example.com"},
		{"user_claim_missing", func(s *tenants.IssuerSettings) { s.UserClaim = "email" }, nil, accesstoken.Client, ""},
		{"rest", nil, nil, accesstoken.REST, ""},
		{"server", nil, nil, accesstoken.Server, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			target := toChat
			target.Kind, target.Path = row.kind, "/api/v1/hubs/chat"
			got, err := accesstoken.VerifyIssued(t.Context(), tenantOf(p, row.change), cache, token(jwt.SigningMethodRS256, rsaKey, now, kid("rsa"), row.claims), target, now)
			if row.user == "" && !errors.Is(err, accesstoken.ErrInvalid) || row.user != "" && (err != nil || got.UserID != row.user) {
				t.Fatalf("got %+v, %v", got, err)
			}
		})
	}
	// What tunes the service counts in tokens of access keys alone.
	odd := token(jwt.SigningMethodRS256, rsaKey, now, kid("rsa"), map[string]any{"asrs.s.htt": "3", "sbx.scope": "tenant", "roles": []string{"admin", "webpubsub.sendToGroup.news"}})
	got, err := accesstoken.VerifyIssued(t.Context(), tenantOf(p, func(s *tenants.IssuerSettings) { s.CloseOnExpiry = true }), cache, odd, toChat, now)
	if err != nil || got.HandshakeTimeout != 0 || got.CloseAt.IsZero() || len(got.Permissions.Texts()) != 1 || len(got.Permissions.Ignored()) != 0 {
		t.Fatalf("got %+v, %v", got, err)
	}
}

// SEC-02: the same key id at two tenants, in both orders, at once.
func TestKeysOfTenantsNeverMix(t *testing.T) {
	t.Parallel()
	a, b := newProvider(t, public("same", rsaKey, nil)), newProvider(t, public("same", strangeKey, nil))
	c := newClock()
	now := c.now()
	cache := newCache(t, a, c)
	docA, docB := tenantOf(a, nil), tenantOf(b, nil)
	docB.ID = "01B"
	byA, byB := token(jwt.SigningMethodRS256, rsaKey, now, kid("same"), nil), token(jwt.SigningMethodRS256, strangeKey, now, kid("same"), nil)
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			rows := []struct {
				doc   *tenants.Document
				token string
				ok    bool
			}{{docA, byA, true}, {docB, byB, true}, {docA, byB, false}, {docB, byA, false}}
			if i%2 == 0 {
				slices.Reverse(rows)
			}
			for _, row := range rows {
				_, err := accesstoken.VerifyIssued(t.Context(), row.doc, cache, row.token, toChat, now)
				if row.ok && err != nil || !row.ok && !errors.Is(err, accesstoken.ErrInvalid) {
					t.Errorf("tenant %s: %v", row.doc.ID, err)
				}
			}
		})
	}
	all.Wait()
	if a.asked.Load() != 1 || b.asked.Load() != 1 {
		t.Errorf("asked %d and %d times, want once each", a.asked.Load(), b.asked.Load())
	}
}

func TestCache(t *testing.T) {
	t.Parallel()
	p := newProvider(t, public("old", rsaKey, nil))
	c := newClock()
	cache := newCache(t, p, c)
	doc := tenantOf(p, nil)
	verify := func(key crypto.Signer, id string) error {
		_, err := accesstoken.VerifyIssued(t.Context(), doc, cache, token(jwt.SigningMethodRS256, key, c.now(), kid(id), nil), toChat, c.now())
		return err
	}
	want := func(what string, err, want error, asked int32) {
		t.Helper()
		if !errors.Is(err, want) || (want == nil) != (err == nil) || p.asked.Load() != asked {
			t.Fatalf("%s: %v after %d requests, want %v after %d", what, err, p.asked.Load(), want, asked)
		}
	}
	want("first use", verify(rsaKey, "old"), nil, 1)
	want("second use", verify(rsaKey, "old"), nil, 1)
	p.publish(public("old", rsaKey, nil), public("new", strangeKey, nil))
	for range 20 {
		want("an unknown key, too soon", verify(strangeKey, "new"), accesstoken.ErrInvalid, 1)
	}
	c.advance(15 * time.Second)
	want("a new key", verify(strangeKey, "new"), nil, 2)
	c.advance(15 * time.Second)
	want("a made-up key", verify(strangeKey, "made-up"), accesstoken.ErrInvalid, 3)
	want("a made-up key again", verify(strangeKey, "made-up2"), accesstoken.ErrInvalid, 3)

	// The provider fails: what is known stays good for a day.
	for _, failure := range []struct {
		code int
		body string
	}{
		{http.StatusInternalServerError, ""}, {http.StatusOK, "{"}, {http.StatusOK, `{"keys":[],"keys":[]}`}, {http.StatusFound, ""},
		{http.StatusOK, `{"keys":[` + strings.Repeat(" ", jwks.MaxSetBytes) + `]}`}, {http.StatusOK, `{"keys":[{}` + strings.Repeat(",{}", 60) + `]}`},
	} {
		p.answer(failure.code, failure.body)
		c.advance(time.Hour)
		before := p.asked.Load()
		if err := verify(rsaKey, "made-up"); !errors.Is(err, accesstoken.ErrInvalid) { // waits for the fetch
			t.Fatalf("%+v: %v", failure, err)
		}
		for deadline := time.Now().Add(10 * time.Second); p.asked.Load() == before && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			// which it doesn't do for ever
		}
		want("while the provider fails", verify(rsaKey, "old"), nil, before+1)
	}
	c.advance(24 * time.Hour)
	before := p.asked.Load()
	want("after a day of failures", verify(rsaKey, "old"), accesstoken.ErrUnavailable, before+1)
	want("and at once again", verify(rsaKey, "old"), accesstoken.ErrUnavailable, before+1)
	p.publish(public("new", strangeKey, nil))
	c.advance(5 * time.Second)
	want("once it answers again", verify(strangeKey, "new"), nil, before+2)
	want("a key that was taken back", verify(rsaKey, "old"), accesstoken.ErrInvalid, before+2)
}

// Not even the URL in the settings leads where tenants have no business.
func TestFetchesStayOutside(t *testing.T) {
	t.Parallel()
	p := newProvider(t, public("rsa", rsaKey, nil))
	c := newClock()
	cache := must(jwks.New(jwks.Config{Transport: outbound.NewTransport(outbound.Config{}), Logger: slog.New(slog.DiscardHandler), Now: c.now}))
	_, err := accesstoken.VerifyIssued(t.Context(), tenantOf(p, nil), cache, token(jwt.SigningMethodRS256, rsaKey, c.now(), kid("rsa"), nil), toChat, c.now())
	if !errors.Is(err, accesstoken.ErrUnavailable) || p.asked.Load() != 0 {
		t.Fatalf("%v after %d requests", err, p.asked.Load())
	}
}

// hosts answers by the host that is asked.
type hosts map[string]func(*http.Request) (*http.Response, error)

func (h hosts) RoundTrip(r *http.Request) (*http.Response, error) { return h[r.URL.Host](r) }

func issuerAt(id, host string) tenants.Issuer {
	return tenants.Issuer{ID: id, IssuerSettings: tenants.IssuerSettings{JWKSURL: "https://" + host + "/keys"}}
}

// crowd are providers of which one answers, one fails, and one does nothing until
// the request is given up.
func crowd(t *testing.T, c *clock) (cache *jwks.Cache, hanging func() int) {
	t.Helper()
	var hang atomic.Int32
	good := string(must(json.Marshal(map[string]any{"keys": []any{public("ed", edKey, nil)}})))
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	cache = must(jwks.New(jwks.Config{Logger: slog.New(slog.DiscardHandler), Now: c.now, Transport: hosts{
		"good": func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(good))}, nil
		},
		"bad": func(*http.Request) (*http.Response, error) { return nil, errors.New("nobody is there") },
		"slow": func(*http.Request) (*http.Response, error) {
			hang.Add(1)
			<-stop // longer than the cache waits, so that places stay taken
			return nil, errors.New("the test is over")
		},
	}}))
	return cache, func() int { return int(hang.Load()) }
}

// An issuer that answers slowly takes places of its own tenant, and when all of the
// cache's are taken, a key that can't be looked for isn't said not to exist.
func TestSlowIssuersAreTheirTenantsAlone(t *testing.T) {
	t.Parallel()
	c := newClock()
	cache, hanging := crowd(t, c)
	find := func(t tenants.ID, issuer tenants.Issuer, id string) error {
		_, _, err := cache.Find(context.Background(), t, issuer, id, tenants.EdDSA)
		return err
	}
	var waiting sync.WaitGroup
	t.Cleanup(waiting.Wait)
	occupy := func(tenant string, issuers int) {
		for i := range issuers {
			ctx, cancel := context.WithCancel(t.Context())
			t.Cleanup(cancel)
			waiting.Go(func() {
				_, _, _ = cache.Find(ctx, tenants.ID(tenant), issuerAt(fmt.Sprint(i), "slow"), "x", tenants.EdDSA)
			})
		}
	}
	until := func(n int) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); hanging() < n; time.Sleep(time.Millisecond) { // between two looks
			if time.Now().After(deadline) {
				t.Fatalf("%d fetches are under way, want %d", hanging(), n)
			}
		}
	}
	if err := find("one", issuerAt("1", "good"), "ed"); err != nil {
		t.Fatal(err)
	}
	c.advance(time.Minute)
	occupy("slow", 100)
	until(5)
	if err := find("other", issuerAt("1", "good"), "ed"); err != nil {
		t.Errorf("another tenant's key beside slow issuers: %v", err)
	}
	if err := find("one", issuerAt("1", "good"), "none"); !errors.Is(err, accesstoken.ErrNoKey) {
		t.Errorf("a key that doesn't exist: %v", err)
	}
	if n := hanging(); n > 5 {
		t.Errorf("a tenant has %d fetches under way", n)
	}
	c.advance(time.Minute)
	for i := range 12 {
		occupy(fmt.Sprint("slow", i), 5)
	}
	until(64)
	if err := find("one", issuerAt("1", "good"), "new"); !errors.Is(err, accesstoken.ErrUnavailable) {
		t.Errorf("a key that can't be looked for: %v", err)
	}
	if err := find("one", issuerAt("1", "good"), "ed"); err != nil {
		t.Errorf("a key that is known: %v", err)
	}
}

// A tenant that changes its issuers all the time doesn't push out another's keys.
func TestIssuersPushOutTheirTenantsAlone(t *testing.T) {
	t.Parallel()
	cache, _ := crowd(t, newClock())
	find := func(tenant tenants.ID, issuer tenants.Issuer) error {
		_, _, err := cache.Find(t.Context(), tenant, issuer, "ed", tenants.EdDSA)
		return err
	}
	if err := find("one", issuerAt("1", "good")); err != nil {
		t.Fatal(err)
	}
	for i := range 20_000 {
		if err := find("other", issuerAt(fmt.Sprint(i), "bad")); !errors.Is(err, accesstoken.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	if n := cache.Sets(); n > 11 {
		t.Errorf("%d sets of two tenants are kept", n)
	}
	if err := find("one", issuerAt("1", "good")); err != nil {
		t.Errorf("a key that was known: %v", err)
	}
}
