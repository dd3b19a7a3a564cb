package fleet

import (
	"bytes"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const secretA = "a secret of at least thirty-two characters"
const secretB = "b secret of at least thirty-two characters"

func newFleet(t *testing.T, secret string, former ...string) *Fleet {
	t.Helper()
	f, err := New(secret, former...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestSecretMustBeLong(t *testing.T) {
	t.Parallel()
	if _, err := New(strings.Repeat("x", MinSecretLength-1)); err == nil {
		t.Fatal("a secret of 31 characters was accepted")
	}
	if _, err := New(strings.Repeat("x", MinSecretLength)); err != nil {
		t.Fatalf("a secret of 32 characters was refused: %v", err)
	}
}

func TestKeysDependOnSecretAndPurpose(t *testing.T) {
	t.Parallel()
	a, again, b := newFleet(t, secretA), newFleet(t, secretA), newFleet(t, secretB)
	key := func(f *Fleet, purpose string) []byte { return f.Keys(purpose)[0] }
	if len(key(a, "x")) != KeySize {
		t.Fatalf("key has %d bytes", len(key(a, "x")))
	}
	if !bytes.Equal(key(a, "x"), key(again, "x")) {
		t.Fatal("two processes with one secret derive different keys")
	}
	if bytes.Equal(key(a, "x"), key(a, "y")) || bytes.Equal(key(a, "x"), key(b, "x")) {
		t.Fatal("keys don't depend on purpose and secret")
	}
	if both := newFleet(t, secretA, secretB).Keys("x"); len(both) != 2 || !bytes.Equal(both[0], key(a, "x")) || !bytes.Equal(both[1], key(b, "x")) {
		t.Fatal("of two secrets the present one's key isn't the first")
	}
}

func TestOpenOnlyWhatTheFleetSealed(t *testing.T) {
	t.Parallel()
	a, b := newFleet(t, secretA), newFleet(t, secretB)
	sealed := a.Seal("documents", []byte("tenant-1"), []byte("contents"))
	flipped := bytes.Clone(sealed)
	flipped[len(flipped)-1] ^= 1
	older := bytes.Clone(sealed)
	older[0] = 0
	for _, row := range []struct {
		name    string
		fleet   *Fleet
		purpose string
		aad     string
		data    []byte
		ok      bool
	}{
		{"same_secret_purpose_and_scope", newFleet(t, secretA), "documents", "tenant-1", sealed, true},
		{"other_secret", b, "documents", "tenant-1", sealed, false},
		{"other_purpose", a, "tokens", "tenant-1", sealed, false},
		{"other_scope", a, "documents", "tenant-2", sealed, false},
		{"changed_byte", a, "documents", "tenant-1", flipped, false},
		{"cut_short", a, "documents", "tenant-1", sealed[:10], false},
		{"empty", a, "documents", "tenant-1", nil, false},
		{"unknown_version", a, "documents", "tenant-1", older, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got, err := row.fleet.Open(row.purpose, []byte(row.aad), row.data)
			if row.ok && (err != nil || string(got) != "contents") {
				t.Fatalf("got %q, %v", got, err)
			}
			if !row.ok && !errors.Is(err, ErrUnsealable) {
				t.Fatalf("got %q, %v; want ErrUnsealable", got, err)
			}
		})
	}
}

func serve(t *testing.T, f *Fleet) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.TLS.PeerCertificates[0].Subject.CommonName)
	}))
	s.Config.ErrorLog = nil
	s.TLS = f.ServerTLS("edge")
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

func get(t *testing.T, f *Fleet, url string) (string, error) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: f.ClientTLS()}
	t.Cleanup(transport.CloseIdleConnections)
	res, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Get(url)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return string(body), err
}

func TestMembersTalk(t *testing.T) {
	t.Parallel()
	got, err := get(t, newFleet(t, secretA), serve(t, newFleet(t, secretA)))
	if err != nil || got != "client" {
		t.Fatalf("got %q, %v", got, err)
	}
}

