package accesstoken

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/signalbox/signalbox/tenants"
)

var (
	now  = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	keys = []tenants.DocKey{
		{ID: "key-1", Slot: tenants.Primary, Secret: "primary-secret-of-tenant-a-0123456789abcdef"},
		{ID: "key-2", Slot: tenants.Secondary, Secret: "secondary-secret-of-tenant-a-0123456789abc"},
	}
	stranger = []byte("primary-secret-of-tenant-b-0123456789abcdef")
	toChat   = Target{Kind: Client, Hosts: []string{"acme.example.com", "localhost:8888"}, Slug: "acme", Hub: "chat"}
	toSend   = Target{Kind: REST, Hosts: toChat.Hosts, Slug: "acme", Path: "/api/v1/hubs/chat/groups/a%2Fb"}
)

// good returns the claims of an acceptable client token with changes applied;
// a nil value removes a claim.
func good(changes jwt.MapClaims) jwt.MapClaims {
	c := jwt.MapClaims{
		"aud": "http://localhost/client/?hub=chat",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"nameid": "ann",
	}
	for k, v := range changes {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	return c
}

func sign(t testing.TB, method jwt.SigningMethod, key any, claims jwt.Claims, header map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	for k, v := range header {
		token.Header[k] = v
	}
	s, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func hs256(t testing.TB, claims jwt.MapClaims) string {
	t.Helper()
	return sign(t, jwt.SigningMethodHS256, []byte(keys[0].Secret), claims, nil)
}

// raw signs header and payload as they are, however odd.
func raw(t testing.TB, header, payload string) string {
	t.Helper()
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	sig, err := jwt.SigningMethodHS256.Sign(text, []byte(keys[0].Secret))
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func payload(t testing.TB, claims jwt.MapClaims) string {
	t.Helper()
	b, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSignatures(t *testing.T) {
	t.Parallel()
	secret := []byte(keys[0].Secret)
	for _, row := range []struct {
		name, token, keyID string
	}{
		{"primary_hs256", hs256(t, good(nil)), "key-1"},
		{"primary_hs512", sign(t, jwt.SigningMethodHS512, secret, good(nil), nil), "key-1"},
		{"secondary", sign(t, jwt.SigningMethodHS256, []byte(keys[1].Secret), good(nil), nil), "key-2"},
		{"kid_of_the_dotnet_sdk", sign(t, jwt.SigningMethodHS256, secret, good(nil), map[string]any{"kid": "-1234567890"}), "key-1"},
		{"kid_of_the_other_key_does_not_matter", sign(t, jwt.SigningMethodHS256, secret, good(nil), map[string]any{"kid": "key-2"}), "key-1"},
		{"key_of_another_tenant", sign(t, jwt.SigningMethodHS256, stranger, good(nil), map[string]any{"kid": "key-1"}), ""},
		{"empty_key", sign(t, jwt.SigningMethodHS256, []byte(""), good(nil), nil), ""},
		{"hs384", sign(t, jwt.SigningMethodHS384, secret, good(nil), nil), ""},
		{"none", sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, good(nil), nil), ""},
		{"none_in_odd_case", raw(t, `{"alg":"nOnE","typ":"JWT"}`, payload(t, good(nil))), ""},
		{"rs256_with_the_shared_key", raw(t, `{"alg":"RS256","typ":"JWT"}`, payload(t, good(nil))), ""},
		{"es256", raw(t, `{"alg":"ES256"}`, payload(t, good(nil))), ""},
		{"no_alg", raw(t, `{"typ":"JWT"}`, payload(t, good(nil))), ""},
		{"alg_array", raw(t, `{"alg":["HS256"]}`, payload(t, good(nil))), ""},
		{"alg_twice", raw(t, `{"alg":"none","alg":"HS256"}`, payload(t, good(nil))), ""},
		{"kid_path", sign(t, jwt.SigningMethodHS256, secret, good(nil), map[string]any{"kid": "../../etc/passwd"}), ""},
		{"kid_sql", sign(t, jwt.SigningMethodHS256, secret, good(nil), map[string]any{"kid": "' OR 1=1--"}), ""},
		{"kid_nul", sign(t, jwt.SigningMethodHS256, secret, good(nil), map[string]any{"kid": "a\x00b"}), ""},
		{"kid_long", sign(t, jwt.SigningMethodHS256, secret, good(nil), map[string]any{"kid": strings.Repeat("k", 1000)}), ""},
		{"kid_url", sign(t, jwt.SigningMethodHS256, secret, good(nil), map[string]any{"kid": "http://evil.example"}), ""},
		{"jku", sign(t, jwt.SigningMethodHS256, secret, good(nil), map[string]any{"jku": "http://evil.example"}), ""},
		{"jwk", sign(t, jwt.SigningMethodHS256, secret, good(nil), map[string]any{"jwk": map[string]any{"kty": "oct"}}), ""},
		{"crit", sign(t, jwt.SigningMethodHS256, secret, good(nil), map[string]any{"crit": []string{"x"}}), ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p, err := Verify(keys, row.token, toChat, now)
			switch {
			case row.keyID == "" && !errors.Is(err, ErrInvalid):
				t.Fatalf("got %v, %v; want ErrInvalid", p, err)
			case row.keyID != "" && err != nil:
				t.Fatal(err)
			case row.keyID != "" && p.KeyID != row.keyID:
				t.Fatalf("signed by %s, want %s", p.KeyID, row.keyID)
			}
		})
	}
}

// SEC-04, SEC-14.
func TestShapes(t *testing.T) {
	t.Parallel()
	fine := hs256(t, good(nil))
	many := good(nil)
	for i := len(many); i <= MaxClaims; i++ {
		many[fmt.Sprintf("c%d", i)] = 1
	}
	enough := good(nil)
	for i := len(enough); i < MaxClaims; i++ {
		enough[fmt.Sprintf("c%d", i)] = 1
	}
	for _, row := range []struct {
		name, token string
		ok          bool
	}{
		{"fine", fine, true},
		{"hundred_claims", hs256(t, enough), true},
		{"hundred_and_one_claims", hs256(t, many), false},
		{"empty", "", false},
		{"dots", strings.Repeat(".", 100_000), false},
		{"longest", hs256(t, padded(t, MaxLength)), true},
		{"too_long", hs256(t, padded(t, MaxLength)) + "A", false},
		{"five_segments", fine + ".a.b", false},
		{"two_segments", fine[:strings.LastIndexByte(fine, '.')], false},
		{"newline", fine + "\n", false},
		{"padding", fine + "=", false},
		{"nested", raw(t, `{"alg":"HS256"}`, strings.Repeat(`[`, 1000)+strings.Repeat(`]`, 1000)), false},
		{"array_payload", raw(t, `{"alg":"HS256"}`, `[]`), false},
		{"null_payload", raw(t, `{"alg":"HS256"}`, `null`), false},
		{"payload_and_more", raw(t, `{"alg":"HS256"}`, payload(t, good(nil))+"{}"), false},
		{"duplicate_claim", raw(t, `{"alg":"HS256"}`, strings.Replace(payload(t, good(nil)), `{`, `{"nameid":"bob",`, 1)), false},
		{"exp_text", hs256(t, good(jwt.MapClaims{"exp": "x"})), false},
		{"exp_null", raw(t, `{"alg":"HS256"}`, `{"aud":"http://localhost/client/?hub=chat","exp":null}`), false},
		{"exp_1e400", raw(t, `{"alg":"HS256"}`, `{"aud":"http://localhost/client/?hub=chat","exp":1e400}`), false},
		{"exp_1e300", raw(t, `{"alg":"HS256"}`, `{"aud":"http://localhost/client/?hub=chat","exp":1e300}`), false},
		{"exp_negative", hs256(t, good(jwt.MapClaims{"exp": -1})), false},
		{"user_is_a_number", hs256(t, good(jwt.MapClaims{"nameid": 7})), false},
		{"user_too_long", hs256(t, good(jwt.MapClaims{"nameid": strings.Repeat("u", MaxUserID+1)})), false},
		{"user_longest", hs256(t, good(jwt.MapClaims{"nameid": strings.Repeat("u", MaxUserID)})), true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			_, err := Verify(keys, row.token, toChat, now)
			if row.ok && err != nil {
				t.Fatal(err)
			}
			if !row.ok && !errors.Is(err, ErrInvalid) {
				t.Fatalf("got %v, want ErrInvalid", err)
			}
		})
	}
}

// padded returns good claims that make a token of n bytes, or just under it
// where base64 leaves no such length.
func padded(t testing.TB, n int) jwt.MapClaims {
	t.Helper()
	c := good(jwt.MapClaims{"pad": ""})
	for size := n * 3 / 4; size > 0; size-- {
		if c["pad"] = strings.Repeat("p", size); len(hs256(t, c)) <= n {
			return c
		}
	}
	t.Fatal("no such token")
	return nil
}

// SEC-08.
func TestTimes(t *testing.T) {
	t.Parallel()
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	for _, row := range []struct {
		name    string
		kind    Kind
		changes jwt.MapClaims
		ok      bool
	}{
		{"no_exp", Client, jwt.MapClaims{"exp": nil}, false},
		{"expired_within_leeway", Client, jwt.MapClaims{"iat": at(-time.Hour), "exp": at(-59 * time.Second)}, true},
		{"expired_beyond_leeway", Client, jwt.MapClaims{"iat": at(-time.Hour), "exp": at(-61 * time.Second)}, false},
		{"not_yet_within_leeway", Client, jwt.MapClaims{"nbf": at(59 * time.Second)}, true},
		{"not_yet_beyond_leeway", Client, jwt.MapClaims{"nbf": at(61 * time.Second)}, false},
		{"issued_in_an_hour", Client, jwt.MapClaims{"iat": at(time.Hour), "nbf": nil, "exp": at(2 * time.Hour)}, false},
		{"client_lives_a_day", Client, jwt.MapClaims{"exp": at(24 * time.Hour)}, true},
		{"client_lives_longer", Client, jwt.MapClaims{"exp": at(24*time.Hour + time.Second)}, false},
		{"client_lives_ten_years", Client, jwt.MapClaims{"exp": at(87600 * time.Hour)}, false},
		{"counted_from_nbf_without_iat", Client, jwt.MapClaims{"iat": nil, "nbf": at(-25 * time.Hour), "exp": at(time.Minute)}, false},
		{"counted_from_now_without_both", Client, jwt.MapClaims{"iat": nil, "nbf": nil, "exp": at(24 * time.Hour)}, true},
		{"ten_years_without_both", Client, jwt.MapClaims{"iat": nil, "nbf": nil, "exp": at(87600 * time.Hour)}, false},
		{"rest_lives_an_hour", REST, jwt.MapClaims{"exp": at(time.Hour)}, true},
		{"rest_lives_longer", REST, jwt.MapClaims{"exp": at(time.Hour + time.Second)}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			claims, target := good(row.changes), toChat
			if row.kind == REST {
				claims["aud"], target = "http://localhost"+toSend.Path, toSend
			}
			_, err := Verify(keys, hs256(t, claims), target, now)
			if row.ok && err != nil {
				t.Fatal(err)
			}
			if !row.ok && !errors.Is(err, ErrInvalid) {
				t.Fatalf("got %v, want ErrInvalid", err)
			}
		})
	}
}

