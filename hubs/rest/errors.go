package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/signalbox/signalbox/hubs"
	"github.com/signalbox/signalbox/internal/fault"
	"github.com/signalbox/signalbox/internal/httpserver"
)

// Kinds of error that only HTTP has.
const (
	methodNotAllowed fault.Kind = "method_not_allowed"
	unsupportedMedia fault.Kind = "unsupported_media_type"
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

// LimitError is what a tenant's limit says no with. It is answered with 429.
type LimitError struct {
	Code   string        // "rate_limited" and the like
	Name   string        // of the limit, "messages_per_second" and the like
	Limit  int64         // its value
	Window time.Duration // over which it counts; 0 = it is no rate
	// RetryAfter is when a repeat can succeed; it is rounded up to a second.
	RetryAfter time.Duration
	Text       string // safe to show
}

// Error returns the text.
func (e *LimitError) Error() string { return e.Text }

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
}

// errorDetail is a problem document that is also Azure's form of an error: code,
// message and target.
type errorDetail struct {
	httpserver.Document
	Message string `json:"message"`
	Target  string `json:"target,omitempty"` // the parameter or field at fault
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
		limitHeaders(w.Header(), limit)
		detail := describe(r, http.StatusTooManyRequests, fault.New(fault.RateLimited, limit.Text).WithCode(limit.Code))
		detail.Target = limit.Name
		return detail
	}
	f := h.faultOf(r, err)
	if f.Kind == fault.Unauthenticated {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", seconds(f.RetryAfter))
	}
	detail := describe(r, statuses[f.Kind], f)
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
	switch {
	case errors.Is(err, hubs.ErrIdempotencyConflict):
		return fault.New(fault.Conflict, "This Idempotency-Key was used with another request to this hub.").WithCode("idempotency_conflict")
	case errors.Is(err, hubs.ErrEntryTooLarge):
		return fault.New(fault.TooLarge, "The message with all its names is too large.").WithCode("message_too_large")
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

func unavailable(message string) *fault.Error {
	f := fault.New(fault.Unavailable, message).WithCode("bus_unavailable")
	f.RetryAfter = 2 * time.Second
	return f
}

// limitHeaders says when to come back, in the header fields of
// draft-ietf-httpapi-ratelimit-headers.
func limitHeaders(header http.Header, e *LimitError) {
	header.Set("Retry-After", seconds(e.RetryAfter))
	if e.Window > 0 {
		header.Set("RateLimit-Policy", fmt.Sprintf("%q;q=%d;w=%s", e.Name, e.Limit, seconds(e.Window)))
		header.Set("RateLimit", fmt.Sprintf("%q;r=0;t=%s", e.Name, seconds(e.RetryAfter)))
	}
}

// seconds rounds up to whole seconds, at least one.
func seconds(d time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(d.Seconds()))))
}

// invalid is an error about one parameter or field.
func invalid(name, message, accepted string) error {
	return fault.InvalidFields(fault.Field{Name: name, Message: message, Accepted: accepted})
}

// missing says that something doesn't exist, with the code that SDKs expect.
func missing(code, message string) error {
	return fault.New(fault.NotFound, message).WithCode(code)
}
