package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/billing/usage"
	"github.com/signalbox/signalbox/tenants"
)

// budgetPost is what an upstream is told of a step of a budget, with its signature.
type budgetPost struct {
	id, timestamp, signature, body string
}

// signed reports whether a secret of the tenant made the post's signature, as Standard
// Webhooks say.
func (p budgetPost) signed(t *testing.T, secret string) bool {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(p.id + "." + p.timestamp + "." + p.body))
	return p.signature == "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// TestAllowance_of_the_free_plan_is_hard uses it up and looks at what two edges, the api,
// the mail and the webhook say of it, until the account has a larger plan; then at what the
// api says of the use of that one's limits.
func TestAllowance_of_the_free_plan_is_hard(t *testing.T) {
	t.Parallel()
	const most = 3_000_000
	f := startPlane(t, 2, func(*Config) {})
	posts := make(chan budgetPost, 100)
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions { // whether it wants to be told
			w.Header().Set("WebHook-Allowed-Origin", "*")
			return
		}
		body, _ := io.ReadAll(r.Body)
		posts <- budgetPost{r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Timestamp"), r.Header.Get("Webhook-Signature"), string(body)}
	}))
	t.Cleanup(hook.Close)
	secret := at(f.want(http.StatusCreated, "POST", "/v1/tenants/acme/webhook-secrets/rotate", map[string]any{"overlap_seconds": 0}), "secret")
	f.want(http.StatusOK, "PATCH", "/v1/tenants/acme/hubs/chat", map[string]any{"upstream": map[string]any{
		"mode": "native", "rules": []any{map[string]any{"url": hook.URL, "category": "limits", "event": "budget"}},
	}})
	live := f.connect(0, f.token(f.key, "ann"))
	sequence := int64(0)
	use := func(messages int64) {
		t.Helper()
		sequence++
		now := time.Now()
		if _, err := f.api.app.ledger.Commit(everywhere(t), usage.Flush{EdgeRun: "former", Sequence: sequence, SentAt: now, Deltas: []usage.Delta{
			{Tenant: tenants.ID(f.tenant), Hub: "chat", Minute: now, Delivered: messages},
		}}); err != nil {
			t.Fatal(err)
		}
		f.api.app.spending.changed(everywhere(t), []tenants.ID{tenants.ID(f.tenant)})
	}
	told := func(part string) {
		t.Helper()
		eventually(t, func() string {
			mails, err := f.api.app.core.store.RecentMail(everywhere(t), 100)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range mails {
				if m.To == "ada@example.com" && strings.Contains(m.Subject, "has used "+part+" of its messages") {
					return ""
				}
			}
			return fmt.Sprintf("no mail of %s among %d", part, len(mails))
		})
	}
	publish := func(e int) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+f.edges[e].Addr()+"/t/acme/api/v1/hubs/chat", strings.NewReader(`{"target":"m","arguments":[]}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+f.key.Secret)
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(body)
	}
	use(most * 8 / 10)
	told("80 %")
	if status, body := publish(0); status != http.StatusAccepted {
		t.Fatalf("at 80 %%: %d %s", status, body)
	}
	use(most * 2 / 10)
	told("100 %")
	// Webhooks are told by edges, of what is in the tenant's document.
	eventually(t, func() string {
		doc, err := f.api.app.core.service.Document(everywhere(t), tenants.ID(f.tenant))
		if err != nil {
			t.Fatal(err)
		}
		var steps []int
		for _, n := range doc.BudgetNotices {
			if n.Meter == tenants.MeterMessages && n.Budget == most && n.Action == tenants.BudgetRefusePublish {
				steps = append(steps, n.Step)
			}
		}
		slices.Sort(steps)
		if !slices.Equal(steps, []int{80, 100}) {
			return fmt.Sprintf("the document has notices of %v", steps)
		}
		return ""
	})
	ids := make(map[float64]map[string]bool) // by step
	for len(ids) < 2 {
		var post budgetPost
		select {
		case post = <-posts:
		case <-time.After(bound):
			t.Fatalf("the webhook has told of %v", ids)
		}
		var got struct {
			Type, Tenant, Meter, Action, ID string
			Budget, Step, Used              float64
		}
		if err := json.Unmarshal([]byte(post.body), &got); err != nil {
			t.Fatal(err)
		}
		if got.Type != "budget.reached" || got.Tenant != "acme" || got.Meter != "messages" || got.Action != "refuse_publish" || got.Budget != most ||
			got.Step != 80 && got.Step != 100 || got.Used < most*got.Step/100 || got.ID != post.id {
			t.Errorf("the webhook is told %s", post.body)
		}
		if !post.signed(t, secret) {
			t.Errorf("%q doesn't sign %+v", secret, post)
		}
		if ids[got.Step] == nil {
			ids[got.Step] = make(map[string]bool)
		}
		ids[got.Step][post.id] = true
	}
	for e := range f.edges {
		eventually(t, func() string {
			status, body := publish(e)
			if status == http.StatusAccepted || status == http.StatusTooManyRequests {
				return "more is published"
			}
			for _, part := range []string{`"code":"allowance_exceeded"`, `"limit":"messages_per_month"`, `"max":3000000`, "the account has used 3", "larger plan", "next period at 20"} {
				if !strings.Contains(body, part) {
					t.Errorf("%d without %s: %s", status, part, body)
				}
			}
			if status != http.StatusForbidden {
				t.Errorf("answered %d", status)
			}
			return ""
		})
	}
	if refused := live.call("$sendToGroup", "demo", "hello", []any{}); !strings.Contains(refused, "allowance_exceeded") {
		t.Errorf("a client's message: %q", refused)
	}
	if refused := live.call("$leaveGroup", "demo"); refused != "" {
		t.Errorf("a connection that was there: %q", refused)
	}
	if status, body := f.negotiate(1, f.token(f.key, "bob"), "", ""); status != http.StatusOK {
		t.Errorf("a new connection: %d %s", status, body)
	}
	allowances, _ := f.want(http.StatusOK, "GET", "/v1/tenants/acme/limits", nil)["allowances"].([]any)
	if len(allowances) != 2 {
		t.Fatalf("allowances: %v", allowances)
	}
	if a, _ := allowances[0].(map[string]any); a["limit"] != "messages_per_month" || a["max"] != 3e6 || a["hard"] != true || a["exceeded"] != true {
		t.Errorf("the limits say %v", a)
	}
	account := at(f.want(http.StatusOK, "GET", "/v1/tenants/acme", nil), "account_id")
	if b := f.want(http.StatusOK, "GET", "/v1/accounts/"+account+"/budget", nil); b["hard_messages"] != true || b["exceeded"] != true {
		t.Errorf("the budget says %v", b)
	}
	f.want(http.StatusOK, "PUT", "/v1/accounts/"+account+"/plan", map[string]any{"plan": "pro", "effective": "now"})
	for e := range f.edges {
		eventually(t, func() string {
			if status, body := publish(e); status != http.StatusAccepted {
				return fmt.Sprintf("with the larger plan: %d %s", status, body)
			}
			return ""
		})
	}
	if a, _ := f.want(http.StatusOK, "GET", "/v1/tenants/acme/limits", nil)["allowances"].([]any)[0].(map[string]any); a["hard"] != false || a["exceeded"] != false {
		t.Errorf("the limits of the larger plan say %v", a)
	}
	f.limitsInUse(live, publish)
	// Each step was told once; an answer that got lost is repeated with the same id.
	for len(posts) > 0 {
		if post := <-posts; !ids[80][post.id] && !ids[100][post.id] {
			t.Errorf("the webhook is told once more: %s", post.body)
		}
	}
	for step, told := range ids {
		if len(told) != 1 {
			t.Errorf("step %v was told with the ids %v", step, told)
		}
	}

	// A limit below the plan's is tried out: nothing is refused, and what it would have
	// refused is shown.
	f.want(http.StatusOK, "PUT", "/v1/tenants/acme/limits/max_connections", map[string]any{"max": 1, "dry_run": true, "expires_at": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)})
	var last time.Time
	eventually(t, func() string {
		if time.Since(last) > 100*time.Millisecond { // an address may connect 20 times a second
			last = time.Now()
			f.connect(0, f.token(f.key, "ben"))
		}
		limits, _ := f.want(http.StatusOK, "GET", "/v1/tenants/acme/limits", nil)["limits"].([]any)
		for _, each := range limits {
			l, _ := each.(map[string]any)
			if would, _ := l["would_refuse"].(float64); l["limit"] == "max_connections" && would > 0 {
				if override, _ := l["override"].(map[string]any); l["refused"] != 0.0 || override["max"] != 1.0 || override["dry_run"] != true {
					t.Errorf("the limit that is tried out is shown as %v", l)
				}
				return ""
			}
		}
		return "nothing would have been refused"
	})
}
