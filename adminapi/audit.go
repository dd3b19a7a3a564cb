package adminapi

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/tenants"
	"github.com/signalbox/signalbox/tenants/audit"
)

// ListAuditEvents implements ServerInterface.
func (s *server) ListAuditEvents(w http.ResponseWriter, r *http.Request, account AccountPath, params ListAuditEventsParams) {
	f := auditFilter(params.From, params.To, params.Actor, params.Action, params.Tenant)
	s.auditPage(w, r, params.Cursor, params.Limit, func(before int64, limit int) ([]audit.Event, error) {
		return s.tenants.AuditEvents(r.Context(), callerOf(r), tenants.AccountID(account), f, before, limit)
	})
}

// ListOwnAuditEvents implements ServerInterface.
func (s *server) ListOwnAuditEvents(w http.ResponseWriter, r *http.Request, params ListOwnAuditEventsParams) {
	f := auditFilter(params.From, params.To, params.Actor, params.Action, nil)
	s.auditPage(w, r, params.Cursor, params.Limit, func(before int64, limit int) ([]audit.Event, error) {
		return s.tenants.OwnAuditEvents(r.Context(), callerOf(r), f, before, limit)
	})
}

func auditFilter(from *AuditFrom, to *AuditTo, actor *AuditBy, action *AuditAction, tenant *AuditTenant) tenants.AuditFilter {
	return tenants.AuditFilter{From: value(from), To: value(to), Actor: value(actor), Action: value(action), Tenant: tenants.ID(value(tenant))}
}

// auditList is the name of lists of events in cursors.
const auditList = "audit"

// auditPage answers with a page of a chain, which its store cuts.
func (s *server) auditPage(w http.ResponseWriter, r *http.Request, cursor *PageCursor, limit *PageLimit, read func(before int64, limit int) ([]audit.Event, error)) {
	place, most, err := pageBefore(auditList, cursor, limit)
	before := int64(0)
	if err == nil && place != "" {
		before, err = strconv.ParseInt(place, 10, 64)
	}
	if err != nil || before < 0 {
		s.problem(w, r, fault.InvalidFields(fault.Field{Name: "cursor", Message: "is none of this list", Accepted: "next_cursor of the page before"}))
		return
	}
	events, err := read(before, most+1)
	answer := AuditEventList{Events: make([]AuditEvent, 0, len(events))}
	if len(events) > most {
		events = events[:most]
		answer.NextCursor = given(writeCursor(auditList, []string{strconv.FormatInt(events[most-1].Number, 10)}))
	}
	for i := range events {
		answer.Events = append(answer.Events, auditEvent(&events[i]))
	}
	s.answer(w, r, http.StatusOK, answer, err)
}

func auditEvent(e *audit.Event) AuditEvent {
	shown := AuditEvent{
		Number: e.Number, At: e.At.UTC(), Actor: AuditActor(e.Actor), ActorID: given(e.ActorID), APITokenID: given(e.TokenID), ActorName: given(e.ActorName),
		TenantID: given(e.Tenant), Action: e.Action, Subject: e.Subject, RequestID: e.RequestID, IP: e.IP, UserAgent: e.UserAgent,
		Previous: e.Previous.String(), Hash: e.Hash.String(),
	}
	for to, raw := range map[*any]json.RawMessage{&shown.Before: e.Before, &shown.After: e.After} {
		if raw != nil {
			*to = raw
		}
	}
	return shown
}

// auditWriter writes an export in a format.
type auditWriter interface {
	Event(e *audit.Event) error
	End(more bool) error
}

// ExportAudit implements ServerInterface: one event after the other as they are read.
func (s *server) ExportAudit(w http.ResponseWriter, r *http.Request, account AccountPath, params ExportAuditParams) {
	asCSV := value(params.Format) == "csv"
	s.exportAudit(w, r, asCSV, func(begin func(audit.Header) error, each func(*audit.Event) error) (bool, error) {
		f := auditFilter(params.From, params.To, params.Actor, params.Action, params.Tenant)
		part := tenants.AuditPart{After: value(params.After), Most: value(params.Most)}
		return s.tenants.ExportAudit(r.Context(), callerOf(r), tenants.AccountID(account), f, part, asCSV, begin, each)
	})
}

func (s *server) exportAudit(w http.ResponseWriter, r *http.Request, asCSV bool, export func(begin func(audit.Header) error, each func(*audit.Event) error) (more bool, err error)) {
	buffered := bufio.NewWriterSize(w, 32<<10)
	var out auditWriter
	more, err := export(func(h audit.Header) (err error) {
		media, extension := "application/jsonl", "jsonl"
		if asCSV {
			media, extension = "text/csv; charset=utf-8; header=present", "csv"
		}
		w.Header().Set("Content-Type", media)
		w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", "audit-"+s.now().UTC().Format("2006-01-02")+"."+extension))
		out, err = newAuditWriter(buffered, h, asCSV)
		return err
	}, func(e *audit.Event) error { return out.Event(e) })
	if err == nil {
		err = out.End(more)
	}
	if err == nil {
		err = buffered.Flush()
	}
	switch {
	case err == nil:
	case out == nil:
		s.problem(w, r, err)
	default:
		// The status is out: a broken connection alone tells that this isn't all.
		s.logger.WarnContext(r.Context(), "audit log cut off", "error", err)
		panic(http.ErrAbortHandler)
	}
}

func newAuditWriter(w io.Writer, h audit.Header, asCSV bool) (auditWriter, error) {
	if asCSV {
		return audit.NewCSV(w)
	}
	return audit.NewJSONLines(w, h)
}

// VerifyAudit implements ServerInterface.
func (s *server) VerifyAudit(w http.ResponseWriter, r *http.Request, account AccountPath, params VerifyAuditParams) {
	kept, err := keptHead(params.Number, params.Hash)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	part, err := auditPart(params.After, params.AfterHash, params.Most)
	if err != nil {
		s.problem(w, r, err)
		return
	}
	v, err := s.tenants.VerifyAudit(r.Context(), callerOf(r), tenants.AccountID(account), part, kept)
	s.answer(w, r, http.StatusOK, auditVerification(v), err)
}

// auditPart reads where a verification goes on, and how far.
func auditPart(after *int64, hash *string, most *int) (tenants.AuditPart, error) {
	part := tenants.AuditPart{After: value(after), Most: value(most)}
	if after == nil && hash == nil {
		return part, nil
	}
	var ok bool
	if part.Hash, ok = audit.ParseHash(value(hash)); after == nil || !ok {
		return part, fault.InvalidFields(fault.Field{Name: "after_hash", Message: "and after belong together", Accepted: "head_number and head_hash of the step before, or none"})
	}
	return part, nil
}

// keptHead reads a head that the caller has noted; the zero value = none.
func keptHead(number *int64, hash *string) (audit.Head, error) {
	if number == nil && hash == nil {
		return audit.Head{}, nil
	}
	h, ok := audit.ParseHash(value(hash))
	if number == nil || !ok {
		return audit.Head{}, fault.InvalidFields(fault.Field{Name: "hash", Message: "and number belong together", Accepted: "both of a head, or none"})
	}
	return audit.Head{Number: *number, Hash: h}, nil
}

func auditVerification(v tenants.AuditVerification) AuditVerification {
	shown := AuditVerification{Intact: v.Broken == nil, Complete: !v.More, Events: v.Events, HeadNumber: v.Head.Number, HeadHash: v.Head.Hash.String()}
	if v.Broken != nil {
		shown.BrokenNumber, shown.BrokenReason = &v.Broken.Number, &v.Broken.Reason
	}
	return shown
}
