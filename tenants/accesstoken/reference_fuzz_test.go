package accesstoken

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"runtime"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/signalbox/signalbox/tenants"
)

// costs fails when f allocates more than 64 KiB, which a token may cost before it is
// refused or accepted.
func costs(t *testing.T, f func() error) error {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := f()
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 64<<10 {
		t.Errorf("a token cost %d bytes", used)
	}
	return err
}

// signed is a token of these segments.
func signed(method jwt.SigningMethod, key any, header, claims []byte) string {
	content := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(claims)
	signature, err := method.Sign(content, key)
	if err != nil {
		panic(err)
	}
	return content + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// reference judges by the library alone.
func reference(token string, key any, options ...jwt.ParserOption) error {
	options = append(options, jwt.WithStrictDecoding(), jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(Leeway), jwt.WithTimeFunc(func() time.Time { return now }))
	_, err := jwt.NewParser(options...).Parse(token, func(*jwt.Token) (any, error) { return key, nil })
	return err
}

func headersAndClaims(f *testing.F, algorithm string, claims []byte) {
	for _, header := range []string{
		`{"alg":"` + algorithm + `","typ":"JWT"}`, `{"alg":"` + algorithm + `","kid":"k1"}`, `{"alg":"none"}`, `{"alg":"` + algorithm + `","alg":"none"}`,
		`{"alg":["` + algorithm + `"]}`, `{"alg":"` + algorithm + `","crit":["exp"]}`, `{"alg":"` + algorithm + `","jwk":{}}`, `{"alg":"RS256"}`, `{}`, ``, `{"alg":"` + algorithm + `"} `,
	} {
		f.Add([]byte(header), claims, true)
	}
	for _, c := range []string{`{}`, `{"exp":"x"}`, `{"exp":1e400}`, `{"exp":-1}`, `{"exp":null}`, `{"aud":[1],"exp":1}`, `{"aud":{},"exp":1}`, `[`, `{"exp":1,"exp":99999999999}`, "{\"\xff\":1}"} {
		f.Add([]byte(`{"alg":"`+algorithm+`"}`), []byte(c), false)
	}
}

// FuzzJWT holds that no token is accepted that the library, on its own and strict,
// refuses with the tenant's key, whatever is signed; and that none costs much.
func FuzzJWT(f *testing.F) {
	headersAndClaims(f, "HS256", []byte(payload(f, good(nil))))
	f.Fuzz(func(t *testing.T, header, claims []byte, ours bool) {
		key := []byte(keys[0].Secret)
		if !ours {
			key = stranger
		}
		token := signed(jwt.SigningMethodHS256, key, header, claims)
		for _, target := range []Target{toChat, toSend} {
			if costs(t, func() error { _, err := Verify(keys, token, target, now); return err }) != nil {
				continue
			}
			if err := reference(token, []byte(keys[0].Secret), jwt.WithValidMethods([]string{"HS256", "HS512"})); err != nil || !ours {
				t.Errorf("accepted %q, which the library refuses: %v", token, err)
			}
		}
	})
}

// oneKey is an issuer's only key.
type oneKey ed25519.PublicKey

func (k oneKey) Find(_ context.Context, _ tenants.ID, _ tenants.Issuer, id string, a tenants.Algorithm) (crypto.PublicKey, string, error) {
	if id != "" && id != "k1" || a != tenants.EdDSA {
		return nil, "", ErrNoKey
	}
	return ed25519.PublicKey(k), "k1", nil
}

// FuzzIssuedJWT does the same for the tokens of issuers, whose iss and aud the
// library is told to check as well.
func FuzzIssuedJWT(f *testing.F) {
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	public, _ := private.Public().(ed25519.PublicKey)
	_, other, err := ed25519.GenerateKey(nil)
	if err != nil {
		f.Fatal(err)
	}
	doc := &tenants.Document{ID: "01TENANT", Issuers: []tenants.Issuer{{ID: "i", IssuerSettings: tenants.IssuerSettings{
		Issuer: "https://id.example.com", JWKSURL: "https://id.example.com/keys", Audiences: []string{"signalbox"},
	}}}}
	fine := payload(f, good(jwt.MapClaims{"iss": "https://id.example.com", "aud": "signalbox", "sub": "ann"}))
	token := signed(jwt.SigningMethodEdDSA, private, []byte(`{"alg":"EdDSA"}`), []byte(fine))
	if _, err := VerifyIssued(context.Background(), doc, oneKey(public), token, toChat, now); err != nil {
		f.Fatalf("a good token is refused: %v", err)
	}
	headersAndClaims(f, "EdDSA", []byte(fine))
	f.Fuzz(func(t *testing.T, header, claims []byte, ours bool) {
		key := private
		if !ours {
			key = other
		}
		token := signed(jwt.SigningMethodEdDSA, key, header, claims)
		if costs(t, func() error {
			_, err := VerifyIssued(t.Context(), doc, oneKey(public), token, toChat, now)
			return err
		}) != nil {
			return
		}
		if err := reference(token, public, jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithIssuer("https://id.example.com"), jwt.WithAudience("signalbox")); err != nil || !ours {
			t.Errorf("accepted %q, which the library refuses: %v", token, err)
		}
	})
}
