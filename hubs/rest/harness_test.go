package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const tenant = tenants.ID("01JCTENANT000000000000000A")

// maxMessage is the limit of the tenant in tests.
const maxMessage = 1000

// service is a Handler over memory backplanes, one per hub, with a node each.
type service struct {
	*Handler
	t       testing.TB
	matched int       // what nodes answer
	page    hubs.Page // what nodes list
	members int       // how many connections they list in pages, instead of page
	refuse  error     // what Admit answers
	left    int       // how often it says yes before
	broken  error     // what publishing answers, if anything

	mu       sync.Mutex
	hubs     map[string]hubs.Backplane
	entries  map[string][]*hubs.Entry // by hub
	queries  []hubs.Query
	lists    []hubs.ListQuery
	admitted []int
	begun    int      // Scopes that were given
	ended    int      // those that were done
	slowed   []int    // how many weren't when a refusal took its time
	refusals []string // hub and code
}

func newService(t testing.TB) *service {
	t.Helper()
	s := &service{t: t, matched: 1, page: hubs.Page{Items: []hubs.Listed{{Name: "a", User: "ann", Connections: 1}}}, hubs: make(map[string]hubs.Backplane), entries: make(map[string][]*hubs.Entry)}
	var err error
	s.Handler, err = NewHandler(Config{
		Scope: s.scope, PositionKey: []byte(strings.Repeat("k", 32)), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// testLimits are those of every tenant.
var testLimits = tenants.Limits{MaxMessageBytes: maxMessage, MaxRequestBytes: 1 << 20, MaxBatchItems: 100}

func (s *service) scope(r *http.Request) (Scope, error) {
	if r.Header.Get("Authorization") == "" {
		return Scope{}, fault.New(fault.Unauthenticated, "The token is missing.")
	}
	s.mu.Lock()
	s.begun++
	s.mu.Unlock()
	return Scope{
		Done: func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.ended++
		},
		Slow: func(context.Context) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.slowed = append(s.slowed, s.begun-s.ended)
		},
		Tenant:   tenant,
		Limits:   testLimits,
		Presence: tenants.PresenceLimits{Members: 10, StateBytes: 100},
		Backplane: func(hub string) (hubs.Backplane, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if hub == "one-too-many" {
				return nil, &LimitError{Limit: fault.Limit{Code: "quota_exceeded", Limit: "max_hubs", Max: 3, RetryAfterMS: 60_000}, Text: "No more hubs."}
			}
			b := s.hubs[hub]
			if b == nil {
				m := hubs.NewMemoryBackplane()
				if _, err := m.Subscribe(r.Context(), &node{s: s, hub: hub}); err != nil {
					return nil, err
				}
				b = &backplane{Backplane: m, s: s}
				s.hubs[hub] = b
			}
			return b, nil
		},
		Admit: func(_ context.Context, _ string, messages int) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.refuse != nil && s.left == 0 {
				return s.refuse
			}
			s.left = max(0, s.left-1)
			s.admitted = append(s.admitted, messages)
			return nil
		},
		Allowances: func(sends bool) []Allowance {
			a := Allowance{Name: "of the test", Quota: 100, Window: 10 * time.Second, Remaining: 60, Reset: 5 * time.Second}
			if sends {
				a.Remaining = 50
			}
			return []Allowance{a}
		},
		Token: func(hub, user string, life time.Duration) (string, error) {
			return fmt.Sprintf("%s-%s-%s", hub, user, life), nil
		},
		Base: "https://demo.example:8443/t/demo",
		Refused: func(hub, code string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.refusals = append(s.refusals, hub+" "+code)
		},
	}, nil
}

// node is the one node of a hub.
type node struct {
	s   *service
	hub string
}

func (n *node) Apply(e *hubs.Entry) int {
	n.s.mu.Lock()
	defer n.s.mu.Unlock()
	n.s.entries[n.hub] = append(n.s.entries[n.hub], e)
	return n.s.matched
}

func (n *node) Answer(q hubs.Query) int {
	n.s.mu.Lock()
	defer n.s.mu.Unlock()
	n.s.queries = append(n.s.queries, q)
	return n.s.matched
}

func (n *node) List(q hubs.ListQuery) hubs.Page {
	n.s.mu.Lock()
	defer n.s.mu.Unlock()
	n.s.lists = append(n.s.lists, q)
	if n.s.members == 0 {
		return n.s.page
	}
	p := hubs.Page{More: true}
	for i := 0; len(p.Items) < q.Limit; i++ {
		if i == n.s.members {
			p.More = false
			break
		}
		if name := fmt.Sprintf("c%06d", i); name > q.After {
			p.Items = append(p.Items, hubs.Listed{Name: name, Connections: 1})
		}
	}
	return p
}

func (*node) Lost(hubs.Gap)        {}
func (*node) Begins(hubs.Position) {}

// backplane can break.
type backplane struct {
	hubs.Backplane
	s *service
}

func (b *backplane) Publish(ctx context.Context, e *hubs.Entry, o hubs.PublishOptions) (hubs.Position, error) {
	if b.s.broken != nil {
		return hubs.Position{}, b.s.broken
	}
	return b.Backplane.Publish(ctx, e, o)
}

func (b *backplane) Command(ctx context.Context, e *hubs.Entry, o hubs.PublishOptions) (hubs.Position, int, error) {
	if b.s.broken != nil {
		return hubs.Position{}, 0, b.s.broken
	}
	return b.Backplane.Command(ctx, e, o)
}

func (b *backplane) Ask(ctx context.Context, q hubs.Query) (int, error) {
	if b.s.broken != nil {
		return 0, b.s.broken
	}
	return b.Backplane.Ask(ctx, q)
}

func (b *backplane) History(ctx context.Context, q hubs.HistoryQuery) (hubs.HistoryPage, error) {
	if b.s.broken != nil {
		return hubs.HistoryPage{}, b.s.broken
	}
	return b.Backplane.(hubs.Historian).History(ctx, q)
}

func (b *backplane) List(ctx context.Context, q hubs.ListQuery) (hubs.Page, error) {
	if b.s.broken != nil {
		return hubs.Page{}, b.s.broken
	}
	return b.Backplane.List(ctx, q)
}

// request is an authenticated request; header holds pairs.
func request(method, target, body string, header ...string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer token")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

// do answers r, and checks the answer against openapi.yaml.
func (s *service) do(r *http.Request) *httptest.ResponseRecorder {
	s.t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	conform(s.t, r, string(body), w)
	return w
}

// last returns the newest entry of a hub.
func (s *service) last(t testing.TB, hub string) *hubs.Entry {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.entries[hub]
	if len(all) == 0 {
		t.Fatalf("hub %s has no entry", hub)
	}
	return all[len(all)-1]
}

func (s *service) count(hub string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries[hub])
}

// refused checks the documented form of an error.
func refused(t *testing.T, w *httptest.ResponseRecorder, method string, status int, code, target string) {
	t.Helper()
	if w.Code != status || w.Header().Get("x-ms-error-code") != code {
		t.Errorf("status %d, code %q; want %d, %q: %s", w.Code, w.Header().Get("x-ms-error-code"), status, code, w.Body)
		return
	}
	if method == http.MethodHead {
		if w.Body.Len() > 0 {
			t.Errorf("HEAD was answered with a body: %s", w.Body)
		}
		return
	}
	var d errorDetail
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil || d.Code != code || d.Target != target || d.Message == "" {
		t.Errorf("detail %s (%v); want code %q, target %q", w.Body, err, code, target)
	}
}
