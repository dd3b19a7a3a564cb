package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/fleet"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/telemetry"
	"github.com/signalbox/signalbox/internal/testenv"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/directory"
)

const fleetSecret = "a secret that is shared by the whole fleet"

// bound is how long a test waits for an event.
const bound = 20 * time.Second

func testConfig(t *testing.T, database, redisURL string) Config {
	t.Helper()
	key := make([]byte, tenants.SealingKeySize)
	_, _ = rand.Read(key)
	c := Config{
		DatabaseURL: database, RedisURL: redisURL, Addr: "127.0.0.1:0", AdminAddr: "127.0.0.1:0", InternalAddr: "127.0.0.1:0",
		FleetSecret: fleetSecret, SealingKey: base64.StdEncoding.EncodeToString(key),
		ConsoleURL: "http://127.0.0.1:8080", ServiceURL: "http://127.0.0.1:8888", Dev: true, LogLevel: "info", SignUpsPerHour: 1000,
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return c
}

// running is an api that serves until the test ends.
type running struct {
	app    *app
	url    string
	stop   func() error
	output *syncBuffer
}

func start(t *testing.T, c Config) *running {
	t.Helper()
	return startWith(t, c, telemetry.Config{}, slog.LevelInfo)
}

// startWith is start with telemetry and a level of the log.
func startWith(t *testing.T, c Config, told telemetry.Config, level slog.Level) *running {
	t.Helper()
	told.Service = "api"
	signals, err := telemetry.Start(t.Context(), told)
	if err != nil {
		t.Fatal(err)
	}
	output := new(syncBuffer)
	a, err := open(t.Context(), c, slog.New(slog.NewTextHandler(output, &slog.HandlerOptions{Level: level})), output, signals)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.run(ctx) }()
	r := &running{app: a, url: "http://" + a.servers[0].Addr(), output: output}
	stopped := false
	r.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		err := <-ended
		a.close()
		return err
	}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("the api ended with: %v", err)
		}
		_ = signals.Shutdown(context.Background())
	})
	return r
}

// eventually waits until f says nothing is amiss.
func eventually(t *testing.T, f func() (amiss string)) {
	t.Helper()
	deadline := time.Now().Add(bound)
	for {
		amiss := f()
		if amiss == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s still: %s", bound, amiss)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func post(t *testing.T, client *http.Client, url string, body any) (int, map[string]any) {
	t.Helper()
	encoded, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Post(url, "application/json", bytes.NewReader(encoded))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, answer
}

func openDocument(t *testing.T, c redis.UniversalClient, id string) *tenants.Document {
	t.Helper()
	f, err := fleet.New(fleetSecret)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := c.HGet(t.Context(), redisclient.Document(tenants.ID(id)), "sealed").Result()
	if err != nil {
		return nil
	}
	doc, err := directory.Open(f, []byte(sealed))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestSignUp_is_known_to_the_data_plane_when_it_answers(t *testing.T) {
	t.Parallel()
	redisURL := testenv.Redis(t)
	r := start(t, testConfig(t, testenv.EmptyPostgres(t), redisURL))
	client, _ := redisclient.New(redisURL, "test")
	defer client.Close()
	jar, _ := cookiejar.New(nil)
	browser := &http.Client{Jar: jar}

	status, answer := post(t, browser, r.url+"/v1/signup", map[string]string{"email": "ada@example.com", "password": "correct horse", "tenant_slug": "acme"})
	if status != http.StatusCreated {
		t.Fatalf("sign-up answered %d: %v", status, answer)
	}
	id := answer["tenant"].(map[string]any)["id"].(string)
	secret := answer["key"].(map[string]any)["secret"].(string)
	doc := openDocument(t, client, id)
	if doc == nil || doc.Slug != "acme" || len(doc.Keys) != 2 || doc.Keys[0].Secret != secret || doc.Limits.MaxConnections != 200 {
		t.Errorf("document = %+v; want tenant acme of the Free plan with the key that was shown", doc)
	}

	res, err := browser.Get(r.url + "/v1/session")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("the session after signing up answered %d", res.StatusCode)
	}
	eventually(t, func() string {
		if !strings.Contains(r.output.String(), "/verify-email?token=") {
			return "the verification link was not printed"
		}
		return ""
	})
}

func TestServe_leaves_nothing_running(t *testing.T) { // alone, for other tests have goroutines too
	c := testConfig(t, testenv.EmptyPostgres(t), testenv.Redis(t))
	already := goleak.IgnoreCurrent()
	r := start(t, c)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	status, answer := post(t, client, r.url+"/v1/signup", map[string]string{"email": "ada@example.com", "password": "correct horse"})
	if status != http.StatusCreated {
		t.Errorf("sign-up answered %d: %v", status, answer)
	}
	for path, want := range map[string]int{"/healthz": http.StatusOK, "/readyz": http.StatusOK, "/metrics": http.StatusOK} {
		res, err := client.Get("http://" + r.app.servers[1].Addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s answered %d", path, res.StatusCode)
		}
	}
	if err := r.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	goleak.VerifyNone(t, already,
		// The session library makes a store in memory, before it is given ours.
		goleak.IgnoreAnyFunction("github.com/alexedwards/scs/v2/memstore.(*MemStore).startCleanup"))
}

func TestDocuments_are_published_again_when_Redis_lost_them(t *testing.T) {
	t.Parallel()
	redisURL := testenv.Redis(t)
	r := start(t, testConfig(t, testenv.EmptyPostgres(t), redisURL))
	client, _ := redisclient.New(redisURL, "test")
	defer client.Close()
	_, answer := post(t, http.DefaultClient, r.url+"/v1/signup", map[string]string{"email": "ada@example.com", "password": "correct horse"})
	id := answer["tenant"].(map[string]any)["id"].(string)
	if err := client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		if openDocument(t, client, id) == nil {
			return "the document is not back"
		}
		return ""
	})
}

