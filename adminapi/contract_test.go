package adminapi_test

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/adminapi"
	"github.com/signalbox/signalbox/tenants"
)

// caller is one kind of who calls operations, without a socket.
type caller struct {
	w      *world
	name   string
	token  string
	cookie string
}

// attack is a request that may be anything, and the part of the operation that it tries.
type attack struct {
	part                string
	method, path, query string
	body                string
	sendBody            bool
	header              [2]string
}

// internals are words of ours that callers don't see.
var internals = []string{
	"SQLSTATE", "pgx", "pgconn", "kin-openapi", "openapi3", "goroutine ", ".go:", "runtime error", "panic:", "/root/", "/home/", "/usr/", "adminapi.", "tenants.", "billing.", "fault.", "jsontext", "json: ",
	"strconv.", "sql: ", "unmarshal", "syntax error at", "relation \"", "violates ", "invalid memory", "nil pointer", "*http.", "context deadline", "context canceled", "interface {}", "map[string]",
}

// do sends a request to the handler and checks whatever holds for every answer.
func (c *caller) do(t *testing.T, a attack) answer {
	t.Helper()
	var body io.Reader
	if a.sendBody {
		body = strings.NewReader(a.body)
	}
	r := httptest.NewRequest(a.method, "/", body).WithContext(t.Context())
	u, err := url.Parse("http://console.example.com" + a.path)
	if err != nil { // net/http refuses it in the same way
		return answer{status: http.StatusBadRequest}
	}
	u.RawQuery = a.query
	r.URL, r.Host, r.RequestURI, r.RemoteAddr = u, u.Host, u.RequestURI(), "127.0.0.1:1234"
	if a.sendBody {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.cookie != "" {
		r.Header.Set("Cookie", c.cookie)
	}
	if a.header[0] != "" {
		r.Header.Set(a.header[0], a.header[1])
	}
	sent := r.Clone(r.Context())
	rec := httptest.NewRecorder()
	c.w.handler.ServeHTTP(rec, r)
	res := answer{status: rec.Code, header: rec.Header(), text: rec.Body.String()}
	_ = json.Unmarshal(rec.Body.Bytes(), &res.body)
	for _, cookie := range rec.Result().Cookies() {
		if c.cookie != "" && cookie.Value != "" && a.header[0] != "Cookie" {
			c.cookie = cookie.Name + "=" + cookie.Value
		}
	}
	if res.status >= 500 {
		t.Errorf("%s: %s answered %d: %s", c.name, a, res.status, res.text)
	}
	for _, word := range internals {
		if res.status >= 400 && strings.Contains(res.text, word) {
			t.Errorf("%s: the answer to %s shows %q: %s", c.name, a, word, res.text)
		}
	}
	errs, _ := res.body["errors"].([]any)
	for _, e := range errs {
		if e := e.(map[string]any); res.at("code") == "invalid" && (e["field"] == "" || e["message"] == "" || e["accepted"] == nil) {
			t.Errorf("%s: the answer to %s doesn't say what would be accepted: %s", c.name, a, res.text)
		}
	}
	for name, values := range res.header {
		for _, v := range values {
			if strings.ContainsAny(v, "\r\n\x00") || name == "X-Injected" {
				t.Errorf("%s: the answer to %s has the header %s: %q", c.name, a, name, v)
			}
		}
	}
	if res.header.Get("X-Request-Id") == "" || res.header.Get("Content-Security-Policy") == "" {
		t.Errorf("%s: the answer to %s lacks headers: %v", c.name, a, res.header)
	}
	if strings.HasPrefix(a.path, "/v1/") || strings.HasPrefix(a.path, "/operator/v1/") {
		c.w.checkAnswer(sent, res)
	}
	return res
}

// String shows what was sent, as far as it helps.
func (a attack) String() string {
	short := func(s string) string { return fmt.Sprintf("%.160q", s) }
	text := a.method + " " + short(a.path)
	if a.query != "" {
		text += " query " + short(a.query)
	}
	if a.sendBody {
		text += " body " + short(a.body)
	}
	if a.header[0] != "" {
		text += " header " + a.header[0] + ": " + short(a.header[1])
	}
	return text
}

// state is what the database has, but for what is noted of every request.
func (w *world) state() string {
	w.t.Helper()
	if w.stateQuery == "" {
		var names []string
		rows, err := w.pool.Query(w.t.Context(), `SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'
			AND table_name NOT IN ('attempts', 'sessions', 'goose_db_version') AND table_name NOT LIKE 'river%' ORDER BY 1`)
		if err != nil {
			w.t.Fatal(err)
		}
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				w.t.Fatal(err)
			}
			names = append(names, fmt.Sprintf("SELECT '%s ' || count(*) || ' ' || coalesce(sum(hashtextextended((to_jsonb(r) - 'last_used_at')::text, 0)), 0) AS line FROM %s r", name, name))
		}
		w.stateQuery = "SELECT string_agg(line, E'\n' ORDER BY line) FROM (" + strings.Join(names, " UNION ALL ") + ") all_lines"
	}
	var text string
	if err := w.pool.QueryRow(w.t.Context(), w.stateQuery).Scan(&text); err != nil {
		w.t.Fatal(err)
	}
	return text
}

