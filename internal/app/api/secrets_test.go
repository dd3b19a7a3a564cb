package api

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pquerna/otp/totp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/telemetry"
	"github.com/signalbox/signalbox/internal/testenv"
)

// collector keeps what is sent to it as traces and metrics.
type collector struct {
	mu  sync.Mutex
	all strings.Builder
}

// ServeHTTP implements http.Handler.
func (c *collector) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = c.all.Write(body) // never fails
}

// dumpPostgres returns all rows of all tables as text; bytes are in hexadecimal.
func (f *plane) dumpPostgres() string {
	f.t.Helper()
	pool := f.api.app.core.pool
	rows, _ := pool.Query(f.t.Context(), `SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1`)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		f.t.Fatal(err)
	}
	var all strings.Builder
	for _, table := range tables {
		rows, _ := pool.Query(f.t.Context(), "SELECT row_to_json(r)::text FROM "+table+" r")
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			f.t.Fatal(err)
		}
		fmt.Fprintf(&all, "%s\n%s\n", table, strings.Join(lines, "\n"))
	}
	return all.String()
}

// logStatements has Postgres log every statement with its parameters.
func logStatements(t *testing.T, database string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for _, sql := range []string{"ALTER SYSTEM SET log_statement = 'all'", "SELECT pg_reload_conf()"} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
}

