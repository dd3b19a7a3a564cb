package adminapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
)

// recorder keeps an answer until it is sent. One that grows beyond most bytes is
// passed on as it is made; most 0 keeps all of it.
type recorder struct {
	to      http.ResponseWriter
	most    int
	header  http.Header
	status  int
	body    bytes.Buffer
	passing bool
}

var _ http.ResponseWriter = (*recorder)(nil)

// Header implements http.ResponseWriter.
func (r *recorder) Header() http.Header {
	if r.header == nil {
		r.header = make(http.Header)
	}
	return r.header
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	if r.passing {
		return r.to.Write(p)
	}
	if r.most > 0 && r.body.Len()+len(p) > r.most {
		r.send()
		r.passing = true
		return r.to.Write(p)
	}
	return r.body.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.to }

// send sends what was kept.
func (r *recorder) send() {
	if r.passing {
		return
	}
	maps.Copy(r.to.Header(), r.header)
	if r.status == 0 {
		r.status = http.StatusOK
	}
	r.to.WriteHeader(r.status)
	if r.body.Len() > 0 {
		_, _ = r.to.Write(r.body.Bytes()) // the caller may have gone; there is nobody to tell
	}
}

// keptAnswer is an answer as it is kept for repeats of its request.
type keptAnswer struct {
	Status int               `json:"status"`
	Header map[string]string `json:"header"`
	Body   []byte            `json:"body"`
}

// keptHeaders are those that belong to the answer, not to its sending.
var keptHeaders = []string{"Content-Type", "Location", etagHeader}

// keep writes the answer for keeping.
func (r *recorder) keep() ([]byte, error) {
	kept := keptAnswer{Status: r.status, Header: make(map[string]string), Body: r.body.Bytes()}
	for _, name := range keptHeaders {
		if v := r.Header().Get(name); v != "" {
			kept.Header[name] = v
		}
	}
	text, err := json.Marshal(kept)
	if err != nil {
		return nil, fmt.Errorf("keep answer: %w", err)
	}
	return text, nil
}

// restore reads an answer that was kept.
func (r *recorder) restore(text []byte) error {
	var kept keptAnswer
	if err := json.Unmarshal(text, &kept); err != nil {
		return fmt.Errorf("read kept answer: %w", err)
	}
	for name, v := range kept.Header {
		r.Header().Set(name, v)
	}
	r.status = kept.Status
	r.body.Write(kept.Body)
	return nil
}
