package api

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/signalbox/signalbox/internal/embedded"
	"github.com/signalbox/signalbox/internal/testenv"
)

// startIssuer runs an OpenID provider as a process of its own.
func startIssuer(t *testing.T, redirect string) (issuer string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "issuer")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	build.Dir = filepath.Join("testdata", "issuer")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the issuer: %v: %s", err, out)
	}
	ctx, cancel := context.WithCancel(context.Background())
	process := exec.CommandContext(ctx, program, redirect)
	out, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = process.Wait() // killed
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the issuer doesn't serve: %v", err)
	}
	return strings.TrimSpace(line)
}

// person is a browser that the console runs in.
type person struct {
	t    *testing.T
	api  string
	http *http.Client
}

func newPerson(t *testing.T, api string) *person {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &person{t: t, api: api, http: &http.Client{Jar: jar, Timeout: bound}}
}

// get follows redirects until one leads to the console's own pages, whose path and
// query it returns, or to an answer, whose text it returns.
func (p *person) get(address string) (path, text string) {
	p.t.Helper()
	p.http.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), p.api) && r.URL.Path != "/v1/oidc/callback" {
			path = r.URL.RequestURI()
			return http.ErrUseLastResponse
		}
		return nil
	}
	res, err := p.http.Get(address)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return path, string(all)
}

var requestID = regexp.MustCompile(`name="id" value="([^"]+)"`)

// authorize signs in at the provider and returns where its answer would lead.
func (p *person) authorize(to, user string) *url.URL {
	p.t.Helper()
	_, form := p.get(to)
	id := requestID.FindStringSubmatch(form)
	if id == nil {
		p.t.Fatalf("the provider shows no form: %s", form)
	}
	at, err := url.Parse(to)
	if err != nil {
		p.t.Fatal(err)
	}
	var back *url.URL
	p.http.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if r.URL.Path == "/v1/oidc/callback" {
			back = r.URL
			return http.ErrUseLastResponse
		}
		return nil
	}
	res, err := p.http.PostForm(at.Scheme+"://"+at.Host+"/login/username", url.Values{"id": {id[1]}, "username": {user}, "password": {"verysecure"}})
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	if back == nil {
		all, _ := io.ReadAll(res.Body)
		p.t.Fatalf("the provider does not send the browser back: %d %s", res.StatusCode, all)
	}
	return back
}

// begin asks the api where to go.
func (p *person) begin(path string, in any) string {
	p.t.Helper()
	status, answer := post(p.t, p.http, p.api+path, in)
	to, ok := answer["url"].(string)
	if status != http.StatusOK || !ok {
		p.t.Fatalf("%s answered %d: %v", path, status, answer)
	}
	return to
}

// signIn goes the whole way and returns where it leads to.
func (p *person) signIn(user string) string {
	p.t.Helper()
	path, _ := p.get(p.authorize(p.begin("/v1/session/oidc", map[string]any{"next": "/members"}), user).String())
	return path
}

// email is that of whoever is signed in; "" = nobody.
func (p *person) email() string {
	p.t.Helper()
	res, err := p.http.Get(p.api + "/v1/session")
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	all, _ := io.ReadAll(res.Body)
	_, rest, _ := strings.Cut(string(all), `"email":"`)
	email, _, _ := strings.Cut(rest, `"`)
	return email
}