// TestSeed_is_not_the_account_s_to_undo: what an operator has suspended or set stays
// so, whatever people of the account do, until an operator lifts it.
func TestSeed_is_not_the_account_s_to_undo(t *testing.T) {
	t.Parallel()
	c := testConfig(t, testenv.EmptyPostgres(t), testenv.Redis(t))
	seed := func(tenant string) {
		t.Helper()
		in := `{"account":{"name":"Demo","email":"demo@example.com","password":"a long password","api_token":"sbt_abc"},
			"tenants":[{"slug":"demo","name":"Demo","hosts":[],` + tenant + `}]}`
		if err := Seed(t.Context(), c, strings.NewReader(in), io.Discard, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
	}
	seed(`"limits":{"calls_per_second":7,"max_hubs":300},"suspended":true`)
	r := start(t, c)
	ask := func(status int, method, path, in string) map[string]any {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, r.url+"/v1/tenants/demo"+path, strings.NewReader(in))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer sbt_abc")
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		var answer map[string]any
		if len(text) > 0 {
			if err := json.Unmarshal(text, &answer); err != nil {
				t.Fatal(err)
			}
		}
		if res.StatusCode != status || status == http.StatusForbidden && answer["code"] != "set_by_operator" {
			t.Errorf("%s %s answers %d %s, want %d", method, path, res.StatusCode, text, status)
		}
		return answer
	}
	shown := func(limit string) string {
		t.Helper()
		for _, l := range ask(http.StatusOK, "GET", "/limits", "")["limits"].([]any) {
			if l := l.(map[string]any); l["limit"] == limit {
				return fmt.Sprint(l["max"], " ", l["source"], " ", l["override_by"])
			}
		}
		return "nothing"
	}
	suspended := func(want any) {
		t.Helper()
		if got := ask(http.StatusOK, "GET", "", "")["suspended_by"]; got != want {
			t.Errorf("the tenant is suspended by %v, want %v", got, want)
		}
	}
	ask(http.StatusForbidden, "PUT", "/limits/calls_per_second", `{"max":5}`)
	ask(http.StatusForbidden, "DELETE", "/limits/calls_per_second", "")
	ask(http.StatusOK, "PUT", "/limits/call_burst", `{"max":9}`)
	for limit, want := range map[string]string{
		"calls_per_second": "7 override operator",
		"max_hubs":         "300 override operator", // more than the plan would let the account set
		"call_burst":       "9 override account",
		"max_connections":  "200 plan <nil>",
	} {
		if got := shown(limit); got != want {
			t.Errorf("%s is shown as %s, want %s", limit, got, want)
		}
	}
	ask(http.StatusNoContent, "DELETE", "/limits/call_burst", "")

	ask(http.StatusForbidden, "POST", "/resume", "")
	ask(http.StatusOK, "POST", "/suspend", "") // changes nothing, so it lifts nothing
	suspended("operator")
	ask(http.StatusForbidden, "POST", "/resume", "")
	seed(`"hubs":[]`) // says nothing of it
	suspended("operator")
	seed(`"suspended":false`)
	suspended(nil)
	ask(http.StatusOK, "POST", "/suspend", "")
	suspended("account")
	ask(http.StatusOK, "POST", "/resume", "")
	ask(http.StatusOK, "POST", "/suspend", "")
	seed(`"suspended":true`) // what the account could lift, it can no longer
	suspended("operator")
	ask(http.StatusForbidden, "POST", "/resume", "")
}

