package edge

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/accesstoken"
)

// negotiates tells how an edge answers a client's token.
func (c *cluster) negotiates(edge int, d *tenants.Document, token string) int {
	c.t.Helper()
	res, _ := c.do(http.MethodPost, c.base(edge, d.Slug)+"/client/negotiate?hub=chat", token, "", nil)
	return res.StatusCode
}

// closes waits until each client is closed for good with the reason, and returns
// how long the last one took.
func closes(clients []*client, reason string) time.Duration {
	began := time.Now()
	for _, k := range clients {
		k.wantClose(reason, false)
	}
	return time.Since(began)
}

func revoked(kind tenants.RevocationKind, value string, before time.Time) tenants.DocRevocation {
	return tenants.DocRevocation{Kind: kind, Value: value, Before: before.Unix()}
}

// Tokens are revoked by their id, their user and their key: on live connections
// of every edge, and whenever they are shown again.
func TestRevocationsOverThreeEdges(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		kind  tenants.RevocationKind
		value func(m accesstoken.Minted) string
	}{
		{tenants.RevokedToken, func(m accesstoken.Minted) string { return m.ID }},
		{tenants.RevokedUser, func(accesstoken.Minted) string { return "ann" }},
		{tenants.RevokedKey, func(accesstoken.Minted) string { return "demo-1" }},
	} {
		t.Run(string(row.kind), func(t *testing.T) {
			t.Parallel()
			demo, other := document("demo", 1), document("other", 1)
			other.Keys = demo.Keys // ids of another tenant mean nothing
			c := startEdges(t, 3, demo, other)
			token := mintClient(t, demo, accesstoken.ClientOptions{UserID: "ann"})
			var live, kept []*client
			for edge := range c.edges {
				live = append(live, c.with(edge, demo, token.Token), c.with(edge, demo, token.Token))
				others := clientJWT(t, demo, 1, "chat", "bob")
				kept = append(kept, c.with(edge, demo, others), c.with(edge, other, mintClient(t, other, accesstoken.ClientOptions{UserID: "ann"}).Token))
			}
			now := time.Now()
			after := document("demo", 2)
			after.Revocations = []tenants.DocRevocation{revoked(row.kind, row.value(token), now)}
			c.publish(after)
			t.Logf("the last of %d connections on three edges was closed after %s", len(live), closes(live, reasonTokenRevoked))
			for edge := range c.edges {
				if status := c.negotiates(edge, demo, token.Token); status != http.StatusUnauthorized {
					t.Errorf("edge %d answers the token with %d", edge, status)
				}
				if status := c.negotiates(edge, other, mintClient(t, other, accesstoken.ClientOptions{UserID: "ann"}).Token); status != http.StatusOK {
					t.Errorf("edge %d answers another tenant's token with %d", edge, status)
				}
			}
			// A live connection can't be refreshed with such a token either.
			if row.kind == tenants.RevokedToken {
				bob := mintClient(t, demo, accesstoken.ClientOptions{UserID: "ann"})
				k := c.with(0, demo, bob.Token)
				k.refused("token_revoked", "$refreshToken", token.Token)
				k.done("$refreshToken", mintClient(t, demo, accesstoken.ClientOptions{UserID: "ann"}).Token)
			}
			// What is issued later is good, unless the key itself is revoked.
			later, err := accesstoken.MintClient(demo.Keys[0], "http://localhost/t/demo", accesstoken.ClientOptions{Hub: "chat", UserID: "ann"}, now.Add(2*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			still := `{"target":"still","arguments":["here"]}`
			good := demo.Keys[0]
			if row.kind == tenants.RevokedKey {
				if status := c.negotiates(2, demo, later.Token); status != http.StatusUnauthorized {
					t.Errorf("a later token of the revoked key is answered with %d", status)
				}
				res, body := c.do(http.MethodPost, c.base(0, "demo")+"/api/v1/hubs/chat", good.Secret, still, nil)
				if res.StatusCode != http.StatusUnauthorized || res.Header.Get("X-Ms-Error-Code") != "invalid_token" {
					t.Errorf("the revoked key as a bearer is answered with %d %s", res.StatusCode, body)
				}
				good = demo.Keys[1]
				res, body = c.do(http.MethodPost, c.base(1, "demo")+"/api/hubs/chat/:generateToken?api-version=2022-11-01", good.Secret, "", nil)
				var made struct{ Token string }
				if json.Unmarshal([]byte(body), &made) != nil || c.negotiates(1, demo, made.Token) != http.StatusOK {
					t.Errorf("a token made by the REST API isn't good: %d %s", res.StatusCode, body)
				}
			} else {
				kept = append(kept, c.with(2, demo, later.Token))
			}
			for _, d := range []*tenants.Document{demo, other} {
				key := good.Secret
				if d == other {
					key = other.Keys[0].Secret
				}
				if res, body := c.do(http.MethodPost, c.base(0, d.Slug)+"/api/v1/hubs/chat", key, still, nil); res.StatusCode != http.StatusAccepted {
					t.Fatalf("send: %d %s", res.StatusCode, body)
				}
			}
			for _, k := range kept {
				k.want("still", "here")
			}
			// An edge that starts now knows it from the beginning.
			cfg := c.edges[0].cfg
			e, err := New(t.Context(), cfg, c.edges[0].log)
			if err != nil {
				t.Fatal(err)
			}
			ctx, end := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- e.Run(ctx, ctx) }()
			t.Cleanup(func() { end(); <-done })
			c.edges = append(c.edges, e)
			c.eventually("the new edge is ready", func() bool { return c.status("http://"+e.AdminAddr()+"/readyz") == http.StatusOK })
			if status := c.negotiates(3, demo, token.Token); status != http.StatusUnauthorized {
				t.Errorf("a fresh edge answers the token with %d", status)
			}
		})
	}
}

