package tenantstore_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/postgres"
	"github.com/signalbox/signalbox/internal/scope"
	"github.com/signalbox/signalbox/internal/testenv"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/tenantstore"
)

// queue records jobs; what is rolled back can't be seen in it.
type queue struct {
	mu   sync.Mutex
	jobs []river.JobArgs
	err  error
}

func (q *queue) InsertTx(_ context.Context, _ pgx.Tx, args river.JobArgs, _ *river.InsertOpts) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.jobs = append(q.jobs, args)
	return q.err
}

// everywhere is the context of a test that looks at the rows of all accounts.
func everywhere(t testing.TB) context.Context {
	t.Helper()
	return scope.System(t.Context(), scope.Usage)
}

func newStore(t *testing.T) (*tenantstore.Store, *pgxpool.Pool, *queue) {
	t.Helper()
	pool, err := postgres.Open(everywhere(t), testenv.Postgres(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	q := new(queue)
	s := tenantstore.New(pool, q)
	for _, err := range []error{
		s.CreateAccount(everywhere(t), tenants.Account{ID: "A", Name: "A", Plan: "free"}),
		s.CreateTenant(everywhere(t), tenants.Tenant{ID: "T1", Account: "A", Slug: "one", Name: "One", Status: tenants.Active, Hosts: []string{"one.example", "localhost:1"}}),
		s.CreateTenant(everywhere(t), tenants.Tenant{ID: "T2", Account: "A", Slug: "two", Name: "Two", Status: tenants.Active}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return s, pool, q
}

func wantCode(t *testing.T, err error, kind fault.Kind, code string) {
	t.Helper()
	e, ok := errors.AsType[*fault.Error](err)
	if !ok || e.Kind != kind || e.Code != code {
		t.Errorf("error = %v, want %s %s", err, kind, code)
	}
}

func TestConflicts_have_codes(t *testing.T) {
	t.Parallel()
	s, _, _ := newStore(t)
	ctx := everywhere(t)
	wantCode(t, s.CreateTenant(ctx, tenants.Tenant{ID: "T3", Account: "A", Slug: "one", Name: "x", Status: tenants.Active}), fault.Conflict, "slug_taken")
	wantCode(t, s.SetHosts(ctx, "T2", []string{"one.example"}), fault.Conflict, "host_taken")
	if err := s.CreateUser(ctx, tenants.User{ID: "U1", Email: "Ada@example.com"}, "ada@example.com", "h"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, s.CreateUser(ctx, tenants.User{ID: "U2", Email: "ada@EXAMPLE.com"}, "ada@example.com", "h"), fault.Conflict, "email_taken")
}

func TestHosts_are_replaced(t *testing.T) {
	t.Parallel()
	s, _, _ := newStore(t)
	for _, hosts := range [][]string{{"localhost:1", "new.example"}, {"localhost:1", "new.example"}, {}} {
		if err := s.SetHosts(everywhere(t), "T1", hosts); err != nil {
			t.Fatal(err)
		}
		got, err := s.Tenant(everywhere(t), "T1")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(hosts, got.Hosts); diff != "" {
			t.Error(diff)
		}
	}
	if _, err := s.TenantByHost(everywhere(t), "one.example"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a former host: %v", err)
	}
}

func TestChange_and_its_job_and_audit_are_one_transaction(t *testing.T) {
	t.Parallel()
	s, pool, q := newStore(t)
	q.err = errors.New("no queue")
	err := s.InTx(everywhere(t), func(tx tenants.Store) error {
		if err := tx.Audit(everywhere(t), tenants.Audit{Account: "A", Tenant: "T1", Action: "test", Subject: "x"}); err != nil {
			return err
		}
		return tx.Touch(everywhere(t), "T1")
	})
	if !errors.Is(err, q.err) {
		t.Errorf("error = %v", err)
	}
	var revision, audits int64
	if err := pool.QueryRow(everywhere(t), "SELECT revision, (SELECT count(*) FROM audit_events) FROM tenants WHERE id = 'T1'").Scan(&revision, &audits); err != nil || revision != 0 || audits != 0 {
		t.Errorf("revision %d and %d audits are left, %v", revision, audits, err)
	}
	q.err = nil
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if err := s.Touch(everywhere(t), "T1"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	got, err := s.Tenant(everywhere(t), "T1")
	if err != nil || got.Revision != 10 {
		t.Errorf("revision = %d, %v; want one for each change", got.Revision, err)
	}
	if last := q.jobs[len(q.jobs)-1]; last != (tenantstore.PublishDocument{Tenant: "T1"}) || last.Kind() != "publish_tenant_document" {
		t.Errorf("job = %v", last)
	}
}

func TestRows_of_another_tenant_are_out_of_reach(t *testing.T) {
	t.Parallel()
	s, _, _ := newStore(t)
	ctx := everywhere(t)
	now := time.Now().Truncate(time.Microsecond).UTC()
	for _, id := range []tenants.ID{"T1", "T2"} {
		for _, err := range []error{
			s.PutKey(ctx, id, tenants.AccessKey{ID: "K-" + string(id), Slot: tenants.Primary, Sealed: []byte(id), CreatedAt: now}, now),
			s.PutDomain(ctx, id, tenants.Domain{ID: "D", Name: "rt.example.com", Token: string(id), CreatedAt: now}),
			s.AddHubVersion(ctx, id, tenants.Caller{}, tenants.HubVersion{Hub: "chat", Settings: &tenants.HubSettings{KeepAliveSeconds: len(id)}, CreatedAt: now}),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.PutHub(ctx, id, tenants.Hub{Name: "chat", Settings: tenants.HubSettings{KeepAliveSeconds: len(id)}, CreatedAt: now, UpdatedAt: now}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.DeleteHub(ctx, "T1", "chat"); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteTenant(ctx, "T1", now); err != nil {
		t.Fatal(err)
	}
	hubs, err := s.Hubs(ctx, "T2")
	if err != nil || len(hubs) != 1 {
		t.Errorf("hubs of the other tenant = %v, %v", hubs, err)
	}
	keys, err := s.Keys(ctx, "T2", now)
	if err != nil || len(keys) != 1 || string(keys[0].Sealed) != "T2" {
		t.Errorf("keys of the other tenant = %v, %v", keys, err)
	}
	if keys, err := s.Keys(ctx, "T1", now); err != nil || len(keys) != 0 {
		t.Errorf("keys of the deleted tenant = %v, %v", keys, err)
	}
	for id, want := range map[tenants.ID]int{"T1": 0, "T2": 1} {
		if all, err := s.Domains(ctx, id); err != nil || len(all) != want {
			t.Errorf("domains of %s = %v, %v", id, all, err)
		}
		if all, err := s.HubVersions(ctx, id, "chat"); err != nil || len(all) != want {
			t.Errorf("versions of %s = %v, %v", id, all, err)
		}
	}
	// A key's id of another tenant is no way to its row.
	if err := s.PutKey(ctx, "T2", tenants.AccessKey{ID: "K-new", Slot: tenants.Primary, Sealed: []byte("new"), CreatedAt: now}, now); err != nil {
		t.Fatal(err)
	}
	if keys, _ := s.Keys(ctx, "T2", now); len(keys) != 1 || keys[0].ID != "K-new" {
		t.Errorf("keys = %v, want the new one in place of the old", keys)
	}
}

// TestDeleteTenant_leaves_nothing_but_the_ledger: names of users, groups, methods and
// hubs go with their tenant.
func TestDeleteTenant_leaves_nothing_but_the_ledger(t *testing.T) {
	t.Parallel()
	s, pool, _ := newStore(t)
	ctx, now := everywhere(t), time.Now()
	for _, sql := range []string{
		"INSERT INTO usage_top (tenant_id, dimension, step, at, value, accepted) VALUES ('T1', 'user', 'day', $1, 'ann', 1), ('T2', 'user', 'day', $1, 'bob', 1)",
		"INSERT INTO usage_hubs (tenant_id, hub, last_used_on) VALUES ('T1', 'chat', $1), ('T2', 'chat', $1)",
	} {
		if _, err := pool.Exec(ctx, sql, now); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.DeleteTenant(ctx, "T1", now); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"usage_top", "usage_hubs"} {
		rows, _ := pool.Query(ctx, "SELECT tenant_id FROM "+table)
		if left, err := pgx.CollectRows(rows, pgx.RowTo[string]); err != nil || !slices.Equal(left, []string{"T2"}) {
			t.Errorf("%s has rows of %v, %v; want those of the other tenant", table, left, err)
		}
	}
}

// TestClaimRequest_waits_for_no_other_key: one that is under way holds up no request
// of another key, though rows of the caller's are past; a key that is past is free.
func TestClaimRequest_waits_for_no_other_key(t *testing.T) {
	t.Parallel()
	s, _, _ := newStore(t)
	ctx, now := everywhere(t), time.Now()
	if err := s.CreateUser(ctx, tenants.User{ID: "U1", Email: "ada@example.com"}, "ada@example.com", "h"); err != nil {
		t.Fatal(err)
	}
	claim := func(key string, at time.Time, meanwhile func()) {
		t.Helper()
		err := s.Unit(ctx, func(ctx context.Context) error {
			former, err := s.ClaimRequest(ctx, tenants.Request{User: "U1", Key: key, Hash: []byte(key), Expires: at.Add(tenants.RequestLife)}, at)
			if former != nil {
				t.Errorf("%s was used before", key)
			}
			meanwhile()
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	count := func(want int) {
		t.Helper()
		if have, err := s.CountRequests(ctx, "U1", now); err != nil || have != want {
			t.Errorf("%d requests count, %v; want %d", have, err, want)
		}
	}
	for _, key := range []string{"a", "b", "c"} {
		claim(key, now.Add(-2*tenants.RequestLife), func() {})
	}
	count(0)
	claim("new", now, func() { claim("newer", now, func() {}) })
	claim("a", now, func() { claim("b", now, func() {}) })
	count(4)
}

func TestLimits_overrides_end(t *testing.T) {
	t.Parallel()
	s, pool, _ := newStore(t)
	now := time.Now()
	_, err := pool.Exec(everywhere(t), `INSERT INTO limit_overrides (tenant_id, code, value, expires_at) VALUES
		('T1', 'max_connections', 7, NULL), ('T1', 'max_hubs', 8, $1), ('T2', 'max_connections', 9, NULL)`, now.Add(-time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	plan, overrides, err := s.Limits(everywhere(t), "T1", now)
	if err != nil {
		t.Fatal(err)
	}
	effective := plan.With(overrides, now)
	if effective.MaxConnections != 7 || effective.MaxHubs != 20 || plan.MaxConnections != 200 {
		t.Errorf("plan %+v, overrides %v", plan, overrides)
	}
}

func TestForget_keeps_what_is_recent(t *testing.T) {
	t.Parallel()
	s, pool, _ := newStore(t)
	ctx, now := everywhere(t), time.Now()
	for _, at := range []time.Time{now.Add(-time.Hour), now} {
		if _, err := s.Attempt(ctx, at, at.Add(-time.Hour*24), "ip:x"); err != nil {
			t.Fatal(err)
		}
		if err := s.QueueMail(ctx, tenants.Mail{ID: at.String(), To: "a@b", Sealed: []byte("x"), CreatedAt: at}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Forget(ctx, now.Add(-time.Minute)); err != nil {
		t.Fatal(err)
	}
	var attempts, mails int
	if err := pool.QueryRow(ctx, "SELECT (SELECT count(*) FROM attempts), (SELECT count(*) FROM mail_outbox)").Scan(&attempts, &mails); err != nil || attempts != 1 || mails != 1 {
		t.Errorf("%d attempts and %d mails are left, %v", attempts, mails, err)
	}
}

// SEC-47: whoever waited for the lock counts what the one before has made.
func TestLockAccount_counts_after_it_waited(t *testing.T) {
	t.Parallel()
	s, pool, _ := newStore(t)
	ctx := everywhere(t)
	var counted int
	var second sync.WaitGroup
	err := s.InTx(ctx, func(first tenants.Store) error {
		if _, have, err := first.LockAccount(ctx, "A"); err != nil || have != 2 {
			t.Errorf("the first counts %d, %v", have, err)
		}
		second.Go(func() {
			err := s.InTx(ctx, func(tx tenants.Store) (err error) {
				_, counted, err = tx.LockAccount(ctx, "A")
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
		waitForLock(t, pool)
		return first.CreateTenant(ctx, tenants.Tenant{ID: "T3", Account: "A", Slug: "three", Name: "Three", Status: tenants.Active})
	})
	if err != nil {
		t.Fatal(err)
	}
	second.Wait()
	if counted != 3 {
		t.Errorf("the second counts %d tenants, want 3", counted)
	}
}

// waitForLock waits until a transaction waits for another in this database.
func waitForLock(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		var waits bool
		err := pool.QueryRow(everywhere(t), "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')").Scan(&waits)
		if err != nil {
			t.Fatal(err)
		}
		if waits {
			return
		}
	}
	t.Fatal("nobody waits for a lock")
}

func TestWebhookSecrets_overlap_and_end(t *testing.T) {
	t.Parallel()
	s, _, _ := newStore(t)
	ctx, now := everywhere(t), time.Now().UTC().Truncate(time.Microsecond)
	rotate := func(id string, at, formerUntil time.Time) {
		t.Helper()
		if err := s.RotateWebhookSecret(ctx, "T1", tenants.WebhookSecret{ID: id, Sealed: []byte(id), Hint: "h", CreatedAt: at}, formerUntil); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(at time.Time, want string) {
		t.Helper()
		got, err := s.WebhookSecrets(ctx, "T1", at)
		if err != nil {
			t.Fatal(err)
		}
		ids := ""
		for _, w := range got {
			ids += w.ID
		}
		if ids != want {
			t.Errorf("secrets %q, want %q", ids, want)
		}
	}
	expect(now, "")
	rotate("a", now, now.Add(time.Hour))
	expect(now, "a")
	rotate("b", now, now.Add(time.Hour))
	expect(now, "ba")
	expect(now.Add(time.Hour), "b")
	rotate("c", now, now.Add(time.Hour)) // of three secrets the oldest goes
	expect(now, "cb")
	rotate("d", now, now) // no overlap
	expect(now, "d")
	if other, err := s.WebhookSecrets(ctx, "T2", now); err != nil || len(other) != 0 {
		t.Errorf("the other tenant has %v, %v", other, err)
	}
	if err := s.DeleteTenant(ctx, "T1", now); err != nil {
		t.Fatal(err)
	}
	expect(now, "")
}
