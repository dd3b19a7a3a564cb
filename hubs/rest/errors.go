package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/httpserver"
)

// Kinds of error that only this API has.
const (
	methodNotAllowed fault.Kind = "method_not_allowed"
	unsupportedMedia fault.Kind = "unsupported_media_type"
	notSupported     fault.Kind = "not_supported"
	clientFailed     fault.Kind = "answer_lost"
	clientSilent     fault.Kind = "answer_timeout"
)

// errorCode is the header that Azure's SDKs read.
const errorCode = "X-Ms-Error-Code"

// The codes by which Azure's SDKs tell "there is none" from a failure (wire
// facts, 5.5).
const (
	codeNoConnection      = "Warning.Connection.NotExisted"
	codeNoConnectionToAdd = "Error.Connection.NotExisted"
	codeNoUser            = "Warning.User.NotExisted"
	codeNoGroup           = "Warning.Group.NotExisted"
	codeNotInGroup        = "Info.User.NotInGroup"
)

// Our own codes; docs/errors has a page for each.
const (
	codeIdempotencyConflict = "idempotency_conflict"
	codeMessageTooLarge     = "message_too_large"
	codeBusUnavailable      = "bus_unavailable"
	codeNotSupported        = "not_supported"
	codeClientError         = "client_error"
	codeAnswerTimeout       = "answer_timeout"
	codeAnswerLost          = "answer_lost"
	codeManyInvocations     = "too_many_invocations"
	codeNotReplicated       = "not_replicated"
	codeUserGroups          = "user_group_limit"
)

// statuses maps what went wrong to a status.
var statuses = map[fault.Kind]int{
	fault.Invalid:         http.StatusBadRequest,
	fault.Unauthenticated: http.StatusUnauthorized,
	fault.Forbidden:       http.StatusForbidden,
	fault.NotFound:        http.StatusNotFound,
	fault.Conflict:        http.StatusConflict,
	fault.QuotaExceeded:   http.StatusTooManyRequests,
	fault.RateLimited:     http.StatusTooManyRequests,
	fault.TooLarge:        http.StatusRequestEntityTooLarge,
	fault.Unavailable:     http.StatusServiceUnavailable,
	fault.Internal:        http.StatusInternalServerError,
	methodNotAllowed:      http.StatusMethodNotAllowed,
	unsupportedMedia:      http.StatusUnsupportedMediaType,
	notSupported:          http.StatusNotImplemented,
	historyGone:           http.StatusGone,
	clientFailed:          http.StatusBadGateway,
	clientSilent:          http.StatusGatewayTimeout,
}

// errorDetail is a problem document that is also Azure's form of an error: code,
// message and target.
type errorDetail struct {
	httpserver.Document
	Message string `json:"message"`
	Target  string `json:"target,omitempty"` // the parameter or field at fault
	// From and To are positions: what came behind From, up to To, is not kept.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

func describe(r *http.Request, status int, f *fault.Error) errorDetail {
	return errorDetail{Document: httpserver.Describe(r.Context(), status, f), Message: f.Message}
}

// fail answers r with err.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	detail := h.answerFor(w, r, err)
	w.Header().Set(errorCode, detail.Code)
	w.Header().Set("Content-Type", httpserver.ProblemType)
	w.Header().Set("Cache-Control", "no-store")
	body, _ := json.Marshal(detail) // strings always marshal
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(detail.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client may be gone
	}
}

// answerFor returns what may be said of err and sets the headers that go with it.
func (h *Handler) answerFor(w http.ResponseWriter, r *http.Request, err error) errorDetail {
	var limit *LimitError
	if errors.As(err, &limit) {
		limit.headers(w.Header())
		detail := describe(r, http.StatusTooManyRequests, fault.New(fault.RateLimited, limit.Text).WithLimit(limit.Limit))
		detail.Target = limit.Limit.Limit
		return detail
	}
	f := h.faultOf(r, err)
	if f.Kind == fault.Unauthenticated {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", httpserver.Seconds(f.RetryAfter))
	}
	detail := describe(r, statuses[f.Kind], f)
	var gone *goneError
	if errors.As(err, &gone) {
		detail.From, detail.To = gone.from, gone.to
	}
	if len(f.Fields) > 0 {
		field := f.Fields[0]
		detail.Target = field.Name
		detail.Message = field.Message
		if field.Accepted != "" {
			detail.Message += " Accepted: " + field.Accepted + "."
		}
	}
	return detail
}

