package adminapi_test

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/audit"
)

func TestAudit_is_shown_filtered_and_exported_to_be_verified(t *testing.T) {
	t.Parallel()
	w := newWorld(t, settings{})
	ada, acme := w.signUp("ada@example.com", "acme")
	account, tenant := acme.at("account", "id"), acme.at("tenant", "id")
	base := "/v1/accounts/" + account + "/audit"
	program := ada.service(account, tenants.Admin, nil)
	for n := range 3 {
		status(t, program.call("PATCH", "/v1/tenants/acme", map[string]any{"name": fmt.Sprint("=cmd|", n)}), http.StatusOK)
	}
	// Events are read in batches.
	w.exec(`INSERT INTO audit_events (chain, actor, account_id, action, subject, request_id, ip) SELECT 'account:' || $1, 'system', $1, 'test.many', n::text, '', '' FROM generate_series(1, 1200) n`, account)
	status(t, ada.call("POST", "/v1/tenants/acme/suspend", nil), http.StatusOK)
	const total = 1206 // the tenant, the token, three names, many, and the suspension

	list := status(t, ada.call("GET", base+"?limit=2", nil), http.StatusOK)
	newest := list.body["events"].([]any)[0].(map[string]any)
	if newest["number"] != float64(total) || newest["action"] != "tenant.suspended" || newest["actor"] != "user" || newest["actor_name"] != "ada@example.com" || newest["tenant_id"] != tenant ||
		newest["before"].(map[string]any)["status"] != "active" || newest["after"].(map[string]any)["suspended_by"] != "account" {
		t.Errorf("the newest is %v", newest)
	}
	count := func(query string) int {
		a := status(t, ada.call("GET", base+"?limit=200&"+query, nil), http.StatusOK)
		return len(a.body["events"].([]any))
	}
	soon, long := time.Now().Add(time.Hour).UTC().Format(time.RFC3339), time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	for query, want := range map[string]int{
		"action=tenant.renamed": 3, "action=tenant": 5, "actor=Deploy": 3, "actor=" + acme.at("user", "id"): 3, "actor=ada@example.com&action=tenant.suspended": 1, "tenant=" + tenant: 5,
		"from=" + soon: 0, "to=" + long: 0, "from=" + long + "&to=" + soon + "&action=tenant.suspended": 1, "action=ten": 0,
	} {
		if got := count(query); got != want {
			t.Errorf("%s picks %d events, want %d", query, got, want)
		}
	}
	want(t, ada.call("GET", base+"?from="+soon+"&to="+long, nil), http.StatusBadRequest, "invalid")

	verified := status(t, ada.call("GET", base+"/verification", nil), http.StatusOK)
	if verified.body["intact"] != true || verified.body["events"] != float64(total) || verified.body["head_number"] != float64(total) {
		t.Errorf("verified %s", verified.text)
	}
	hash, _ := audit.ParseHash(verified.at("head_hash"))
	head := audit.Head{Number: total, Hash: hash}
	for _, format := range []string{"jsonl", "csv"} {
		a := status(t, ada.call("GET", base+"/export?format="+format, nil), http.StatusOK)
		report, err := audit.Verify(strings.NewReader(a.text), audit.Options{Kept: []audit.Head{head}})
		if err != nil || report.Events != total || report.Head != head || report.Filtered {
			t.Errorf("%s: %+v, %v", format, report, err)
		}
		some := status(t, ada.call("GET", base+"/export?action=tenant.renamed&format="+format, nil), http.StatusOK)
		if report, err := audit.Verify(strings.NewReader(some.text), audit.Options{Gaps: true}); err != nil || report.Events != 3 {
			t.Errorf("filtered %s: %+v, %v", format, report, err)
		}
		if format == "csv" {
			rows, err := csv.NewReader(strings.NewReader(some.text)).ReadAll()
			if err != nil || len(rows) != 4 || rows[1][10] != "'=cmd|0" {
				t.Errorf("rows = %v, %v", rows, err)
			}
		}
	}

	// In steps, and in files that begin where the one before has ended.
	passed, steps, next := int64(0), 0, ""
	for {
		a := status(t, ada.call("GET", base+"/verification?most=500"+next, nil), http.StatusOK)
		steps++
		if passed += int64(a.body["events"].(float64)); a.body["complete"] == true || a.body["intact"] != true {
			break
		}
		next = fmt.Sprintf("&after=%.0f&after_hash=%s", a.body["head_number"], a.at("head_hash"))
	}
	if passed != total || steps != 3 {
		t.Errorf("%d events were verified in %d steps", passed, steps)
	}
	whole, parts := strings.Split(status(t, ada.call("GET", base+"/export", nil), http.StatusOK).text, "\n"), []string(nil)
	from := audit.Head{}
	for more := true; more; {
		query := "?most=700"
		if from.Number > 0 {
			query += fmt.Sprintf("&after=%d", from.Number)
		}
		a := status(t, ada.call("GET", base+"/export"+query, nil), http.StatusOK)
		report, err := audit.Verify(strings.NewReader(a.text), audit.Options{From: from})
		if err != nil || report.From != from || !report.Whole {
			t.Fatalf("behind %d: %+v, %v", from.Number, report, err)
		}
		lines := strings.Split(a.text, "\n")
		parts = append(parts, lines[1:len(lines)-2]...)
		from, more = report.Head, report.More
	}
	if !slices.Equal(parts, whole[1:len(whole)-2]) || from != head {
		t.Errorf("%d lines in parts, %d in one; the last is %d", len(parts), len(whole)-3, from.Number)
	}
	wrong := strings.Repeat("0", 63) + "1"
	if a := ada.call("GET", base+"/verification?after=3&after_hash="+wrong, nil); a.body["intact"] != false || a.body["broken_number"] != 3.0 {
		t.Errorf("a step behind another event: %s", a.text)
	}
	want(t, ada.call("GET", base+"/verification?after=3", nil), http.StatusBadRequest, "invalid")
	want(t, ada.call("GET", base+"/export?after=99999", nil), http.StatusBadRequest, "invalid")

	// A head that was noted is in the chain, or it is known that it is not.
	noted := fmt.Sprintf("?number=%d&hash=%s", total, verified.at("head_hash"))
	status(t, ada.call("POST", "/v1/tenants/acme/resume", nil), http.StatusOK)
	if a := ada.call("GET", base+"/verification"+noted, nil); a.body["intact"] != true || a.body["events"] != float64(total+1) {
		t.Errorf("with a noted head: %s", a.text)
	}
	want(t, ada.call("GET", base+"/verification?number=3", nil), http.StatusBadRequest, "invalid")
	want(t, ada.call("GET", base+"/verification?number=3&hash=x", nil), http.StatusBadRequest, "invalid")
	w.exec(fmt.Sprintf(`ALTER TABLE audit_events DISABLE TRIGGER ALL; DELETE FROM audit_events WHERE number > 1200 AND chain LIKE 'account:%%';
		UPDATE audit_chains SET number = 1200, hash = (SELECT hash FROM audit_events WHERE number = 1200 AND chain = 'account:%[1]s') WHERE chain = 'account:%[1]s'; ALTER TABLE audit_events ENABLE TRIGGER ALL`, account))
	if a := ada.call("GET", base+"/verification", nil); a.body["intact"] != true {
		t.Errorf("without a noted head: %s", a.text)
	}
	if a := ada.call("GET", base+"/verification"+noted, nil); a.body["intact"] != false || a.body["broken_number"] != 1201.0 || a.at("broken_reason") == "" {
		t.Errorf("with a noted head: %s", a.text)
	}

	// What concerns a person alone is the person's.
	own := status(t, ada.call("GET", "/v1/user/audit", nil), http.StatusOK)
	w.signIn("ada@example.com", "not the password")
	after := status(t, ada.call("GET", "/v1/user/audit?limit=1", nil), http.StatusOK)
	if len(own.body["events"].([]any)) != 0 || !strings.Contains(after.text, "session.refused") {
		t.Errorf("own events: %s, then %s", own.text, after.text)
	}
}