// A secret is exchanged in three steps, and at each of them the members of two
// neighbouring ones talk and read each other.
func TestMembersTalkWhileTheSecretIsExchanged(t *testing.T) {
	t.Parallel()
	steps := []func() *Fleet{
		func() *Fleet { return newFleet(t, secretA) }, func() *Fleet { return newFleet(t, secretA, secretB) },
		func() *Fleet { return newFleet(t, secretB, secretA) }, func() *Fleet { return newFleet(t, secretB) },
	}
	for i, from := range steps {
		for j, to := range steps {
			got, err := get(t, from(), serve(t, to()))
			_, unread := to().Open("documents", nil, from().Seal("documents", nil, []byte("x")))
			if near := i-j <= 1 && j-i <= 1; near != (err == nil && got == "client" && unread == nil) && near {
				t.Errorf("step %d with step %d: %q, %v, %v", i, j, got, err, unread)
			}
		}
	}
	if _, err := get(t, steps[0](), serve(t, steps[3]())); err == nil {
		t.Error("the first secret still opens what has the last alone")
	}
	if _, err := New(secretA, "short"); err == nil {
		t.Error("a former secret that is too short is taken")
	}
}

func TestClientRefusesServerOfAnotherFleet(t *testing.T) {
	t.Parallel()
	_, err := get(t, newFleet(t, secretA), serve(t, newFleet(t, secretB)))
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &unknown) {
		t.Fatalf("got %v, want an unknown authority", err)
	}
}

func TestServerRefusesClientsThatAreNoMembers(t *testing.T) {
	t.Parallel()
	server := newFleet(t, secretA)
	url := serve(t, server)
	stranger := newFleet(t, secretB).ClientTLS()
	stranger.RootCAs = server.trusted // trusts the server, is not trusted by it
	bare := server.ClientTLS()
	bare.GetClientCertificate = nil
	for name, conf := range map[string]*http.Transport{
		"certificate_of_another_fleet": {TLSClientConfig: stranger},
		"no_certificate":               {TLSClientConfig: bare},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := (&http.Client{Transport: conf, Timeout: 10 * time.Second}).Get(url)
			if err == nil {
				res.Body.Close()
				t.Fatalf("got status %d, want a refused handshake", res.StatusCode)
			}
			if !strings.Contains(err.Error(), "tls: ") {
				t.Fatalf("got %v, want a TLS alert", err)
			}
		})
	}
}

func TestCertificateIsRenewedAtHalfItsLife(t *testing.T) {
	t.Parallel()
	now := time.Now()
	id := &identity{ca: newFleet(t, secretA).ca, name: "edge", now: func() time.Time { return now }}
	first, err := id.certificate()
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(certificateLife/2 - time.Second)
	if same, _ := id.certificate(); same != first {
		t.Fatal("renewed before half of its life")
	}
	now = now.Add(2 * time.Second)
	second, err := id.certificate()
	if err != nil || second == first {
		t.Fatalf("not renewed after half of its life (%v)", err)
	}
	if second.Leaf.NotAfter.Before(now.Add(certificateLife / 2)) {
		t.Fatal("the renewed certificate ends too soon")
	}
}

// Of two members, one may be five minutes ahead of the time and the other five behind.
func TestCertificate_is_good_for_members_whose_clocks_are_apart(t *testing.T) {
	t.Parallel()
	members := newFleet(t, secretA)
	at := time.Now()
	const off = 5 * time.Minute
	for _, maker := range []time.Duration{-off, 0, off} {
		c, err := members.ca.issue("edge", at.Add(maker))
		if err != nil {
			t.Fatal(err)
		}
		for _, reader := range []time.Duration{-off, 0, off} {
			for _, later := range []time.Duration{0, certificateLife / 2} {
				if _, err := c.Leaf.Verify(x509.VerifyOptions{Roots: members.trusted, DNSName: memberName, CurrentTime: at.Add(reader + later)}); err != nil {
					t.Errorf("made %v off, looked at %v off after %v: %v", maker, reader, later, err)
				}
			}
		}
	}
}
