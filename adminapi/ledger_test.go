package adminapi_test

import (
	"encoding/csv"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/adminapi"
	"github.com/signalbox/signalbox/billing"
	"github.com/signalbox/signalbox/billing/billingstore"
	"github.com/signalbox/signalbox/billing/usage"
	"github.com/signalbox/signalbox/internal/scope"
	"github.com/signalbox/signalbox/tenants"
)

func TestLedger_adds_up_to_what_is_shown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	ada, acme := w.signUp("ada@example.com", "acme")
	id := tenants.ID(acme.at("tenant", "id"))
	store := billingstore.New(w.pool)
	hour := time.Now().UTC().Truncate(time.Hour)
	for i, at := range []time.Time{hour.Add(-3 * time.Hour), hour.Add(-2 * time.Hour), hour} {
		if _, err := store.Commit(scope.System(t.Context(), scope.Usage), usage.Flush{EdgeRun: "e", Sequence: int64(i + 1), SentAt: at, Deltas: []usage.Delta{
			{Tenant: id, Hub: "chat", Minute: at, Delivered: 10, DeliveredBytes: 1000, ReceivedBytes: 10, ConnectionSeconds: 61, Opened: 1},
			{Tenant: id, Hub: "game", Minute: at, Delivered: 1},
		}, Accepted: []usage.Counter{{Tenant: id, Hub: "chat", Epoch: "e", Minute: at, Total: 3}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Post(scope.System(t.Context(), scope.Usage), hour); err != nil {
		t.Fatal(err)
	}
	service := billing.NewService(store, nil)
	if err := service.Correct(scope.System(t.Context(), scope.Operator), billing.Correction{
		Tenant: id, Concerns: hour.Add(-time.Hour), Amounts: billing.Amounts{Delivered: -4}, Reason: "=twice", Actor: "ops@example.com",
	}); err != nil {
		t.Fatal(err)
	}
	span := "from=" + hour.Add(-24*time.Hour).Format(time.RFC3339) + "&to=" + hour.Add(2*time.Hour).Format(time.RFC3339)
	var shown adminapi.Usage
	read(t, ada.call("GET", "/v1/tenants/acme/usage?step=hour&"+span, nil), &shown)
	want := adminapi.LedgerAmounts{
		MessagesAccepted: 9, MessagesDelivered: 29, DeliveredBytes: 3000, ReceivedBytes: 30, ConnectionSeconds: 183, ConnectionsOpened: 3,
	}
	if v := shown.Totals; v.MessagesAccepted != 9 || v.MessagesDelivered != 29 || v.DeliveredBytes != 3000 || v.ReceivedBytes != 30 || v.ConnectionMinutes != 4 || v.ConnectionsOpened != 3 {
		t.Errorf("the page shows %+v, want %+v", v, want)
	}
	for _, path := range []string{"/v1/tenants/acme/ledger", "/v1/accounts/" + acme.at("account", "id") + "/ledger"} {
		var ledger adminapi.Ledger
		read(t, ada.call("GET", path+"?"+span, nil), &ledger)
		var sum adminapi.LedgerAmounts
		for _, e := range ledger.Entries {
			sum.MessagesDelivered += e.Amounts.MessagesDelivered
		}
		if ledger.Totals != want || sum.MessagesDelivered != want.MessagesDelivered {
			t.Errorf("%s: the totals are %+v, want %+v", path, ledger.Totals, want)
		}
		table := ada.call("GET", path+"?format=csv&"+span, nil)
		rows, err := csv.NewReader(strings.NewReader(table.text)).ReadAll()
		if err != nil || len(rows) != 8 {
			t.Fatalf("%s: %d rows, %v: %s", path, len(rows), err, table.text)
		}
		var delivered int64
		for _, row := range rows[1:] {
			n, err := strconv.ParseInt(row[6], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			delivered += n
			if row[4] == "correction" && row[13] != "'=twice" {
				t.Errorf("the reason is %q: a spreadsheet would calculate it", row[13])
			}
		}
		if delivered != want.MessagesDelivered {
			t.Errorf("%s: the table has %d deliveries, the page %d", path, delivered, want.MessagesDelivered)
		}
	}
	var corrections adminapi.Ledger
	read(t, ada.call("GET", "/v1/tenants/acme/ledger?kind=correction&"+span, nil), &corrections)
	if len(corrections.Entries) != 1 || *corrections.Entries[0].Reason != "=twice" || *corrections.Entries[0].Actor != "ops@example.com" || corrections.Totals.MessagesDelivered != -4 {
		t.Errorf("corrections: %+v", corrections)
	}
	for _, query := range []string{"kind=gift", "format=xml", "from=2021-01-01T00:00:00Z"} {
		if a := ada.call("GET", "/v1/tenants/acme/ledger?"+query, nil); a.status != http.StatusBadRequest || a.at("code") != "invalid" {
			t.Errorf("%s answers %d: %s", query, a.status, a.text)
		}
	}
}

// read decodes an answer, which must be good.
func read(t *testing.T, a answer, into any) {
	t.Helper()
	if a.status != http.StatusOK {
		t.Fatalf("answered %d: %s", a.status, a.text)
	}
	if err := json.Unmarshal([]byte(a.text), into); err != nil {
		t.Fatal(err)
	}
}