// REST tokens can be revoked too.
func TestRevokedRESTToken(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startCluster(t, demo)
	m, err := accesstoken.MintREST(demo.Keys[0], "http://localhost/t/demo", 0, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	send := func() int {
		res, _ := c.do(http.MethodPost, c.base(1, "demo")+"/api/v1/hubs/chat", m.Token, `{"target":"t"}`, nil)
		return res.StatusCode
	}
	if status := send(); status != http.StatusAccepted {
		t.Fatalf("before: %d", status)
	}
	after := document("demo", 2)
	after.Revocations = []tenants.DocRevocation{revoked(tenants.RevokedToken, m.ID, time.Now())}
	c.publish(after)
	c.eventually("the token is refused", func() bool { return send() == http.StatusUnauthorized })
}

// SEC-16: keys are rotated one after the other under traffic: no token of a key
// that is good is refused at any time, and those of a key that is gone end.
func TestRotationUnderLiveTraffic_SEC16(t *testing.T) {
	t.Parallel()
	demo := document("demo", 1)
	c := startEdges(t, 3, demo)
	secondary := func(d *tenants.Document) string { return clientJWT(t, d, 1, "chat", "ann") }
	var byPrimary, bySecondary []*client
	for edge := range c.edges {
		byPrimary = append(byPrimary, c.connect(edge, demo, "chat", "ann"))
		bySecondary = append(bySecondary, c.with(edge, demo, secondary(demo)))
	}
	// Traffic: with the secondary key until it is regenerated, with the primary
	// one until then, so always with one that is good.
	var current atomic.Pointer[tenants.DocKey]
	current.Store(&demo.Keys[1])
	stop := make(chan struct{})
	var sent, refused atomic.Int32
	var traffic sync.WaitGroup
	for edge := range c.edges {
		traffic.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				key := current.Load()
				res, _ := c.do(http.MethodPost, c.base(edge, "demo")+"/api/v1/hubs/chat/groups/nobody", key.Secret, `{"target":"t"}`, nil)
				sent.Add(1)
				if res.StatusCode == http.StatusUnauthorized && key == current.Load() {
					refused.Add(1)
				}
			}
		})
	}
	rotated := document("demo", 2)
	rotated.Keys[0] = tenants.DocKey{ID: "demo-3", Slot: tenants.Primary, Secret: "the second primary secret 0123456789abcdef"}
	c.publish(rotated)
	t.Logf("primary regenerated: the last of %d connections on three edges was closed after %s", len(byPrimary), closes(byPrimary, reasonRevoked))
	for edge := range c.edges {
		c.eventually("the new primary key is good", func() bool {
			return c.negotiates(edge, rotated, clientJWT(t, rotated, 0, "chat", "ann")) == http.StatusOK
		})
	}
	before := sent.Load()
	c.eventually("traffic goes on", func() bool { return sent.Load() > before+20 })
	current.Store(&rotated.Keys[0])
	again := document("demo", 3)
	again.Keys = slices.Clone(rotated.Keys)
	again.Keys[1] = tenants.DocKey{ID: "demo-4", Slot: tenants.Secondary, Secret: "the second secondary secret 0123456789abcd"}
	c.publish(again)
	t.Logf("secondary regenerated: the last of %d connections was closed after %s", len(bySecondary), closes(bySecondary, reasonRevoked))
	close(stop)
	traffic.Wait()
	if n := refused.Load(); n > 0 {
		t.Errorf("%d of %d requests with a good key were refused", n, sent.Load())
	}
	for edge := range c.edges {
		if status := c.negotiates(edge, again, secondary(demo)); status != http.StatusUnauthorized {
			t.Errorf("edge %d answers a token of the old key with %d", edge, status)
		}
	}
}

