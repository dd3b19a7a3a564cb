package transport

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
)

// writeError answers with err if it is an *Error, else with 500.
func (h *Handler) writeError(w http.ResponseWriter, err error) {
	var e *Error
	if !errors.As(err, &e) {
		h.opt.Logger.Error("request failed", "error", err)
		writeText(w, http.StatusInternalServerError, "")
		return
	}
	for k, v := range e.Header {
		w.Header()[http.CanonicalHeaderKey(k)] = v
	}
	writeText(w, e.Status, e.Text)
}

// writeText answers with exactly text.
func writeText(w http.ResponseWriter, status int, text string) {
	writeBytes(w, status, []byte(text))
}

// writeBytes answers with exactly body.
func writeBytes(w http.ResponseWriter, status int, body []byte) {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "text/plain")
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client is gone: there is nobody to tell
}

// writeJSON answers with v in JSON.
func writeJSON(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		writeText(w, http.StatusInternalServerError, "")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	writeBytes(w, http.StatusOK, body)
}