// differences are the lines in which two states differ.
func differences(a, b string) (all []string) {
	for line := range strings.SplitSeq(b, "\n") {
		if !strings.Contains(a, line) {
			all = append(all, line)
		}
	}
	return all
}

// session starts a session behind the back of the API and returns its cookie.
func (w *world) session(email string) string {
	w.t.Helper()
	body := strings.NewReader(fmt.Sprintf(`{"email":%q,"password":%q}`, email, password))
	r := httptest.NewRequest("POST", "/v1/session", body)
	r.Header.Set("Content-Type", "application/json")
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	for _, c := range rec.Result().Cookies() {
		return c.Name + "=" + c.Value
	}
	w.t.Fatalf("no session for %s: %s", email, rec.Body)
	return ""
}

// everything makes the walk send all that it can think of.
var everything = flag.Bool("contract.all", false, "send every request of the contract walk, not only some of each operation")

// sample keeps n of all, or one of each part where these are more, in their order.
func sample(random *rand.Rand, all []attack, n int) (kept []attack) {
	order := random.Perm(len(all))
	picked, tried := make(map[int]bool), make(map[string]bool)
	for _, i := range order {
		if part := all[i].part; !tried[part] {
			tried[part], picked[i] = true, true
		}
	}
	for _, i := range order {
		if len(picked) >= n {
			break
		}
		picked[i] = true
	}
	for i, a := range all {
		if picked[i] {
			kept = append(kept, a)
		}
	}
	return kept
}

// statements are the texts of all statements, with what is bound to them left out.
type statements struct {
	mu   sync.Mutex
	seen map[string]bool
}

func (s *statements) add(sql string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[sql] = true
}

// hostileSQL are parts of what the walk sends, which are in no statement of ours.
var hostileSQL = []string{"DROP TABLE tenants", "1=1", "OR 1", "7*7", "alert(", "etc/hosts", "jndi", "X-Injected"}

// check fails the test when a statement has something of requests, or one of words, in
// its text.
func (s *statements) check(t *testing.T, words ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for sql := range s.seen {
		for _, planted := range append(words, hostileSQL...) {
			if strings.Contains(sql, planted) {
				t.Errorf("a statement has %q in its text: %s", planted, sql)
			}
		}
	}
}

// TraceQueryStart implements pgx.QueryTracer.
func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	s.add(data.SQL)
	return ctx
}

// TraceQueryEnd implements pgx.QueryTracer.
func (*statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// TraceBatchStart implements pgx.BatchTracer.
func (s *statements) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	for _, q := range data.Batch.QueuedQueries {
		s.add(q.SQL)
	}
	return ctx
}

// TraceBatchQuery implements pgx.BatchTracer.
func (*statements) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd implements pgx.BatchTracer.
func (*statements) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// walk calls the operations of a document.
type walk struct {
	w    *world
	spec *openapi3.T
	// good returns a request that succeeds, each time with new things to change, and who
	// makes it.
	good func(t *testing.T, o operation) (*caller, attack)
	// cannot says why the request that good returns doesn't succeed.
	cannot map[string]string
	// session is where callers learn who they are, ends are the operations that end a session.
	session string
	ends    []string
	others  []*caller
	sent    int
	before  string // the state
}

// who is the user that a caller is signed in as; "" = nobody.
func (k *walk) who(t *testing.T, c *caller) string {
	t.Helper()
	a := c.do(t, attack{method: "GET", path: k.session})
	return cmp.Or(a.at("user", "id"), a.at("id"))
}