// issuer is an identity provider on this machine, with one key.
type issuer struct {
	*httptest.Server
	key  *ecdsa.PrivateKey
	away atomic.Bool
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	i := &issuer{key: key}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if i.away.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]any{
			"kty": "EC", "crv": "P-256", "kid": "k1", "use": "sig", "x": b64(point[1:33]), "y": b64(point[33:]),
		}}})
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) document(slug string, revision int64) *tenants.Document {
	d := document(slug, revision)
	d.Issuers = []tenants.Issuer{{ID: "issuer-1", IssuerSettings: tenants.IssuerSettings{
		Issuer: "https://id.example.com", JWKSURL: i.URL, Audiences: []string{"signalbox"},
	}}}
	return d
}

func (i *issuer) token(t *testing.T, user string) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"iss": "https://id.example.com", "aud": "signalbox", "sub": user, "jti": "issued-" + user, "iat": time.Now().Unix(),
		"exp": time.Now().Add(time.Hour).Unix(), "roles": []string{"member", "webpubsub.joinLeaveGroup"}, "webpubsub.group": []string{"lobby"},
	})
	token.Header["kid"] = "k1"
	s, err := token.SignedString(i.key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestIssuersOfATenant(t *testing.T) {
	t.Parallel()
	provider := newIssuer(t)
	demo, other := provider.document("demo", 1), document("other", 1)
	c := startEdges(t, 3, demo, other)
	token := provider.token(t, "ann")
	var live []*client
	for edge := range c.edges {
		live = append(live, c.with(edge, demo, token))
	}
	if status := c.negotiates(0, other, token); status != http.StatusUnauthorized {
		t.Errorf("another tenant answers the token with %d", status)
	}
	if res, _ := c.do(http.MethodPost, c.base(0, "demo")+"/api/v1/hubs/chat", token, `{"target":"t"}`, nil); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("the REST API answers the token with %d", res.StatusCode)
	}
	c.sendToGroup(0, demo, "lobby", "hello")
	for _, k := range live {
		k.want("news", "hello")
		k.done("$joinGroup", "room")
	}
	// By the id of one token.
	bob := c.with(1, demo, provider.token(t, "bob"))
	after := provider.document("demo", 2)
	after.Revocations = []tenants.DocRevocation{revoked(tenants.RevokedToken, "issued-bob", time.Now())}
	c.publish(after)
	bob.wantClose(reasonTokenRevoked, false)
	// The provider is away: an edge that knows its keys goes on.
	provider.away.Store(true)
	if status := c.negotiates(0, demo, provider.token(t, "cid")); status != http.StatusOK {
		t.Errorf("while the provider is away: %d", status)
	}
	// Without the issuer there is nobody who vouches.
	c.publish(document("demo", 3))
	t.Logf("issuer removed: the last of %d connections on three edges was closed after %s", len(live), closes(live, reasonRevoked))
	for edge := range c.edges {
		if status := c.negotiates(edge, demo, token); status != http.StatusUnauthorized {
			t.Errorf("edge %d answers with %d", edge, status)
		}
	}
	// An issuer whose keys nobody has: come back later.
	c.publish(func() *tenants.Document {
		d := provider.document("demo", 4)
		d.Issuers[0].JWKSURL += "/elsewhere"
		return d
	}())
	c.eventually("the issuer's keys are missing", func() bool { return c.negotiates(0, demo, token) == http.StatusServiceUnavailable })
	if logs := c.logs.String(); strings.Contains(logs, token) {
		t.Error("the logs hold a token")
	}
}

// SEC-02: the tenants share key ids and audiences and nothing else.
func TestTokensAcrossTenants_SEC02(t *testing.T) {
	t.Parallel()
	demo, other := document("demo", 1), document("other", 1)
	other.Keys[0].ID, other.Keys[1].ID = demo.Keys[0].ID, demo.Keys[1].ID
	demo.Hosts, other.Hosts = []string{"a.example.com"}, []string{"b.example.com"}
	c := startCluster(t, demo, other)
	root := "http://" + c.edges[0].Addr() + "/client/negotiate?hub=chat"
	mine := func(d *tenants.Document) string {
		m, err := accesstoken.MintClient(d.Keys[0], "http://localhost", accesstoken.ClientOptions{Hub: "chat", UserID: "ann"}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return m.Token
	}
	byDemo, byOther := mine(demo), mine(other)
	_, unknown := c.do(http.MethodPost, root, "x.y.z", "", hostOf("a.example.com"))
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			rows := []struct {
				host, token string
				status      int
			}{{"a.example.com", byDemo, 200}, {"b.example.com", byOther, 200}, {"a.example.com", byOther, 401}, {"b.example.com", byDemo, 401}}
			if i%2 == 0 {
				slices.Reverse(rows)
			}
			for _, row := range rows {
				res, body := c.do(http.MethodPost, root, row.token, "", hostOf(row.host))
				if res.StatusCode != row.status || row.status == 401 && body != unknown {
					t.Errorf("%s: %d %s, want %d", row.host, res.StatusCode, body, row.status)
				}
			}
		})
	}
	all.Wait()
}