func (f *plane) fetch(address string) (int, string) {
	f.t.Helper()
	res, err := http.Get(address)
	if err != nil {
		f.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// limitedUser is what Redis lets the service do, as docs/deployment.md has it.
var limitedUser = regexp.MustCompile(`(?m)^ACL SETUSER signalbox on >PASSWORD (.*)$`)

// persistent has a Redis write down everything, whole, and returns the URL of a user who
// may do no more than the documentation says that the service needs, and the directory
// where Redis writes.
func persistent(t *testing.T, address string) (limited, dir string) {
	t.Helper()
	client, err := redisclient.New(address, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	documented, err := os.ReadFile("../../../docs/deployment.md")
	if err != nil {
		t.Fatal(err)
	}
	rules := limitedUser.FindStringSubmatch(string(documented))
	if rules == nil {
		t.Fatal("docs/deployment.md doesn't say what a user of Redis needs")
	}
	rule := []any{"ACL", "SETUSER", "signalbox", "on", ">limited"}
	for _, r := range strings.Fields(rules[1]) {
		rule = append(rule, r)
	}
	for _, command := range [][]any{{"CONFIG", "SET", "rdbcompression", "no"}, {"CONFIG", "SET", "appendonly", "yes"}, rule, {"ACL", "LOG", "RESET"}} {
		if err := client.Do(t.Context(), command...).Err(); err != nil {
			t.Fatalf("%v: %v", command, err)
		}
	}
	if dir = client.ConfigGet(t.Context(), "dir").Val()["dir"]; dir == "" {
		t.Fatal("Redis has no directory")
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("signalbox", "limited")
	return u.String(), dir
}

// written returns everything that is in the files of a server's directory, by file.
func written(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return ignoreGone(err)
		}
		content, err := os.ReadFile(path)
		files[path] = string(content)
		return ignoreGone(err)
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// ignoreGone is err, but for a file that its server has removed meanwhile.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// forms are the secrets as they are and in the usual notations of bytes, each with what it
// is, by their first two bytes.
type forms map[[2]byte][]form

type form struct{ text, what string }

func formsOf(planted map[string]string) forms {
	all := make(forms)
	for what, secret := range planted {
		for notation, text := range map[string]string{
			"": secret, "in hexadecimal": hex.EncodeToString([]byte(secret)), "in base64": base64.StdEncoding.EncodeToString([]byte(secret)),
			"in base64url": base64.RawURLEncoding.EncodeToString([]byte(secret)), "in a URL": url.QueryEscape(secret),
		} {
			first := [2]byte{text[0], text[1]}
			all[first] = append(all[first], form{text, what + " " + notation})
		}
	}
	return all
}

// search reports each secret of which a text has a form. It reads the text once, since
// what servers write is long.
func (f forms) search(t *testing.T, place, text string) {
	t.Helper()
	var begins [1 << 16]bool
	for first := range f {
		begins[int(first[0])<<8|int(first[1])] = true
	}
	told := make(map[string]bool)
	for i := range max(0, len(text)-1) {
		if !begins[int(text[i])<<8|int(text[i+1])] {
			continue
		}
		for _, form := range f[[2]byte{text[i], text[i+1]}] {
			if strings.HasPrefix(text[i:], form.text) && !told[form.what] {
				told[form.what] = true
				t.Errorf("%s has the %s: %.300q", place, form.what, text[max(0, i-200):])
			}
		}
	}
}

// Secrets of every kind are made and used, rightly and wrongly. Then all that Postgres and
// Redis have, in their answers and in their files, write-ahead and append-only logs and
// the log of every statement with its parameters among them, the logs, traces, metrics and
// answers of every listener are searched for them, as they are and in the usual notations
// of bytes: none is there. Redis lets the service do what the documentation says alone.
func TestSEC_43_secrets_are_nowhere_in_the_clear(t *testing.T) {
	t.Parallel()
	collected := new(collector)
	otlp := httptest.NewServer(collected)
	t.Cleanup(otlp.Close)
	spans := tracetest.NewInMemoryExporter()
	whole := 1.0
	f := &plane{t: t, level: -4, said: new(syncBuffer), told: telemetry.Config{SampleRatio: &whole, SpanProcessors: []sdktrace.SpanProcessor{sdktrace.NewSimpleSpanProcessor(spans)}}}
	database, postgresDir := testenv.StartPostgres(t)
	logStatements(t, database)
	var redisDir string
	var save func() error
	var refused func() any
	f.start(1, func(c *Config) {
		c.DatabaseURL = database
		c.RedisURL, redisDir = persistent(t, f.redisURL)
		administrator, err := redisclient.New(f.redisURL, "test")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { administrator.Close() })
		save = func() error { return administrator.Save(t.Context()).Err() }
		refused = func() any { return administrator.Do(t.Context(), "ACL", "LOG").Val() }
		f.redisURL = c.RedisURL
		c.OTLPEndpoint = otlp.URL
		c.SealingKeysFormer = []string{base64.StdEncoding.EncodeToString([]byte("a former key of thirty-two bytes"))}
		c.SMTPURL = "smtp://mailer:mail-password-7f3a@127.0.0.1:1"
		unconfirmed := false
		c.ConfirmSignUps = &unconfirmed
		c.OIDCIssuer, c.OIDCClientID, c.OIDCClientSecret = "https://127.0.0.1:1", "console", "oidc-secret-51c2"
	})
	sealing, err := base64.StdEncoding.DecodeString(f.config.SealingKey)
	if err != nil {
		t.Fatal(err)
	}
	planted := map[string]string{
		"password": "correct horse", "sealing key": string(sealing), "sealing key as configured": f.config.SealingKey, "former sealing key": "a former key of thirty-two bytes",
		"fleet secret": fleetSecret, "mail password": "mail-password-7f3a", "provider's secret": "oidc-secret-51c2", "access key": f.key.Secret,
	}
	plant := func(what, secret string) {
		t.Helper()
		if len(secret) < 6 {
			t.Fatalf("there is no %s: %q", what, secret)
		}
		planted[what] = secret
	}
	site, err := url.Parse(f.api.url)
	if err != nil {
		t.Fatal(err)
	}
	cookie := func() string {
		for _, c := range f.browser.Jar.Cookies(site) {
			return c.Value
		}
		return ""
	}
	plant("session", cookie())
	// An answer that is kept for a retry has a key in it.
	body := strings.NewReader(`{}`)
	req, err := http.NewRequestWithContext(t.Context(), "POST", f.api.url+"/v1/tenants/acme/keys/secondary/regenerate", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", "once")
	res, err := f.browser.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%d %s %v", res.StatusCode, text, err)
	}
	_, regenerated, _ := strings.Cut(string(text), `"secret":"`)
	regenerated, _, _ = strings.Cut(regenerated, `"`)
	plant("regenerated access key", regenerated)
	plant("webhook secret", at(f.want(http.StatusCreated, "POST", "/v1/tenants/acme/webhook-secrets/rotate", map[string]any{}), "secret"))
	made := f.want(http.StatusCreated, "POST", "/v1/api-tokens", map[string]any{"name": "CI"})
	plant("API token", at(made, "secret"))
	plant("client token", at(f.want(http.StatusCreated, "POST", "/v1/tenants/acme/client-tokens", map[string]any{"hub": "chat", "user_id": "ann"}), "token"))
	plant("REST token", at(f.want(http.StatusCreated, "POST", "/v1/tenants/acme/rest-tokens", map[string]any{}), "token"))
	factor := at(f.want(http.StatusOK, "POST", "/v1/user/second-factor", map[string]any{"password": "correct horse"}), "secret")
	plant("second factor", factor)
	code, err := totp.GenerateCode(factor, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	on := f.want(http.StatusOK, "POST", "/v1/user/second-factor/confirmation", map[string]any{"code": code})
	codes, _ := on["recovery_codes"].([]any)
	for i, c := range codes {
		plant(fmt.Sprint("recovery code ", i), c.(string))
		planted[fmt.Sprintf("recovery code %d without hyphens", i)] = strings.ReplaceAll(c.(string), "-", "")
	}
	if len(codes) == 0 {
		t.Fatal("there are no recovery codes")
	}
	plant("renewed session", cookie())
	// The mail server takes none, so the link waits in the outbox.
	f.want(http.StatusAccepted, "POST", "/v1/password-reset", map[string]any{"email": "ada@example.com"})
	mailbox, _ := f.want(http.StatusOK, "GET", "/v1/dev/mailbox", nil)["mails"].([]any)
	links := 0
	for i, mail := range mailbox {
		if link, err := url.Parse(at(mail, "link")); err == nil && link.Query().Has("token") {
			plant(fmt.Sprint("token in the link of mail ", i), link.Query().Get("token"))
			links++
		}
	}
	if links == 0 {
		t.Fatalf("no mail has a link: %v", mailbox)
	}
	// They are used, and shown where they aren't good.
	f.want(http.StatusAccepted, "POST", "/v1/session", map[string]any{"email": "ada@example.com", "password": "correct horse"})
	f.want(http.StatusUnauthorized, "POST", "/v1/session/second-factor", map[string]any{"code": "WRNG-WRNG-WRNG-WRNG"})
	f.want(http.StatusOK, "POST", "/v1/session/second-factor", map[string]any{"code": codes[0]})
	plant("session after the second step", cookie())
	f.call("POST", "/v1/session", map[string]any{"email": planted["API token"], "password": planted["access key"]})
	f.call("GET", "/v1/tenants/acme?token="+url.QueryEscape(planted["API token"]), nil)
	f.call("PATCH", "/v1/tenants/acme", map[string]any{planted["webhook secret"]: planted["webhook secret"]})
	negotiated := make(map[string]bool)
	for range 5 {
		status, answer := f.negotiate(0, planted["client token"], "", "")
		if status != http.StatusOK {
			t.Fatalf("negotiate: %d %s", status, answer)
		}
		_, token, _ := strings.Cut(answer, `"connectionToken":"`)
		token, _, _ = strings.Cut(token, `"`)
		negotiated[token] = true
		f.fetch("http://" + f.edges[0].Addr() + "/t/acme/client/?hub=chat&id=" + url.QueryEscape(token) + "&access_token=" + url.QueryEscape(planted["client token"]+"x"))
		f.rest(0, "POST", "chat", planted["REST token"], `{"target":"t"}`)
		f.rest(0, "POST", "chat", f.key.Secret, `{"target":"t"}`)
		f.rest(0, "POST", "chat?"+url.Values{"key": {f.key.Secret}}.Encode(), regenerated+"x", `{"target":"t"}`)
	}
	for token := range negotiated {
		plant("connection token", token)
	}
	k := f.connect(0, f.token(f.key, "ann"))
	if refused := k.call("$joinGroup", "demo"); refused != "" {
		t.Fatal(refused)
	}

	for _, admin := range []string{f.api.app.servers[1].Addr(), f.edges[0].AdminAddr(), f.api.app.servers[0].Addr(), f.edges[0].Addr()} {
		for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2", "/debug/vars", "/debug/requests"} {
			if status, answer := f.fetch("http://" + admin + path); status == http.StatusOK && !strings.Contains(answer, "<!doctype html>") {
				t.Errorf("%s%s is served: %s", admin, path, answer)
			}
		}
	}
	places := map[string]string{"Postgres": f.dumpPostgres(), "the log of the api": f.api.output.String(), "the log of the edge": f.said.String(), "traces of the api": fmt.Sprintf("%+v", spans.GetSpans())}
	var held strings.Builder
	for key, value := range contents(t, f.redis) {
		fmt.Fprintf(&held, "%s %s\n", key, value)
	}
	places["Redis"] = held.String()
	for what, at := range map[string]string{"api": f.api.app.servers[1].Addr(), "edge": f.edges[0].AdminAddr()} {
		for _, path := range []string{"/metrics", "/healthz", "/readyz"} {
			_, places[path+" of the "+what] = f.fetch("http://" + at + path)
		}
	}
	collected.mu.Lock()
	places["what was collected"] = collected.all.String()
	collected.mu.Unlock()
	if _, err := f.api.app.core.pool.Exec(t.Context(), "CHECKPOINT"); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string { // one may be under way, of the log's beginning
		if err := save(); err != nil {
			return err.Error()
		}
		return ""
	})
	if log, ok := refused().([]any); !ok || len(log) > 0 {
		t.Errorf("Redis has refused what the service asked: %v", log)
	}
	files := written(t, postgresDir)
	maps.Copy(files, written(t, redisDir))
	// Each kind of file has what it must have been found in.
	for kind, holds := range map[string]string{
		"/base/": "ada@example.com", "/pg_wal/": "ada@example.com", "/postgres.log": "INSERT INTO access_keys", "/dump.rdb": f.tenant, "/appendonlydir/": f.tenant,
	} {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(files)), func(path string) bool { return strings.Contains(path, kind) && strings.Contains(files[path], holds) }) {
			t.Errorf("no file of %s has %q", kind, holds)
		}
	}
	maps.Copy(places, files)
	if len(spans.GetSpans()) < 10 || !strings.Contains(places["Postgres"], "ada@example.com") || !strings.Contains(places["Redis"], f.tenant) || !strings.Contains(places["the log of the edge"], "level=DEBUG") || !strings.Contains(places["the log of the api"], "level=") {
		t.Errorf("there is nothing to search: %d spans, %d bytes of Postgres", len(spans.GetSpans()), len(places["Postgres"]))
	}
	sought := formsOf(planted)
	for place, all := range places {
		sought.search(t, place, all)
	}
}