func TestOpenID_signs_in_with_a_real_provider(t *testing.T) {
	t.Parallel()
	c := testConfig(t, testenv.Postgres(t), testenv.Redis(t))
	c.Addr = freeAddr(t)
	c.ConsoleURL = "http://" + c.Addr
	c.OIDCIssuer, c.OIDCClientID, c.OIDCClientSecret, c.OIDCName = startIssuer(t, c.ConsoleURL+"/v1/oidc/callback"), "web", "secret", "Test"
	r := start(t, c)

	ada := newPerson(t, r.url)
	if got := ada.signIn("ada@example.com"); got != "/members" || ada.email() != "ada@example.com" {
		t.Fatalf("a new person was led to %s, as %q", got, ada.email())
	}
	again := newPerson(t, r.url)
	if got := again.signIn("ada@example.com"); got != "/members" || again.email() != "ada@example.com" {
		t.Errorf("the second time led to %s, as %q", got, again.email())
	}
	var users int
	if err := r.app.core.pool.QueryRow(t.Context(), "SELECT count(*) FROM users").Scan(&users); err != nil || users != 1 {
		t.Errorf("%d users, %v", users, err)
	}
	// Nothing is linked by an address that the provider, or we, have not verified.
	signUp := func(email string) *person {
		p := newPerson(t, r.url)
		if status, answer := post(t, p.http, r.url+"/v1/signup", map[string]string{"email": email, "password": "correct horse"}); status != http.StatusCreated {
			t.Fatalf("sign-up answered %d: %v", status, answer)
		}
		return p
	}
	bob := signUp("bob@example.com")
	for user, want := range map[string]string{
		"unverified-ada@example.com": "/sign-in?error=provider_email_unverified",
		"unverified-eve@example.com": "/sign-in?error=provider_email_unverified",
		"bob@example.com":            "/sign-in?error=link_first",
	} {
		p := newPerson(t, r.url)
		if got := p.signIn(user); got != want || p.email() != "" {
			t.Errorf("%s was led to %s, as %q; want %s", user, got, p.email(), want)
		}
	}
	// Whoever has the password links it, whatever its address.
	if status, _ := post(t, bob.http, r.url+"/v1/user/identities", map[string]any{"password": "wrong horse!"}); status != http.StatusBadRequest {
		t.Errorf("linking with a wrong password answered %d", status)
	}
	to := bob.begin("/v1/user/identities", map[string]any{"password": "correct horse"})
	if path, _ := bob.get(bob.authorize(to, "unverified-bob@work.example").String()); path != "/security" {
		t.Errorf("linking led to %s", path)
	}
	linked := newPerson(t, r.url)
	if linked.signIn("unverified-bob@work.example"); linked.email() != "bob@example.com" {
		t.Errorf("the linked identity signs in as %q", linked.email())
	}
	// One identity has one user.
	to = bob.begin("/v1/user/identities", map[string]any{"password": "correct horse"})
	if path, _ := bob.get(bob.authorize(to, "ada@example.com").String()); path != "/security?error=identity_taken" {
		t.Errorf("linking another's identity led to %s", path)
	}
	if _, err := r.app.core.pool.Exec(t.Context(), "UPDATE users SET email_verified_at = now()"); err != nil {
		t.Fatal(err)
	}
	if got := newPerson(t, r.url).signIn("bob@example.com"); got != "/members" {
		t.Errorf("an address that both have verified was led to %s", got)
	}
	for action, want := range map[string]int{"identity.linked": 3} {
		var n int
		if err := r.app.core.pool.QueryRow(t.Context(), "SELECT count(*) FROM audit_events WHERE action = $1 AND ip = '127.0.0.1'", action).Scan(&n); err != nil || n != want {
			t.Errorf("%s is audited %d times, %v; want %d", action, n, err, want)
		}
	}
}

// SEC-36, SEC-37: an answer of the provider is good for the browser that began, for
// what it began, once.
func TestOpenID_answers_belong_to_one_attempt_of_one_browser(t *testing.T) {
	t.Parallel()
	c := testConfig(t, testenv.Postgres(t), testenv.Redis(t))
	c.Addr = freeAddr(t)
	c.ConsoleURL = "http://" + c.Addr
	c.OIDCIssuer, c.OIDCClientID, c.OIDCClientSecret = startIssuer(t, c.ConsoleURL+"/v1/oidc/callback"), "web", "secret"
	r := start(t, c)
	const refused = "/sign-in?error=provider_refused"
	mallory, victim := newPerson(t, r.url), newPerson(t, r.url)
	stolen := mallory.authorize(mallory.begin("/v1/session/oidc", map[string]any{}), "mallory@example.com").String()
	if path, _ := victim.get(stolen); path != refused || victim.email() != "" {
		t.Errorf("another browser's answer led to %s, as %q", path, victim.email())
	}
	victim.begin("/v1/session/oidc", map[string]any{})
	if path, _ := victim.get(stolen); path != refused || victim.email() != "" {
		t.Errorf("another attempt's answer led to %s, as %q", path, victim.email())
	}
	planted := mallory.authorize(mallory.begin("/v1/session/oidc", map[string]any{}), "mallory@example.com")
	own, err := url.Parse(victim.begin("/v1/session/oidc", map[string]any{}))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"state", "nonce", "code_challenge"} {
		if len(own.Query().Get(name)) < 20 {
			t.Errorf("%s is %q", name, own.Query().Get(name))
		}
	}
	if own.Query().Get("code_challenge_method") != "S256" {
		t.Errorf("asked with %s", own.RawQuery)
	}
	// The victim's state with mallory's code: the verifier of PKCE doesn't fit.
	q := planted.Query()
	q.Set("state", own.Query().Get("state"))
	planted.RawQuery = q.Encode()
	if path, _ := victim.get(planted.String()); path != refused || victim.email() != "" {
		t.Errorf("a planted code led to %s, as %q", path, victim.email())
	}
	once := mallory.authorize(mallory.begin("/v1/session/oidc", map[string]any{"next": "/x"}), "mallory@example.com").String()
	if path, _ := mallory.get(once); path != "/x" {
		t.Errorf("the first use led to %s", path)
	}
	if path, _ := mallory.get(once); path != refused {
		t.Errorf("the second use led to %s", path)
	}
	// SEC-35: where it leads on to is a path of the console.
	for _, next := range []string{"//evil.example", "https://evil.example", `/\evil.example`, "javascript:alert(1)"} {
		if status, _ := post(t, mallory.http, r.url+"/v1/session/oidc", map[string]any{"next": next}); status != http.StatusBadRequest {
			t.Errorf("next %q answered %d", next, status)
		}
	}
}

// freeAddr is an address that the api's own URL can be made of before it listens.
func freeAddr(t *testing.T) string {
	t.Helper()
	port, err := embedded.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}
