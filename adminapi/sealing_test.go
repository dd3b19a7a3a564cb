package adminapi_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/tenantstore"
)

// sealedWith is a service on the database of w with other sealing keys.
func (w *world) sealedWith(keys ...byte) *tenants.Service {
	w.t.Helper()
	var former [][]byte
	for _, b := range keys[1:] {
		former = append(former, sealingKey(b))
	}
	sealer, err := tenants.NewSealer(sealingKey(keys[0]), former...)
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := tenants.NewService(tenants.Config{
		Store: tenantstore.New(w.pool, noJobs{}), Sealer: sealer, Endpoints: w.service.Endpoints(), ConsoleURL: "https://console.example.com",
		Publish: func(context.Context, tenants.ID) error { return nil }, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// sealedBefore is how a secret was sealed before values named their keys, and, behind
// those names, before columns were bound.
func sealedBefore(t *testing.T, key []byte, scope, secret string) []byte {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	return aead.Seal(nil, nil, []byte(secret), []byte(scope))
}

// The key that seals is exchanged while requests go on: values of every kind, those from
// before keys had names or columns were bound too, are sealed anew, nothing is refused meanwhile, and then the
// former key isn't needed. Whoever lacks a key is told of what and how much.
func TestSEC_43_the_sealing_key_is_rotated_under_traffic(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	ada, acme := w.signUp("ada@example.com", "acme")
	status(t, ada.call("POST", "/v1/tenants", map[string]any{"name": "Second"}, keyHeader, "k"), http.StatusCreated)
	webhooks := ada.call("POST", "/v1/tenants/acme/webhook-secrets/rotate", map[string]any{})
	status(t, webhooks, http.StatusCreated)
	status(t, ada.call("POST", "/v1/user/second-factor", map[string]any{"password": password}), http.StatusOK)
	seal, err := tenants.NewSealer(sealingKey(7))
	if err != nil {
		t.Fatal(err)
	}
	id, key, webhook := acme.at("tenant", "id"), acme.at("key", "id"), webhooks.at("id")
	w.exec("UPDATE access_keys SET sealed_secret = $2 WHERE id = $1", key, sealedBefore(t, sealingKey(7), id+"/"+key, acme.at("key", "secret")))
	named, err := hex.DecodeString("01" + seal.Primary())
	if err != nil {
		t.Fatal(err)
	}
	w.exec("UPDATE webhook_secrets SET sealed_secret = $2 WHERE id = $1", webhook, append(named, sealedBefore(t, sealingKey(7), id+"/"+webhook, webhooks.at("secret"))...))
	w.exec("INSERT INTO operators (id, name, email, email_key, sealed_secret, created_at) VALUES ('o1', 'x', 'x', 'x', $1, now())", seal.Seal("operators.sealed_secret", "operator:o1", "totp", "secret"))
	rotating := w.sealedWith(8, 7)
	before, err := rotating.SealStates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range before {
		if s.By[rotating.SealingKey()] != 0 || len(s.Lost) > 0 || len(s.By) < 2 || s.Kind == "webhook_secrets.sealed_secret" && s.By[seal.Primary()+", for any column"] != 1 || s.Kind == "access_keys.sealed_secret" && len(s.By) < 3 {
			t.Errorf("before, %s are sealed by %v, and lost are %v", s.Kind, s.By, s.Lost)
		}
	}
	traffic, stop := context.WithCancel(t.Context())
	var going sync.WaitGroup
	for _, ask := range []func() answer{
		func() answer {
			return ada.call("POST", "/v1/tenants/acme/client-tokens", map[string]any{"hub": "chat"})
		},
		func() answer {
			return ada.call("POST", "/v1/tenants", map[string]any{"name": "Second"}, keyHeader, "k")
		},
	} {
		going.Go(func() {
			for traffic.Err() == nil {
				if a := ask(); a.status >= 300 {
					t.Errorf("while secrets are sealed anew a request is answered %d %s", a.status, a.text)
				}
			}
		})
	}
	if _, err := rotating.Reseal(func() context.Context { ended, end := context.WithCancel(t.Context()); end(); return ended }()); err == nil {
		t.Error("one that was ended at once says that it is done")
	}
	if _, err := rotating.Reseal(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop()
	going.Wait()
	// A process with the former key seals on, behind where sealing anew has been, too: it
	// is told of that.
	late := seal.Seal("operators.sealed_secret", "operator:o0", "totp", "secret")
	w.exec("CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO operators (id, name, email, email_key, sealed_secret, created_at) VALUES ('o0', 'y', 'y', 'y', '\\x" + hex.EncodeToString(late) + "', now()); RETURN NULL; END $$")
	w.exec("CREATE TRIGGER late AFTER UPDATE ON operators FOR EACH ROW EXECUTE FUNCTION late()")
	w.exec("UPDATE operators SET sealed_secret = $1 WHERE id = 'o1'", seal.Seal("operators.sealed_secret", "operator:o1", "totp", "secret"))
	w.exec("DELETE FROM operators WHERE id = 'o0'")
	during, err := rotating.Reseal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(during, func(s tenants.SealState) bool { return s.Kind == "operators.sealed_secret" }); during[i].By[seal.Primary()] != 1 || during[i].By[rotating.SealingKey()] != 1 {
		t.Errorf("with one that came behind, operators are sealed by %v", during[i].By)
	}
	w.exec("DROP TRIGGER late ON operators")
	// What traffic has sealed with the primary key of its own process meanwhile.
	after, err := rotating.Reseal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range after {
		if s.Kind != before[i].Kind || len(s.By) != 1 || s.By[rotating.SealingKey()] == 0 || len(s.Lost) > 0 {
			t.Errorf("after, %s are sealed by %v, and lost are %v", s.Kind, s.By, s.Lost)
		}
	}
	alone, without := w.sealedWith(8), w.sealedWith(7)
	if _, err := alone.Document(t.Context(), tenants.ID(acme.at("tenant", "id"))); err != nil {
		t.Errorf("without the former key: %v", err)
	}
	// A sealed value that is moved, with its row's id, to another column doesn't open there.
	w.exec("UPDATE webhook_secrets SET id = $1, sealed_secret = (SELECT sealed_secret FROM access_keys WHERE id = $1) WHERE id = $2", key, webhook)
	if _, err := alone.Document(t.Context(), tenants.ID(id)); err == nil || !strings.Contains(err.Error(), "open webhook secret") {
		t.Errorf("an access key in the place of a webhook secret: %v", err)
	}
	lost, err := without.SealStates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range lost {
		if want := after[i].By[alone.SealingKey()]; s.Lost[alone.SealingKey()] != want {
			t.Errorf("of %s %v are lost without their key, want %d", s.Kind, s.Lost, want)
		}
	}
}

// Every column of bytes is known as sealed, or as a hash or the like that opens nothing.
func TestSEC_43_every_column_of_bytes_is_sealed_or_a_hash(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	hashes := []string{
		"api_tokens.token_hash", "audit_chains.hash", "audit_events.hash", "audit_events.previous", "email_verifications.token_hash", "idempotent_requests.request_hash",
		"invitations.token_hash", "operator_tokens.token_hash", "operators.setup_hash", "password_resets.token_hash", "recovery_codes.code_hash", "signups.token_hash",
	}
	sessions := []string{"sessions.data", "operator_sessions.data"} // found by the hash of their token; they hold no secret
	rows, _ := w.pool.Query(t.Context(), `SELECT table_name || '.' || column_name FROM information_schema.columns
		WHERE table_schema = 'public' AND data_type = 'bytea' AND table_name NOT LIKE 'river%' ORDER BY 1`)
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, column := range all {
		if !slices.Contains(tenants.SealedKinds, column) && !slices.Contains(hashes, column) && !slices.Contains(sessions, column) {
			t.Errorf("%s holds bytes: when they are sealed, it belongs in tenants.SealedKinds and the store's sealedBy, so that they are sealed anew with the next key", column)
		}
	}
	for _, column := range tenants.SealedKinds {
		if !slices.Contains(all, column) {
			t.Errorf("there is no column %s", column)
		}
	}
}
