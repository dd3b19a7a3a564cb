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

// problemDocs is where the pages about codes are.
const problemDocs = "https://signalbox.dev/problems/"

// statuses maps kinds of error to HTTP statuses.
var statuses = map[fault.Kind]int{
	fault.Invalid:         http.StatusBadRequest,
	fault.Unauthenticated: http.StatusUnauthorized,
	fault.Forbidden:       http.StatusForbidden,
	fault.NotFound:        http.StatusNotFound,
	fault.NotAllowed:      http.StatusMethodNotAllowed,
	fault.UnsupportedType: http.StatusUnsupportedMediaType,
	fault.Conflict:        http.StatusConflict,
	fault.QuotaExceeded:   http.StatusConflict,
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

// problem is an RFC 9457 document.
type problem struct {
	Type      string       `json:"type"`
	Title     string       `json:"title"`
	Status    int          `json:"status"`
	Code      string       `json:"code"`
	Detail    string       `json:"detail,omitempty"`
	Errors    []fieldError `json:"errors,omitempty"`
	RequestID string       `json:"request_id"`
}

type fieldError struct {
	Field    string `json:"field"`
	Message  string `json:"message"`
	Accepted string `json:"accepted,omitempty"`
}

// Problem answers with err as application/problem+json. Only what the fault
// itself says leaves the process; an error that is none gets a general text and
// is logged with the request's id.
func Problem(w http.ResponseWriter, r *http.Request, logger *slog.Logger, err error) {
	status := Status(err)
	p := problem{Title: http.StatusText(status), Status: status, RequestID: RequestID(r.Context())}
	if e, ok := errors.AsType[*fault.Error](err); ok && status != http.StatusInternalServerError {
		p.Code, p.Detail = e.Code, e.Message
		for _, f := range e.Fields {
			p.Errors = append(p.Errors, fieldError{Field: f.Name, Message: f.Message, Accepted: f.Accepted})
		}
		if e.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
		}
	} else {
		p.Code, p.Detail = string(fault.Internal), "Something went wrong on our side. Support can find it by the request id."
	}
	logProblem(r.Context(), logger, r, status, err)
	p.Type = problemDocs + p.Code
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="signalbox"`)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(p) // the caller may have gone; there is nobody to tell
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
