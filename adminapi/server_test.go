package adminapi_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"github.com/signalbox/signalbox/adminapi"
	"github.com/signalbox/signalbox/billing"
	"github.com/signalbox/signalbox/billing/billingstore"
	"github.com/signalbox/signalbox/internal/outbound"
	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/internal/testenv"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/jwks"
	"github.com/signalbox/signalbox/tenants/tenantstore"
)

// The validator knows no JSON Lines.
func init() {
	openapi3filter.RegisterBodyDecoder("application/jsonl", openapi3filter.RegisteredBodyDecoder("text/plain"))
}

// world is an api over a database of its own. Every answer is checked against
// the document.
type world struct {
	t          *testing.T
	url        string
	pool       *pgxpool.Pool
	service    *tenants.Service
	logs       *lockedBuffer
	published  *publications
	upstreams  *upstreams
	routes     routers.Router
	handler    http.Handler
	stateQuery string
}

// noJobs stands for the queue; publication is watched directly.
type noJobs struct{}

func (noJobs) InsertTx(context.Context, pgx.Tx, river.JobArgs, *river.InsertOpts) error { return nil }

// publications counts the documents handed to the data plane.
type publications struct {
	mu    sync.Mutex
	count map[tenants.ID]int
}

func (p *publications) publish(_ context.Context, id tenants.ID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count[id]++
	return nil
}