// faultOf puts every error into words that may be shown.
func (h *Handler) faultOf(r *http.Request, err error) *fault.Error {
	var f *fault.Error
	if errors.As(err, &f) {
		if _, known := statuses[f.Kind]; known && f.Kind != fault.Internal {
			return f
		}
	}
	var full *hubs.UserGroupLimitError
	var overload *hubs.OverloadError
	switch {
	case errors.As(err, &overload):
		kind := fault.Unavailable
		if overload.Own {
			kind = fault.RateLimited
		}
		f := fault.New(kind, overload.Text).WithCode(overload.Code)
		f.RetryAfter = overload.RetryAfter
		return f
	case errors.As(err, &full):
		return fault.New(fault.QuotaExceeded, fmt.Sprintf("The hub remembers as many groups of users as it may: at most %d MiB of their names, with 256 bytes more for each user and 64 for each group of one. "+
			"Remove users from groups, add them for a time (ttl), or name groups in their tokens.", full.Limit>>20)).WithCode(codeUserGroups)
	case errors.Is(err, hubs.ErrIdempotencyConflict):
		return fault.New(fault.Conflict, "This Idempotency-Key was used with another request to this hub.").WithCode(codeIdempotencyConflict)
	case errors.Is(err, hubs.ErrEntryTooLarge):
		return fault.New(fault.TooLarge, "The message with all its names is too large.").WithCode(codeMessageTooLarge)
	case errors.Is(err, hubs.ErrNotReplicated) && errors.Is(err, hubs.ErrOutcomeUnknown):
		return unavailable("No replica is known to have the message; it is unknown whether it lasts. Repeat it with the same Idempotency-Key.").WithCode(codeNotReplicated)
	case errors.Is(err, hubs.ErrNotReplicated):
		return unavailable("There is no replica that could take the message; nothing was carried out.").WithCode(codeNotReplicated)
	case errors.Is(err, hubs.ErrOutcomeUnknown):
		return unavailable("The message bus is away and it is unknown whether the request was carried out. Repeat it with the same Idempotency-Key.")
	case errors.Is(err, hubs.ErrUnanswered):
		return unavailable("Not every edge that serves the hub answered in time.")
	case errors.Is(err, hubs.ErrUnavailable):
		return unavailable("The message bus is away; nothing was carried out.")
	case r.Context().Err() != nil && errors.Is(err, context.Canceled):
		return fault.New(fault.Unavailable, "The request was given up.") // nobody reads it
	case errors.Is(err, context.DeadlineExceeded):
		return unavailable("The request took too long.")
	}
	h.log.Error("rest request fails", "method", r.Method, "error", err)
	return fault.New(fault.Internal, "Something went wrong on our side.")
}

// refused counts err for the tenant when it is the request's fault. Names of hubs
// that the tenant doesn't use are not counted apart: there is no end of them.
func (c *call) refused(err error) {
	if c.Refused == nil {
		return
	}
	hub := ""
	if c.known {
		hub = c.hub
	}
	var limit *LimitError
	var f *fault.Error
	var full *hubs.UserGroupLimitError
	var overload *hubs.OverloadError
	switch {
	case errors.As(err, &overload):
		c.Refused(hub, overload.Code)
	case errors.As(err, &full):
		c.Refused(hub, codeUserGroups)
	case errors.As(err, &limit):
		if limit.Code == codeManyInvocations { // others are counted by who refused
			c.Refused(hub, limit.Code)
		}
	case errors.Is(err, hubs.ErrIdempotencyConflict):
		c.Refused(hub, codeIdempotencyConflict)
	case errors.As(err, &f) && f.Kind == historyGone:
		c.Refused(hub, codeHistoryGone)
	case errors.Is(err, hubs.ErrEntryTooLarge):
		c.Refused(hub, codeMessageTooLarge)
	case errors.As(err, &f) && f.Code != codeClientError && (f.Kind == fault.Invalid || f.Kind == fault.TooLarge || f.Kind == unsupportedMedia):
		c.Refused(hub, f.Code)
	}
}

func unavailable(message string) *fault.Error {
	f := fault.New(fault.Unavailable, message).WithCode(codeBusUnavailable)
	f.RetryAfter = 2 * time.Second
	return f
}

// invalid is an error about one parameter or field.
func invalid(name, message, accepted string) error {
	return fault.InvalidFields(fault.Field{Name: name, Message: message, Accepted: accepted})
}

// missing says that something doesn't exist, with the code that SDKs expect.
func missing(code, message string) error {
	return fault.New(fault.NotFound, message).WithCode(code)
}