func TestPlainKeys(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, bearer, keyID string
	}{
		{"primary", keys[0].Secret, "key-1"},
		{"secondary", keys[1].Secret, "key-2"},
		{"cut_short", keys[0].Secret[:len(keys[0].Secret)-1], ""},
		{"of_another_tenant", string(stranger), ""},
		{"empty", "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			withEmpty := append([]tenants.DocKey{{ID: "key-0"}}, keys...)
			id, ok := CheckKey(withEmpty, row.bearer)
			if id != row.keyID || ok != (row.keyID != "") {
				t.Fatalf("got %q, %v; want %q", id, ok, row.keyID)
			}
		})
	}
}

// SEC-14: whose token it is, however often it says so.
func TestPrincipal(t *testing.T) {
	t.Parallel()
	exp := now.Add(time.Hour)
	for _, row := range []struct {
		name    string
		changes jwt.MapClaims
		check   func(*Principal) bool
	}{
		{"uid_wins", jwt.MapClaims{"asrs.s.uid": "uid", "sub": "sub"}, func(p *Principal) bool { return p.UserID == "uid" }},
		{"nameid_before_sub", jwt.MapClaims{"sub": "sub"}, func(p *Principal) bool { return p.UserID == "ann" }},
		{"sub_last", jwt.MapClaims{"nameid": nil, "sub": "sub"}, func(p *Principal) bool { return p.UserID == "sub" }},
		{"first_of_several", jwt.MapClaims{"nameid": []string{"one", "two"}}, func(p *Principal) bool { return p.UserID == "one" }},
		{"reserved_claims_of_nobody", jwt.MapClaims{"asrs.s.role": "admin", "asrs.s.user": "bob", "asrs.u.nameid": "bob", "asrs.x": 1}, func(p *Principal) bool { return p.UserID == "ann" }},
		{"anonymous", jwt.MapClaims{"nameid": nil}, func(p *Principal) bool { return p.UserID == "" }},
		{"transports", jwt.MapClaims{"asrs.s.htt": "5"}, func(p *Principal) bool { return p.Transports == 5 }},
		{"transports_of_nonsense", jwt.MapClaims{"asrs.s.htt": "x"}, func(p *Principal) bool { return p.Transports == 0 }},
		{"outlives_its_token", nil, func(p *Principal) bool { return p.CloseAt.IsZero() && p.ExpiresAt.Equal(exp) }},
		{"close_on_expiry", jwt.MapClaims{"asrs.s.coae": "true"}, func(p *Principal) bool { return p.CloseAt.Equal(exp) }},
		{"close_at_a_time", jwt.MapClaims{"asrs.s.coae": "true", "asrs.s.aeo": fmt.Sprint(now.Add(time.Minute).Unix())}, func(p *Principal) bool { return p.CloseAt.Equal(now.Add(time.Minute)) }},
		{"poll_timeout", jwt.MapClaims{"asrs.s.ttl": "7"}, func(p *Principal) bool { return p.PollTimeout == 7*time.Second }},
		{"poll_timeout_out_of_range", jwt.MapClaims{"asrs.s.ttl": "301"}, func(p *Principal) bool { return p.PollTimeout == 0 }},
		{"handshake_timeout", jwt.MapClaims{"asrs.s.cht": "30"}, func(p *Principal) bool { return p.HandshakeTimeout == 30*time.Second }},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p, err := Verify(keys, hs256(t, good(row.changes)), toChat, now)
			if err != nil {
				t.Fatal(err)
			}
			if !row.check(p) {
				t.Fatalf("got %+v", p)
			}
		})
	}
}