func (p *publications) of(id string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count[tenants.ID(id)]
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// settings differ between tests.
type settings struct {
	production        bool
	signUpsPerHour    int
	now               func() time.Time
	outbound          outbound.Policy
	confirmSignUps    bool
	requestsPerMinute int // 0 = as many as a test asks for
	tracer            pgx.QueryTracer
	resolver          tenants.Resolver
	passwordMemory    uint32 // in KiB, of a hash; 0 = little
	database          string // "" = one of its own
}

// thisMachine lets issuers be where tests run them.
var thisMachine = outbound.Policy{Allowed: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}

func sealingKey(b byte) []byte { return bytes.Repeat([]byte{b}, tenants.SealingKeySize) }

func newWorld(t *testing.T, s settings) *world {
	t.Helper()
	if s.database == "" {
		s.database = testenv.Postgres(t)
	}
	pool, err := postgres.Open(t.Context(), s.database, s.tracer)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if s.signUpsPerHour == 0 {
		s.signUpsPerHour = 1000
	}
	w := &world{t: t, pool: pool, logs: new(lockedBuffer), published: &publications{count: make(map[tenants.ID]int)}, upstreams: new(upstreams)}
	logger := slog.New(slog.NewJSONHandler(w.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	sealer, err := tenants.NewSealer(sealingKey(7), sealingKey(8))
	if err != nil {
		t.Fatal(err)
	}
	endpoints, err := tenants.NewEndpoints("http://127.0.0.1:8888")
	if err != nil {
		t.Fatal(err)
	}
	w.service, err = tenants.NewService(tenants.Config{
		Store: tenantstore.New(pool, noJobs{}), Sealer: sealer, Endpoints: endpoints, ConsoleURL: "https://console.example.com",
		Publish: w.published.publish, Outbound: s.outbound, Upstreams: w.upstreams, Deliveries: w.upstreams, SignUpsPerHour: s.signUpsPerHour, ConfirmSignUps: s.confirmSignUps, PasswordMemory: cmp.Or(s.passwordMemory, 64), Resolver: s.resolver, Logger: logger, Now: s.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := jwks.New(jwks.Config{Transport: outbound.NewTransport(outbound.Config{Policy: thisMachine}), Logger: logger, Now: s.now})
	if err != nil {
		t.Fatal(err)
	}
	handler, err := adminapi.New(adminapi.Config{
		Tenants: w.service, Billing: billing.NewService(billingstore.New(pool), s.now),
		Sessions: tenantstore.NewSessions(pool), Keys: keys, Dev: !s.production, Logger: logger, Now: s.now,
		RequestsPerMinute: cmp.Or(s.requestsPerMinute, 1_000_000),
	})
	if err != nil {
		t.Fatal(err)
	}
	spec, err := adminapi.Spec()
	if err != nil {
		t.Fatal(err)
	}
	spec.OpenAPI = "3.0.3" // as in checked
	if w.routes, err = gorillamux.NewRouter(spec); err != nil {
		t.Fatal(err)
	}
	w.handler = handler
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

// client is one browser or program.
type client struct {
	w     *world
	http  *http.Client
	token string // an API token; "" = cookies
}

// browser returns a client that keeps cookies.
func (w *world) browser() *client {
	jar, _ := cookiejar.New(nil)
	return &client{w: w, http: &http.Client{Jar: jar}}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	text   string
	body   map[string]any
}

// at returns a value by its path; "" when there is none.
func (a answer) at(path ...string) string {
	var v any = a.body
	for _, p := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return ""
		}
		v = m[p]
	}
	s, _ := v.(string)
	return s
}

// errorFields lists the fields that a problem names.
func (a answer) errorFields() (fields []string) {
	errs, _ := a.body["errors"].([]any)
	for _, e := range errs {
		fields = append(fields, e.(map[string]any)["field"].(string))
	}
	return fields
}

// call sends a JSON value, or a string as it is; nil sends no body.
func (c *client) call(method, path string, body any, headers ...string) answer {
	c.w.t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		encoded, err := json.Marshal(b)
		if err != nil {
			c.w.t.Fatal(err)
		}
		reader = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(c.w.t.Context(), method, c.w.url+path, reader)
	if err != nil {
		c.w.t.Fatal(err)
	}
	if reader != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := c.http.Do(req)
	if err != nil {
		c.w.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		c.w.t.Fatal(err)
	}
	a := answer{status: res.StatusCode, header: res.Header, text: string(text)}
	_ = json.Unmarshal(text, &a.body)
	c.w.checkAnswer(req, a)
	return a
}

// checkAnswer compares an answer with the document.
func (w *world) checkAnswer(req *http.Request, a answer) {
	w.t.Helper()
	if a.status >= 400 {
		if got := a.header.Get("Content-Type"); got != "application/problem+json" {
			w.t.Errorf("%s %s answered %d as %s: %s", req.Method, req.URL.Path, a.status, got, a.text)
		}
		if a.at("code") == "" || a.at("request_id") == "" || a.at("request_id") != a.header.Get("X-Request-Id") {
			w.t.Errorf("%s %s: the problem lacks code or request id: %s", req.Method, req.URL.Path, a.text)
		}
	}
	route, params, err := w.routes.FindRoute(req)
	if err != nil {
		return // the answer to an unknown address is a problem, as checked above
	}
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route},
		Status:                 a.status, Header: a.header, Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}
	input.SetBodyBytes([]byte(a.text))
	if err := openapi3filter.ValidateResponse(w.t.Context(), input); err != nil {
		w.t.Errorf("%s %s answered %d, which the document does not allow: %v", req.Method, req.URL.Path, a.status, err)
	}
}

const password = "correct horse battery"

// signUp signs a new user up in a new browser and returns the tenant's id.
func (w *world) signUp(email, slug string) (*client, answer) {
	w.t.Helper()
	c := w.browser()
	a := c.call("POST", "/v1/signup", map[string]string{"email": email, "password": password, "tenant_slug": slug})
	if a.status != http.StatusCreated {
		w.t.Fatalf("sign-up answered %d: %s", a.status, a.text)
	}
	w.exec("UPDATE accounts SET max_members = 1000 WHERE id = $1", a.at("account", "id")) // Free has two
	return c, a
}

// exec changes the database behind the service's back.
func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	if _, err := w.pool.Exec(w.t.Context(), sql, args...); err != nil {
		w.t.Fatal(err)
	}
}

// verified marks the address of somebody who signed up as confirmed.
func (w *world) verified(signedUp answer) {
	w.t.Helper()
	w.exec("UPDATE users SET email_verified_at = now() WHERE id = $1", signedUp.at("user", "id"))
}

// systemDocument returns what edges are told of the system's tenant.
func (w *world) systemDocument() tenants.Document {
	w.t.Helper()
	system, err := w.service.SystemTenant(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	doc, err := w.service.Document(w.t.Context(), system.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return doc
}

// mailTo returns the newest mail to an address, and the token in its link.
func (w *world) mailTo(email string) (m tenants.Mail, token string) {
	w.t.Helper()
	all, err := w.service.RecentMail(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, m := range all {
		if m.To == email {
			_, token, _ := strings.Cut(m.Link, "token=")
			return m, token
		}
	}
	w.t.Fatalf("no mail to %s", email)
	return m, ""
}

// mails counts the mails there are.
func (w *world) mails() int {
	w.t.Helper()
	all, err := w.service.RecentMail(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return len(all)
}

// actions lists what the audit has of a subject, the oldest first.
func (w *world) actions(subject string) (all []string) {
	w.t.Helper()
	rows, _ := w.pool.Query(w.t.Context(), "SELECT action FROM audit_events WHERE subject = $1 AND ip = '127.0.0.1' AND request_id <> '' ORDER BY id", subject)
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// signIn signs in in a new browser.
func (w *world) signIn(email, password string) (*client, answer) {
	w.t.Helper()
	c := w.browser()
	return c, c.call("POST", "/v1/session", map[string]any{"email": email, "password": password})
}

// program makes a personal API token and returns who sends it; account "" means
// the only one.
func (c *client) program(account string, scopes []tenants.Scope) *client {
	c.w.t.Helper()
	in := map[string]any{"name": "CI"}
	if account != "" {
		in["account_id"] = account
	}
	return c.tokenOf("/v1/api-tokens", in, scopes)
}

// service makes a service token and returns who sends it.
func (c *client) service(account string, role tenants.Role, scopes []tenants.Scope) *client {
	c.w.t.Helper()
	return c.tokenOf("/v1/accounts/"+account+"/api-tokens", map[string]any{"name": "Deploy", "role": role}, scopes)
}

func (c *client) tokenOf(path string, in map[string]any, scopes []tenants.Scope) *client {
	c.w.t.Helper()
	if scopes != nil {
		in["scopes"] = scopes
	}
	made := c.call("POST", path, in)
	if made.status != http.StatusCreated {
		c.w.t.Fatalf("making a token answered %d: %s", made.status, made.text)
	}
	return &client{w: c.w, http: http.DefaultClient, token: made.at("secret")}
}

// member signs a new user up and makes the user a member of another's account.
func (w *world) member(email, account string, role tenants.Role) *client {
	w.t.Helper()
	local, _, _ := strings.Cut(email, "@")
	c, a := w.signUp(email, local+"-own")
	w.verified(a)
	w.exec("INSERT INTO members (account_id, user_id, role) VALUES ($1, $2, $3)", account, a.at("user", "id"), role)
	return c
}

func want(t *testing.T, a answer, status int, code string) {
	t.Helper()
	if a.status != status || a.at("code") != code {
		t.Errorf("answered %d %q, want %d %q: %s", a.status, a.at("code"), status, code, a.text)
	}
}