// try sends an operation its good request, which has to succeed, and then others that
// are made of a second one. Those of them that are refused change nothing.
func (k *walk) try(t *testing.T, o operation) {
	c, good := k.good(t, o)
	res := c.do(t, good)
	k.sent++
	if why := k.cannot[o.id]; res.status >= 300 && why == "" || res.status < 300 && why != "" {
		t.Errorf("a good request is answered %d (%s): %s, %s", res.status, why, good, res.text)
	}
	c, good = k.good(t, o)
	user := k.who(t, c)
	random := rand.New(rand.NewPCG(1, seed(o.id)))
	attacks, perOther := attacksOf(t, o, k.spec.Paths.Find(o.path), good), 10
	if !*everything {
		attacks, perOther = sample(random, attacks, 30), 1
	}
	k.before = k.w.state()
	quiet := true
	check := func() {
		after := k.w.state()
		if quiet && after != k.before {
			t.Errorf("refused requests changed something: %v", differences(k.before, after))
		}
		k.before, quiet = after, true
	}
	send := func(c *caller, a attack) {
		if res := c.do(t, a); res.status < 400 || isNoted(res) {
			quiet = false
		}
		k.sent++
	}
	for i, a := range attacks {
		send(c, a)
		if i%10 == 9 {
			check()
		}
	}
	check()
	if now := k.who(t, c); user != "" && now != user && !slices.Contains(k.ends, o.id) {
		t.Errorf("who made the requests was %q, and is %q at their end", user, now)
	}
	for _, c := range k.others {
		for range perOther {
			send(c, attacks[random.IntN(len(attacks))])
		}
	}
	check()
}

// SEC-28: every operation of the customers' document, called by every kind of caller with good,
// bad and hostile input that is made of the document, in paths, queries, headers and
// bodies. What is good succeeds. What is sent is the same in each run. None of it becomes
// part of a statement.
func TestContract(t *testing.T) {
	t.Parallel()
	said, found, c := &statements{seen: make(map[string]bool)}, make(records), new(clock)
	database, written := loggedPostgres(t)
	w := newWorld(t, settings{tracer: said, resolver: found, now: c.now, database: database})
	ada, acme := w.signUp("ada@example.com", "acme")
	w.verified(acme)
	account, tenant := acme.at("account", "id"), acme.at("tenant", "id")
	w.exec("UPDATE accounts SET plan = 'scale'")
	others := []*caller{{w: w, name: "nobody"}, {w: w, name: "service", token: ada.service(account, tenants.Admin, nil).token}, {w: w, name: "scoped", token: ada.program(account, []tenants.Scope{tenants.ReadUsage}).token}}
	for _, role := range []tenants.Role{tenants.Admin, tenants.Developer, tenants.Billing, tenants.Viewer} {
		w.member(string(role)+"@example.com", account, role)
		others = append(others, &caller{w: w, name: string(role), cookie: w.session(string(role) + "@example.com")})
	}
	w.signUp("mallory@example.com", "evil")
	others = append(others, &caller{w: w, name: "stranger", cookie: w.session("mallory@example.com")})
	spec, err := adminapi.Spec()
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{w: w, ada: ada, account: account, tenant: tenant, user: acme.at("user", "id"), records: found}
	k := &walk{w: w, spec: spec, good: s.request, cannot: outOfReach, session: "/v1/session", ends: []string{"signOut", "endSession"}, others: others}
	eachOperation(t, func(o operation) {
		t.Run(o.id, func(t *testing.T) {
			s.renew(t)
			k.try(t, o)
		})
	})
	if strings.Contains(w.logs.String(), `"level":"ERROR"`) {
		t.Errorf("bad input was logged as our error")
	}
	said.check(t, "ada@example.com", account, tenant)
	written.check(t, hostileSQL...)
	if len(said.seen) < 50 {
		t.Errorf("only %d statements were seen", len(said.seen))
	}
	t.Logf("%d requests", k.sent)
}

// outOfReach are operations that take what the walk has not.
var outOfReach = map[string]string{
	"confirmSignUp": "takes a service that confirms first: TestSignUp_that_is_confirmed_first_tells_nothing",
	"beginOidc":     "takes an OpenID provider: internal/app/api",
	"finishOidc":    "the same",
	"linkIdentity":  "the same",
}

