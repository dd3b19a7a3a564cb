package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/redis/go-redis/v9"

	"github.com/signalbox/signalbox/billing/usage"
	"github.com/signalbox/signalbox/internal/fleet"
	"github.com/signalbox/signalbox/internal/redisclient"
	"github.com/signalbox/signalbox/internal/scope"
	"github.com/signalbox/signalbox/internal/testenv"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/directory"
)

func TestTwoAPIs_start_on_an_empty_database_at_once(t *testing.T) {
	t.Parallel()
	c := testConfig(t, testenv.EmptyPostgres(t), testenv.Redis(t))
	var both sync.WaitGroup
	apis := make([]*running, 2)
	for i := range apis {
		both.Go(func() { apis[i] = start(t, c) })
	}
	both.Wait()
	_, answer := post(t, http.DefaultClient, apis[0].url+"/v1/signup", map[string]string{"email": "ada@example.com", "password": "correct horse"})
	if answer["tenant"] == nil {
		t.Fatalf("sign-up answered %v", answer)
	}
	status, answer := post(t, http.DefaultClient, apis[1].url+"/v1/session", map[string]string{"email": "ada@example.com", "password": "correct horse"})
	if status != http.StatusOK {
		t.Errorf("the other api answered %d: %v", status, answer)
	}
}

func TestChange_while_Redis_is_away_arrives_when_it_is_back(t *testing.T) {
	t.Parallel()
	redisURL := testenv.Redis(t)
	link, throughLink := newLink(t, redisURL)
	r := start(t, testConfig(t, testenv.EmptyPostgres(t), throughLink))
	link.cut()
	status, answer := post(t, http.DefaultClient, r.url+"/v1/signup", map[string]string{"email": "ada@example.com", "password": "correct horse"})
	if status != http.StatusCreated {
		t.Fatalf("sign-up without Redis answered %d: %v", status, answer)
	}
	client, err := redisclient.New(redisURL, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	id := answer["tenant"].(map[string]any)["id"].(string)
	if doc := openDocument(t, client, id); doc != nil {
		t.Fatal("the link was not cut")
	}
	link.mend()
	eventually(t, func() string {
		if openDocument(t, client, id) == nil {
			return "the document is not there"
		}
		return ""
	})
}

func TestInternalListener_gives_documents_to_the_fleet_alone(t *testing.T) {
	t.Parallel()
	r := start(t, testConfig(t, testenv.EmptyPostgres(t), testenv.Redis(t)))
	_, answer := post(t, http.DefaultClient, r.url+"/v1/signup", map[string]string{"email": "ada@example.com", "password": "correct horse", "tenant_slug": "acme"})
	id := answer["tenant"].(map[string]any)["id"].(string)
	url := "https://" + r.app.servers[2].Addr()
	f, err := fleet.New(fleetSecret)
	if err != nil {
		t.Fatal(err)
	}
	edge := &directory.APISource{URL: url, Client: &http.Client{Transport: &http.Transport{TLSClientConfig: f.ClientTLS()}}}
	for name, get := range map[string]func() ([]byte, error){
		"id":   func() ([]byte, error) { return edge.ByID(t.Context(), tenants.ID(id)) },
		"slug": func() ([]byte, error) { return edge.ByName(t.Context(), "slug", "acme") },
		"host": func() ([]byte, error) { return edge.ByName(t.Context(), "host", "Acme.localhost:8888") },
	} {
		sealed, err := get()
		if err != nil {
			t.Errorf("by %s: %v", name, err)
			continue
		}
		if doc, err := directory.Open(f, sealed); err != nil || string(doc.ID) != id {
			t.Errorf("by %s: %+v, %v", name, doc, err)
		}
	}
	if _, err := edge.ByName(t.Context(), "host", "acme.example.com"); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("an unknown host: %v", err)
	}
	other, err := fleet.New(strings.Repeat("another secret ", 3))
	if err != nil {
		t.Fatal(err)
	}
	stranger := &directory.APISource{URL: url, Client: &http.Client{Transport: &http.Transport{TLSClientConfig: other.ClientTLS()}}}
	if _, err := stranger.ByID(t.Context(), tenants.ID(id)); err == nil {
		t.Error("another fleet got a document")
	}
	bare := f.ClientTLS()
	bare.Certificates, bare.GetClientCertificate = nil, nil
	nobody := &directory.APISource{URL: url, Client: &http.Client{Transport: &http.Transport{TLSClientConfig: bare}}}
	if _, err := nobody.ByID(t.Context(), tenants.ID(id)); err == nil {
		t.Error("a caller without a certificate got a document")
	}
}

