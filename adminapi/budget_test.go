package adminapi_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/signalbox/signalbox/adminapi"
	"github.com/signalbox/signalbox/billing/billingstore"
	"github.com/signalbox/signalbox/billing/usage"
	"github.com/signalbox/signalbox/internal/scope"
	"github.com/signalbox/signalbox/tenants"
)

func TestBudget_is_set_shown_and_in_the_document(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	ada, acme := w.signUp("ada@example.com", "acme")
	id, path := tenants.ID(acme.at("tenant", "id")), "/v1/accounts/"+acme.at("account", "id")+"/budget"
	var state adminapi.BudgetState
	read(t, ada.call("GET", path, nil), &state)
	if state.Budget.Action != "notify" || state.Budget.Messages != nil || len(*state.Budget.Steps) != 3 || state.Plan != "free" || state.MessagesAllowed != 3_000_000 || state.Exceeded {
		t.Errorf("the first budget is %+v", state)
	}
	for field, body := range map[string]map[string]any{
		"action":   {"action": "stop"}, // at what?
		"steps":    {"action": "notify", "steps": []int{80, 50}},
		"messages": {"action": "notify", "messages": 0},
	} {
		if a := ada.call("PUT", path, body); a.status != http.StatusBadRequest || len(a.errorFields()) != 1 {
			t.Errorf("%s: %d %s", field, a.status, a.text)
		}
	}
	published := w.published.of(string(id))
	read(t, ada.call("PUT", path, map[string]any{"action": "read_only", "messages": 10, "steps": []int{80}}), &state)
	doc, err := w.service.Document(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if b := doc.Budget; b == nil || b.Messages != 10 || b.Action != tenants.BudgetReadOnly || string(b.Account) != acme.at("account", "id") || b.AnchorDay < 1 {
		t.Errorf("the document has %+v", b)
	}
	if w.published.of(string(id)) == published {
		t.Error("the document wasn't published at once")
	}
	now := time.Now().UTC()
	if _, err := billingstore.New(w.pool).Commit(scope.System(t.Context(), scope.Usage), usage.Flush{EdgeRun: "e", Sequence: 1, SentAt: now, Deltas: []usage.Delta{
		{Tenant: id, Hub: "chat", Minute: now, Delivered: 10, ConnectionSeconds: 61},
	}}); err != nil {
		t.Fatal(err)
	}
	read(t, ada.call("GET", path, nil), &state)
	if !state.Exceeded || state.MessagesUsed != 10 || state.ConnectionMinutesUsed != 2 || *state.Budget.Messages != 10 {
		t.Errorf("the budget is %+v", state)
	}
	var st adminapi.Statement
	read(t, ada.call("GET", "/v1/accounts/"+acme.at("account", "id")+"/statement", nil), &st)
	if st.Totals.MessagesDelivered != 10 || len(st.Tenants) != 1 || st.Tenants[0].TenantID != string(id) || st.Total != 0 || st.Final || len(st.Plans) != 1 || st.Currency != "USD" ||
		!st.From.Equal(state.From) || !st.To.Equal(state.To) || !st.FinalAt.After(st.To.Add(72*time.Hour)) {
		t.Errorf("the statement is %+v", st)
	}
	if a := ada.call("GET", "/v1/accounts/"+acme.at("account", "id")+"/statement?at=1990-01-01T00:00:00Z", nil); a.status != http.StatusBadRequest {
		t.Errorf("a statement of 1990 answers %d: %s", a.status, a.text)
	}
	viewer := w.member("viewer@example.com", acme.at("account", "id"), tenants.Viewer)
	if a := viewer.call("PUT", path, map[string]any{"action": "notify"}); a.status != http.StatusForbidden {
		t.Errorf("a viewer's budget answers %d: %s", a.status, a.text)
	}
}
