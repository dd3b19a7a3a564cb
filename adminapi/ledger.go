package adminapi

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/signalbox/signalbox/billing"
	"github.com/signalbox/signalbox/tenants"
)

// GetLedger implements ServerInterface.
func (s *server) GetLedger(w http.ResponseWriter, r *http.Request, ref TenantPath, params GetLedgerParams) {
	t, err := s.tenants.Tenant(r.Context(), callerOf(r), ref)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	s.ledger(w, r, billing.Whose{Tenant: t.ID}, "usage-"+t.Slug, GetAccountLedgerParams(params))
}

// GetAccountLedger implements ServerInterface.
func (s *server) GetAccountLedger(w http.ResponseWriter, r *http.Request, account AccountPath, params GetAccountLedgerParams) {
	m, err := s.tenants.Account(r.Context(), callerOf(r), tenants.AccountID(account))
	if err != nil {
		s.problem(w, r, err)
		return
	}
	s.ledger(w, r, billing.Whose{Account: m.ID}, "usage", params)
}

// ledger answers with entries, one by one as they are read.
func (s *server) ledger(w http.ResponseWriter, r *http.Request, whose billing.Whose, name string, params GetAccountLedgerParams) {
	span := billing.Span{From: value(params.From), To: value(params.To), Kind: billing.Kind(value(params.Kind))}
	asCSV := value(params.Format) == "csv"
	var out ledgerWriter = &ledgerJSON{w: w}
	if asCSV {
		out = &ledgerCSV{w: csv.NewWriter(w)}
	}
	begun := false
	err := s.billing.Ledger(r.Context(), whose, span, func(q billing.Span) error {
		begun = true
		media, extension := "application/json", "json"
		if asCSV {
			media, extension = "text/csv; charset=utf-8; header=present", "csv"
		}
		w.Header().Set("Content-Type", media)
		w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", name+"-"+q.From.Format("2006-01-02")+"."+extension))
		return out.begin(q)
	}, out.entry)
	if err == nil {
		err = out.end()
	}
	switch {
	case err == nil:
	case !begun:
		s.problem(w, r, err)
	default:
		// The status is out: a broken connection alone tells that this isn't all.
		s.logger.WarnContext(r.Context(), "ledger cut off", "error", err)
		panic(http.ErrAbortHandler)
	}
}

// ledgerWriter writes a ledger in a format.
type ledgerWriter interface {
	begin(q billing.Span) error
	entry(e billing.Entry) error
	end() error
}

type ledgerJSON struct {
	w      io.Writer
	some   bool
	totals billing.Amounts
}

func (l *ledgerJSON) begin(q billing.Span) error {
	_, err := fmt.Fprintf(l.w, "{\"from\":%q,\"to\":%q,\"entries\":[", q.From.Format(time.RFC3339), q.To.Format(time.RFC3339))
	return err
}

func (l *ledgerJSON) entry(e billing.Entry) error {
	encoded, err := json.Marshal(LedgerEntry{
		ID: e.ID, TenantID: string(e.Tenant), Hub: e.Hub, Hour: e.Hour, Kind: LedgerKind(e.Kind), Amounts: ledgerAmounts(e.Amounts),
		PostedAt: optional(e.PostedAt), Concerns: optional(e.Concerns), Reason: given(e.Reason), Actor: given(e.Actor),
	})
	if err != nil {
		return fmt.Errorf("encode entry: %w", err)
	}
	l.totals = l.totals.Plus(e.Amounts)
	separator := "\n"
	if l.some {
		separator = ",\n"
	}
	l.some = true
	_, err = l.w.Write(append([]byte(separator), encoded...))
	return err
}

func (l *ledgerJSON) end() error {
	encoded, err := json.Marshal(ledgerAmounts(l.totals))
	if err != nil {
		return fmt.Errorf("encode totals: %w", err)
	}
	_, err = fmt.Fprintf(l.w, "\n],\"totals\":%s}\n", encoded)
	return err
}

func ledgerAmounts(a billing.Amounts) LedgerAmounts {
	return LedgerAmounts{
		MessagesAccepted: a.Accepted, MessagesDelivered: a.Delivered, DeliveredBytes: a.DeliveredBytes,
		ReceivedBytes: a.ReceivedBytes, ConnectionSeconds: a.ConnectionSeconds, ConnectionsOpened: a.Opened,
	}
}

type ledgerCSV struct{ w *csv.Writer }

func (l *ledgerCSV) begin(billing.Span) error {
	return l.w.Write([]string{
		"id", "tenant_id", "hub", "hour", "kind", "messages_accepted", "messages_delivered", "delivered_bytes", "received_bytes",
		"connection_seconds", "connections_opened", "posted_at", "concerns", "reason", "actor",
	})
}

func (l *ledgerCSV) entry(e billing.Entry) error {
	row := []string{strconv.FormatInt(e.ID, 10), string(e.Tenant), e.Hub, csvTime(e.Hour), string(e.Kind)}
	for _, n := range []int64{e.Accepted, e.Delivered, e.DeliveredBytes, e.ReceivedBytes, e.ConnectionSeconds, e.Opened} {
		row = append(row, strconv.FormatInt(n, 10))
	}
	return l.w.Write(append(row, csvTime(e.PostedAt), csvTime(e.Concerns), csvText(e.Reason), csvText(e.Actor)))
}

func (l *ledgerCSV) end() error {
	l.w.Flush()
	return l.w.Error()
}

func csvTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339)
}

// csvText keeps spreadsheets from reading a text as a formula.
func csvText(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}
