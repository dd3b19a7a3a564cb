package httpserver

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"

	"github.com/signalbox/signalbox/internal/fault"
)

// statuses maps kinds of error to HTTP statuses.
var statuses = map[fault.Kind]int{
	fault.Invalid:         http.StatusBadRequest,
	fault.Unauthenticated: http.StatusUnauthorized,
	fault.Forbidden:       http.StatusForbidden,
	fault.NotFound:        http.StatusNotFound,
	fault.NotAllowed:      http.StatusMethodNotAllowed,
	fault.NotAcceptable:   http.StatusNotAcceptable,
	fault.UnsupportedType: http.StatusUnsupportedMediaType,
	fault.Conflict:        http.StatusConflict,
	fault.QuotaExceeded:   http.StatusConflict,
	fault.Changed:         http.StatusPreconditionFailed,
	fault.RateLimited:     http.StatusTooManyRequests,
	fault.TooLarge:        http.StatusRequestEntityTooLarge,
	fault.Unavailable:     http.StatusServiceUnavailable,
	fault.Internal:        http.StatusInternalServerError,
}

// Status returns the HTTP status for an error.
func Status(err error) int {
	if status, ok := statuses[fault.KindOf(err)]; ok {
		return status
	}
	return http.StatusInternalServerError
}

// Document is an RFC 9457 problem document, as every surface of ours answers
// with.
type Document struct {
	Type      string       `json:"type"`
	Title     string       `json:"title"`
	Status    int          `json:"status"`
	Code      string       `json:"code"`
	Detail    string       `json:"detail,omitempty"`
	Errors    []FieldError `json:"errors,omitempty"`
	RequestID string       `json:"request_id"`
	// What follows is of an error that a limit is the reason of, see fault.Limit.
	Scope        string `json:"scope,omitempty"`
	Limit        string `json:"limit,omitempty"`
	Max          *int64 `json:"max,omitempty"`
	Burst        int64  `json:"burst,omitempty"`
	Counted      string `json:"counted,omitempty"`
	RetryAfterMS int64  `json:"retry_after_ms,omitempty"`
	Doc          string `json:"doc,omitempty"`
}

// FieldError says what is wrong with one field or parameter, and what would be
// accepted.
type FieldError struct {
	Field    string `json:"field"`
	Message  string `json:"message"`
	Accepted string `json:"accepted,omitempty"`
}

// ProblemType is the content type of a Document.
const ProblemType = "application/problem+json"

// Describe puts what e itself says into a Document for the request of ctx.
func Describe(ctx context.Context, status int, e *fault.Error) Document {
	d := Document{
		Type: fault.PagesURL + e.Code, Title: http.StatusText(status), Status: status,
		Code: e.Code, Detail: e.Message, RequestID: RequestID(ctx),
	}
	for _, f := range e.Fields {
		d.Errors = append(d.Errors, FieldError{Field: f.Name, Message: f.Message, Accepted: f.Accepted})
	}
	if l := e.Limit; l != nil {
		most := l.Max
		d.Scope, d.Limit, d.Max, d.Burst, d.Counted, d.RetryAfterMS, d.Doc = l.Scope, l.Limit, &most, l.Burst, l.Counted, l.RetryAfterMS, l.Doc
	}
	return d
}

// Problem answers with err as application/problem+json. Only what the fault
// itself says leaves the process; an error that is none gets a general text and
// is logged with the request's id.
func Problem(w http.ResponseWriter, r *http.Request, logger *slog.Logger, err error) {
	status := Status(err)
	shown, ok := errors.AsType[*fault.Error](err)
	if !ok || status == http.StatusInternalServerError {
		shown = fault.New(fault.Internal, "Something went wrong on our side. Support can find it by the request id.")
	}
	if shown.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(shown.RetryAfter.Seconds()))))
	}
	logProblem(r.Context(), logger, r, status, err)
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="signalbox"`)
	}
	w.Header().Set("Content-Type", ProblemType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(Describe(r.Context(), status, shown)) // the caller may have gone; there is nobody to tell
}

// logProblem logs what somebody has to know of: mistakes of ours as errors,
// missing dependencies as warnings. A caller who went away is neither.
func logProblem(ctx context.Context, logger *slog.Logger, r *http.Request, status int, err error) {
	switch {
	case status < http.StatusInternalServerError || errors.Is(err, context.Canceled) && ctx.Err() != nil:
	case status == http.StatusServiceUnavailable:
		logger.WarnContext(ctx, "request not served", "method", r.Method, "path", r.URL.Path, "request_id", RequestID(ctx), "error", err)
	default:
		logger.ErrorContext(ctx, "request failed", "method", r.Method, "path", r.URL.Path, "request_id", RequestID(ctx), "error", err)
	}
}