// caller sends what the client would send, without its socket.
func (c *client) caller(t *testing.T) *caller {
	t.Helper()
	same := &caller{w: c.w, name: "owner", token: c.token}
	if c.http.Jar == nil {
		return same
	}
	at, err := url.Parse(c.w.url)
	if err != nil {
		t.Fatal(err)
	}
	for _, cookie := range c.http.Jar.Cookies(at) {
		same.cookie = cookie.Name + "=" + cookie.Value
	}
	return same
}

// requestOf is a request to an operation, at a path that may have a query.
func requestOf(t *testing.T, o operation, path string, body any) attack {
	t.Helper()
	good := attack{part: "good", method: o.method}
	good.path, good.query, _ = strings.Cut(path, "?")
	if strings.ContainsAny(good.path, "{}") {
		t.Fatalf("the walk doesn't know what to put into %s: see address", good.path)
	}
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		good.body, good.sendBody = string(text), true
	}
	return good
}

// isNoted tells whether a refusal leaves a note: the audit has who failed to prove
// who they are, and mails tell them.
func isNoted(a answer) bool {
	code := a.at("code")
	return code == "wrong_credentials" || code == "wrong_code" || code == "rate_limited" || strings.Contains(a.text, "is not your password") || strings.Contains(a.text, "is not right, or was used already")
}

func seed(text string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text))
	return h.Sum64()
}

// attacksOf makes requests to an operation out of a good one, which is the last.
func attacksOf(t *testing.T, o operation, item *openapi3.PathItem, good attack) (all []attack) {
	t.Helper()
	op := item.GetOperation(o.method)
	with := func(part string, change func(*attack)) {
		a := good
		a.part = part
		change(&a)
		all = append(all, a)
	}
	asked, err := url.ParseQuery(good.query)
	if err != nil {
		t.Fatal(err)
	}
	query := func(name string, values ...string) string {
		q := maps.Clone(asked)
		q[name] = values
		return q.Encode()
	}
	for _, p := range op.Parameters {
		if p.Value.Schema == nil {
			t.Fatalf("parameter %s of %s has no schema", p.Value.Name, o.id)
		}
		checkSchema(t, o.id+" parameter "+p.Value.Name, p.Value.Schema.Value)
		if p.Value.In != openapi3.ParameterInQuery {
			continue
		}
		part := "query " + p.Value.Name
		for _, v := range values(p.Value.Schema.Value) {
			var text any
			if json.Unmarshal([]byte(v.text), &text) != nil {
				text = v.text
			}
			with(part, func(a *attack) { a.query = query(p.Value.Name, fmt.Sprint(text)) })
		}
		with(part, func(a *attack) { a.query = query(p.Value.Name, "a", "b") })
	}
	if op.RequestBody != nil {
		schema := op.RequestBody.Value.Content.Get("application/json").Schema.Value
		checkSchema(t, o.id, schema)
		fields := make(map[string]any)
		if good.sendBody {
			if err := json.Unmarshal([]byte(good.body), &fields); err != nil {
				t.Fatal(err)
			}
		}
		for _, b := range bodiesOf(schema, fields) {
			with("body "+b.part, func(a *attack) { a.body, a.sendBody = b.text, true })
		}
	} else {
		with("body", func(a *attack) { a.body, a.sendBody = `{}`, true })
		with("body", func(a *attack) { a.body, a.sendBody = strings.Repeat("x", 70_000), true })
	}
	for _, q := range queries {
		with("query", func(a *attack) { a.query = strings.TrimPrefix(good.query+"&"+q, "&") })
	}
	for i, part := range strings.Split(o.path, "/") {
		if !strings.HasPrefix(part, "{") {
			continue
		}
		for _, s := range segments {
			with(part, func(a *attack) {
				parts := strings.Split(a.path, "/")
				parts[i] = s
				a.path = strings.Join(parts, "/")
			})
		}
	}
	for _, h := range headerFields {
		with("header", func(a *attack) { a.header = h })
	}
	for _, method := range []string{"HEAD", "OPTIONS", "TRACE", "CONNECT", "PATCH", "PUT", "DELETE", "get", "FOO"} {
		if item.GetOperation(strings.ToUpper(method)) == nil {
			with("method", func(a *attack) { a.method = method })
		}
	}
	return append(all, good)
}