func TestSeed_twice_gives_the_same_and_exactly_the_values_asked_for(t *testing.T) {
	t.Parallel()
	c := testConfig(t, testenv.EmptyPostgres(t), testenv.Redis(t))
	const seed = `{"account":{"name":"Demo","email":"demo@example.com","password":"a long password","api_token":"sbt_abc","plan":"scale","limits":{"max_members":3}},
		"tenants":[{"slug":"demo","name":"Demo","hosts":[],"primary_key":"p1","secondary_key":"s1","hubs":["chat","machine"]},
			{"slug":"other","name":"Other","hosts":["localhost:8889","127.0.0.1:8889"],"primary_key":"p2","secondary_key":"s2","hubs":["chat"]}]}`
	logger := slog.New(slog.DiscardHandler)
	var first, second bytes.Buffer
	for _, out := range []*bytes.Buffer{&first, &second} {
		if err := Seed(t.Context(), c, strings.NewReader(seed), out, logger); err != nil {
			t.Fatal(err)
		}
	}
	if first.String() != second.String() {
		t.Errorf("first seed gave %s, second %s", first.String(), second.String())
	}
	var ids seedAnswer
	if err := json.Unmarshal(first.Bytes(), &ids); err != nil {
		t.Fatal(err)
	}
	r := start(t, c)
	doc, err := r.app.core.service.Document(t.Context(), tenants.ID(ids.Tenants[1].ID))
	if err != nil {
		t.Fatal(err)
	}
	sub, err := r.app.core.store.Subscription(everywhere(t), tenants.AccountID(ids.AccountID))
	if err != nil || sub.MaxMembers != 3 || sub.MaxTenants != 100 || sub.Members != 1 || sub.Tenants != 2 {
		t.Errorf("%d of %d members, %d of %d tenants, %v", sub.Members, sub.MaxMembers, sub.Tenants, sub.MaxTenants, err)
	}
	for _, wrong := range []string{`"max_members":0`, `"max_members":10001`, `"max_hubs":5`} {
		in := strings.Replace(seed, `"max_members":3`, wrong, 1)
		if err := Seed(t.Context(), c, strings.NewReader(in), io.Discard, logger); fault.KindOf(err) != fault.Invalid {
			t.Errorf("limits of an account with %s: %v", wrong, err)
		}
	}
	if doc.Keys[0].Secret != "p2" || doc.Keys[1].Secret != "s2" || len(doc.Hosts) != 3 || doc.Limits.MaxConnections != 50_000 {
		t.Errorf("document = %+v", doc)
	}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/v1/tenants/other", nil)
	req.Header.Set("Authorization", "Bearer sbt_abc")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusOK || !strings.Contains(string(text), `"endpoint":"http://127.0.0.1:8889"`) {
		t.Errorf("GET tenant with the seeded token = %d %s", res.StatusCode, text)
	}
}