// FuzzToken looks for panics, and for tokens that pass without a signature by
// one of the keys.
func FuzzToken(f *testing.F) {
	fine := hs256(f, good(nil))
	f.Add(fine)
	f.Add(sign(f, jwt.SigningMethodHS256, stranger, good(nil), nil))
	f.Add(raw(f, `{"alg":"none"}`, payload(f, good(nil))))
	f.Add(raw(f, `{"alg":"HS256","alg":"none"}`, `{}`))
	f.Add(raw(f, `{"alg":"HS256"}`, `{"aud":[1,{}],"exp":{}}`))
	f.Add("..")
	f.Add("")
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := Verify(keys[1:], token, toChat, now); err == nil {
			t.Fatalf("accepted %q, which the secondary key did not sign", token)
		}
		for _, target := range []Target{toChat, toSend, {}} {
			_, err := Verify(keys, token, target, now)
			if err != nil && !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrWrongKind) {
				t.Fatalf("unexpected kind of error %v", err)
			}
		}
	})
}

func TestLapsed(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	for _, row := range []struct {
		claims string
		want   bool
	}{
		{fmt.Sprintf(`{"exp":%d}`, now.Unix()-61), true}, {fmt.Sprintf(`{"exp":%d}`, now.Unix()-60), false}, {fmt.Sprintf(`{"exp":%d}`, now.Unix()+60), false},
		{`{}`, false}, {`{"exp":null}`, false}, {`{"exp":1e400}`, false}, {`{"exp":[1]}`, false}, {`{"exp":1,"exp":2}`, false},
	} {
		token := "e30." + base64.RawURLEncoding.EncodeToString([]byte(row.claims)) + ".x"
		if at, ok := Lapsed(token, now); ok != row.want || ok && at.Unix() != now.Unix()-61 {
			t.Errorf("%s: %v %v, want %v", row.claims, at, ok, row.want)
		}
	}
}