// dataPlane records what is published to the system tenant.
type dataPlane struct {
	mu     sync.Mutex
	events []event
}

type event struct {
	path, token, target string
	argument            map[string]any
}

func (d *dataPlane) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var message struct {
		Target    string           `json:"target"`
		Arguments []map[string]any `json:"arguments"`
	}
	body, _ := io.ReadAll(r.Body)
	_ = json.Unmarshal(body, &message)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, event{r.URL.Path, r.Header.Get("Authorization"), message.Target, message.Arguments[0]})
	w.WriteHeader(http.StatusAccepted)
}

func (d *dataPlane) seen() []event {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]event(nil), d.events...)
}

func TestLive_tells_those_who_watch_and_nobody_else(t *testing.T) {
	t.Parallel()
	plane := new(dataPlane)
	service := httptest.NewServer(plane)
	defer service.Close()
	redisURL := testenv.Redis(t)
	c := testConfig(t, testenv.EmptyPostgres(t), redisURL)
	c.ServiceURL = service.URL
	r := start(t, c)
	signUp := func(email string) (id, token string) {
		_, answer := post(t, http.DefaultClient, r.url+"/v1/signup", map[string]string{"email": email, "password": "correct horse"})
		id = answer["tenant"].(map[string]any)["id"].(string)
		return id, answer["user"].(map[string]any)["id"].(string)
	}
	watched, user := signUp("ada@example.com")
	ignored, _ := signUp("bob@example.com")
	_, secret, err := r.app.core.service.CreateAPIToken(scope.ForUser(t.Context(), user, ""), tenants.Caller{User: tenants.UserID(user)}, "", tenants.NewAPIToken{Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/v1/tenants/"+watched+"/live", nil)
	req.Header.Set("Authorization", "Bearer "+secret.Reveal())
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("live: %v, %v", res, err)
	}
	res.Body.Close()

	client, err := redisclient.New(redisURL, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	now := time.Now().UTC()
	flush, err := json.Marshal(usage.Flush{
		EdgeRun: "edge", Sequence: 1, SentAt: now,
		Deltas: []usage.Delta{
			{Tenant: tenants.ID(watched), Hub: "chat", Minute: now.Truncate(time.Minute), Delivered: 3, Opened: 1},
			{Tenant: tenants.ID(ignored), Hub: "chat", Minute: now.Truncate(time.Minute), Delivered: 5},
		},
		Gauges: []usage.Gauge{{Tenant: tenants.ID(watched), Connections: 1, Peak: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: redisclient.UsageStream, Values: []any{"flush", flush}}).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		if len(plane.seen()) < 2 {
			return "no events"
		}
		return ""
	})
	for i, want := range []string{"usage", "activity"} {
		e := plane.seen()[i]
		if e.target != want || e.path != "/t/signalbox/api/v1/hubs/console/groups/tenant:"+watched || e.argument["tenant_id"] != watched || !strings.HasPrefix(e.token, "Bearer ey") {
			t.Errorf("event %d = %+v", i, e)
		}
	}
	if e := plane.seen()[1]; e.argument["connections_now"] != 1.0 || e.argument["first_connection_at"] == nil {
		t.Errorf("activity = %v", e.argument)
	}
	for _, e := range plane.seen() {
		if strings.Contains(e.path, ignored) {
			t.Errorf("nobody watches %s", ignored)
		}
	}
}

func TestDocument_that_is_too_large_keeps_no_other_from_the_data_plane(t *testing.T) {
	t.Parallel()
	redisURL := testenv.Redis(t)
	r := start(t, testConfig(t, testenv.EmptyPostgres(t), redisURL))
	signUp := func(email string) string {
		_, answer := post(t, http.DefaultClient, r.url+"/v1/signup", map[string]string{"email": email, "password": "correct horse"})
		return answer["tenant"].(map[string]any)["id"].(string)
	}
	large, other := signUp("ada@example.com"), signUp("bob@example.com")
	settings, err := json.Marshal(tenants.HubSettings{AllowedOrigins: []string{strings.Repeat("a", directory.MaxSealedBytes)}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.app.core.pool.Exec(t.Context(), "UPDATE hubs SET settings = $2 WHERE tenant_id = $1", large, settings); err != nil {
		t.Fatal(err)
	}
	client, err := redisclient.New(redisURL, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.FlushDB(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		if complete, err := r.app.documents.publisher.Complete(t.Context()); err != nil || !complete {
			return "Redis does not have the documents"
		}
		return ""
	})
	if openDocument(t, client, other) == nil {
		t.Error("the other tenant's document is not there")
	}
}

// TestMigrate_waits_for_the_database: processes may start in any order.
func TestMigrate_waits_for_the_database(t *testing.T) {
	t.Parallel()
	link, through := newLink(t, testenv.EmptyPostgres(t))
	link.cut()
	var said syncLog
	ended := make(chan error, 1)
	go func() {
		ended <- Migrate(t.Context(), testConfig(t, through, testenv.Redis(t)), slog.New(slog.NewTextHandler(&said, nil)))
	}()
	select {
	case err := <-ended:
		t.Fatalf("ended with %v while the database was away", err)
	case <-said.line("trying again"):
	}
	link.mend()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// TestInternal_says_whether_Redis_answers is what an edge asks that has lost it.
func TestInternal_says_whether_Redis_answers(t *testing.T) {
	t.Parallel()
	link, through := newLink(t, testenv.Redis(t))
	client, err := redisclient.New(through, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	d := &documents{redis: client, logger: slog.New(slog.DiscardHandler)}
	ask := func() int {
		answer := httptest.NewRecorder()
		d.handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/internal/redis", nil))
		return answer.Code
	}
	if got := ask(); got != http.StatusNoContent {
		t.Errorf("Redis is there: got %d, want 204", got)
	}
	link.cut()
	if got := ask(); got != http.StatusServiceUnavailable {
		t.Errorf("Redis is away: got %d, want 503", got)
	}
}

// syncLog is a log that tells when it has a text.
type syncLog struct {
	mu   sync.Mutex
	text strings.Builder
	want string
	has  chan struct{}
}

func (l *syncLog) line(want string) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.want, l.has = want, make(chan struct{})
	l.look()
	return l.has
}

// look is called with mu held.
func (l *syncLog) look() {
	if l.has != nil && l.want != "" && strings.Contains(l.text.String(), l.want) {
		close(l.has)
		l.want = ""
	}
}

func (l *syncLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	l.look()
	return len(p), nil
}

// TestRead_of_a_locked_table_is_given_up: nobody waits for a lock until its holder
// goes home.
func TestRead_of_a_locked_table_is_given_up(t *testing.T) {
	t.Parallel()
	database := testenv.EmptyPostgres(t)
	r := start(t, testConfig(t, database, testenv.Redis(t)))
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	if status, answer := post(t, client, r.url+"/v1/signup", map[string]string{"email": "ada@example.com", "password": "correct horse"}); status != http.StatusCreated {
		t.Fatalf("sign-up answered %d: %v", status, answer)
	}
	conn, err := pgx.Connect(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "LOCK TABLE tenants IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	res, err := client.Get(r.url + "/v1/tenants")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("while the table is locked: %d, want 503", res.StatusCode)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if res, err = client.Get(r.url + "/v1/tenants"); err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("when it is free: %d, want 200", res.StatusCode)
	}
}
